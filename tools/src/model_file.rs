//! Model files, read whole.

use std::path::Path;

use cic_model::{AlignedBytes, Model};

use crate::failure::Failure;

/// The bytes of a model file, aligned as a model needs them.
pub(crate) fn read(path: &Path) -> Result<AlignedBytes, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        let advice = Failure::advice(&error);
        Failure::Model(anyhow::anyhow!("{}: {error}{advice}", path.display()))
    })?;
    Ok(AlignedBytes::new(&bytes))
}

/// Opens and verifies the bytes of a model file.
pub(crate) fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, Failure> {
    Model::open_verified(bytes).map_err(|error| Failure::model(path, error))
}
