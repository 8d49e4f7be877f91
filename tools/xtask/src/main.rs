//! `cargo xtask`: everything that the project automates.
fn main() {}
