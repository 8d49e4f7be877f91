//! Where things are: the repository's root and cargo's target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// What is tested beside the default: formats behind features.
pub const FEATURES: &str = "cic-tools/onnx,cic-tools/parquet,cic-tools/zarr";

/// The repository's root.
pub fn root() -> PathBuf {
    // Cargo says at run time where xtask's manifest is. What it said at compile time may be about
    // another clone that shares the target directory.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let manifest = manifest.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = manifest.ancestors().nth(2);
    root.expect("xtask stands two folders below the root").to_path_buf()
}

/// The firmware examples' workspace.
pub fn firmware() -> PathBuf {
    root().join("firmware-examples")
}

/// The cargo that runs this program, in the repository's root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// `cargo metadata` of the workspace at `directory`, without external packages.
pub fn metadata(directory: &Path) -> Result<Value> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--format-version=1", "--no-deps"]).current_dir(directory);
    serde_json::from_str(&command::capture(&mut cargo)?).context("cargo metadata is not JSON")
}

/// Cargo's target directory for host builds.
pub fn target_dir() -> Result<PathBuf> {
    let metadata = metadata(&root())?;
    let directory = metadata["target_directory"].as_str();
    Ok(directory.context("cargo metadata names no target_directory")?.into())
}

/// A program of the workspace for this machine, or `examples/NAME`, as the tests build it: what they built is not built once more
/// with other features or another profile.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: AtomicBool = AtomicBool::new(false);
    if !BUILT.load(Relaxed) {
        let build =
            ["build", "--quiet", "--workspace", "--bins", "--examples", "--features", FEATURES];
        command::run(cargo().args(build))?;
        BUILT.store(true, Relaxed);
    }
    Ok(target_dir()?.join("debug").join(name))
}
