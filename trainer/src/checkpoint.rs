//! The state of a training run on disk: everything that the next epoch depends on.
//!
//! Layout, little-endian: magic, version (u32), SHA-256 of the parameters, SHA-256 of the data and
//! row lists, stage and counters, best epoch so far, then every matrix with its two moments and
//! every running statistic in the order the network visits them, and a SHA-256 of all that
//! precedes. Random streams follow from seed and epoch, so no generator state is stored. The file
//! is written beside the old one and renamed over it: a reader finds one or the other, whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::TrainError;
use crate::engine::training_data::{Expression, TrainingData};
use crate::train_params::TrainParams;

/// What a run must share with a checkpoint to continue it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunDigest {
    params: [u8; 32],
    data: [u8; 32],
}

impl RunDigest {
    pub(crate) fn new(
        params: &TrainParams,
        data: &TrainingData<'_>,
        fit_rows: &[usize],
        early_rows: &[usize],
    ) -> Self {
        // The debug form names every field and prints floats so that they read back the same.
        let params = Sha256::new()
            .chain_update(env!("CARGO_PKG_VERSION"))
            .chain_update(format!("{params:?}"))
            .finalize()
            .into();
        let mut hash = Sha256::new();
        let mut numbers = |values: &mut dyn Iterator<Item = u64>| {
            let mut n = 0_u64;
            for value in values {
                hash.update(value.to_le_bytes());
                n += 1;
            }
            hash.update(n.to_le_bytes());
        };
        let wide = |values: &[usize]| values.iter().map(|&x| x as u64).collect::<Vec<_>>();
        match data.expression {
            Expression::Csr { indptr, indices, values } => {
                numbers(&mut wide(indptr).into_iter());
                numbers(&mut indices.iter().map(|&x| u64::from(x)));
                numbers(&mut values.iter().map(|x| u64::from(x.to_bits())));
            }
            Expression::Dense(values) => {
                numbers(&mut values.iter().map(|x| u64::from(x.to_bits())));
            }
        }
        numbers(&mut data.labels.unwrap_or(&[]).iter().map(|&x| u64::from(x)));
        numbers(&mut [data.n_genes as u64, data.n_classes as u64].into_iter());
        numbers(&mut wide(fit_rows).into_iter());
        numbers(&mut wide(early_rows).into_iter());
        Self { params, data: hash.finalize().into() }
    }
}

/// Collects the bytes of a checkpoint.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(digest: &RunDigest) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&digest.params);
        bytes.extend_from_slice(&digest.data);
        Self(bytes)
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.number(value.to_bits());
    }

    pub(crate) fn floats(&mut self, values: &[f32]) {
        self.number(values.len() as u64);
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// Writes the file; on return it is on disk.
    pub(crate) fn save(mut self, path: &Path) -> Result<(), TrainError> {
        let digest = Sha256::digest(&self.0);
        self.0.extend_from_slice(&digest);
        replace(path, &self.0)
            .map_err(|source| TrainError::CheckpointIo { path: path.to_path_buf(), source })
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".writing");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // Half a file on a full disk helps nobody; the error says what happened.
        let _ = fs::remove_file(&beside);
    })?;
    // The rename itself is on disk once the folder is; not every system can sync a folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Reads a checkpoint of the same run.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: Vec<u8>,
    at: usize,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    /// `None` where there is no file.
    pub(crate) fn open(path: &'a Path, digest: &RunDigest) -> Result<Option<Self>, TrainError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(TrainError::CheckpointIo { path: path.to_path_buf(), source });
            }
        };
        let mut reader = Self { bytes, at: 0, path };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(reader.fault("it is not a training checkpoint"));
        }
        if reader.take(4)? != VERSION.to_le_bytes() {
            return Err(reader.fault("it was written by another version"));
        }
        let Some(end) = reader.bytes.len().checked_sub(32).filter(|end| *end >= reader.at) else {
            return Err(reader.fault("it is truncated"));
        };
        let stored = reader.bytes.split_off(end);
        if Sha256::digest(&reader.bytes)[..] != stored[..] {
            return Err(reader.fault("it is damaged: its checksum does not match"));
        }
        if reader.take(32)? != digest.params {
            return Err(reader.fault("it belongs to a run with other parameters"));
        }
        if reader.take(32)? != digest.data {
            return Err(reader.fault("it belongs to a run with other data or rows"));
        }
        Ok(Some(reader))
    }

    pub(crate) fn number(&mut self) -> Result<u64, TrainError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    pub(crate) fn count(&mut self) -> Result<usize, TrainError> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| self.fault("it holds an impossible number"))
    }

    pub(crate) fn float(&mut self) -> Result<f64, TrainError> {
        Ok(f64::from_bits(self.number()?))
    }

    /// Fills `values`, whose length the file must share.
    pub(crate) fn floats(&mut self, values: &mut [f32]) -> Result<(), TrainError> {
        if self.count()? != values.len() {
            return Err(self.fault("a matrix has another size"));
        }
        let bytes = self.take(values.len() * 4)?;
        for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes(bytes.try_into().expect("chunks of four bytes"));
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), TrainError> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(self.fault("it is longer than its content")),
        }
    }

    pub(crate) fn fault(&self, reason: &'static str) -> TrainError {
        TrainError::Checkpoint { path: self.path.to_path_buf(), reason }
    }

    fn take(&mut self, len: usize) -> Result<&[u8], TrainError> {
        let fault = self.fault("it is truncated");
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len()).ok_or(fault)?;
        let start = core::mem::replace(&mut self.at, end);
        Ok(&self.bytes[start..end])
    }
}

const MAGIC: &[u8; 8] = b"CICTRAIN";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoencoder::Architecture;

    fn digest(seed: u64, values: &[f32]) -> RunDigest {
        let params = TrainParams::for_rows(Architecture::mirrored(2, vec![3], 2, 0), 10);
        let params = TrainParams { seed, ..params };
        let expression = Expression::Dense(values);
        let data =
            TrainingData { expression, n_genes: 2, labels: None, n_classes: 0, counts: None };
        RunDigest::new(&params, &data, &[0], &[1])
    }

    fn written(path: &Path) -> RunDigest {
        let digest = digest(1, &[1.0, 2.0, 3.0, 4.0]);
        let mut writer = Writer::new(&digest);
        writer.number(7);
        writer.floats(&[1.5, -0.0]);
        writer.save(path).unwrap();
        digest
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        assert!(Reader::open(&path, &digest(1, &[0.0, 0.0])).unwrap().is_none());
        let digest = written(&path);
        let mut reader = Reader::open(&path, &digest).unwrap().unwrap();
        assert_eq!(reader.number().unwrap(), 7);
        let mut values = [0.0; 2];
        reader.floats(&mut values).unwrap();
        assert_eq!(values.map(f32::to_bits), [1.5_f32, -0.0].map(f32::to_bits));
        reader.finish().unwrap();
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused_with_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        written(&path);
        let message = |digest| Reader::open(&path, &digest).unwrap_err().to_string();
        assert!(message(digest(2, &[1.0, 2.0, 3.0, 4.0])).contains("other parameters"));
        assert!(message(digest(1, &[1.0, 2.0, 3.0, 5.0])).contains("other data"));
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let digest = written(&path);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(Reader::open(&path, &digest).is_err(), "{len} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            assert!(Reader::open(&path, &digest).is_err(), "byte {at}");
        }
    }
}
