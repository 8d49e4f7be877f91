//! Kernels for WebAssembly. A module that holds an instruction the host lacks does not load at all, so
//! what the build was told decides, and nothing is asked at run time.

pub(super) mod simd128;
