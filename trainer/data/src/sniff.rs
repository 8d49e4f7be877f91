//! What a path is, judged by its first bytes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use cic_model::container::MAGIC;
use flate2::read::MultiGzDecoder;

use crate::error::DataError;
use crate::geo_series::is_series_matrix;

/// The families of formats that are read; HDF5 files are told apart by what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// AnnData or Cell Ranger.
    Hdf5,
    /// A 10x folder.
    MexFolder,
    /// The matrix file of a 10x folder, compressed or not.
    MatrixMarket,
    /// A series matrix of the Gene Expression Omnibus, compressed or not.
    GeoSeries,
    /// Tab- or comma-separated text, compressed or not.
    Text,
    /// A Parquet file.
    #[cfg(feature = "parquet")]
    Parquet,
    /// The folder of a Zarr store.
    #[cfg(feature = "zarr")]
    Zarr,
}

impl FileKind {
    /// Whether a file of the kind may hold other matrices beside the main one.
    pub(crate) fn has_matrices(self) -> bool {
        match self {
            Self::Hdf5 => true,
            #[cfg(feature = "zarr")]
            Self::Zarr => true,
            _ => false,
        }
    }

    /// Whether its rows may be genes or cells.
    pub(crate) fn has_orientations(self) -> bool {
        match self {
            Self::Text => true,
            #[cfg(feature = "parquet")]
            Self::Parquet => true,
            _ => false,
        }
    }
}

/// Recognises the file.
///
/// # Errors
/// An empty file, and formats that are known but not read.
pub(crate) fn sniff(path: &Path) -> Result<FileKind, DataError> {
    let metadata = path.metadata().map_err(DataError::io(path))?;
    if metadata.is_dir() {
        return sniff_folder(path);
    }
    if !metadata.is_file() {
        return Err(DataError::NoFile { path: path.to_path_buf() });
    }
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(DataError::io(path))?;
    (&mut file).take(HEAD_LEN).read_to_end(&mut head).map_err(DataError::io(path))?;
    if head.is_empty() {
        return Err(DataError::Empty {
            path: path.to_path_buf(),
            expected: "an expression matrix",
        });
    }
    if hdf5_start(&mut file, metadata.len()).map_err(DataError::io(path))?.is_some() {
        return Ok(FileKind::Hdf5);
    }
    let is_packed = head.starts_with(&GZIP_MAGIC);
    if is_packed {
        let compressed = std::mem::take(&mut head);
        // A stream that is damaged this early is reported, with its cause, by its reader.
        let _ = MultiGzDecoder::new(&compressed[..]).take(HEAD_LEN).read_to_end(&mut head);
    }
    let unsupported = |format: &str, advice| {
        Err(DataError::UnsupportedFormat {
            path: path.to_path_buf(),
            format: format.into(),
            advice,
        })
    };
    if is_packed && head.starts_with(HDF5_SIGNATURE) {
        return unsupported("a packed HDF5 file", "unpack it (gunzip)");
    }
    if head.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return unsupported("a tar archive", "unpack it (tar -xf) and give what is in it");
    }
    #[cfg(feature = "parquet")]
    if head.starts_with(b"PAR1") {
        return Ok(FileKind::Parquet);
    }
    for (magic, format, advice) in FOREIGN {
        if head.starts_with(magic) {
            return unsupported(format, advice);
        }
    }
    if head.starts_with(b"%%MatrixMarket") {
        return Ok(FileKind::MatrixMarket);
    }
    if head.contains(&0) {
        return unsupported("binary of an unknown kind", EXPECTED_FORMATS);
    }
    Ok(if is_series_matrix(&head) { FileKind::GeoSeries } else { FileKind::Text })
}

/// Where the HDF5 signature stands: at 0, or after a user block at 512, 1024, 2048, ...
pub(crate) fn hdf5_start(file: &mut File, len: u64) -> std::io::Result<Option<u64>> {
    let mut at = 0;
    while at + 8 <= len {
        let mut signature = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut signature)?;
        if &signature == HDF5_SIGNATURE {
            return Ok(Some(at));
        }
        at = if at == 0 { 512 } else { at * 2 };
        if at > MAX_USER_BLOCK {
            break;
        }
    }
    Ok(None)
}

fn sniff_folder(path: &Path) -> Result<FileKind, DataError> {
    if ZARR_MARKERS.iter().any(|marker| path.join(marker).exists()) {
        #[cfg(feature = "zarr")]
        return Ok(FileKind::Zarr);
        #[cfg(not(feature = "zarr"))]
        return Err(DataError::UnsupportedFormat {
            path: path.to_path_buf(),
            format: "a Zarr store".into(),
            advice: "build with the feature `zarr` to read it (cargo build --release -p cic-tools --features zarr), or \
                     write it as .h5ad (anndata: read_zarr, then write_h5ad)",
        });
    }
    Ok(FileKind::MexFolder)
}

const ZARR_MARKERS: [&str; 5] = [".zgroup", ".zattrs", ".zarray", ".zmetadata", "zarr.json"];
const HEAD_LEN: u64 = 4096;
const TAR_MAGIC_AT: usize = 257;
const MAX_USER_BLOCK: u64 = 1 << 16;
pub(crate) const HDF5_SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const EXPECTED_FORMATS: &str = "expected .h5ad, Cell Ranger .h5, a 10x folder, a GEO series matrix, or a tab- or comma-separated table";
const FOREIGN: [(&[u8], &str, &str); 7] = [
    (&MAGIC, "a model", "give it where the model is asked for, and expression data here"),
    (
        b"PK\x03\x04",
        "a zip archive (perhaps .xlsx, .npz or a Zarr store)",
        "unpack it, or export it as TSV",
    ),
    (
        b"PAR1",
        "a Parquet file",
        "build with the feature `parquet` to read it (cargo build --features parquet), or write it \
         as .h5ad or TSV",
    ),
    (b"\x93NUMPY", "a NumPy array", "it has no names; write it as .h5ad or TSV"),
    (b"RDX", "an R data file", "export it from R as TSV or .h5ad"),
    (b"X\n\0", "an R data file (.rds)", "export it from R as TSV or .h5ad"),
    (b"ARROW1", "an Arrow file", "write it as .h5ad or TSV"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(bytes: &[u8]) -> Result<FileKind, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        sniff(&path)
    }

    #[test]
    fn content_decides_whatever_the_name() {
        assert_eq!(kind_of(b"\tA\tB\nG1\t1\t2\n").unwrap(), FileKind::Text);
        assert_eq!(kind_of(b"%%MatrixMarket matrix\n").unwrap(), FileKind::MatrixMarket);
        assert_eq!(kind_of(b"\x89HDF\r\n\x1a\n").unwrap(), FileKind::Hdf5);
        let mut user_block = vec![b' '; 1024];
        user_block.extend_from_slice(HDF5_SIGNATURE);
        assert_eq!(kind_of(&user_block).unwrap(), FileKind::Hdf5);
    }

    #[test]
    fn empty_and_foreign_files_are_refused_by_name() {
        assert!(matches!(kind_of(b""), Err(DataError::Empty { .. })));
        for (magic, format, _) in FOREIGN {
            if cfg!(feature = "parquet") && magic == b"PAR1" {
                continue;
            }
            let message = kind_of(magic).unwrap_err().to_string();
            assert!(message.contains(format), "{message}");
        }
        assert!(matches!(kind_of(b"ab\0c"), Err(DataError::UnsupportedFormat { .. })));
    }
}
