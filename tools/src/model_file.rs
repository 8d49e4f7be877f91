//! Model files, read whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cic_model::container::MAGIC;
use cic_model::{Model, ModelError};
use cic_runtime::Pages;
use sha2::{Digest, Sha256};

use crate::digests::hex;
use crate::failure::Failure;

/// The bytes of a model file or a pipe, aligned as a model needs them. They are a copy: whoever
/// writes to the file meanwhile changes no result.
pub(crate) fn read(path: &Path) -> Result<Pages, Failure> {
    File::open(path).and_then(read_whole).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "; another program shortened it meanwhile, run the command again"
            }
            _ => Failure::advice(&error),
        };
        Failure::Model(anyhow::anyhow!("{}: {error}{advice}", path.display()))
    })
}

/// Opens and verifies the bytes of a model file.
pub(crate) fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, Failure> {
    Model::open_verified(bytes).map_err(|error| {
        if bytes.starts_with(&MAGIC) {
            return Failure::model(path, error);
        }
        let swapped = match is_data(bytes) {
            true => "it looks like expression data: are model and data swapped? ",
            false => "",
        };
        Failure::Model(anyhow::anyhow!(
            "{}: {}; {swapped}expected what cic train or cic-quantize wrote",
            path.display(),
            ModelError::BadMagic
        ))
    })
}

/// Whether a file begins as those do that expression data comes in: HDF5, gzip, a table.
fn is_data(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(1 << 10)];
    let is_table = || head.contains(&b'\t') || head.contains(&b',');
    bytes.starts_with(b"\x89HDF\r\n") || bytes.starts_with(&[0x1f, 0x8b]) || {
        str::from_utf8(head).is_ok() && is_table()
    }
}

/// SHA-256 of the whole file, as `sha256sum` prints it.
pub(crate) fn sha256(model: &Model<'_>) -> String {
    hex(&Sha256::digest(model.container().bytes()))
}

fn read_whole(mut file: File) -> io::Result<Pages> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Pages::zeroed(len)?;
    file.read_exact(&mut bytes)?;
    // A pipe does not tell its length.
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    if rest.is_empty() {
        return Ok(bytes);
    }
    let mut whole = Pages::zeroed(len + rest.len())?;
    whole[..len].copy_from_slice(&bytes);
    whole[len..].copy_from_slice(&rest);
    Ok(whole)
}
