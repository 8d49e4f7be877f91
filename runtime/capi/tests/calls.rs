//! What C can get wrong, one test each, and that it gets what the runtime gives.

#[path = "../../../tests/src/models.rs"]
#[allow(dead_code, reason = "the file is that of the pipeline tests; these use a part of it")]
mod models;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::slice;

use cic_capi::*;
use cic_model::spec::{GoldenCellSpec, LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, Model};
use cic_runtime::{S8Session, Sample};

/// A model of two genes with one golden cell.
fn spec() -> ModelSpec {
    let mut spec = models::smallest_int8();
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let sample = Sample::Counts { genes: &[0, 1], counts: &[3, 5], total: None };
    let numbers = session.run(&sample, None, &mut scratch).unwrap().numbers.unwrap();
    spec.golden.cells.push(GoldenCellSpec {
        genes: vec![0, 1],
        values: vec![3, 5],
        total: 0,
        code: numbers.code.iter().map(|&code| i32::from(code).cast_unsigned()).collect(),
        logits: numbers.logits.iter().map(|&logit| logit.cast_unsigned()).collect(),
    });
    spec
}

fn bytes_of(spec: &ModelSpec) -> AlignedBytes {
    AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap())
}

/// Everything that a call needs, all of it right.
struct Caller {
    bytes: AlignedBytes,
    model: Box<ModelHandle>,
    scratch: Vec<u32>,
    genes: Vec<u32>,
    counts: Vec<u32>,
    sample: CellSample,
    result: CellResult,
}

impl Caller {
    fn new() -> Self {
        Self::with(&spec())
    }

    fn with(spec: &ModelSpec) -> Self {
        let bytes = bytes_of(spec);
        let mut model = Box::new(ModelHandle::UNOPENED);
        assert_eq!(open(&bytes, &mut model), Status::Ok);
        // SAFETY: the model is open, and its bytes live as long.
        let scratch_len = unsafe { cic_scratch_len(&*model) };
        assert!(scratch_len > 0 && scratch_len.is_multiple_of(4));
        let mut sample = sample();
        let (genes, counts) = (vec![0, 1], vec![3_u32, 5]);
        sample.genes = genes.as_ptr();
        sample.values = counts.as_ptr().cast();
        sample.n = 2;
        let scratch = vec![0xA5A5_A5A5; scratch_len / 4];
        Self { bytes, model, scratch, genes, counts, sample, result: result() }
    }

    fn set(&mut self, genes: &[u32], counts: &[u32]) {
        (self.genes, self.counts) = (genes.to_vec(), counts.to_vec());
        self.sample.genes = self.genes.as_ptr();
        self.sample.values = self.counts.as_ptr().cast();
        self.sample.n = genes.len();
    }

    fn classify(&mut self) -> Status {
        self.call(0, null())
    }

    fn call(&mut self, profile: u32, presence: *const PresenceHandle) -> Status {
        let scratch_len = 4 * self.scratch.len();
        // SAFETY: all pointers are of live values of this test, as long as they say.
        unsafe {
            cic_classify(
                &*self.model,
                profile,
                presence,
                &self.sample,
                self.scratch.as_mut_ptr(),
                scratch_len,
                &mut self.result,
            )
        }
    }

    fn open_presence(
        &mut self,
        mask: &[u8],
        correction: &mut [u32],
        presence: &mut PresenceHandle,
    ) -> Status {
        // SAFETY: all pointers are of live values of this test, as long as they say.
        unsafe {
            cic_presence_open(
                &*self.model,
                0,
                mask.as_ptr(),
                mask.len(),
                correction.as_mut_ptr(),
                4 * correction.len(),
                presence,
            )
        }
    }

    /// Code, logits and probabilities of the result.
    fn numbers(&self) -> (Vec<i16>, Vec<i32>, Vec<u32>) {
        let CellResult { code_dim, n_leaves, code, logits_q16, probabilities_q16, .. } =
            self.result;
        // SAFETY: pointers of the result lead into the scratch, which is as it was.
        unsafe {
            (
                slice::from_raw_parts(code, code_dim as usize).to_vec(),
                slice::from_raw_parts(logits_q16, n_leaves as usize).to_vec(),
                slice::from_raw_parts(probabilities_q16, n_leaves as usize).to_vec(),
            )
        }
    }

    fn self_test(&mut self) -> (Status, u32) {
        let mut n_run = 77;
        let len = 4 * self.scratch.len();
        // SAFETY: all pointers are of live values of this test, as long as they say.
        let status =
            unsafe { cic_self_test(&*self.model, self.scratch.as_mut_ptr(), len, &mut n_run) };
        (status, n_run)
    }
}

fn open(bytes: &[u8], model: &mut ModelHandle) -> Status {
    // SAFETY: the bytes are there, and live as long as the handle in every test.
    unsafe { cic_open(bytes.as_ptr(), bytes.len(), model) }
}

fn sample() -> CellSample {
    CellSample {
        struct_size: size_of::<CellSample>() as u32,
        kind: SampleKind::Counts32 as u32,
        genes: null(),
        values: null(),
        n: 0,
        has_total: 0,
        total_counts: 0,
        total_value: 0.0,
        reserved: 0,
    }
}

fn result() -> CellResult {
    // SAFETY: numbers and pointers may have any bits.
    let zeros: CellResult = unsafe { std::mem::zeroed() };
    CellResult { struct_size: size_of::<CellResult>() as u32, ..zeros }
}

fn info(model: &ModelHandle) -> ModelInfo {
    // SAFETY: numbers and pointers may have any bits.
    let mut info: ModelInfo = unsafe { std::mem::zeroed() };
    info.struct_size = size_of::<ModelInfo>() as u32;
    // SAFETY: the handle and the struct are there.
    assert_eq!(unsafe { cic_model_info(model, &mut info) }, Status::Ok);
    info
}

type NameOf =
    unsafe extern "C" fn(*const ModelHandle, u32, *mut *const c_char, *mut usize) -> Status;

fn name(of: NameOf, model: &ModelHandle, index: u32) -> Result<String, Status> {
    let (mut text, mut len) = (null(), 0);
    // SAFETY: all pointers are of live values.
    match unsafe { of(model, index, &mut text, &mut len) } {
        Status::Ok => {
            // SAFETY: the text lies in the model.
            let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), len) };
            Ok(String::from_utf8(bytes.to_vec()).unwrap())
        }
        status => Err(status),
    }
}

#[test]
fn a_cell_gets_the_numbers_of_the_runtime() {
    let mut caller = Caller::new();
    assert_eq!(caller.classify(), Status::Ok);
    let model = Model::open_verified(&caller.bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let sample = Sample::Counts { genes: &caller.genes, counts: &caller.counts, total: None };
    let outcome = session.run(&sample, None, &mut scratch).unwrap();
    let numbers = outcome.numbers.unwrap();
    let expected = (numbers.code.to_vec(), numbers.logits.to_vec(), numbers.probabilities.to_vec());
    assert_eq!(caller.numbers(), expected);
    assert_eq!((caller.result.n_counts, caller.result.n_genes, caller.result.n_top), (8, 2, 2));
    assert_eq!(caller.result.top[0].leaf, numbers.best().unwrap().leaf);
    assert_eq!(caller.result.reject, Reject::None as u32);
}

#[test]
fn every_kind_of_counts_gives_the_same_numbers() {
    let mut caller = Caller::new();
    assert_eq!(caller.classify(), Status::Ok);
    let expected = caller.numbers();
    let narrow: Vec<u16> = caller.counts.iter().map(|&count| count as u16).collect();
    for (kind, values) in [
        (SampleKind::DenseCounts32, caller.counts.as_ptr().cast::<c_void>()),
        (SampleKind::Counts16, narrow.as_ptr().cast()),
        (SampleKind::DenseCounts16, narrow.as_ptr().cast()),
    ] {
        (caller.sample.kind, caller.sample.values) = (kind as u32, values);
        assert_eq!(caller.classify(), Status::Ok);
        assert_eq!(caller.numbers(), expected, "{kind:?}");
    }
}

#[test]
fn encoding_gives_the_code_of_classifying_and_no_logits() {
    let mut caller = Caller::new();
    assert_eq!(caller.classify(), Status::Ok);
    let (code, ..) = caller.numbers();
    let len = 4 * caller.scratch.len();
    // SAFETY: all pointers are of live values of this test, as long as they say.
    let status = unsafe {
        let scratch = caller.scratch.as_mut_ptr();
        cic_encode(&*caller.model, 0, null(), &caller.sample, scratch, len, &mut caller.result)
    };
    assert_eq!(status, Status::Ok);
    assert!(caller.result.logits_q16.is_null() && caller.result.probabilities_q16.is_null());
    assert_eq!((caller.result.n_leaves, caller.result.n_top), (0, 0));
    // SAFETY: the code lies in the scratch, which is as it was.
    let encoded = unsafe { slice::from_raw_parts(caller.result.code, code.len()) };
    assert_eq!(encoded, code);
}

#[test]
fn an_empty_cell_is_rejected_and_has_no_numbers() {
    let mut caller = Caller::new();
    caller.sample = sample();
    assert_eq!(caller.classify(), Status::Ok);
    assert_eq!(caller.result.reject, Reject::Empty as u32);
    assert!(caller.result.code.is_null() && caller.result.logits_q16.is_null());
    assert_eq!(caller.result.n_top, 0);
}

#[test]
fn a_copy_of_a_handle_is_open_too() {
    let mut caller = Caller::new();
    let copy = Box::new(*caller.model);
    caller.model = copy;
    assert_eq!(caller.classify(), Status::Ok);
}

#[test]
fn a_model_tells_its_size_and_its_names() {
    let caller = Caller::new();
    let info = info(&caller.model);
    assert_eq!((info.n_genes, info.code_dim, info.n_leaves, info.n_profiles), (2, 1, 2, 1));
    assert_eq!((info.n_golden_cells, info.is_verified), (1, 1));
    assert_eq!(info.scratch_len as usize, 4 * caller.scratch.len());
    assert_eq!(info.model_id, Model::open(&caller.bytes).unwrap().id().0);
    // SAFETY: as many scales as the code has dimensions.
    assert_eq!(unsafe { info.code_scales.read() }, 0.001);
    assert_eq!(name(cic_leaf_name, &caller.model, 1).unwrap(), "type 1");
    assert_eq!(name(cic_leaf_ontology_id, &caller.model, 1).unwrap(), "");
    assert_eq!(name(cic_gene_id, &caller.model, 1).unwrap(), "ENSG00000000001");
    assert_eq!(name(cic_gene_symbol, &caller.model, 1).unwrap(), "GENE1");
}

#[test]
fn a_profile_tells_what_it_takes() {
    let caller = Caller::new();
    // SAFETY: numbers and pointers may have any bits.
    let mut profile: ProfileInfo = unsafe { std::mem::zeroed() };
    profile.struct_size = size_of::<ProfileInfo>() as u32;
    // SAFETY: all pointers are of live values.
    unsafe {
        assert_eq!(cic_profile_info(&*caller.model, 0, &mut profile), Status::Ok);
        assert_eq!(cic_profile_info(&*caller.model, 1, &mut profile), Status::OutOfRange);
    }
    assert_eq!(profile.values, ProfileValues::Counts as u32);
    assert_eq!(profile.library, ProfileLibrary::Panel as u32);
    assert_eq!((profile.target_sum, profile.name_len), (10_000, "counts".len()));
}

#[test]
fn golden_cells_are_run_and_compared() {
    let mut caller = Caller::new();
    assert_eq!(caller.self_test(), (Status::Ok, 1));
}

#[test]
fn a_golden_cell_that_differs_in_one_bit_of_a_logit_is_found() {
    let mut spec = spec();
    spec.golden.cells[0].logits[1] ^= 1;
    assert_eq!(Caller::with(&spec).self_test(), (Status::GoldenDiffers, 1));
}

#[test]
fn a_golden_cell_that_differs_in_one_bit_of_its_code_is_found() {
    let mut spec = spec();
    let good = spec.golden.cells[0].clone();
    spec.golden.cells.push(good);
    spec.golden.cells[1].code[0] ^= 1;
    assert_eq!(Caller::with(&spec).self_test(), (Status::GoldenDiffers, 2));
}

#[test]
fn a_model_without_golden_cells_has_tested_nothing() {
    let mut spec = spec();
    spec.golden.cells.clear();
    assert_eq!(Caller::with(&spec).self_test(), (Status::NoGoldenCells, 0));
}

#[test]
fn a_missing_gene_is_filled_as_the_runtime_fills_it() {
    let mut caller = Caller::new();
    caller.set(&[1], &[5]);
    let (mask, mut correction) = ([0, 1], vec![0; 3]);
    let mut presence = PresenceHandle::UNOPENED;
    assert_eq!(info(&caller.model).correction_len, 12);
    assert_eq!(caller.open_presence(&mask, &mut correction, &mut presence), Status::Ok);
    assert_eq!(caller.call(0, &presence), Status::Ok);
    let model = Model::open_verified(&caller.bytes).unwrap();
    let session = S8Session::new(&model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let mut sums = [0; 3];
    let expected = session.presence(&[false, true], &mut sums).unwrap();
    let sample = Sample::Counts { genes: &[1], counts: &[5], total: None };
    let numbers = session.run(&sample, Some(&expected), &mut scratch).unwrap().numbers.unwrap();
    assert_eq!(caller.numbers().1, numbers.logits);
}

#[test]
fn a_gene_that_is_given_though_it_is_missing_is_refused() {
    let (mut caller, mut presence) = (Caller::new(), PresenceHandle::UNOPENED);
    let mut correction = [0; 3];
    assert_eq!(caller.open_presence(&[0, 1], &mut correction, &mut presence), Status::Ok);
    caller.set(&[0, 1], &[1, 5]);
    assert_eq!(caller.call(0, &presence), Status::GeneNotPresent);
}

#[test]
fn a_presence_of_another_model_is_refused() {
    let mut caller = Caller::new();
    let mut presence = PresenceHandle::UNOPENED;
    let mut correction = [0; 3];
    assert_eq!(caller.open_presence(&[1, 1], &mut correction, &mut presence), Status::Ok);
    let mut other = spec();
    other.rules.min_counts = 2;
    assert_eq!(Caller::with(&other).call(0, &presence), Status::WrongPresence);
}

#[test]
fn a_presence_that_is_not_open_is_refused() {
    assert_eq!(Caller::new().call(0, &PresenceHandle::UNOPENED), Status::NotOpened);
}

#[test]
fn a_mask_with_another_byte_than_0_and_1_is_refused() {
    let mut presence = PresenceHandle::UNOPENED;
    let status = Caller::new().open_presence(&[1, 2], &mut [0; 3], &mut presence);
    assert_eq!(status, Status::BadMask);
}

#[test]
fn a_mask_of_another_length_is_refused() {
    let mut presence = PresenceHandle::UNOPENED;
    let status = Caller::new().open_presence(&[1], &mut [0; 3], &mut presence);
    assert_eq!(status, Status::LengthMismatch);
}

#[test]
fn a_correction_that_is_too_short_is_refused() {
    let mut presence = PresenceHandle::UNOPENED;
    let status = Caller::new().open_presence(&[1, 1], &mut [0; 2], &mut presence);
    assert_eq!(status, Status::LengthMismatch);
}

#[test]
fn a_file_with_too_few_genes_is_refused() {
    let mut spec = spec();
    spec.rules.min_coverage_q16 = 60_000;
    let (mut caller, mut presence) = (Caller::with(&spec), PresenceHandle::UNOPENED);
    let status = caller.open_presence(&[1, 0], &mut [0; 3], &mut presence);
    assert_eq!(status, Status::CoverageTooLow);
    assert_eq!(caller.call(0, &presence), Status::NotOpened);
}

#[test]
fn null_pointers_are_refused() {
    let mut caller = Caller::new();
    let bytes = &caller.bytes;
    let model: *const ModelHandle = &*caller.model;
    let (mut text, mut len) = (null(), 0);
    // SAFETY: pointers are null or of live values, as long as they say.
    unsafe {
        assert_eq!(cic_open(null(), 0, &mut *Caller::new().model), Status::NullPointer);
        assert_eq!(cic_open(bytes.as_ptr(), bytes.len(), null_mut()), Status::NullPointer);
        assert_eq!(cic_model_info(model, null_mut()), Status::NullPointer);
        assert_eq!(cic_profile_info(model, 0, null_mut()), Status::NullPointer);
        assert_eq!(cic_leaf_name(model, 0, null_mut(), &mut len), Status::NullPointer);
        assert_eq!(cic_leaf_name(model, 0, &mut text, null_mut()), Status::NullPointer);
        assert_eq!(cic_leaf_name(null(), 0, &mut text, &mut len), Status::NullPointer);
        assert_eq!(cic_scratch_len(null()), 0);
        let (scratch, result) = (caller.scratch.as_mut_ptr(), &mut caller.result);
        let len = 4 * caller.scratch.len();
        let sample = &caller.sample;
        let none = null();
        let null = Status::NullPointer;
        assert_eq!(cic_classify(std::ptr::null(), 0, none, sample, scratch, len, result), null);
        assert_eq!(cic_classify(model, 0, none, std::ptr::null(), scratch, len, result), null);
        assert_eq!(cic_classify(model, 0, none, sample, null_mut(), len, result), null);
        assert_eq!(cic_classify(model, 0, none, sample, scratch, len, null_mut()), null);
        assert_eq!(cic_self_test(model, null_mut(), len, null_mut()), null);
        assert_eq!(cic_self_test(model, scratch, len, null_mut()), Status::Ok);
    }
    caller.sample.values = null();
    assert_eq!(caller.classify(), Status::NullPointer);
    let mut caller = Caller::new();
    caller.sample.genes = null();
    assert_eq!(caller.classify(), Status::NullPointer);
}

#[test]
fn misaligned_pointers_are_refused() {
    let mut caller = Caller::new();
    // SAFETY: the pointers lie inside live values, and are not read before their alignment was checked.
    unsafe {
        let scratch = caller.scratch.as_mut_ptr().byte_add(1);
        let len = 4 * caller.scratch.len() - 4;
        let (model, sample) = (&*caller.model, &caller.sample);
        let status = cic_classify(model, 0, null(), sample, scratch, len, &mut caller.result);
        assert_eq!(status, Status::Misaligned);
        let (mut many, odd) = ([ModelHandle::UNOPENED; 2], &raw const *caller.model);
        assert_eq!(cic_scratch_len(odd.byte_add(4)), 0);
        let (bytes, into) = (&caller.bytes, many.as_mut_ptr().byte_add(4));
        assert_eq!(cic_open(bytes.as_ptr(), bytes.len(), into), Status::Misaligned);
        let shifted = bytes.as_ptr().add(1);
        assert_eq!(cic_open(shifted, bytes.len() - 1, many.as_mut_ptr()), Status::Misaligned);
    }
    caller.sample.values = caller.sample.values.wrapping_byte_add(1);
    assert_eq!(caller.classify(), Status::Misaligned);
    let mut caller = Caller::new();
    caller.sample.genes = caller.sample.genes.wrapping_byte_add(2);
    assert_eq!(caller.classify(), Status::Misaligned);
}

#[test]
fn a_scratch_that_is_one_word_short_is_refused() {
    let mut caller = Caller::new();
    caller.scratch.pop();
    assert_eq!(caller.classify(), Status::ScratchTooShort);
    assert_eq!(caller.self_test(), (Status::ScratchTooShort, 0));
}

#[test]
fn a_model_that_was_not_opened_is_refused() {
    let mut caller = Caller::new();
    *caller.model = ModelHandle::UNOPENED;
    assert_eq!(caller.classify(), Status::NotOpened);
    assert_eq!(caller.self_test(), (Status::NotOpened, 0));
    assert_eq!(name(cic_gene_id, &caller.model, 0), Err(Status::NotOpened));
}

#[test]
fn a_handle_whose_next_model_is_refused_is_not_open_any_more() {
    let mut caller = Caller::new();
    assert_eq!(open(&AlignedBytes::new(&[0; 8]), &mut caller.model), Status::ModelTruncated);
    assert_eq!(caller.classify(), Status::NotOpened);
}

#[test]
fn struct_sizes_that_no_caller_knows_are_refused() {
    for len in [0, 4, size_of::<CellSample>() as u32 - 4, 5000, u32::MAX] {
        let mut caller = Caller::new();
        caller.sample.struct_size = len;
        assert_eq!(caller.classify(), Status::BadStructSize, "{len}");
    }
    let mut caller = Caller::new();
    caller.result.struct_size = 8;
    caller.result.n_counts = 1234;
    assert_eq!(caller.classify(), Status::BadStructSize);
    assert_eq!(caller.result.n_counts, 1234);
}

#[test]
fn a_caller_with_a_newer_header_works_and_finds_zeros() {
    #[repr(C)]
    struct Newer<T> {
        known: T,
        added: [u64; 2],
    }
    let mut caller = Caller::new();
    let mut sample = Newer { known: caller.sample, added: [0; 2] };
    sample.known.struct_size += 16;
    let mut result = Newer { known: result(), added: [9; 2] };
    result.known.struct_size += 16;
    let (scratch, len) = (caller.scratch.as_mut_ptr(), 4 * caller.scratch.len());
    let classify = |sample: &Newer<CellSample>, result: &mut Newer<CellResult>| {
        let (sample, result) = (&raw const *sample, &raw mut *result);
        // SAFETY: all pointers are of live values of this test, as long as they say.
        unsafe {
            let (model, sample) = (&*caller.model, sample.cast());
            cic_classify(model, 0, null(), sample, scratch, len, result.cast())
        }
    };
    assert_eq!(classify(&sample, &mut result), Status::Ok);
    assert_eq!((result.known.n_counts, result.added), (8, [0; 2]));
    sample.added[1] = 1;
    assert_eq!(classify(&sample, &mut result), Status::UnsupportedField);
}

#[test]
fn genes_that_do_not_increase_are_refused_with_their_position() {
    let mut caller = Caller::new();
    caller.set(&[1, 0], &[3, 5]);
    assert_eq!(caller.classify(), Status::GenesNotIncreasing);
    assert_eq!(caller.result.position, 1);
    caller.set(&[1, 1], &[3, 5]);
    assert_eq!(caller.classify(), Status::GenesNotIncreasing);
}

#[test]
fn a_gene_that_is_not_in_the_panel_is_refused_with_its_position() {
    let mut caller = Caller::new();
    caller.set(&[0, 2], &[3, 5]);
    assert_eq!(caller.classify(), Status::GeneOutOfRange);
    assert_eq!(caller.result.position, 1);
    assert!(caller.result.code.is_null());
}

#[test]
fn dense_counts_of_another_length_are_refused() {
    let mut caller = Caller::new();
    caller.sample.kind = SampleKind::DenseCounts32 as u32;
    caller.sample.n = 1;
    assert_eq!(caller.classify(), Status::LengthMismatch);
}

#[test]
fn a_length_that_no_memory_has_is_refused() {
    let mut caller = Caller::new();
    for n in [usize::MAX, usize::MAX / 4, usize::MAX / 8 + 1] {
        caller.sample.n = n;
        assert_eq!(caller.classify(), Status::TooLong, "{n}");
    }
}

#[test]
fn values_where_counts_are_taken_are_refused() {
    let mut caller = Caller::new();
    caller.sample.kind = SampleKind::Values as u32;
    assert_eq!(caller.classify(), Status::WrongValueKind);
}

#[test]
fn a_kind_that_there_is_not_is_refused() {
    let mut caller = Caller::new();
    for kind in [0, 7, u32::MAX] {
        caller.sample.kind = kind;
        assert_eq!(caller.classify(), Status::UnknownSampleKind);
    }
}

#[test]
fn fields_that_have_no_meaning_are_refused() {
    let mut caller = Caller::new();
    caller.sample.reserved = 1;
    assert_eq!(caller.classify(), Status::UnsupportedField);
    caller.sample.reserved = 0;
    caller.sample.has_total = 2;
    assert_eq!(caller.classify(), Status::UnsupportedField);
}

#[test]
fn a_total_that_the_profile_needs_is_asked_for_and_taken() {
    let mut spec = models::smallest_int8();
    spec.profiles[0].library = cic_model::profile::Library::AllMeasured;
    let mut caller = Caller::with(&spec);
    assert_eq!(caller.classify(), Status::MissingTotal);
    (caller.sample.has_total, caller.sample.total_counts) = (1, 100);
    assert_eq!(caller.classify(), Status::Ok);
}

#[test]
fn indices_past_the_end_are_refused() {
    let mut caller = Caller::new();
    assert_eq!(caller.call(1, null()), Status::OutOfRange);
    assert_eq!(name(cic_leaf_name, &caller.model, 2), Err(Status::OutOfRange));
    assert_eq!(name(cic_leaf_ontology_id, &caller.model, 2), Err(Status::OutOfRange));
    assert_eq!(name(cic_gene_id, &caller.model, 2), Err(Status::OutOfRange));
    assert_eq!(name(cic_gene_symbol, &caller.model, u32::MAX), Err(Status::OutOfRange));
}

#[test]
fn every_bit_that_is_flipped_in_a_model_is_found() {
    let bytes = bytes_of(&spec());
    let mut model = ModelHandle::UNOPENED;
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(open(&AlignedBytes::new(&damaged), &mut model), Status::Ok, "bit {bit}");
    }
}

#[test]
fn an_unverified_model_says_so() {
    let bytes = bytes_of(&spec());
    let mut model = ModelHandle::UNOPENED;
    // SAFETY: the bytes live longer than the handle.
    let status = unsafe { cic_open_unverified(bytes.as_ptr(), bytes.len(), &mut model) };
    assert_eq!(status, Status::Ok);
    assert_eq!(info(&model).is_verified, 0);
}

#[test]
fn truncated_and_longer_models_are_refused() {
    let bytes = bytes_of(&spec());
    let mut model = ModelHandle::UNOPENED;
    assert_eq!(open(&bytes[..bytes.len() - 1], &mut model), Status::ModelTruncated);
    let longer = AlignedBytes::new(&[&bytes[..], &[0; 4]].concat());
    assert_eq!(open(&longer, &mut model), Status::ModelTrailingBytes);
}

#[test]
fn a_full_precision_model_is_refused() {
    let shape = models::Shape::small();
    let network = models::random_network(&shape, &mut models::Random(3));
    let spec = models::model(NetworkSpec::F32(network), shape.n_genes, shape.n_leaves);
    let mut model = ModelHandle::UNOPENED;
    assert_eq!(open(&bytes_of(&spec), &mut model), Status::ModelNotInt8);
}

#[test]
fn the_version_is_that_of_the_header() {
    assert_eq!(cic_abi_version(), CIC_ABI_VERSION);
    // SAFETY: texts end with a zero byte.
    let text = unsafe { CStr::from_ptr(cic_status_text(Status::ModelDigestMismatch as i32)) };
    assert_eq!(text, c"the model was altered");
}
