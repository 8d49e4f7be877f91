//! `cic-quantize`: int8 and f16 models from full-precision ones.
fn main() {}
