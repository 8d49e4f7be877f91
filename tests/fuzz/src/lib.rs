//! What the fuzz targets share: where inputs lie, seeds, and what every reader must keep to.
#![forbid(unsafe_code)]

pub mod digests;
pub mod hdf5;

use std::fs;
use std::path::{Path, PathBuf};

use cic_data::{
    BlockSize, CsrMatrix, DataError, ExpressionMatrix, ExpressionReader, ReadOptions, check_scale,
    read_expression,
};

/// The folder of one target's input. `cargo xtask fuzz` names one in memory and removes it.
pub struct Folder(PathBuf);

impl Folder {
    /// A folder of this process.
    pub fn create() -> Self {
        let parent =
            std::env::var_os("CIC_FUZZ_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = parent.join(format!("cic-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder of inputs is writable");
        Self(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes one file of the input.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("the folder of inputs is writable");
        path
    }
}

/// Writes a target's seeds where `cargo xtask fuzz` wants them.
pub fn write_seeds(seeds: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let Some(folder) = std::env::var_os("CIC_FUZZ_SEEDS").map(PathBuf::from) else { return };
    for (name, bytes) in seeds {
        fs::write(folder.join(name), bytes).expect("the folder of seeds is writable");
    }
}

/// What this library asserts is caught by the reader, and no finding unless it is not.
pub fn pass_over_panics_of(library: &'static str) {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_its = |file: &str| file.contains(&format!("/{library}-"));
        if !panic.location().is_some_and(|place| is_its(place.file())) {
            abort(panic);
        }
    }));
}

/// The fixtures of `cic-data` whose names end so.
pub fn fixtures(extension: &str) -> Vec<(String, Vec<u8>)> {
    files("trainer/data/tests/fixtures", extension)
}

/// The files of a folder of the repository whose names end so.
pub fn files(folder: &str, extension: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let files = fs::read_dir(&folder).expect("the folder is there");
    let mut found = Vec::new();
    for path in files.filter_map(|file| Some(file.ok()?.path())) {
        if path.extension().is_some_and(|end| end == extension) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, fs::read(&path).expect("a file of a folder is read")));
        }
    }
    found
}

/// A fixture of `cic-data`.
pub fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../trainer/data/tests/fixtures");
    fs::read(folder.join(name)).expect("the fixture is there")
}

/// Reads a file cell by cell and whole. Both must refuse it or give the same matrix, and what they give must
/// be what the readers promise. Files that are refused cell by cell are not all read once more.
pub fn read_both_ways(path: &Path, options: &ReadOptions, n_bytes: usize) {
    let streamed = stream(path, options, BlockSize { cells: 1, values: usize::MAX });
    match streamed {
        Ok(rows) => match read_expression(path, options) {
            Ok(whole) => check(&whole, &rows),
            Err(error) => panic!("read in blocks, but not whole: {error}"),
        },
        Err(DataError::NotByCell { .. }) => {
            let _ = read_expression(path, options).map(|whole| check_values(&whole));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if n_bytes % 8 == 0 {
                assert!(
                    read_expression(path, options).is_err(),
                    "read whole, but in blocks: {error}"
                );
            }
        }
    }
}

fn check(whole: &ExpressionMatrix, rows: &[CsrMatrix]) {
    assert_eq!(rows.len(), whole.n_obs());
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(whole.values.row(at), (&row.indices[..], &row.data[..]));
    }
    check_values(whole);
}

fn check_values(whole: &ExpressionMatrix) {
    assert_eq!((whole.values.n_rows(), whole.values.n_cols), (whole.n_obs(), whole.n_vars()));
    for at in 0..whole.n_obs() {
        let (columns, values) = whole.values.row(at);
        assert!(columns.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(columns.iter().all(|&column| (column as usize) < whole.n_vars()));
        assert!(values.iter().all(|value| value.is_finite() && *value > 0.0));
    }
    assert!(whole.obs.columns().all(|(_, column)| column.len() == whole.n_obs()));
    // Whatever the verdict is.
    let _ = check_scale(whole, None).map_err(|error| error.to_string());
}

fn stream(
    path: &Path,
    options: &ReadOptions,
    size: BlockSize,
) -> Result<Vec<CsrMatrix>, DataError> {
    let mut reader = ExpressionReader::open(path, options, size)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        assert_eq!(block.n_rows(), 1);
        blocks.push(block);
    }
    Ok(blocks)
}
