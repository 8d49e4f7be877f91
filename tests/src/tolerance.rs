//! How far float results may lie apart. One place, by number format.
//!
//! Instruction sets add in different orders, and some round products before they add them. A sum whose
//! terms have magnitudes of `A` in total, each going through `k` additions, errs by about `√k · u · A`
//! with `u = 2⁻²⁴`, and by `k · u · A` at worst. Encoders sum blocks of 128 products, then the blocks:
//! `k` is below 200 for any panel that is in use, and `A` is about 10 where values are near one, so that
//! a layer gives 1e-5 relative to its largest results, and less where it averages. Activations and later
//! layers do not enlarge that.

/// Codes and logits of f32 models against tract or the double-precision reference, relative to the
/// number where that is above one.
pub const F32: f64 = 1e-5;

/// The same of f16 models, whose weights become single precision exactly: against the reference with
/// the weights that they store.
pub const F16: f64 = F32;
