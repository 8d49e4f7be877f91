//! Structs that may grow while the interface keeps its version.
//!
//! The first word of each is the length that the caller knows. A caller from before a field was added
//! gives less: what it does not know reads as zero, and is not written. A caller from after gives more:
//! what this library does not know has to be zero where it is read, and becomes zero where it is written.

use core::mem::MaybeUninit;
use core::ptr;

use crate::pointer::check;
use crate::status::Status;

/// # Safety
/// - The type is `repr(C)`, begins with `struct_size: u32` and has no padding.
/// - Any bits are a value of it, all zeros among them.
pub(crate) unsafe trait Versioned: Copy {
    /// Bytes of it in the first release; no caller knows less.
    const FIRST_LEN: usize;
}

/// The caller's struct, as far as both sides know it.
///
/// # Safety
/// - The bytes that the first word at `from` tells are there, or `from` is null or misaligned.
/// - Nobody writes them meanwhile.
pub(crate) unsafe fn read<T: Versioned>(from: *const T) -> Result<T, Status> {
    // SAFETY: promised by the caller.
    let len = unsafe { len_of(from) }?;
    let bytes = from.cast::<u8>();
    for at in size_of::<T>()..len {
        // SAFETY: `at` is below `len`, and so many bytes are there.
        if unsafe { bytes.add(at).read() } != 0 {
            return Err(Status::UnsupportedField);
        }
    }
    let mut value = MaybeUninit::<T>::zeroed();
    let known = len.min(size_of::<T>());
    // SAFETY: `known` is neither above what is at `from` nor above the length of `value`, which is apart
    // from it because it is new.
    unsafe { ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast::<u8>(), known) };
    // SAFETY: any bits are a `T`, and all of them were set, the last ones to zero.
    Ok(unsafe { value.assume_init() })
}

/// Writes what the caller knows of `value`, all but its first word.
///
/// # Safety
/// - The bytes that the first word at `to` tells are there, or `to` is null or misaligned.
/// - Nobody else reads or writes them meanwhile.
pub(crate) unsafe fn write<T: Versioned>(value: &T, to: *mut T) -> Result<(), Status> {
    // SAFETY: promised by the caller.
    let len = unsafe { len_of(to.cast_const()) }?;
    let known = len.min(size_of::<T>());
    let (from, to) = (ptr::from_ref(value).cast::<u8>(), to.cast::<u8>());
    // SAFETY: the first word is inside both, since `len_of` refuses less and `T` begins with it; `known`
    // is neither above the length of `T` nor above what is at `to`. A reference and memory that nobody
    // else uses do not overlap.
    unsafe { ptr::copy_nonoverlapping(from.add(WORD), to.add(WORD), known - WORD) };
    // SAFETY: `known` is at most `len`, and so many bytes are there.
    unsafe { ptr::write_bytes(to.add(known), 0, len - known) };
    Ok(())
}

/// The length that the caller knows; refuses one that no caller knows.
///
/// # Safety
/// - A word is at `pointer`, or it is null or misaligned.
pub(crate) unsafe fn len_of<T: Versioned>(pointer: *const T) -> Result<usize, Status> {
    const { assert!(T::FIRST_LEN >= WORD && T::FIRST_LEN <= size_of::<T>()) };
    check(pointer)?;
    // SAFETY: not null, aligned for `T` and hence for its first field, and there by the caller's promise.
    let len = unsafe { pointer.cast::<u32>().read() } as usize;
    if (T::FIRST_LEN..=LONGEST).contains(&len) && len.is_multiple_of(WORD) {
        Ok(len)
    } else {
        Err(Status::BadStructSize)
    }
}

const WORD: usize = size_of::<u32>();

/// No struct gets as long as this: a length above is one that was not set.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct that had two fields when it was first released, and got a third one.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Grown {
        struct_size: u32,
        first: u32,
        added: u32,
    }

    // SAFETY: `repr(C)`, three words without padding, the first one of them `struct_size`; any bits are words.
    unsafe impl Versioned for Grown {
        const FIRST_LEN: usize = 8;
    }

    /// What a caller has in memory who knows one field more than this library.
    fn memory(struct_size: u32) -> [u32; 5] {
        [struct_size, 1, 2, 3, 4]
    }

    fn read_from(memory: &[u32; 5]) -> Result<Grown, Status> {
        // SAFETY: five words are there, and no test says more or less than `FIRST_LEN` without being refused.
        unsafe { read(memory.as_ptr().cast()) }
    }

    fn written(struct_size: u32) -> (Result<(), Status>, [u32; 5]) {
        let mut memory = memory(struct_size);
        let value = Grown { struct_size: 99, first: 11, added: 12 };
        // SAFETY: as in `read_from`.
        let result = unsafe { write(&value, memory.as_mut_ptr().cast()) };
        (result, memory)
    }

    #[test]
    fn an_old_caller_has_zero_in_the_field_that_it_does_not_know() {
        assert_eq!(read_from(&memory(8)), Ok(Grown { struct_size: 8, first: 1, added: 0 }));
    }

    #[test]
    fn a_caller_of_the_same_age_is_read_whole() {
        assert_eq!(read_from(&memory(12)), Ok(Grown { struct_size: 12, first: 1, added: 2 }));
    }

    #[test]
    fn a_new_caller_may_not_use_the_field_that_the_library_does_not_know() {
        assert_eq!(read_from(&memory(16)), Err(Status::UnsupportedField));
        assert_eq!(read_from(&[16, 1, 2, 0, 4]), Ok(Grown { struct_size: 16, first: 1, added: 2 }));
    }

    #[test]
    fn an_old_caller_has_nothing_written_past_what_it_knows() {
        assert_eq!(written(8), (Ok(()), [8, 11, 2, 3, 4]));
    }

    #[test]
    fn a_new_caller_finds_zero_in_the_field_that_the_library_does_not_know() {
        assert_eq!(written(12), (Ok(()), [12, 11, 12, 3, 4]));
        assert_eq!(written(16), (Ok(()), [16, 11, 12, 0, 4]));
    }

    #[test]
    fn lengths_that_no_caller_knows_are_refused() {
        for len in [0, 4, 10, 4097, u32::MAX] {
            assert_eq!(read_from(&memory(len)), Err(Status::BadStructSize), "{len}");
            assert_eq!(written(len), (Err(Status::BadStructSize), memory(len)), "{len}");
        }
    }
}
