//! anndata, scanpy and onnxruntime, for the tests that read outputs with them: installed from the
//! configured package index, under the target directory, once.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{ci, command, workspace};

/// With what they need, whatever version that has.
const REQUIREMENTS: [&str; 3] = ["anndata==0.12.19", "scanpy==1.11.5", "onnxruntime==1.32.0"];

/// Installs the packages unless they are there. Without an index they are left out, except in CI.
pub fn run() -> Result<()> {
    let folder = workspace::target_dir()?.join("python");
    let stamp = folder.join("installed.txt");
    let mut python = Command::new("python3");
    let version = command::capture(python.arg("--version")).unwrap_or_default();
    let wanted = format!("{version}{}\n", REQUIREMENTS.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        println!("{}: {}", folder.display(), REQUIREMENTS.join(", "));
        return Ok(());
    }
    match install(&folder) {
        Ok(()) => {
            fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
            println!("{}: {}", folder.display(), REQUIREMENTS.join(", "));
            Ok(())
        }
        Err(error) if ci::is_ci() => Err(error),
        Err(error) => {
            // Half of a package would fail in the test.
            let _ = fs::remove_dir_all(&folder);
            println!(
                "SKIPPED: no anndata, scanpy and onnxruntime, outputs are not read with them: {error:#}"
            );
            Ok(())
        }
    }
}

fn install(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    // Wheels only: nothing is built, and nothing of a package runs but in the test.
    pip.args(["--only-binary=:all:", "--retries=1", "--timeout=30", "--target"]).arg(folder);
    command::run(pip.args(REQUIREMENTS)).context(
        "anndata, scanpy and onnxruntime are installed with python3 and pip from the configured package index",
    )
}
