//! The C interface of the runtime: int8 models, opened in the caller's memory and run without a heap, a
//! C library or state of its own.
//!
//! `include/cic.h` is made from this crate by `cargo xtask header`, and says what a caller in C has to
//! know; `README.md` shows how to link it. Bottom-up:
//!
//! - [`Status`]: what every call returns, one value per cause.
//! - `pointer`: what C passes becomes slices, or a status.
//! - `versioned`: structs that may grow, and callers that know less or more of them than this library.
//! - `handle`: opened models and presences in the caller's memory.
//! - The functions, in `model`, `names` and `cell`.
//!
//! What can be checked about a pointer is: that it is not null, its alignment, and that the length which
//! comes with it is possible. The rest is the caller's duty, listed as *Safety* of each function.
#![no_std]

// Brings the panic handler that a library for a system has to have.
#[cfg(not(any(target_os = "none", all(target_os = "linux", target_env = ""))))]
extern crate std;

mod cell;
mod handle;
mod model;
#[cfg(cic_must_fail)]
mod must_fail;
mod names;
mod pointer;
mod status;
mod versioned;

pub use cell::{
    CIC_MAX_TOP, CellResult, CellSample, Reject, SampleKind, TopLeaf, cic_classify, cic_encode,
};
pub use handle::{CIC_MODEL_WORDS, CIC_PRESENCE_WORDS, ModelHandle, PresenceHandle};
pub use model::{
    ModelInfo, ProfileInfo, ProfileLibrary, ProfileValues, cic_model_info, cic_open,
    cic_open_unverified, cic_presence_open, cic_profile_info, cic_scratch_len, cic_self_test,
};
pub use names::{cic_gene_id, cic_gene_symbol, cic_leaf_name, cic_leaf_ontology_id};
pub use status::{Status, cic_status_text};

/// Version of this interface. It grows by one with every change that an old caller would notice; new
/// functions, new status values and longer structs are none.
pub const CIC_ABI_VERSION: u32 = 1;

/// Version of the interface of the library that is linked, to be compared with CIC_ABI_VERSION of the
/// header.
#[unsafe(no_mangle)]
pub extern "C" fn cic_abi_version() -> u32 {
    CIC_ABI_VERSION
}

/// Nothing here panics. A library for bare metal has to have this all the same.
#[cfg(any(target_os = "none", all(target_os = "linux", target_env = "")))]
#[panic_handler]
fn stop(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
