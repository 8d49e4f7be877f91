//! The C interface that `bench/peers.py` calls. Nothing is allocated after [`cic_bench_new`].

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

use cic_runtime::kernels::Isa;

use crate::Chain;
use crate::engine::{BatchError, Engine, Opening, Outputs, Rows};

/// What a call returns: 0, or why it did nothing.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A pointer is null or badly aligned.
    BadPointer = 1,
    /// Lengths do not fit each other or the model.
    BadShape = 2,
    /// The network could not be quantised on these rows.
    NotQuantised = 3,
    /// The model could not be opened.
    NotOpened = 4,
    /// The runtime refused a row.
    Refused = 5,
    /// A fault of this library.
    Internal = 6,
}

/// The network and the rows that its ranges are taken from.
#[repr(C)]
#[derive(Debug)]
pub struct Network {
    /// `[n_dims]`: genes, layers, classes.
    pub dims: *const u32,
    /// Number of dimensions.
    pub n_dims: usize,
    /// Which of them is the code.
    pub code_at: usize,
    /// Of each layer `[in × out]`, row-major, then its bias.
    pub parameters: *const f32,
    /// How many.
    pub n_parameters: usize,
    /// `[n_calibration × genes]`, log1p values.
    pub calibration: *const f32,
    /// Rows of them.
    pub n_calibration: usize,
}

/// A batch: its inputs, and memory for its results.
#[repr(C)]
#[derive(Debug)]
pub struct Batch {
    /// Number of rows.
    pub n_rows: usize,
    /// Threads that may take part.
    pub threads: usize,
    /// `[n_rows + 1]`; null for dense rows.
    pub indptr: *const u32,
    /// `[n_values]`; null for dense rows.
    pub indices: *const u32,
    /// `[n_values]`
    pub values: *const f32,
    /// Number of values; `n_rows × genes` for dense rows.
    pub n_values: usize,
    /// `[n_rows × classes]`, written.
    pub probabilities: *mut f32,
    /// `[n_rows × code]`, written; null where codes are not wanted.
    pub codes: *mut f32,
}

/// Makes a model and all memory to run it.
///
/// # Safety
/// Pointers of `network` lead to as many elements as it says; `engine` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_bench_new(network: *const Network, engine: *mut *mut Engine) -> i32 {
    guard(|| {
        if engine.is_null() || !engine.is_aligned() {
            return Err(Status::BadPointer);
        }
        // SAFETY: promised by the caller, and not null.
        let network = unsafe { network.as_ref() }.ok_or(Status::BadPointer)?;
        // SAFETY: promised by the caller.
        let made = unsafe { engine_of(network) }?;
        // SAFETY: not null, aligned, and writable by the caller's promise.
        unsafe { engine.write(Box::into_raw(Box::new(made))) };
        Ok(())
    })
}

/// Ends an engine; null is allowed.
///
/// # Safety
/// `engine` comes from [`cic_bench_new`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_bench_free(engine: *mut Engine) {
    if !engine.is_null() {
        // SAFETY: it came from `Box::into_raw`, and the caller gives it up.
        drop(unsafe { Box::from_raw(engine) });
    }
}

/// Bytes of the model; 0 for null.
///
/// # Safety
/// `engine` comes from [`cic_bench_new`], or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_bench_model_len(engine: *const Engine) -> usize {
    // SAFETY: promised by the caller.
    unsafe { engine.as_ref() }.map_or(0, Engine::model_len)
}

/// Name of the instruction set in use.
#[unsafe(no_mangle)]
pub extern "C" fn cic_bench_isa() -> *const c_char {
    let name: &CStr = match Isa::best() {
        Isa::Scalar => c"scalar",
        Isa::Sse41 => c"sse4.1",
        Isa::Avx2 => c"avx2",
        Isa::AvxVnni => c"avxvnni",
        Isa::Avx512Vnni => c"avx512vnni",
        Isa::Amx => c"amx",
        Isa::Neon => c"neon",
        Isa::Dotprod => c"dotprod",
        Isa::I8mm => c"i8mm",
        _ => c"other",
    };
    name.as_ptr()
}

/// Runs a batch.
///
/// # Safety
/// `engine` comes from [`cic_bench_new`] and no other call uses it now. Pointers of `batch` lead to as
/// many elements as it says, results lie apart from inputs and from each other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_bench_run(engine: *mut Engine, batch: *const Batch) -> i32 {
    // SAFETY: promised by the caller.
    guard(|| unsafe { run(engine, batch) })
}

/// Runs batches in turn, `times` runs in all, so that what a call costs is paid once.
///
/// # Safety
/// As for [`cic_bench_run`], for `n_batches` batches.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_bench_repeat(
    engine: *mut Engine,
    batches: *const Batch,
    n_batches: usize,
    times: usize,
) -> i32 {
    guard(|| {
        for at in (0..n_batches).cycle().take(times) {
            // SAFETY: `at` is below `n_batches`; the rest is promised by the caller.
            unsafe { run(engine, batches.wrapping_add(at)) }?;
        }
        Ok(())
    })
}

/// Takes what [`cic_bench_run`] takes and does nothing: the cost of a call.
#[unsafe(no_mangle)]
pub extern "C" fn cic_bench_noop(engine: *mut Engine, batch: *const Batch) -> i32 {
    std::hint::black_box((engine, batch));
    Status::Ok as i32
}

/// Nanoseconds from the bytes of the model to the result of the first row of the batch. `how`: 0 opens
/// the model, 1 also checks its digest, 2 opens it and packs all weights for batches.
///
/// # Safety
/// As for [`cic_bench_run`]; `nanoseconds` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_bench_open(
    engine: *mut Engine,
    batch: *const Batch,
    how: u32,
    nanoseconds: *mut u64,
) -> i32 {
    guard(|| {
        let opening = match how {
            0 => Opening::Plain,
            1 => Opening::Verified,
            2 => Opening::Packed,
            _ => return Err(Status::BadShape),
        };
        if nanoseconds.is_null() || !nanoseconds.is_aligned() {
            return Err(Status::BadPointer);
        }
        // SAFETY: promised by the caller.
        let (engine, rows, mut outputs) = unsafe { parts(engine, batch) }?;
        let time = engine.time_to_first_result(opening, rows, &mut outputs)?;
        let time = u64::try_from(time.as_nanos()).map_err(|_| Status::Internal)?;
        // SAFETY: not null, aligned, and writable by the caller's promise.
        unsafe { nanoseconds.write(time) };
        Ok(())
    })
}

/// # Safety
/// That of [`cic_bench_new`].
unsafe fn engine_of(network: &Network) -> Result<Engine, Status> {
    // SAFETY: promised by the caller.
    let dims = unsafe { list(network.dims, network.n_dims) }?;
    // SAFETY: promised by the caller.
    let parameters = unsafe { list(network.parameters, network.n_parameters) }?;
    let dims: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
    let has_code = (1..dims.len().saturating_sub(1)).contains(&network.code_at);
    if !has_code || dims.contains(&0) || Chain::n_parameters(&dims) != parameters.len() {
        return Err(Status::BadShape);
    }
    let n_values = network.n_calibration.checked_mul(dims[0]).ok_or(Status::BadShape)?;
    // SAFETY: promised by the caller.
    let calibration = unsafe { list(network.calibration, n_values) }?;
    let chain = Chain { dims, code_at: network.code_at, parameters: parameters.to_vec() };
    Engine::new(&chain, calibration).map_err(|_| Status::NotQuantised)
}

/// # Safety
/// That of [`cic_bench_run`].
unsafe fn run(engine: *mut Engine, batch: *const Batch) -> Result<(), Status> {
    // SAFETY: promised by the caller.
    let threads = unsafe { batch.as_ref() }.ok_or(Status::BadPointer)?.threads;
    // SAFETY: promised by the caller.
    let (engine, rows, mut outputs) = unsafe { parts(engine, batch) }?;
    Ok(engine.run(rows, threads, &mut outputs)?)
}

/// # Safety
/// That of [`cic_bench_run`].
#[inline(always)]
unsafe fn parts<'a>(
    engine: *mut Engine,
    batch: *const Batch,
) -> Result<(&'a mut Engine, Rows<'a>, Outputs<'a>), Status> {
    // SAFETY: promised by the caller.
    let engine = unsafe { engine.as_mut() }.ok_or(Status::BadPointer)?;
    // SAFETY: promised by the caller.
    let batch = unsafe { batch.as_ref() }.ok_or(Status::BadPointer)?;
    let model = engine.session().model();
    let len = |width: usize| batch.n_rows.checked_mul(width).ok_or(Status::BadShape);
    // SAFETY: promised by the caller.
    let values = unsafe { list(batch.values, batch.n_values) }?;
    let rows = if batch.indptr.is_null() {
        if len(model.n_genes())? != batch.n_values {
            return Err(Status::BadShape);
        }
        Rows::Dense(values)
    } else {
        // SAFETY: promised by the caller.
        let indptr = unsafe { list(batch.indptr, batch.n_rows.saturating_add(1)) }?;
        // SAFETY: promised by the caller.
        let indices = unsafe { list(batch.indices, batch.n_values) }?;
        Rows::Csr { indptr, indices, values }
    };
    // SAFETY: promised by the caller, who also promises that nothing else is there.
    let probabilities = unsafe { list_mut(batch.probabilities, len(model.n_leaves())?) }?;
    let codes = match batch.codes.is_null() {
        true => &mut [],
        // SAFETY: promised by the caller, who also promises that nothing else is there.
        false => unsafe { list_mut(batch.codes, len(model.code_dim())?) }?,
    };
    Ok((engine, rows, Outputs { probabilities, codes }))
}

/// # Safety
/// `len` elements are at `pointer`, and nobody writes them during the call.
unsafe fn list<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T], Status> {
    check::<T>(pointer, len)?;
    // SAFETY: not null, aligned, not too long; initialised by the caller's promise.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// # Safety
/// `len` elements are at `pointer`, and nobody else reads or writes them during the call.
unsafe fn list_mut<'a, T>(pointer: *mut T, len: usize) -> Result<&'a mut [T], Status> {
    check::<T>(pointer, len)?;
    // SAFETY: not null, aligned, not too long; initialised and alone by the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, len) })
}

fn check<T>(pointer: *const T, len: usize) -> Result<(), Status> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(Status::BadPointer);
    }
    let bytes = len.checked_mul(size_of::<T>());
    if bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok()) {
        Ok(())
    } else {
        Err(Status::BadShape)
    }
}

fn guard(call: impl FnOnce() -> Result<(), Status>) -> i32 {
    let status = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Status::Ok,
        Ok(Err(status)) => status,
        Err(_) => Status::Internal,
    };
    status as i32
}

impl From<BatchError> for Status {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Shape => Self::BadShape,
            BatchError::Model(_) => Self::NotOpened,
            BatchError::Run(_) => Self::Refused,
            BatchError::Threads => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::*;

    const DIMS: [u32; 5] = [20, 16, 8, 12, 3];

    fn engine(parameters: &[f32], calibration: &[f32]) -> (i32, *mut Engine) {
        let network = Network {
            dims: DIMS.as_ptr(),
            n_dims: DIMS.len(),
            code_at: 2,
            parameters: parameters.as_ptr(),
            n_parameters: parameters.len(),
            calibration: calibration.as_ptr(),
            n_calibration: calibration.len() / 20,
        };
        let mut engine = null_mut();
        // SAFETY: all pointers are of slices of this function.
        let status = unsafe { cic_bench_new(&network, &mut engine) };
        (status, engine)
    }

    fn made() -> (*mut Engine, Vec<f32>) {
        let dims = DIMS.map(|dim| dim as usize);
        let n = Chain::n_parameters(&dims);
        let parameters: Vec<f32> = (0..n).map(|at| (at * 37 % 101) as f32 / 101.0 - 0.5).collect();
        let rows: Vec<f32> = (0..40 * 20).map(|at| (at * 29 % 17) as f32 / 4.0).collect();
        let (status, engine) = engine(&parameters, &rows);
        assert_eq!(status, Status::Ok as i32);
        (engine, rows)
    }

    fn dense(rows: &[f32], probabilities: &mut [f32]) -> Batch {
        Batch {
            n_rows: rows.len() / 20,
            threads: 1,
            indptr: null(),
            indices: null(),
            values: rows.as_ptr(),
            n_values: rows.len(),
            probabilities: probabilities.as_mut_ptr(),
            codes: null_mut(),
        }
    }

    #[test]
    fn gives_dense_and_compressed_rows_the_same_probabilities() {
        let (engine, rows) = made();
        let mut probabilities = vec![0.0; 3 * 40];
        // SAFETY: the batch's pointers are of live slices.
        let status = unsafe { cic_bench_run(engine, &dense(&rows, &mut probabilities)) };
        assert_eq!(status, 0);
        let (mut indptr, mut indices, mut values) = (vec![0_u32], Vec::new(), Vec::new());
        for row in rows.chunks(20) {
            for (gene, &value) in (0_u32..).zip(row).filter(|&(_, &value)| value > 0.0) {
                indices.push(gene);
                values.push(value);
            }
            indptr.push(values.len() as u32);
        }
        let mut others = vec![0.0; 3 * 40];
        let mut codes = vec![0.0; 8 * 40];
        let batch = Batch {
            indptr: indptr.as_ptr(),
            indices: indices.as_ptr(),
            values: values.as_ptr(),
            n_values: values.len(),
            codes: codes.as_mut_ptr(),
            ..dense(&rows, &mut others)
        };
        // SAFETY: the batch's pointers are of live slices.
        assert_eq!(unsafe { cic_bench_repeat(engine, &batch, 1, 3) }, 0);
        assert_eq!(probabilities, others);
        assert!(codes.iter().any(|&code| code != 0.0));
        for how in 0..3 {
            let mut time = 0;
            // SAFETY: the batch's pointers are of live slices.
            assert_eq!(unsafe { cic_bench_open(engine, &batch, how, &mut time) }, 0);
            assert!(time > 0);
        }
        // SAFETY: the engine is not used again.
        unsafe { cic_bench_free(engine) };
    }

    #[test]
    fn returns_codes_for_what_does_not_fit() {
        let (engine, mut rows) = made();
        let mut probabilities = vec![0.0; 3 * 40];
        let batch = Batch { n_rows: 39, ..dense(&rows, &mut probabilities) };
        // SAFETY: the batch's pointers are of live slices, or null.
        unsafe {
            assert_eq!(cic_bench_run(engine, &batch), Status::BadShape as i32);
            assert_eq!(cic_bench_run(engine, null()), Status::BadPointer as i32);
            assert_eq!(cic_bench_run(null_mut(), &batch), Status::BadPointer as i32);
        }
        rows[5] = f32::NAN;
        let batch = dense(&rows, &mut probabilities);
        // SAFETY: the batch's pointers are of live slices; the engine is not used again.
        unsafe {
            assert_eq!(cic_bench_run(engine, &batch), Status::Refused as i32);
            cic_bench_free(engine);
        }
    }

    #[test]
    fn refuses_a_network_of_another_size() {
        let (status, engine) = self::engine(&[0.0; 7], &[1.0; 20]);
        assert_eq!((status, engine.is_null()), (Status::BadShape as i32, true));
    }
}
