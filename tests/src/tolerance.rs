//! How far float results may lie apart. One place, by number format.

/// Codes and logits of f32 models against tract or the double-precision reference.
pub const F32: f64 = 1e-5;
