//! The model that lies in flash, and the memory that the board has for it.

/// The file that the environment variable `CIC_MODEL` names when this is built.
#[cfg(feature = "model")]
pub static MODEL: &[u8] = &FILE.0;

/// Words of scratch, from the column `scratch` of `boards.tsv`.
pub const SCRATCH_WORDS: usize = SCRATCH_LEN / 4;

/// Words for the entries of one sample, from the column `sample`.
pub const SAMPLE_WORDS: usize = SAMPLE_LEN / 4;

#[cfg(feature = "model")]
static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("CIC_MODEL")));

/// The runtime reads weights in place and asks for a multiple of 4; a model file is laid out for 64.
#[cfg(feature = "model")]
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

/// A model that the emulator put into the second half of the flash: its length in a word at the beginning, and its
/// bytes 64 bytes later.
///
/// # Safety
/// It is there.
#[cfg(not(feature = "model"))]
pub unsafe fn loaded() -> &'static [u8] {
    let at = MIDDLE as *const u32;
    // SAFETY: the caller's; the middle of a flash is aligned for words and for models.
    unsafe { core::slice::from_raw_parts(at.cast::<u8>().add(64), at.read_volatile() as usize) }
}

include!(concat!(env!("OUT_DIR"), "/lengths.rs"));
