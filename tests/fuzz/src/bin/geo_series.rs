//! Series matrices of the Gene Expression Omnibus.
#![no_main]

use std::sync::LazyLock;

use cic_data::ReadOptions;
use cic_fuzz::{Folder, read_both_ways, write_seeds};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);

fuzz_target!(init: write_seeds([("series".to_string(), SERIES.into())]), |bytes: &[u8]| {
    read_both_ways(&FOLDER.write("series_matrix.txt", bytes), &ReadOptions::default(), bytes.len());
});

const SERIES: &str = "!Series_title\t\"Brain, \"\"and\"\" liver\"\n\n\
    !Sample_title\t\"a\"\t\"b\"\n!Sample_geo_accession\t\"GSM1\"\t\"GSM2\"\n\
    !Sample_characteristics_ch1\t\"tissue: brain\"\t\"tissue: liver: left\"\n\
    !Sample_characteristics_ch1\t\"age: 3\"\t\"\"\n\
    !series_matrix_table_begin\n\"ID_REF\"\t\"GSM1\"\t\"GSM2\"\n\
    \"1007_s_at\"\t7.5\t3\n\"1053_at\"\t0\t2.25\n!series_matrix_table_end\n";
