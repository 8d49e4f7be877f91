//! The C header, made from the sources of `runtime/capi` and committed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, workspace};

#[derive(clap::Args)]
pub struct Args {
    /// Fail where the committed header is not what the sources give, and show the difference.
    #[arg(long)]
    check: bool,
}

/// Its licence, MPL-2.0, asks for a program of its own rather than a dependency: see docs/adr/0010.
const VERSION: &str = "0.29.4";

/// Writes the header, or compares it.
pub fn run(args: &Args) -> Result<()> {
    let made = made()?;
    let path = workspace::root().join("runtime/capi/include/cic.h");
    if !args.check {
        fs::write(&path, made)?;
        return Ok(());
    }
    let committed = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = difference(&committed, &made);
    if !lines.is_empty() {
        bail!("{} is stale, run `cargo xtask header`:\n{}", path.display(), lines.join("\n"));
    }
    println!("header: runtime/capi/include/cic.h is what the sources give");
    Ok(())
}

fn made() -> Result<String> {
    let capi = workspace::root().join("runtime/capi");
    let mut cbindgen = Command::new(cbindgen()?);
    cbindgen.arg("--quiet").arg("--config").arg(capi.join("cbindgen.toml")).arg(&capi);
    command::capture(&mut cbindgen)
}

/// The program, installed under the target directory where it is not there in this version.
fn cbindgen() -> Result<PathBuf> {
    let root = workspace::target_dir()?.join("tools");
    let program = root.join("bin/cbindgen");
    let is_there = program.exists()
        && command::capture(Command::new(&program).arg("--version"))?.trim()
            == format!("cbindgen {VERSION}");
    if !is_there {
        let mut install = workspace::cargo();
        // It takes a second so, and half the time to build.
        install.args([
            "install",
            "cbindgen",
            "--version",
            VERSION,
            "--locked",
            "--debug",
            "--root",
        ]);
        command::run(install.arg(&root))?;
    }
    Ok(program)
}

/// Lines that only one of the texts has, in their order.
fn difference(committed: &str, made: &str) -> Vec<String> {
    let (mut old, mut new) = (committed.lines().peekable(), made.lines().peekable());
    let mut lines = Vec::new();
    while old.peek().is_some() || new.peek().is_some() {
        if old.peek() == new.peek() {
            old.next();
            new.next();
            continue;
        }
        // Lines that come later in the other text stand, those before them were added or removed.
        let is_removed = old.peek().is_some_and(|line| !new.clone().any(|other| other == *line));
        match if is_removed || new.peek().is_none() { old.next() } else { None } {
            Some(line) => lines.push(format!("-{line}")),
            None => lines.extend(new.next().map(|line| format!("+{line}"))),
        }
    }
    if lines.is_empty() && committed != made {
        lines.push("line endings differ".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_do_not_differ() {
        assert!(difference("a\nb\n", "a\nb\n").is_empty());
    }

    #[test]
    fn what_differs_is_shown_from_both_sides() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), ["-b", "+x"]);
        assert_eq!(difference("a\nc\n", "a\nb\nc\n"), ["+b"]);
        assert_eq!(difference("a\nb\nc\n", "a\nc\n"), ["-b"]);
        assert_eq!(difference("a\nb\n", "b\na\n"), ["+b", "-b"]);
    }

    #[test]
    fn a_missing_line_end_differs() {
        assert_eq!(difference("a\n", "a"), ["line endings differ"]);
    }
}
