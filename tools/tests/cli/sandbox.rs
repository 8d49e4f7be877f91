//! A folder to run the programs in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A temporary folder that holds the committed fixture model as `model.cic`.
pub struct Sandbox(TempDir);

/// Python with what `cargo xtask python` installs under the target directory, about to run a script beside these tests;
/// `None`, and a line that says so, where `package` is not there.
pub fn python(script: &str, package: &str) -> Option<impl Fn() -> Command> {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python");
    if !packages.join("installed.txt").exists() || !packages.join(package).exists() {
        println!("SKIPPED: {script}: no {package} to run it with; cargo xtask python");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(script);
    Some(move || {
        let mut python = Command::new("python3");
        python.arg(&script).env("PYTHONPATH", &packages);
        python
    })
}

/// What a program did.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/fixture/simulated.cic");
        std::fs::copy(fixture, folder.path("model.cic")).unwrap();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// Names of everything in the folder, hidden files too.
    pub fn names(&self) -> BTreeSet<String> {
        let entries = self.0.path().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// Runs `cic` in the folder; arguments are separated by blanks.
    pub fn cic(&self, args: &str) -> Run {
        Run::of(self.command(args).output().unwrap())
    }

    /// Runs a command of `cic` in the folder.
    pub fn cic_args(&self, command: &str, args: &[OsString]) -> Run {
        Run::of(self.command(command).args(args).output().unwrap())
    }

    /// `cic`, not yet started.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cic"));
        command.args(args.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs `cic-quantize` in the folder.
    pub fn quantize(&self, args: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cic-quantize"));
        Run::of(command.args(args.split_whitespace()).current_dir(self.0.path()).output().unwrap())
    }

    /// Runs `cic`, which must end with `code`, say all of `words`, print nothing and leave the
    /// folder as it was.
    pub fn refuses(&self, args: &str, code: i32, words: &[&str]) {
        let before = self.names();
        self.cic(args).refused(code, words);
        assert_eq!(self.names(), before, "cic {args} left something behind");
    }
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let run = self.ok();
        serde_json::from_str(&run.stdout).unwrap()
    }
}
