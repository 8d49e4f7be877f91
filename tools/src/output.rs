//! Files that a program writes: checked before the work, written when it is done.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cic_data::{DataError, write_atomic};

use crate::failure::Failure;

/// Refuses outputs that could not be written, or that would replace an input or each other.
pub(crate) fn check(outputs: &[&Path], inputs: &[&Path]) -> Result<(), Failure> {
    let mut taken: Vec<PathBuf> =
        inputs.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    for &path in outputs {
        let place = writable(path)?;
        if taken.contains(&place) {
            return Err(Failure::usage(format!(
                "{}: the command reads or writes this file under another option; give the output \
                 a name of its own",
                path.display()
            )));
        }
        taken.push(place);
    }
    Ok(())
}

/// Writes a file that appears under its name only when it is complete.
pub(crate) fn write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    write_atomic(path, write).map_err(|error| failed(path, error))
}

/// What a failure to write means for the program.
pub(crate) fn failed(path: &Path, error: DataError) -> Failure {
    match error {
        DataError::Io { source, .. } => not_written(path, source),
        error => Failure::from(error),
    }
}

/// The same, of what the system says.
pub(crate) fn not_written(path: &Path, error: io::Error) -> Failure {
    Failure::output(path, error).context("not written, and nothing is left behind")
}

/// The resolved name of a file that can be written: its folder is there and takes files.
fn writable(path: &Path) -> Result<PathBuf, Failure> {
    let refuse = |reason: &str| Failure::usage(format!("{}: {reason}", path.display()));
    if path.is_dir() {
        return Err(refuse("is a folder; name the file to write"));
    }
    if path.exists() && !path.is_file() {
        return Err(refuse("is a device or a pipe; name a file"));
    }
    let name = path.file_name().ok_or_else(|| refuse("is no file name"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(refuse("its folder does not exist; create it first"));
    }
    let probe = folder.join(format!(".cic-{}.tmp", std::process::id()));
    let probed = OpenOptions::new().write(true).create_new(true).open(&probe);
    probed.and_then(|_| fs::remove_file(&probe)).map_err(|error| Failure::output(path, error))?;
    // An existing file is resolved whole: it may be a link to an input.
    let resolved = fs::canonicalize(path)
        .or_else(|_| fs::canonicalize(folder).map(|folder| folder.join(name)));
    resolved.map_err(|error| Failure::output(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_may_not_be_a_folder_an_input_or_another_output() {
        let folder = tempfile::tempdir().unwrap();
        let [data, out] = ["data.tsv", "out.csv"].map(|name| folder.path().join(name));
        fs::write(&data, "x").unwrap();
        assert!(check(&[&out], &[&data]).is_ok());
        let again = folder.path().join(".").join("data.tsv");
        for outputs in [[folder.path()], [&*again], [&*folder.path().join("no/out.csv")]] {
            assert!(matches!(check(&outputs, &[&data]), Err(Failure::Usage(_))), "{outputs:?}");
        }
        assert!(matches!(check(&[&out, &out], &[]), Err(Failure::Usage(_))));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is left behind");
    }
}
