//! The fields of a frame. Offsets are those of `STREAM.md`.

use super::crc32::crc32;
use super::{DELIMITER, cobs};

/// A frame whose checksum and length are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body is: one of `CELL`, `END`, `CALL`, `FAULT`.
    pub kind: u8,
    /// Number of the cell.
    pub sequence: u32,
    /// The body.
    pub body: &'a [u8],
}

/// A body is a cell: counts.
pub const CELL: u8 = 1;
/// No more cells; empty body.
pub const END: u8 = 2;
/// A body is what became of a cell.
pub const CALL: u8 = 3;
/// A body is a [`Fault`].
pub const FAULT: u8 = 4;

/// Version of the format.
pub const VERSION: u8 = 1;

/// Bytes of a frame besides its body.
pub const OVERHEAD: usize = HEADER + CHECKSUM;

/// Why a frame has no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Checksum, length or stuffing is wrong.
    Corrupted = 1,
    /// Longer than the decoder takes.
    TooLong = 2,
    /// It began, and then nothing came.
    TimedOut = 3,
    /// Another version of the format.
    Version = 4,
    /// The frame is whole, but not what it must be.
    Malformed = 5,
}

impl<'a> Frame<'a> {
    /// Reads a frame after its stuffing was undone.
    ///
    /// # Errors
    /// [`Fault::Corrupted`] before [`Fault::Version`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Fault::Corrupted)?;
        if crc32(content) != u32::from_le_bytes(*checksum) {
            return Err(Fault::Corrupted);
        }
        let (header, body) = content.split_first_chunk::<HEADER>().ok_or(Fault::Corrupted)?;
        let &[version, kind, len_low, len_high, a, b, c, d] = header;
        if version != VERSION {
            return Err(Fault::Version);
        }
        if usize::from(u16::from_le_bytes([len_low, len_high])) != body.len() {
            return Err(Fault::Corrupted);
        }
        Ok(Self { kind, sequence: u32::from_le_bytes([a, b, c, d]), body })
    }

    /// Writes the frame as it is sent, a delimiter at each end. `buffer` has room for the body and
    /// [`OVERHEAD`]; `None` where it has not, or where the body is longer than 65,535 bytes.
    pub fn emit(&self, buffer: &mut [u8], mut write: impl FnMut(u8)) -> Option<()> {
        let len = u16::try_from(self.body.len()).ok()?.to_le_bytes();
        let [a, b, c, d] = self.sequence.to_le_bytes();
        let header = [VERSION, self.kind, len[0], len[1], a, b, c, d];
        let buffer = buffer.get_mut(..self.body.len() + OVERHEAD)?;
        let (content, checksum) = buffer.split_last_chunk_mut::<CHECKSUM>()?;
        content.get_mut(..HEADER)?.copy_from_slice(&header);
        content.get_mut(HEADER..)?.copy_from_slice(self.body);
        *checksum = crc32(content).to_le_bytes();
        write(DELIMITER);
        cobs::encode(buffer, &mut write);
        write(DELIMITER);
        Some(())
    }
}

const HEADER: usize = 8;

const CHECKSUM: usize = 4;
