//! What C passes, as references and slices.

use core::slice;

use crate::status::Status;

/// Refuses pointers that are null or badly aligned.
pub(crate) fn check<T>(pointer: *const T) -> Result<(), Status> {
    if pointer.is_null() {
        Err(Status::NullPointer)
    } else if !pointer.is_aligned() {
        Err(Status::Misaligned)
    } else {
        Ok(())
    }
}

/// A slice; empty, whatever the pointer is, where the length is 0.
///
/// # Safety
/// - `len` elements are at `pointer`, and nobody writes them during `'a`.
/// - Any bits are a `T`.
pub(crate) unsafe fn list<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T], Status> {
    if len == 0 {
        return Ok(&[]);
    }
    check_list(pointer, len)?;
    // SAFETY: not null and aligned, and `len` elements fit `isize` bytes, as was checked; they are there
    // and unchanged by the caller's promise.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// The same, to be written.
///
/// # Safety
/// - `len` elements are at `pointer`, and nobody else reads or writes them during `'a`.
/// - Any bits are a `T`.
pub(crate) unsafe fn list_mut<'a, T>(pointer: *mut T, len: usize) -> Result<&'a mut [T], Status> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_list(pointer, len)?;
    // SAFETY: not null and aligned, and `len` elements fit `isize` bytes, as was checked; they are there
    // and alone by the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, len) })
}

fn check_list<T>(pointer: *const T, len: usize) -> Result<(), Status> {
    check(pointer)?;
    let n_bytes = len.checked_mul(size_of::<T>()).ok_or(Status::TooLong)?;
    match isize::try_from(n_bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Status::TooLong),
    }
}
