//! 10x folders: features, barcodes and matrix in one input, with lines of `=` between them.
#![no_main]

use std::io::Write;
use std::sync::LazyLock;

use cic_data::ReadOptions;
use cic_fuzz::{Folder, read_both_ways, write_seeds};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);

const BETWEEN: &[u8] = b"===\n";

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| {
    let (features, rest) = split(bytes);
    let (barcodes, matrix) = split(rest);
    FOLDER.write("features.tsv", features);
    FOLDER.write("barcodes.tsv", barcodes);
    FOLDER.write("matrix.mtx", matrix);
    read_both_ways(FOLDER.path(), &ReadOptions::default(), bytes.len());
});

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    at.map_or((bytes, &[]), |at| (&bytes[..at], &bytes[at + BETWEEN.len()..]))
}

/// Cell Ranger 2 and 3, DRAGEN, unsorted, compressed, faulty.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let v3 = "ENSG1\tA\tGene Expression\nENSG2\tB\tGene Expression\nP1\tCD3\tAntibody Capture\n";
    let (v2, names) = ("ENSG1\tA\nENSG2\tB\nENSG3\tC\n", "AAAC-1\nAAAG-1\nAAAT-1\nAACC-1\n");
    let header = "%%MatrixMarket matrix coordinate integer general\n%metadata\n3 4 4\n";
    let real = "%%MatrixMarket matrix coordinate real general\r\n3 4 2\r\n1 2 1.5\r\n3 4 2e-1\r\n";
    let sorted = format!("{header}1 1 5\n3 1 7\n2 2 9\n1 4 1\n");
    let unsorted = format!("{header}1 4 5\n3 1 7\n2 2 9\n1 1 1\n");
    let twice = format!("{header}1 1 5\n2 1 7\n1 1 9\n1 4 1\n");
    let parts = [
        ("v3", v3, names, &sorted[..]),
        ("v2", v2, names, &sorted),
        ("unsorted", v3, names, &unsorted),
        ("twice", v2, names, &twice),
        ("real", "A\nB\nC\n", names, real),
        ("mark", "\u{feff}A\r\nB\r\nC\r\n", "a\r\nb\r\nc\r\nd", &sorted),
    ];
    let mut seeds = Vec::new();
    for (name, features, barcodes, matrix) in parts {
        let join = |parts: [&[u8]; 3]| parts.join(BETWEEN);
        let plain = [features, barcodes, matrix].map(str::as_bytes);
        seeds.push((name.to_string(), join(plain)));
        let packed = plain.map(gzip);
        seeds.push((format!("{name}.gz"), join([&packed[0], &packed[1], &packed[2]])));
    }
    seeds
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all bytes")
}
