//! Writing results: files that appear only when they are complete, and text that is safe to open
//! in a spreadsheet or print on a terminal.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// Writes a text file so that it appears under its name only when it is complete: into a temporary
/// file beside it, flushed to disk, then renamed. An older file of that name is replaced.
///
/// # Errors
/// What the system or `write` reports; nothing is left behind then.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), DataError> {
    let mut file = AtomicFile::create(path)?;
    write(&mut file).map_err(DataError::io(path))?;
    file.commit()
}

/// A file that is written piece by piece and appears under its name when it is committed; dropped
/// before that, nothing is left behind.
pub struct AtomicFile {
    file: BufWriter<File>,
    // After the file, which is closed before it is removed.
    pending: PendingFile,
}

impl AtomicFile {
    /// Begins a file under a temporary name beside `path`.
    ///
    /// # Errors
    /// What the system reports.
    pub fn create(path: &Path) -> Result<Self, DataError> {
        let pending = PendingFile::create(path)?;
        let file = OpenOptions::new().write(true).open(pending.path());
        Ok(Self { file: BufWriter::new(file.map_err(DataError::io(path))?), pending })
    }

    /// Flushes the file to disk and gives it its name, replacing an older file.
    ///
    /// # Errors
    /// What the system reports.
    pub fn commit(self) -> Result<(), DataError> {
        self.ready()?.commit()
    }

    /// Flushes the file to disk: all that is left to do is to give it its name.
    ///
    /// # Errors
    /// What the system reports.
    pub fn ready(mut self) -> Result<ReadyFile, DataError> {
        self.file.flush().map_err(DataError::io(&self.pending.target))?;
        self.pending.sync()?;
        Ok(ReadyFile(self.pending))
    }
}

/// An [`AtomicFile`] that is complete, still under its temporary name.
pub struct ReadyFile(PendingFile);

impl ReadyFile {
    /// Gives the file its name, replacing an older file.
    ///
    /// # Errors
    /// What the system reports.
    pub fn commit(self) -> Result<(), DataError> {
        self.0.rename()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file under a temporary name, removed unless it is committed.
pub(crate) struct PendingFile {
    target: PathBuf,
    temporary: PathBuf,
}

impl PendingFile {
    /// Claims a temporary name beside `target`.
    pub(crate) fn create(target: &Path) -> Result<Self, DataError> {
        let name = target.file_name().ok_or_else(|| DataError::NotWritable {
            path: target.to_path_buf(),
            reason: "it has no file name".into(),
        })?;
        for attempt in 0u32.. {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{attempt}.tmp", std::process::id()));
            let temporary = target.with_file_name(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(_) => return Ok(Self { target: target.to_path_buf(), temporary }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {}
                Err(error) => return Err(DataError::io(target)(error)),
            }
        }
        Err(DataError::io(target)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Flushes the file to disk and gives it its name.
    pub(crate) fn commit(self) -> Result<(), DataError> {
        self.sync()?;
        self.rename()
    }

    fn sync(&self) -> Result<(), DataError> {
        sync(&self.temporary).map_err(DataError::io(&self.target))
    }

    fn rename(self) -> Result<(), DataError> {
        fs::rename(&self.temporary, &self.target).map_err(DataError::io(&self.target))?;
        // The rename itself is durable once the folder is; not every system can flush a folder.
        if let Some(folder) = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let _ = sync(folder);
        }
        Ok(())
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // After a commit there is nothing under this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A text as one field of a comma-separated table: [`csv_text`], quoted where needed.
pub fn csv_field(text: &str) -> Cow<'_, str> {
    let text = csv_text(text);
    let quoted = text.starts_with([' ', '\'']) || text.ends_with(' ');
    if !quoted && !text.contains(['"', ',', ';', '\t']) {
        return text;
    }
    Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
}

/// What a reader of a comma-separated table finds for a text: control characters are made
/// visible, and what a spreadsheet would run, a text that begins with `=`, `+`, `-` or `@` (also
/// those of full width) and is no number, begins with an apostrophe.
pub fn csv_text(text: &str) -> Cow<'_, str> {
    let text = sanitise_for_terminal(text);
    let is_number = || text.parse().is_ok_and(f64::is_finite);
    match text.starts_with(RUN_BY_SPREADSHEETS) && !is_number() {
        true => Cow::Owned(format!("'{text}")),
        false => text,
    }
}

/// OWASP's list, without what is a control character.
const RUN_BY_SPREADSHEETS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A text without characters that steer a terminal or reorder what is shown: control characters
/// and those that change the direction of writing become `\u{..}`.
pub fn sanitise_for_terminal(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_steering(character) {
            true => clean.extend(character.escape_unicode()),
            false => clean.push(character),
        }
    }
    Cow::Owned(clean)
}

fn is_steering(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("stopped"))
        });
        assert!(error.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        write_atomic(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "temporary files are gone");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/out.csv");
        assert!(matches!(write_atomic(&path, |_| Ok(())), Err(DataError::Io { .. })));
    }

    #[test]
    fn fields_cannot_become_formulas_or_break_the_table() {
        for (text, expected) in [
            ("CD4 T", "CD4 T"),
            ("=cmd()", "\"'=cmd()\""),
            ("+1+1", "\"'+1+1\""),
            ("-0.5", "-0.5"),
            ("@x", "\"'@x\""),
            ("-inf", "\"'-inf\""),
            ("＝1+1", "\"'＝1+1\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "a\\u{a}b"),
            ("", ""),
        ] {
            assert_eq!(csv_field(text), expected);
        }
    }

    #[test]
    fn terminal_escapes_and_direction_marks_become_visible() {
        assert_eq!(sanitise_for_terminal("\x1b[31mred"), "\\u{1b}[31mred");
        assert_eq!(sanitise_for_terminal("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
        assert_eq!(sanitise_for_terminal("Zelltyp für β-Zellen"), "Zelltyp für β-Zellen");
    }
}
