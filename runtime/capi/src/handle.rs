//! Models and presences that were opened, in memory of the caller.
//!
//! The memory begins with a word that is there only once it was opened. Nothing points into the memory
//! itself, so that a caller may copy it.

use core::{mem, ptr};

use cic_model::{Model, ModelError, ModelId};
use cic_runtime::kernels::Kernels;
use cic_runtime::{Presence, S8Session};

use crate::pointer::check;
use crate::status::Status;

/// A model, opened by cic_open; its words are the library's. It refers to the model's bytes, which stay
/// where they are for as long as it is used. It may be copied, needs no closing, and any number of
/// threads may use it at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ModelHandle {
    mark: u64,
    words: [usize; CIC_MODEL_WORDS],
}

/// Which genes of the panel a file has, opened by cic_presence_open; its words are the library's. It
/// refers to the mask and the correction, which stay where they are for as long as it is used.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PresenceHandle {
    mark: u64,
    words: [usize; CIC_PRESENCE_WORDS],
}

/// What an opened model handle holds.
#[repr(C)]
pub(crate) struct OpenModel {
    mark: u64,
    pub(crate) model: Model<'static>,
    /// Chosen once: on a system, that takes a look at the environment.
    kernels: Kernels,
    pub(crate) is_verified: bool,
}

/// What an opened presence handle holds.
#[repr(C)]
pub(crate) struct OpenPresence {
    mark: u64,
    model: ModelId,
    profile: u32,
    presence: Presence<'static>,
}

/// Words of a cic_model: more than this library needs, so that later ones of the same interface fit.
pub const CIC_MODEL_WORDS: usize = 576;

/// Words of a cic_presence.
pub const CIC_PRESENCE_WORDS: usize = 22;

impl ModelHandle {
    /// A handle that was not opened.
    pub const UNOPENED: Self = Self { mark: 0, words: [0; CIC_MODEL_WORDS] };
}

impl PresenceHandle {
    /// A handle that was not opened.
    pub const UNOPENED: Self = Self { mark: 0, words: [0; CIC_PRESENCE_WORDS] };
}

impl OpenModel {
    /// Takes the mark away: the handle is not open until it is written.
    ///
    /// # Safety
    /// - A handle is at `handle`, or it is null or misaligned.
    /// - Nobody else uses it meanwhile.
    pub(crate) unsafe fn close(handle: *mut ModelHandle) -> Result<(), Status> {
        check(handle)?;
        // SAFETY: not null, aligned, and writable by the caller's promise.
        unsafe { handle.cast::<u64>().write(0) };
        Ok(())
    }

    /// Writes what opening gave, and opens the handle if that is a model that can be run.
    ///
    /// # Safety
    /// - That of [`OpenModel::close`], which was called before.
    pub(crate) unsafe fn write(
        handle: *mut ModelHandle,
        opened: Result<Model<'static>, ModelError>,
        is_verified: bool,
    ) -> Result<(), Status> {
        const { assert!(size_of::<Self>() <= size_of::<ModelHandle>()) };
        const { assert!(align_of::<Self>() <= align_of::<ModelHandle>()) };
        check(handle)?;
        let open = handle.cast::<Self>();
        let model = match &opened {
            Ok(model) => model,
            Err(error) => return Err((*error).into()),
        };
        // SAFETY: not null, aligned for a handle and hence for `Self`, as long as that, and writable by
        // the caller's promise. The mark was written by `close`. A model takes kilobytes of a small
        // stack: it is copied from where opening left it, which is forgotten below, and not moved.
        unsafe {
            ptr::copy_nonoverlapping(model, &raw mut (*open).model, 1);
            (&raw mut (*open).kernels).write(Kernels::best());
            (&raw mut (*open).is_verified).write(is_verified);
        }
        mem::forget(opened);
        // SAFETY: every field was written, and nobody else uses them.
        let written = unsafe { &mut *open };
        // Models of other number formats are refused here rather than at the first cell.
        written.session(0)?;
        written.mark = MODEL_MARK;
        Ok(())
    }

    /// # Safety
    /// - At `handle` is a handle, or a copy of one, that nobody writes during `'a`; or it is null or
    ///   misaligned.
    /// - The bytes of the model are where they were when it was opened.
    pub(crate) unsafe fn at<'a>(handle: *const ModelHandle) -> Result<&'a Self, Status> {
        check(handle)?;
        // SAFETY: not null, aligned, and there by the caller's promise.
        if unsafe { handle.cast::<u64>().read() } != MODEL_MARK {
            return Err(Status::NotOpened);
        }
        // SAFETY: only `write` sets the mark, together with the rest.
        Ok(unsafe { &*handle.cast::<Self>() })
    }

    pub(crate) fn session(&self, profile: usize) -> Result<S8Session<'_>, Status> {
        Ok(S8Session::with_kernels(&self.model, profile, self.kernels)?)
    }
}

impl OpenPresence {
    pub(crate) fn new(session: &S8Session<'_>, profile: u32, presence: Presence<'static>) -> Self {
        Self { mark: PRESENCE_MARK, model: session.model().id(), profile, presence }
    }

    /// # Safety
    /// - A handle is at `handle`, or it is null or misaligned.
    /// - Nobody else uses it meanwhile.
    pub(crate) unsafe fn close(handle: *mut PresenceHandle) -> Result<(), Status> {
        check(handle)?;
        // SAFETY: not null, aligned, and writable by the caller's promise.
        unsafe { handle.cast::<u64>().write(0) };
        Ok(())
    }

    /// # Safety
    /// - That of [`OpenPresence::close`].
    pub(crate) unsafe fn write(self, handle: *mut PresenceHandle) -> Result<(), Status> {
        const { assert!(size_of::<Self>() <= size_of::<PresenceHandle>()) };
        const { assert!(align_of::<Self>() <= align_of::<PresenceHandle>()) };
        check(handle)?;
        // SAFETY: not null, aligned for a handle and hence for this, long enough, and writable by the
        // caller's promise.
        unsafe { handle.cast::<Self>().write(self) };
        Ok(())
    }

    /// The presence at `handle`, if it is one of this model and profile; none for null.
    ///
    /// # Safety
    /// - At `handle` is a handle, or a copy of one, that nobody writes during `'a`; or it is null or
    ///   misaligned.
    /// - The mask and the correction are as they were when it was opened.
    pub(crate) unsafe fn at<'a>(
        handle: *const PresenceHandle,
        model: &Model<'_>,
        profile: u32,
    ) -> Result<Option<&'a Presence<'static>>, Status> {
        if handle.is_null() {
            return Ok(None);
        }
        check(handle)?;
        // SAFETY: aligned, and there by the caller's promise.
        if unsafe { handle.cast::<u64>().read() } != PRESENCE_MARK {
            return Err(Status::NotOpened);
        }
        // SAFETY: only `write` sets the mark, together with the rest.
        let open = unsafe { &*handle.cast::<Self>() };
        if open.model != model.id() || open.profile != profile {
            return Err(Status::WrongPresence);
        }
        Ok(Some(&open.presence))
    }
}

/// `cicmodl1`, as bytes in memory. The last one changes with the content.
const MODEL_MARK: u64 = u64::from_le_bytes(*b"cicmodl1");

/// `cicpres1`, as bytes in memory.
const PRESENCE_MARK: u64 = u64::from_le_bytes(*b"cicpres1");
