//! Full-precision training of classifier autoencoders.
#![forbid(unsafe_code)]

pub mod metrics;
pub mod onnx;
pub mod panel;
pub mod parts;
