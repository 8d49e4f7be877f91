//! The bare-metal toolchain: Debian's `rustc-web`, whose `rust-web-src` lets cargo build `core` for
//! any target, with `ld.lld` and QEMU. Host builds stay on the toolchain that runs this program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::boards::Board;
use crate::command;
use crate::workspace;

/// A Debian package, and a file that shows that it is installed.
struct Package {
    name: &'static str,
    shows: &'static str,
}

const PACKAGES: &[Package] = &[
    Package { name: "rustc-web", shows: "/usr/bin/rustc" },
    Package { name: "cargo-web", shows: "/usr/bin/cargo" },
    Package { name: "rust-web-src", shows: "/usr/lib/rustlib/src/rust/library/Cargo.lock" },
    Package { name: "lld", shows: "/usr/bin/ld.lld" },
    Package { name: EMULATOR, shows: "/usr/bin/qemu-system-arm" },
];

/// Minor version of Rust 1 that the runtime needs.
const OLDEST_RUST: u32 = 91;

/// Makes sure that the toolchain is there: installs what is missing where that is possible, and
/// says the exact line to run where it is not.
pub fn ensure() -> Result<()> {
    let missing: Vec<_> =
        PACKAGES.iter().filter(|p| !Path::new(p.shows).exists()).map(|p| p.name).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let version = command::capture(Command::new("/usr/bin/rustc").arg("--version"))?;
    match minor_version(&version) {
        Some(minor) if minor >= OLDEST_RUST => Ok(()),
        _ => bail!(
            "/usr/bin/rustc is {:?}, needed is 1.{OLDEST_RUST} or newer with its source; replace \
             Debian's rustc and cargo by: {}",
            version.trim(),
            install_line(&PACKAGES.iter().map(|p| p.name).collect::<Vec<_>>())
        ),
    }
}

/// Debian's cargo for `board`, building `core` from source, in `directory`. `-Dwarnings` is on.
pub fn cargo(board: &Board, directory: &Path, subcommand: &str) -> Result<Command> {
    let target = &board.target;
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .current_dir(directory)
        .args([subcommand, "--release", "--locked", "--target", target, "-Z", "build-std=core"])
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", target_dir(board)?)
        // Unlike RUSTFLAGS this adds to the linker flags of .cargo/config.toml.
        .env(flags, format!("-Dwarnings -Ctarget-cpu={}", board.cpu))
        .env("CIC_BOARD", &board.name)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(cargo)
}

/// One target directory a board: two compilers never share one, and neither do two memory maps.
pub fn target_dir(board: &Board) -> Result<std::path::PathBuf> {
    Ok(workspace::target_dir()?.join("fw").join(&board.name))
}

fn install(missing: &[&str]) -> Result<()> {
    let root = command::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !command::in_path("apt-get") {
        let line = install_line(missing);
        bail!("missing on this machine: {}; run as root: {line}", missing.join(", "));
    }
    command::run(Command::new("apt-get").arg("update"))?;
    let mut packages: Vec<String> = missing.iter().map(|&name| name.into()).collect();
    packages.extend(sibling_at_our_version());
    command::run(
        Command::new("apt-get")
            .args(INSTALL)
            .arg("--allow-downgrades")
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| format!("cannot install {}", packages.join(", ")))
}

/// QEMU's packages exclude each other across versions. Where `qemu-utils` came from another
/// release, it moves to the version of the emulator that is about to be installed.
fn sibling_at_our_version() -> Option<String> {
    let format = "-f=${db:Status-Abbrev}${Version}";
    let status = command::capture(Command::new("dpkg-query").args(["-W", format, SIBLING])).ok()?;
    let installed = status.strip_prefix("ii ")?.trim();
    let policy = command::capture(Command::new("apt-cache").args(["policy", EMULATOR])).ok()?;
    let candidate = candidate(&policy)?;
    (installed != candidate).then(|| format!("{SIBLING}={candidate}"))
}

fn candidate(policy: &str) -> Option<&str> {
    policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))
}

fn install_line(packages: &[&str]) -> String {
    format!(
        "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get {} {}",
        INSTALL.join(" "),
        packages.join(" ")
    )
}

/// `--no-remove`: never at the price of another compiler that someone installed.
const INSTALL: &[&str] = &["install", "-y", "--no-remove", "--no-install-recommends"];

const EMULATOR: &str = "qemu-system-arm";
const SIBLING: &str = "qemu-utils";

fn minor_version(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_minor_version_of_debians_compiler() {
        assert_eq!(minor_version("rustc 1.96.0 (abc 2026-05-01) (built from source)"), Some(96));
        assert_eq!(minor_version("gcc 12"), None);
    }

    #[test]
    fn the_line_to_run_updates_the_lists_first() {
        assert!(install_line(&["lld"]).starts_with("apt-get update && "));
        assert!(install_line(&["lld"]).ends_with(" lld"));
    }

    #[test]
    fn the_candidate_is_read_from_the_policy_of_apt() {
        let policy = "qemu-system-arm:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n";
        assert_eq!(candidate(policy), Some("1:7.2+dfsg-7"));
    }
}
