//! From bytes to whole frames.

use super::frame::{Fault, Frame};
use super::{DELIMITER, cobs};

/// Collects the bytes of a frame of at most `N` bytes as sent, without its delimiters.
pub struct Decoder<const N: usize> {
    bytes: [u8; N],
    len: usize,
    /// Whether the frame is longer than `N`; its end is waited for.
    is_too_long: bool,
}

impl<const N: usize> Decoder<N> {
    /// Waits for a frame.
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0, is_too_long: false }
    }

    /// Takes the next byte. A delimiter ends a frame, good or bad; what follows is the next one, so
    /// that no byte that came before can spoil it.
    pub fn push(&mut self, byte: u8) -> Option<Result<Frame<'_>, Fault>> {
        if byte != DELIMITER {
            match self.bytes.get_mut(self.len) {
                Some(place) => {
                    *place = byte;
                    self.len += 1;
                }
                None => self.is_too_long = true,
            }
            return None;
        }
        let (len, is_too_long) = (self.len, self.is_too_long);
        (self.len, self.is_too_long) = (0, false);
        if is_too_long {
            return Some(Err(Fault::TooLong));
        }
        // Two delimiters in a row: senders may begin with one.
        if len == 0 {
            return None;
        }
        let frame = self.bytes.get_mut(..len)?;
        Some(
            cobs::decode(frame)
                .ok_or(Fault::Corrupted)
                .and_then(|len| Frame::parse(self.bytes.get(..len).unwrap_or(&[]))),
        )
    }

    /// To be called when nothing came for the timeout: gives up a frame that has begun.
    pub fn silence(&mut self) -> Option<Fault> {
        let has_begun = self.len > 0 || self.is_too_long;
        (self.len, self.is_too_long) = (0, false);
        has_begun.then_some(Fault::TimedOut)
    }
}
