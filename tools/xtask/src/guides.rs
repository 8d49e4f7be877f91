//! The guides for firmware, tried as they stand: in an empty folder, the files that they show are written and
//! the commands are run, in the order of the page.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::toolchain::{self, CLANG, QEMU_ARM};
use crate::{command, side_by_side, workspace};

/// Pages under `docs/`.
const GUIDES: &[&str] = &["firmware-rust", "firmware-c"];

/// What a block of code is for, from the word after its language: a file's name, or `run`. Others are
/// for reading.
#[derive(Debug, PartialEq)]
enum Block<'a> {
    File { name: &'a str, text: String },
    Commands(String),
}

/// Tries every guide.
pub fn run() -> Result<()> {
    let mut packages = toolchain::FIRMWARE.to_vec();
    packages.extend([CLANG, QEMU_ARM]);
    toolchain::ensure(&packages)?;
    side_by_side::map(GUIDES, |name| {
        let path = workspace::root().join("docs").join(name).with_extension("md");
        let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        // Outside of the workspace, as a stranger's would be.
        let folder = std::env::temp_dir().join(format!("cic-{name}-{}", std::process::id()));
        let followed = follow(&page, &folder);
        followed.with_context(|| format!("{}, in {}", path.display(), folder.display()))?;
        fs::remove_dir_all(&folder)?;
        println!("guide {name}: every step worked");
        Ok(())
    })?;
    Ok(())
}

/// Writes all files, then runs all commands in one shell: what one sets, the next has.
fn follow(page: &str, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut script = String::from("set -eux\n");
    let mut n_commands = 0;
    for block in blocks(page) {
        match block {
            // A file appears when its turn comes: commands before it may make another of its name.
            Block::File { name, text } => {
                let hidden = folder.join(format!(".{}", name.replace('/', "_")));
                fs::write(&hidden, text)?;
                script += &format!(
                    "mkdir -p \"$(dirname '{name}')\"; cp '{}' '{name}'\n",
                    hidden.display()
                );
            }
            Block::Commands(text) => {
                script += &text;
                n_commands += 1;
            }
        }
    }
    ensure!(n_commands > 0, "the page has no commands");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(folder).env("CIC", workspace::root());
    // The page speaks of the checkout's own target folder.
    for variable in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        shell.env_remove(variable);
    }
    command::run(&mut shell)
}

/// Blocks of a page, files before the commands around them.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        match info.split_once(' ') {
            Some((_, "run")) => blocks.push(Block::Commands(text)),
            Some((_, name)) => blocks.push(Block::File { name, text }),
            None => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_and_commands_and_leaves_the_rest() {
        let page = "text\n```sh run\nmake\n```\n```c main.c\nint x;\n```\n```sh\nother\n```\n";
        let file = Block::File { name: "main.c", text: "int x;\n".into() };
        assert_eq!(blocks(page), [Block::Commands("make\n".into()), file]);
    }

    #[test]
    fn a_page_whose_command_fails_is_not_followed() {
        let folder = tempfile();
        assert!(follow("```sh run\ntest -e a\n```\n```text a\n```\n", &folder).is_err());
        assert!(follow("```text a\n```\n```sh run\ntest -e a\n```\n", &folder).is_ok());
        assert!(follow("nothing", &folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    fn tempfile() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("cic-guides-{}", std::process::id()))
    }
}
