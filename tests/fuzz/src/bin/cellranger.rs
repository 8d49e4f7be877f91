//! Cell Ranger's `.h5` files of version 2 and 3.
#![no_main]

use std::sync::LazyLock;

use cic_data::ReadOptions;
use cic_fuzz::hdf5::mended;
use cic_fuzz::{Folder, fixtures, pass_over_panics_of, read_both_ways, write_seeds};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);

fuzz_target!(init: { pass_over_panics_of("rust-hdf5"); write_seeds(fixtures("h5")) }, |bytes: &[u8]| {
    read_both_ways(&FOLDER.write("matrix.h5", &mended(bytes)), &ReadOptions::default(), bytes.len());
});
