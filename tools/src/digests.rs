//! SHA-256 of files, in the letters of `sha256sum`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// Of a whole file.
pub(crate) fn file_sha256(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::input(format!("{}: {error}{}", path.display(), Failure::advice(&error)))
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// Of a folder and all that is in it: of the lines that `sha256sum` gives for its files, by their paths below it, sorted
/// by path. Links are passed over: no reader follows them.
pub(crate) fn folder_sha256(folder: &Path) -> Result<String, Failure> {
    let mut lines = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inside) = folders.pop() {
        let failed = |error: io::Error| {
            Failure::input(format!("{}: {error}{}", inside.display(), Failure::advice(&error)))
        };
        for entry in inside.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (kind, path) = (entry.file_type().map_err(failed)?, entry.path());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let parts = path.strip_prefix(folder).unwrap_or(&path).components();
                let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
                let name = parts.join("/");
                lines.insert(name.clone(), format!("{}  {name}\n", file_sha256(&path)?));
            }
        }
    }
    let mut digest = Sha256::new();
    lines.values().for_each(|line| digest.update(line));
    Ok(hex(&digest.finalize()))
}

/// Bytes as lower-case letters and digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes bytes on and digests them.
pub(crate) struct Digesting<W> {
    inner: W,
    digest: Sha256,
}

impl<W: Write> Digesting<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, digest: Sha256::new() }
    }

    /// What bytes were passed on to, and their digest.
    pub(crate) fn finish(self) -> (W, String) {
        (self.inner, hex(&self.digest.finalize()))
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.digest.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_has_the_digest_of_the_lines_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        fs::write(folder.path().join("b/c/0"), "abc").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        // find . -type f -printf '%P\n' | sort | xargs sha256sum | sha256sum
        let expected = "ff287aa3311e5cd05b08c61388534cd88aa96d70515aaf25ac1de3ef5d435d31";
        assert_eq!(folder_sha256(folder.path()).unwrap(), expected);
        assert_eq!(folder_sha256(&folder.path().join("b/..")).unwrap(), expected);
        fs::rename(folder.path().join("a"), folder.path().join("d")).unwrap();
        assert_ne!(folder_sha256(folder.path()).unwrap(), expected);
    }
}
