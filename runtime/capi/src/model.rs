//! Opening a model, what it says about itself, and whether it computes what it states.

use core::ffi::c_char;

use cic_model::profile::Library;
use cic_model::{Model, ValueKind};

use crate::handle::{ModelHandle, OpenModel, OpenPresence, PresenceHandle};
use crate::pointer::{check, list, list_mut};
use crate::status::Status;
use crate::versioned::{self, Versioned};

/// What a model says about itself. Set struct_size to sizeof(cic_info) before cic_model_info.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo {
    /// Bytes of this struct that the caller knows.
    pub struct_size: u32,
    /// Genes of the panel; gene indices are below.
    pub n_genes: u32,
    /// Dimensions of the code.
    pub code_dim: u32,
    /// Leaf labels; 0 without a classifier.
    pub n_leaves: u32,
    /// Input profiles, at least 1.
    pub n_profiles: u32,
    /// Golden cells that cic_self_test runs.
    pub n_golden_cells: u32,
    /// Their input profile.
    pub golden_profile: u32,
    /// Bytes of scratch that a call needs.
    pub scratch_len: u32,
    /// Bytes of correction that cic_presence_open needs.
    pub correction_len: u32,
    /// Smallest sum over the panel's genes of a cell that is named, in counts.
    pub min_counts: u32,
    /// Smallest number of panel genes above zero of a cell that is named.
    pub min_genes: u32,
    /// Smallest share of the panel that a file has to have, times 65536.
    pub min_coverage_q16: u32,
    /// Smallest probability of the best leaf of a cell that is named, times 65536.
    pub min_confidence_q16: u32,
    /// 1 after cic_open, 0 after cic_open_unverified.
    pub is_verified: u32,
    /// SHA-256 of the model's content; the same for every layout of its weights.
    pub model_id: [u8; 32],
    /// code_dim scales, in the model: a number of the code times the scale of its dimension is what it
    /// stands for.
    pub code_scales: *const f32,
}

/// An input profile. Set struct_size to sizeof(cic_profile) before cic_profile_info.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProfileInfo {
    /// Bytes of this struct that the caller knows.
    pub struct_size: u32,
    /// What the profile takes: a cic_values.
    pub values: u32,
    /// Which sum divides the values: a cic_library.
    pub library: u32,
    /// What they are scaled to after that.
    pub target_sum: u32,
    /// Its name in UTF-8, in the model, without a zero byte at the end.
    pub name: *const c_char,
    /// Bytes of the name.
    pub name_len: usize,
}

/// What an input profile takes.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileValues {
    /// Non-negative integers: UMI or read counts.
    Counts = 1,
    /// Non-negative, linear, already scaled: TPM, CPM, FPKM.
    LinearNormalised = 2,
    /// ln(1 + x) of counts scaled to a target sum per sample.
    Log1p = 3,
    /// log2 of an intensity: microarrays.
    Log2Intensity = 4,
    /// Ranks of the genes among those of the panel that the sample has: (genes of a smaller value + (genes of the same value +
    /// 1) / 2) / genes that the sample has, above 0 and at most 1; 0 where a gene was not detected.
    Ranks = 5,
}

/// Which sum divides the values of a sample.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileLibrary {
    /// None: the values are used as they are.
    None = 0,
    /// The sum over the genes of the panel that are present.
    Panel = 1,
    /// The sum over all measured genes, which every sample has to give.
    AllMeasured = 2,
}

/// Opens a model after checking its structure, the SHA-256 of every byte, the range of its weights and
/// that no sum can overflow. Takes one pass over the bytes. On any other status than CIC_STATUS_OK the
/// model is not open.
///
/// bytes: len bytes that begin at a multiple of 4, and stay as they are for as long as the model is used.
/// Nothing of the weights is copied: they may lie in flash.
/// model: written.
///
/// # Safety
/// - len bytes are at bytes, and nobody writes them for as long as the model is used.
/// - A cic_model is at model, and nobody else uses it during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_open(bytes: *const u8, len: usize, model: *mut ModelHandle) -> Status {
    // SAFETY: promised by the caller.
    Status::of(unsafe { open(bytes, len, model, Checks::All) })
}

/// Opens a model after checking its structure and the digest of its metadata alone, in a time that does
/// not depend on the number of weights. Whatever the weights hold, running the model stays within its
/// bytes; whether they are those that were trained is not known. Otherwise like cic_open.
///
/// # Safety
/// - Those of cic_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_open_unverified(
    bytes: *const u8,
    len: usize,
    model: *mut ModelHandle,
) -> Status {
    // SAFETY: promised by the caller.
    Status::of(unsafe { open(bytes, len, model, Checks::Structure) })
}

/// Tells what a model says about itself.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on.
/// - A cic_info of info->struct_size bytes is at info, and nobody else uses it during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_model_info(model: *const ModelHandle, info: *mut ModelInfo) -> Status {
    // SAFETY: promised by the caller.
    Status::of(unsafe { model_info(model, info) })
}

/// Bytes of scratch that cic_encode, cic_classify and cic_self_test need; 0 for a model that is not open.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_scratch_len(model: *const ModelHandle) -> usize {
    // SAFETY: promised by the caller.
    let session = unsafe { OpenModel::at(model) }.and_then(|open| open.session(0));
    session.map_or(0, |session| session.scratch_len())
}

/// Tells what an input profile takes.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on.
/// - A cic_profile of info->struct_size bytes is at info, and nobody else uses it during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_profile_info(
    model: *const ModelHandle,
    profile: u32,
    info: *mut ProfileInfo,
) -> Status {
    // SAFETY: promised by the caller.
    Status::of(unsafe { profile_info(model, profile, info) })
}

/// Runs the golden cells that the model carries, and compares their codes and logits with what the model
/// states, bit for bit: whether this build on this processor computes what it should.
///
/// scratch: scratch_len bytes, see cic_scratch_len, at a multiple of 4. What they held does not matter.
/// n_run: how many cells were run, the one that differs among them. May be null.
///
/// Returns CIC_STATUS_GOLDEN_DIFFERS after the first cell that gave another result, and
/// CIC_STATUS_NO_GOLDEN_CELLS where the model carries none.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on.
/// - scratch_len bytes are at scratch, a uint32_t at n_run, and nobody else uses them during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_self_test(
    model: *const ModelHandle,
    scratch: *mut u32,
    scratch_len: usize,
    n_run: *mut u32,
) -> Status {
    // SAFETY: promised by the caller.
    Status::of(unsafe { self_test(model, scratch, scratch_len, n_run) })
}

/// Prepares files that lack genes of the panel: their fill values stand for the missing genes. Made once
/// for all cells of a file. On any other status than CIC_STATUS_OK the presence is not open.
///
/// mask: n_genes bytes, as many as the panel has genes, each 1 for a gene that the file has, or 0.
/// correction: correction_len bytes, at least those that cic_info tells, at a multiple of 4. Written.
/// Both stay as they are for as long as the presence is used.
/// presence: written.
///
/// # Safety
/// - A cic_model is at model, with the bytes that it was opened on.
/// - n_genes bytes are at mask, correction_len bytes at correction and a cic_presence at presence, apart
///   from each other. Nobody else uses them during the call, and nobody writes mask and correction for as
///   long as the presence is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cic_presence_open(
    model: *const ModelHandle,
    profile: u32,
    mask: *const u8,
    n_genes: usize,
    correction: *mut u32,
    correction_len: usize,
    presence: *mut PresenceHandle,
) -> Status {
    // SAFETY: promised by the caller.
    Status::of(unsafe {
        presence_open(model, profile, mask, n_genes, correction, correction_len, presence)
    })
}

enum Checks {
    Structure,
    All,
}

/// # Safety
/// That of [`cic_open`].
#[inline(never)]
unsafe fn open(
    bytes: *const u8,
    len: usize,
    handle: *mut ModelHandle,
    checks: Checks,
) -> Result<(), Status> {
    // SAFETY: promised by the caller.
    unsafe { OpenModel::close(handle) }?;
    check(bytes.cast::<u32>())?;
    // SAFETY: promised by the caller, who keeps the bytes for as long as the handle is used.
    let bytes: &'static [u8] = unsafe { list(bytes, len) }?;
    let opened = Model::open(bytes);
    let is_verified = matches!(checks, Checks::All);
    if let (true, Ok(model)) = (is_verified, &opened) {
        model.verify()?;
    }
    // SAFETY: promised by the caller.
    unsafe { OpenModel::write(handle, opened, is_verified) }
}

/// # Safety
/// That of [`cic_model_info`].
unsafe fn model_info(handle: *const ModelHandle, info: *mut ModelInfo) -> Result<(), Status> {
    // SAFETY: promised by the caller.
    let open = unsafe { OpenModel::at(handle) }?;
    let (session, model) = (open.session(0)?, &open.model);
    let (rules, golden) = (model.rules(), model.golden());
    let value = ModelInfo {
        struct_size: 0,
        n_genes: word(model.n_genes())?,
        code_dim: word(model.code_dim())?,
        n_leaves: word(model.n_leaves())?,
        n_profiles: word(model.profiles().len())?,
        n_golden_cells: word(golden.len())?,
        golden_profile: golden.profile(),
        scratch_len: word(session.scratch_len())?,
        correction_len: word(session.correction_len().saturating_mul(size_of::<u32>()))?,
        min_counts: rules.min_counts,
        min_genes: rules.min_genes,
        min_coverage_q16: rules.min_coverage_q16,
        min_confidence_q16: rules.min_confidence_q16,
        is_verified: u32::from(open.is_verified),
        model_id: model.id().0,
        code_scales: model.code_scales().map_or(&[][..], |scales| scales.scales).as_ptr(),
    };
    // SAFETY: promised by the caller.
    unsafe { versioned::write(&value, info) }
}

/// # Safety
/// That of [`cic_profile_info`].
unsafe fn profile_info(
    handle: *const ModelHandle,
    profile: u32,
    info: *mut ProfileInfo,
) -> Result<(), Status> {
    // SAFETY: promised by the caller.
    let open = unsafe { OpenModel::at(handle) }?;
    let profile = open.model.profiles().get(profile as usize).ok_or(Status::OutOfRange)?;
    let values = match profile.kind() {
        ValueKind::Counts => ProfileValues::Counts,
        ValueKind::LinearNormalised => ProfileValues::LinearNormalised,
        ValueKind::Log1p => ProfileValues::Log1p,
        ValueKind::Log2Intensity => ProfileValues::Log2Intensity,
        ValueKind::Ranks => ProfileValues::Ranks,
    };
    let library = match profile.library() {
        Library::None => ProfileLibrary::None,
        Library::Panel => ProfileLibrary::Panel,
        Library::AllMeasured => ProfileLibrary::AllMeasured,
    };
    let value = ProfileInfo {
        struct_size: 0,
        values: values as u32,
        library: library as u32,
        target_sum: profile.target_sum(),
        name: profile.name().as_ptr().cast(),
        name_len: profile.name().len(),
    };
    // SAFETY: promised by the caller.
    unsafe { versioned::write(&value, info) }
}

/// # Safety
/// That of [`cic_self_test`].
unsafe fn self_test(
    handle: *const ModelHandle,
    scratch: *mut u32,
    scratch_len: usize,
    n_run: *mut u32,
) -> Result<(), Status> {
    let count = |n: u32| -> Result<(), Status> {
        if !n_run.is_null() {
            check(n_run)?;
            // SAFETY: not null, aligned, and writable by the caller's promise.
            unsafe { n_run.write(n) };
        }
        Ok(())
    };
    count(0)?;
    // SAFETY: promised by the caller.
    let open = unsafe { OpenModel::at(handle) }?;
    let golden = open.model.golden();
    let session = open.session(golden.profile() as usize)?;
    // SAFETY: promised by the caller.
    let scratch = unsafe { list_mut(scratch, scratch_len / size_of::<u32>()) }?;
    if golden.is_empty() {
        return Err(Status::NoGoldenCells);
    }
    for (n, cell) in (1..).zip(golden.cells()) {
        let is_equal = session.reproduces(&cell, scratch)?;
        count(n)?;
        if !is_equal {
            return Err(Status::GoldenDiffers);
        }
    }
    Ok(())
}

/// # Safety
/// That of [`cic_presence_open`].
unsafe fn presence_open(
    handle: *const ModelHandle,
    profile: u32,
    mask: *const u8,
    n_genes: usize,
    correction: *mut u32,
    correction_len: usize,
    presence: *mut PresenceHandle,
) -> Result<(), Status> {
    // SAFETY: promised by the caller.
    unsafe { OpenPresence::close(presence) }?;
    // SAFETY: promised by the caller.
    let open = unsafe { OpenModel::at(handle) }?;
    let session = open.session(profile as usize)?;
    // SAFETY: promised by the caller.
    let mask = unsafe { list(mask, n_genes) }?;
    if mask.iter().any(|&is_present| is_present > 1) {
        return Err(Status::BadMask);
    }
    // SAFETY: the same bytes; each was found to be 0 or 1, and nobody writes them by the caller's promise.
    let mask: &'static [bool] = unsafe { list(mask.as_ptr().cast(), mask.len()) }?;
    // SAFETY: promised by the caller.
    let correction: &'static mut [u32] =
        unsafe { list_mut(correction, correction_len / size_of::<u32>()) }?;
    let correction =
        correction.get_mut(..session.correction_len()).ok_or(Status::LengthMismatch)?;
    let made = session.presence(mask, correction)?;
    if !open.model.rules().is_covered(made.n_present(), mask.len()) {
        return Err(Status::CoverageTooLow);
    }
    // SAFETY: promised by the caller.
    unsafe { OpenPresence::new(&session, profile, made).write(presence) }
}

fn word(n: usize) -> Result<u32, Status> {
    u32::try_from(n).map_err(|_| Status::TooLong)
}

// SAFETY: `repr(C)`, begins with `struct_size`; 14 words and 32 bytes are a multiple of 8, so that there is
// no padding before the pointer or after it; numbers and pointers may have any bits.
unsafe impl Versioned for ModelInfo {
    const FIRST_LEN: usize = 88 + size_of::<usize>();
}

// SAFETY: `repr(C)`, begins with `struct_size`; 4 words before a pointer and a length leave no padding;
// numbers and pointers may have any bits.
unsafe impl Versioned for ProfileInfo {
    const FIRST_LEN: usize = 16 + 2 * size_of::<usize>();
}
