//! Runs a loop compiled for the widest vectors of this processor.
//!
//! `pulp` wraps the closure in a function with the right target features and selects it at run
//! time, so the loops stay plain and safe. Each lane does what the scalar loop would do, and sums
//! are kept in a fixed number of lanes by the caller: no result depends on which was selected,
//! except through `mul_add`, which is always one rounding.

#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
