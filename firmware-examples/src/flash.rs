//! The model that lies in flash, and the memory that the board has for it.

/// The file that the environment variable `CIC_MODEL` names when this is built.
pub static MODEL: &[u8] = &FILE.0;

/// Words of scratch, from the column `scratch` of `boards.tsv`.
pub const SCRATCH_WORDS: usize = SCRATCH_LEN / 4;

/// Words for the entries of one sample, from the column `sample`.
pub const SAMPLE_WORDS: usize = SAMPLE_LEN / 4;

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("CIC_MODEL")));

/// The runtime reads weights in place and asks for a multiple of 4; a model file is laid out for 64.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

include!(concat!(env!("OUT_DIR"), "/lengths.rs"));
