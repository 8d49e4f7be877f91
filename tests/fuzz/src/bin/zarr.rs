//! Zarr stores: metadata and chunks of either format in one input, with lines of `=` between them.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use cic_data::{MatrixChoice, ReadOptions};
use cic_fuzz::{Folder, fixture, read_both_ways, write_seeds};
use libfuzzer_sys::fuzz_target;

const BETWEEN: &[u8] = b"===\n";

/// An input holds metadata and one chunk of each.
const ARRAYS: [&str; 7] =
    ["X/data", "X/indices", "X/indptr", "layers/dense", "obs/_index", "obs/n", "var/_index"];

/// A folder for each format, with the groups that every store has.
static STORES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let folder = Folder::create();
    ["v2.zarr", "v3.zarr"].map(|name| {
        let store = folder.path().join(name);
        let groups = [
            ("", r#"{"encoding-type": "anndata"}"#),
            ("X", r#"{"encoding-type": "csr_matrix"}"#),
            ("layers", "{}"),
            ("obs", r#"{"encoding-type": "dataframe", "_index": "_index"}"#),
            ("var", r#"{"encoding-type": "dataframe", "_index": "_index"}"#),
        ];
        for (group, attributes) in groups {
            let path = store.join(group);
            fs::create_dir_all(&path).expect("the folder of inputs is writable");
            let write = |name: &str, text: &str| {
                fs::write(path.join(name), text).expect("the folder of inputs is writable");
            };
            if name == "v2.zarr" {
                write(".zgroup", r#"{"zarr_format": 2}"#);
                write(".zattrs", attributes);
            } else {
                let group = r#"{"zarr_format": 3, "node_type": "group", "attributes": "#;
                write("zarr.json", &format!("{group}{attributes}}}"));
            }
        }
        for array in ARRAYS {
            let chunk = store.join(array).join(chunk_of(array, name == "v3.zarr"));
            fs::create_dir_all(chunk.parent().unwrap_or(&store))
                .expect("the folder of inputs is writable");
        }
        store
    })
});

/// What each file of either store holds; files that stay the same are not written again, which would take most of the time.
static WRITTEN: Mutex<[[Vec<u8>; 2 * ARRAYS.len()]; 2]> =
    Mutex::new([const { [const { Vec::new() }; 2 * ARRAYS.len()] }; 2]);

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| {
    // The first byte chooses the format and the matrix.
    let (&first, mut rest) = bytes.split_first().unwrap_or((&0, &[]));
    let is_new = first & 1 == 1;
    let layer = if first & 2 == 2 { MatrixChoice::X } else { MatrixChoice::Layer("dense".into()) };
    let store = &STORES[usize::from(is_new)];
    let mut written = WRITTEN.lock().expect("a panic ends the process");
    let mut files = written[usize::from(is_new)].iter_mut();
    for array in ARRAYS {
        for name in [if is_new { "zarr.json" } else { ".zarray" }, chunk_of(array, is_new)] {
            let (part, after) = split(rest);
            rest = after;
            let before = files.next().expect("two files an array");
            if before == part {
                continue;
            }
            let path = store.join(array).join(name);
            match part.is_empty() {
                true => fs::remove_file(path),
                false => fs::write(path, part),
            }
            .expect("the folder of inputs is writable");
            part.clone_into(before);
        }
    }
    read_both_ways(store, &ReadOptions { layer, ..ReadOptions::default() }, bytes.len());
});

fn chunk_of(array: &str, is_new: bool) -> &'static str {
    match (array == "layers/dense", is_new) {
        (false, false) => "0",
        (true, false) => "0.0",
        (false, true) => "c/0",
        (true, true) => "c/0/0",
    }
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    at.map_or((bytes, &[]), |at| (&bytes[..at], &bytes[at + BETWEEN.len()..]))
}

/// Three cells and two genes in either format, a column packed with each compressor of Blosc.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let frames = String::from_utf8(fixture("blosc.txt")).expect("the fixture is text");
    let frames = frames.lines().filter(|line| line.starts_with("2 256 "));
    let frames = frames.filter_map(|line| Some(bytes(line.split(' ').nth(4)?)));
    let plain = (b'0'..=b'3').map(|first| (format!("plain-{}", first - b'0'), seed(first, None)));
    let packed = frames.zip((b'0'..=b'3').cycle()).enumerate();
    plain
        .chain(
            packed.map(|(at, (frame, first))| (format!("blosc-{at}"), seed(first, Some(&frame)))),
        )
        .collect()
}

fn seed(first: u8, frame: Option<&[u8]>) -> Vec<u8> {
    let is_new = first & 1 == 1;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let texts = |texts: &[&str]| {
        let mut bytes = (texts.len() as u32).to_le_bytes().to_vec();
        for text in texts {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.bytes());
        }
        bytes
    };
    let column = frame.map_or_else(|| vec![5; 512], <[u8]>::to_vec);
    let parts: [(&str, &str, [&str; 2], Vec<u8>); 7] = [
        ("[4]", "[4]", ["<f4", "float32"], words(&[1, 2, 3, 4].map(|n| (n as f32).to_bits()))),
        ("[4]", "[4]", ["<i4", "int32"], words(&[0, 1, 0, 1])),
        ("[4]", "[4]", ["<u4", "uint32"], words(&[0, 2, 2, 4])),
        ("[3,2]", "[3,2]", ["<u4", "uint32"], words(&[1, 0, 0, 2, 7, 8])),
        ("[3]", "[3]", ["|O", "string"], texts(&["a", "b", "c"])),
        ("[3]", "[256]", ["<u2", "uint16"], column),
        ("[2]", "[2]", ["|O", "string"], texts(&["G1", "G2"])),
    ];
    let mut seed = vec![first];
    for (at, (shape, chunk, [old, new], bytes)) in parts.into_iter().enumerate() {
        let is_packed = at == 5 && frame.is_some();
        let json = if is_new {
            let first = if new == "string" { "vlen-utf8" } else { "bytes" };
            let more = if is_packed { r#","blosc""# } else { "" };
            format!(
                r#"{{"zarr_format":3,"node_type":"array","shape":{shape},"data_type":"{new}",
                "chunk_grid":{{"name":"regular","configuration":{{"chunk_shape":{chunk}}}}},
                "chunk_key_encoding":"default","fill_value":0,"codecs":["{first}"{more}],"attributes":{{}}}}"#
            )
        } else {
            let filters = if old == "|O" { r#"[{"id":"vlen-utf8"}]"# } else { "null" };
            let compressor = if is_packed { r#"{"id":"blosc"}"# } else { "null" };
            format!(
                r#"{{"zarr_format":2,"shape":{shape},"chunks":{chunk},"dtype":"{old}","filters":{filters},
                "compressor":{compressor},"order":"C","fill_value":0}}"#
            )
        };
        seed.extend([json.as_bytes(), BETWEEN, &bytes, BETWEEN].concat());
    }
    seed
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: char| digit.to_digit(16).unwrap_or_default() as u8;
    let digits: Vec<u8> = hex.chars().map(digit).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
