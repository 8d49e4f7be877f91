//! `cic`: train, type, evaluate and inspect cell identity code models.
fn main() {}
