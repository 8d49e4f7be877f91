//! Full-precision training of classifier autoencoders.
#![forbid(unsafe_code)]
