//! Frames of counts that arrive over a serial line, and calls that go back. The format is specified in
//! `STREAM.md`.
//!
//! - [`Decoder`]: from bytes to whole frames. Finds the next frame after anything.
//! - [`frame`]: the fields of a frame.
//! - [`station`]: from the counts of a frame to a call.

mod cobs;
mod crc32;
mod decoder;
pub mod frame;
pub mod station;

pub use decoder::Decoder;

/// The byte between frames. It occurs in no frame.
pub const DELIMITER: u8 = 0;

/// Bytes of the longest frame that boards take, as sent, without delimiters: some 1,300 genes.
pub const MAX_FRAME: usize = 4096;
