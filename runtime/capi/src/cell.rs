//! One cell: what is given and what comes out.

use core::ffi::c_void;
use core::ptr;

use cic_model::rules::RejectReason;
use cic_runtime::{Candidate, Outcome, RunError, S8Numbers, Sample};

use crate::handle::{ModelHandle, OpenModel, OpenPresence, PresenceHandle};
use crate::pointer::{list, list_mut};
use crate::status::Status;
use crate::versioned::{self, Versioned};

/// Most leaves that a result lists.
pub const CIC_MAX_TOP: usize = 5;

/// Counts or values of one cell over the genes of the panel. Set it to zero, struct_size to
/// sizeof(cic_sample), then what is needed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CellSample {
    /// Bytes of this struct that the caller knows.
    pub struct_size: u32,
    /// How values are given: a cic_sample_kind.
    pub kind: u32,
    /// n panel indices, strictly increasing; genes that are not listed are zero. Not read for dense
    /// samples.
    pub genes: *const u32,
    /// n values of the type that kind tells, aligned for it.
    pub values: *const c_void,
    /// How many; for dense samples all genes of the panel.
    pub n: usize,
    /// 1 where total_counts or total_value is set, for profiles with CIC_LIBRARY_ALL_MEASURED; else 0.
    pub has_total: u32,
    /// Sum over all measured genes, of counts.
    pub total_counts: u32,
    /// Sum over all measured genes, of values.
    pub total_value: f32,
    /// 0
    pub reserved: u32,
}

/// How the values of a sample are given.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// uint32_t counts of listed genes.
    Counts32 = 1,
    /// uint32_t counts of all genes.
    DenseCounts32 = 2,
    /// uint16_t counts of listed genes.
    Counts16 = 3,
    /// uint16_t counts of all genes.
    DenseCounts16 = 4,
    /// float values of listed genes, for profiles that do not take counts.
    Values = 5,
    /// float values of all genes, for profiles that do not take counts.
    DenseValues = 6,
}

/// Why a cell is not named.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// It is named.
    None = 0,
    /// Not one gene of the panel is above zero.
    Empty = 1,
    /// Fewer counts than the model accepts.
    TooShallow = 2,
    /// Fewer genes above zero than the model accepts.
    TooFewGenes = 3,
    /// The best label is less probable than the model accepts.
    LowConfidence = 4,
    /// What its counts are divided by, their sum or the given total, is zero or does not fit 32 bits.
    LibraryTooLarge = 5,
    /// Nearer to noise than to any type: to a mixture of all cells, or to values at random genes.
    NoiseLike = 6,
    /// Unlike the training cells of every type.
    UnlikeTraining = 7,
    /// Nearer to a mixture of two types than to any one.
    DoubletLike = 8,
}

/// A leaf and its probability.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TopLeaf {
    /// Index of the leaf, see cic_leaf_name.
    pub leaf: u32,
    /// Its probability times 65536.
    pub probability_q16: u32,
}

/// What came out of one cell. Set struct_size to sizeof(cic_result) before the call; the rest is written
/// by it. Pointers lead into the scratch, and hold until the scratch is used again.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CellResult {
    /// Bytes of this struct that the caller knows.
    pub struct_size: u32,
    /// Why the cell is not named: a cic_reject, 0 for a cell that is. Later libraries may have more of
    /// them.
    pub reject: u32,
    /// Sum of the counts over the panel; 0 for samples that are not counts.
    pub n_counts: u64,
    /// Genes of the panel that are not zero.
    pub n_genes: u32,
    /// Where a status is about one entry of a sample: its position. Else 0.
    pub position: u32,
    /// code_dim numbers; null where nothing could be computed, as for an empty cell.
    pub code: *const i16,
    /// code_dim levels, 0 to 127: the copy of the code that the classifier reads. Null with code.
    pub code_levels: *const u8,
    /// n_leaves logits times 65536. Null with code, and after cic_encode.
    pub logits_q16: *const i32,
    /// n_leaves probabilities times 65536. Null with logits_q16.
    pub probabilities_q16: *const u32,
    /// Dimensions of the code; 0 where it is null.
    pub code_dim: u32,
    /// Leaves; 0 where logits_q16 is null.
    pub n_leaves: u32,
    /// Entries of top that are set.
    pub n_top: u32,
    /// 0
    pub reserved: u32,
    /// The leaves of largest logit, best first, also of a cell that is not named.
    pub top: [TopLeaf; CIC_MAX_TOP],
}

/// Encodes one cell: its code, without logits and labels. The code is the one that cic_classify gives, and
/// the same on every processor.
///
/// profile: index of the input profile, mostly 0.
/// presence: of files that lack genes of the panel; null for those that have all.
/// scratch: scratch_len bytes, see cic_scratch_len, at a multiple of 4. What they held does not matter.
/// result: written, with nothing but position on any other status than CIC_STATUS_OK.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on; at presence null, or a cic_presence
///   with its mask and correction.
/// - A cic_sample of sample->struct_size bytes is at sample, and its pointers lead to as many elements as
///   it says. Nobody writes them during the call.
/// - scratch_len bytes are at scratch, and a cic_result of result->struct_size bytes at result, apart from
///   each other and from all of the above. Nobody else uses them during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_encode(
    model: *const ModelHandle,
    profile: u32,
    presence: *const PresenceHandle,
    sample: *const CellSample,
    scratch: *mut u32,
    scratch_len: usize,
    result: *mut CellResult,
) -> Status {
    let call = Call { model, profile, presence, sample, scratch, scratch_len, result };
    // SAFETY: promised by the caller.
    unsafe { call.run(Extent::Code) }
}

/// Types one cell: code, logits, probabilities, the most probable leaves, and whether it is named. The
/// numbers are the same on every processor. A cell that is not named is no error: reject tells why.
/// Otherwise like cic_encode.
///
/// # Safety
/// - Those of cic_encode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_classify(
    model: *const ModelHandle,
    profile: u32,
    presence: *const PresenceHandle,
    sample: *const CellSample,
    scratch: *mut u32,
    scratch_len: usize,
    result: *mut CellResult,
) -> Status {
    let call = Call { model, profile, presence, sample, scratch, scratch_len, result };
    // SAFETY: promised by the caller.
    unsafe { call.run(Extent::All) }
}

/// How far a cell is run.
enum Extent {
    Code,
    All,
}

/// What C passes for one cell.
struct Call {
    model: *const ModelHandle,
    profile: u32,
    presence: *const PresenceHandle,
    sample: *const CellSample,
    scratch: *mut u32,
    scratch_len: usize,
    result: *mut CellResult,
}

impl Call {
    /// # Safety
    /// That of [`cic_encode`].
    unsafe fn run(&self, extent: Extent) -> Status {
        // SAFETY: promised by the caller. Where nothing can be written, nothing is run.
        if let Err(status) = unsafe { versioned::len_of(self.result) } {
            return status;
        }
        // SAFETY: promised by the caller.
        let (status, result) = match unsafe { self.outcome(extent) } {
            Ok(outcome) => (Status::Ok, CellResult::of(&outcome)),
            Err(fault) => (fault.status, CellResult { position: fault.position, ..NOTHING }),
        };
        // SAFETY: promised by the caller.
        match unsafe { versioned::write(&result, self.result) } {
            Ok(()) => status,
            Err(status) => status,
        }
    }

    /// # Safety
    /// That of [`cic_encode`].
    unsafe fn outcome<'s>(&self, extent: Extent) -> Result<Outcome<S8Numbers<'s>>, Fault> {
        // SAFETY: promised by the caller.
        let open = unsafe { OpenModel::at(self.model) }?;
        let session = open.session(self.profile as usize)?;
        // SAFETY: promised by the caller.
        let presence = unsafe { OpenPresence::at(self.presence, &open.model, self.profile) }?;
        // SAFETY: promised by the caller.
        let sample = unsafe { versioned::read(self.sample) }?;
        // SAFETY: promised by the caller.
        let sample = unsafe { sample.as_sample() }?;
        // SAFETY: promised by the caller.
        let scratch = unsafe { list_mut(self.scratch, self.scratch_len / size_of::<u32>()) }?;
        Ok(match extent {
            Extent::Code => session.encode(&sample, presence, scratch)?,
            Extent::All => session.run(&sample, presence, scratch)?,
        })
    }
}

impl CellSample {
    /// # Safety
    /// - `genes` and `values` lead to `n` elements, of the type that `kind` tells, which nobody writes
    ///   during `'a`.
    unsafe fn as_sample<'a>(&self) -> Result<Sample<'a>, Status> {
        if self.reserved != 0 || self.has_total > 1 {
            return Err(Status::UnsupportedField);
        }
        let has_total = self.has_total == 1;
        let total = has_total.then_some(self.total_counts);
        let total_value = has_total.then_some(self.total_value);
        let n = self.n;
        const COUNTS32: u32 = SampleKind::Counts32 as u32;
        const DENSE_COUNTS32: u32 = SampleKind::DenseCounts32 as u32;
        const COUNTS16: u32 = SampleKind::Counts16 as u32;
        const DENSE_COUNTS16: u32 = SampleKind::DenseCounts16 as u32;
        const VALUES: u32 = SampleKind::Values as u32;
        const DENSE_VALUES: u32 = SampleKind::DenseValues as u32;
        // SAFETY: promised by the caller, for the type that each kind tells. Numbers may have any bits.
        unsafe {
            Ok(match self.kind {
                COUNTS32 => {
                    let (genes, counts) = (list(self.genes, n)?, list(self.values.cast(), n)?);
                    Sample::Counts { genes, counts, total }
                }
                DENSE_COUNTS32 => {
                    Sample::DenseCounts { counts: list(self.values.cast(), n)?, total }
                }
                COUNTS16 => {
                    let (genes, counts) = (list(self.genes, n)?, list(self.values.cast(), n)?);
                    Sample::Counts16 { genes, counts, total }
                }
                DENSE_COUNTS16 => {
                    Sample::DenseCounts16 { counts: list(self.values.cast(), n)?, total }
                }
                VALUES => {
                    let (genes, values) = (list(self.genes, n)?, list(self.values.cast(), n)?);
                    Sample::Values { genes, values, total: total_value }
                }
                DENSE_VALUES => {
                    let values = list(self.values.cast(), n)?;
                    Sample::DenseValues { values, total: total_value }
                }
                _ => return Err(Status::UnknownSampleKind),
            })
        }
    }
}

/// A result before anything is known.
const NOTHING: CellResult = CellResult {
    struct_size: 0,
    reject: Reject::None as u32,
    n_counts: 0,
    n_genes: 0,
    position: 0,
    code: ptr::null(),
    code_levels: ptr::null(),
    logits_q16: ptr::null(),
    probabilities_q16: ptr::null(),
    code_dim: 0,
    n_leaves: 0,
    n_top: 0,
    reserved: 0,
    top: [TopLeaf { leaf: 0, probability_q16: 0 }; CIC_MAX_TOP],
};

impl CellResult {
    fn of(outcome: &Outcome<S8Numbers<'_>>) -> Self {
        let mut result = Self {
            reject: outcome.reject.map_or(0, RejectReason::code),
            n_counts: outcome.depth.n_counts,
            n_genes: outcome.depth.n_genes,
            ..NOTHING
        };
        let Some(numbers) = outcome.numbers else { return result };
        // Dimensions of a model are below 2³².
        result.code_dim = numbers.code.len() as u32;
        result.n_leaves = numbers.logits.len() as u32;
        result.code = numbers.code.as_ptr();
        result.code_levels = numbers.code_levels.as_ptr();
        if !numbers.logits.is_empty() {
            result.logits_q16 = numbers.logits.as_ptr();
            result.probabilities_q16 = numbers.probabilities.as_ptr();
        }
        let mut top = [Candidate::default(); CIC_MAX_TOP];
        // At most CIC_MAX_TOP.
        result.n_top = numbers.top_k(&mut top) as u32;
        result.top =
            top.map(|Candidate { leaf, probability_q16 }| TopLeaf { leaf, probability_q16 });
        result
    }
}

// SAFETY: `repr(C)`, begins with `struct_size`; two words before two pointers and a length, and four words
// after them, leave no padding; numbers and pointers may have any bits.
unsafe impl Versioned for CellSample {
    const FIRST_LEN: usize = 24 + 3 * size_of::<usize>();
}

// SAFETY: `repr(C)`, begins with `struct_size`; six words before four pointers, and 14 words after them,
// leave no padding; numbers and pointers may have any bits.
unsafe impl Versioned for CellResult {
    const FIRST_LEN: usize = 80 + 4 * size_of::<usize>();
}

/// Why a cell was not run, and where in the sample.
struct Fault {
    status: Status,
    position: u32,
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self { status, position: 0 }
    }
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        let position = match error {
            RunError::GeneOutOfRange { position }
            | RunError::GenesNotIncreasing { position }
            | RunError::GeneNotPresent { position }
            | RunError::InvalidValue { position } => position,
            _ => 0,
        };
        Self { status: error.into(), position: u32::try_from(position).unwrap_or(u32::MAX) }
    }
}

const _: () = {
    assert!(size_of::<CellSample>() == CellSample::FIRST_LEN);
    assert!(size_of::<CellResult>() == CellResult::FIRST_LEN);
    // What the header says is what the runtime says.
    assert!(Reject::Empty as u32 == RejectReason::Empty.code());
    assert!(Reject::TooShallow as u32 == RejectReason::TooShallow.code());
    assert!(Reject::TooFewGenes as u32 == RejectReason::TooFewGenes.code());
    assert!(Reject::LowConfidence as u32 == RejectReason::LowConfidence.code());
    assert!(Reject::LibraryTooLarge as u32 == RejectReason::LibraryTooLarge.code());
    assert!(Reject::NoiseLike as u32 == RejectReason::NoiseLike.code());
    assert!(Reject::UnlikeTraining as u32 == RejectReason::UnlikeTraining.code());
    assert!(Reject::DoubletLike as u32 == RejectReason::DoubletLike.code());
    assert!(Reject::DoubletLike as usize == RejectReason::ALL.len());
};
