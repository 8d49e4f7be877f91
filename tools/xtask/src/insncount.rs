//! The emulator plugin that counts, compiled on demand from `insncount/insncount.c`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{command, workspace};

/// Compiles the plugin and returns its path.
pub fn build() -> Result<PathBuf> {
    ensure!(command::in_path("gcc"), "gcc is missing; run as root: apt-get install -y gcc");
    let library = workspace::target_dir()?.join("fw/libinsncount.so");
    std::fs::create_dir_all(library.with_file_name(""))?;
    let source = workspace::root().join("tools/xtask/insncount/insncount.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
    command::run(gcc.arg(&library).arg(source))?;
    Ok(library)
}
