//! Memory for weights on servers.
//!
//! Weights of several megabytes lie on thousands of ordinary pages, more than a processor keeps the
//! addresses of: while it reads them it waits for page tables too. Huge pages of 2 MiB are few.

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::collections::TryReserveError;
use std::vec::Vec;

use memmap2::MmapMut;

/// Bytes that the caller owns and lends to a session: on Linux in huge pages, where there are any.
///
/// ```
/// # use cic_runtime::{Pages, S8Session};
/// # fn example(session: S8Session<'_>) -> Result<(), Box<dyn core::error::Error>> {
/// let mut memory = Pages::zeroed(session.packed_len())?;
/// let session = session.with_packed(memory.as_weights_mut())?;
/// # Ok(())
/// # }
/// ```
pub struct Pages {
    memory: Memory,
    /// Bytes of `memory` before the boundary that the first byte lies on.
    skip: usize,
    len: usize,
}

enum Memory {
    Mapped(MmapMut),
    Allocated(Vec<u8>),
}

impl Pages {
    /// So many zeros, the first at a multiple of 64 bytes. From 2 MiB on they take up to 2 MiB more,
    /// and each page is taken from the system when it is first touched.
    ///
    /// # Errors
    ///
    /// Where the system has no memory of this size.
    pub fn zeroed(len: usize) -> Result<Self, TryReserveError> {
        let (memory, align) = match map_huge(len) {
            Some(map) => (Memory::Mapped(map), HUGE_PAGE),
            None => (Memory::Allocated(allocate(len.saturating_add(LINE - 1))?), LINE),
        };
        let skip = memory.bytes().as_ptr().align_offset(align);
        Ok(Self { memory, skip, len })
    }

    /// The bytes as [`S8Session::with_packed`](crate::S8Session::with_packed) takes them.
    pub fn as_weights_mut(&mut self) -> &mut [i8] {
        bytemuck::must_cast_slice_mut(self)
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes()[self.skip..self.skip + self.len]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes = match &mut self.memory {
            Memory::Mapped(map) => &mut map[..],
            Memory::Allocated(bytes) => bytes,
        };
        &mut bytes[self.skip..self.skip + self.len]
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_mapped = matches!(self.memory, Memory::Mapped(_));
        f.debug_struct("Pages").field("len", &self.len).field("is_mapped", &is_mapped).finish()
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Allocated(bytes) => bytes,
        }
    }
}

/// Whole huge pages for so many bytes, and one more: a mapping may begin between their boundaries.
/// `None` where less than a huge page is asked for, or the system maps no memory.
fn map_huge(len: usize) -> Option<MmapMut> {
    if len < HUGE_PAGE {
        return None;
    }
    let map = MmapMut::map_anon(len.checked_next_multiple_of(HUGE_PAGE)?.checked_add(HUGE_PAGE)?);
    let map = map.ok()?;
    // A kernel without huge pages refuses the advice; ordinary pages hold the same bytes.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

fn allocate(len: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Bytes of a huge page of x86-64, and of Arm with pages of 4 KiB.
const HUGE_PAGE: usize = 1 << 21;

/// Bytes that a processor loads at once.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zeros_on_a_boundary_and_can_be_written() {
        for len in [0, 1, 63, 4096, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1, 5 * HUGE_PAGE + 17] {
            let mut pages = Pages::zeroed(len).unwrap();
            assert_eq!(pages.len(), len);
            let align = if len < HUGE_PAGE { LINE } else { HUGE_PAGE };
            assert!(pages.as_ptr().addr().is_multiple_of(align), "{len}");
            assert!(pages.iter().all(|&byte| byte == 0), "{len}");
            pages.as_weights_mut().fill(-1);
            let moved = pages;
            assert!(moved.iter().all(|&byte| byte == 255), "{len}");
        }
    }

    #[test]
    fn memory_that_nobody_has_is_an_error() {
        assert!(Pages::zeroed(usize::MAX).is_err());
        assert!(Pages::zeroed(usize::MAX / 2 - HUGE_PAGE).is_err());
    }

    /// That it was asked for them; how many the kernel has is not for a test to say.
    #[test]
    #[cfg(target_os = "linux")]
    fn linux_is_asked_for_huge_pages() {
        let modes = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if modes.is_err() {
            std::println!("SKIPPED: this kernel has no transparent huge pages");
            return;
        }
        let pages = Pages::zeroed(3 * HUGE_PAGE).unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        // A mapping is its range of addresses and then its properties, the flags last.
        let mut holds_pages = false;
        let flags = smaps.lines().find_map(|line| {
            if let Some((start, end)) = range(line) {
                holds_pages = (start..end).contains(&pages.as_ptr().addr());
            }
            line.strip_prefix("VmFlags:").filter(|_| holds_pages)
        });
        assert!(flags.unwrap().split_whitespace().any(|flag| flag == "hg"), "{flags:?}");
    }

    #[cfg(target_os = "linux")]
    fn range(line: &str) -> Option<(usize, usize)> {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        Some((hex(start)?, hex(end)?))
    }
}
