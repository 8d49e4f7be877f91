//! The cross toolchain: Debian's `rustc-web`, whose `rust-web-src` lets cargo build `core` or `std` for
//! any target, with linkers and QEMU; and what else Debian has to offer. Host builds stay on the toolchain that runs this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::boards::Board;
use crate::command;
use crate::workspace;

/// A Debian package, and a file that shows that it is installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Package {
    name: &'static str,
    shows: &'static str,
}

impl Package {
    /// The file that shows that it is installed: its program.
    pub fn path(&self) -> &'static str {
        self.shows
    }
}

const RUSTC: Package = Package { name: "rustc-web", shows: "/usr/bin/rustc" };
const CARGO: Package = Package { name: "cargo-web", shows: "/usr/bin/cargo" };
const SOURCE: Package =
    Package { name: "rust-web-src", shows: "/usr/lib/rustlib/src/rust/library/Cargo.lock" };
const LINKER: Package = Package { name: "lld", shows: "/usr/bin/ld.lld" };

/// Builds C for bare metal: it has all of these processors.
pub const CLANG: Package = Package { name: "clang-14", shows: "/usr/bin/clang-14" };

/// Builds for bare metal.
pub const FIRMWARE: &[Package] = &[RUSTC, CARGO, SOURCE, LINKER];

/// Runs images for Arm.
pub const QEMU_ARM: Package =
    Package { name: "qemu-system-arm", shows: "/usr/bin/qemu-system-arm" };

/// Runs images for RISC-V.
pub const QEMU_RISCV: Package =
    Package { name: "qemu-system-misc", shows: "/usr/bin/qemu-system-riscv32" };

/// For programs of other processors, and WebAssembly.
pub const PROGRAMS: &[Package] = &[
    RUSTC,
    CARGO,
    SOURCE,
    LINKER,
    Package { name: "qemu-user", shows: "/usr/bin/qemu-aarch64" },
    Package { name: "gcc-aarch64-linux-gnu", shows: "/usr/bin/aarch64-linux-gnu-gcc" },
    Package { name: "libc6-dev-arm64-cross", shows: "/usr/aarch64-linux-gnu/lib/crt1.o" },
];

/// Counts instructions.
pub const VALGRIND: Package = Package { name: "valgrind", shows: "/usr/bin/valgrind" };

/// Minor version of Rust 1 that the runtime needs.
const OLDEST_RUST: u32 = 91;

/// Makes sure that these are there, see [`install_missing`], and that Debian's compiler is new enough.
pub fn ensure(packages: &[Package]) -> Result<()> {
    install_missing(packages)?;
    let version = command::capture(Command::new("/usr/bin/rustc").arg("--version"))?;
    match minor_version(&version) {
        Some(minor) if minor >= OLDEST_RUST => Ok(()),
        _ => bail!(
            "/usr/bin/rustc is {:?}, needed is 1.{OLDEST_RUST} or newer with its source; replace \
             Debian's rustc and cargo by: {}",
            version.trim(),
            install_line(&packages.iter().map(|p| p.name).collect::<Vec<_>>())
        ),
    }
}

/// Installs those that are missing where that is possible, and says the exact line to run where it is
/// not.
pub fn install_missing(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|p| !Path::new(p.shows).exists()).map(|p| p.name).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// What Debian's cargo builds for.
pub struct Target<'a> {
    /// Target triple.
    pub triple: &'a str,
    /// Parts of the standard library to build from source, as `-Z build-std` takes them.
    pub std: &'a str,
    /// More flags for the compiler; `-Dwarnings` is on.
    pub flags: String,
    /// Target directory; two compilers never share one.
    pub directory: PathBuf,
}

impl Target<'_> {
    /// Debian's cargo in `directory`.
    pub fn cargo(&self, directory: &Path, subcommand: &str) -> Command {
        let std = format!("build-std={}", self.std);
        let mut cargo = Command::new(CARGO.shows);
        cargo
            .current_dir(directory)
            .args([subcommand, "--release", "--locked", "--target", self.triple, "-Z", &std])
            .env("RUSTC", RUSTC.shows)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &self.directory)
            // Unlike RUSTFLAGS this adds to the linker flags of .cargo/config.toml.
            .env(variable(self.triple, "RUSTFLAGS"), format!("-Dwarnings {}", self.flags))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTUP_TOOLCHAIN");
        cargo
    }
}

/// The environment variable that sets cargo's `key` for a target.
pub fn variable(triple: &str, key: &str) -> String {
    format!("CARGO_TARGET_{}_{key}", triple.to_uppercase().replace(['-', '.'], "_"))
}

/// Debian's cargo for `board`, building `core` from source, in `directory`.
pub fn cargo(board: &Board, directory: &Path, subcommand: &str) -> Result<Command> {
    let target = Target {
        triple: &board.target,
        std: "core",
        flags: format!("-Ctarget-cpu={}", board.cpu),
        directory: workspace::target_dir()?.join("fw").join(&board.target),
    };
    let mut cargo = target.cargo(directory, subcommand);
    cargo.env("CIC_BOARD", &board.name);
    if board.kernels.is_none() {
        // Loops that are Rust, not assembly.
        cargo.args(["--config", "profile.release.package.cic-runtime.opt-level=3"]);
    }
    Ok(cargo)
}

/// What is left of a program that [`cargo`] built for `board`: the next board of the same target has another in its place.
pub fn keep(board: &Board, program: &str, name: &str) -> Result<PathBuf> {
    let fw = workspace::target_dir()?.join("fw");
    let kept = image(board, name)?;
    fs::copy(fw.join(&board.target).join(&board.target).join("release").join(program), &kept)?;
    Ok(kept)
}

/// Where an image for `board` lies, in a folder that is there.
pub fn image(board: &Board, name: &str) -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("fw").join(&board.name);
    fs::create_dir_all(&folder)?;
    Ok(folder.join(name).with_extension("elf"))
}

fn install(missing: &[&str]) -> Result<()> {
    let root = command::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !command::in_path("apt-get") {
        let line = install_line(missing);
        bail!("missing on this machine: {}; run as root: {line}", missing.join(", "));
    }
    command::run(Command::new("apt-get").arg("update"))?;
    let mut packages: Vec<String> = missing.iter().map(|&name| name.into()).collect();
    packages.extend(emulators_at_one_version(missing));
    command::run(
        Command::new("apt-get")
            .args(INSTALL)
            .arg("--allow-downgrades")
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| format!("cannot install {}", packages.join(", ")))
}

/// QEMU's packages exclude each other across versions. Those that came from another release than the
/// one about to be installed move to its version.
fn emulators_at_one_version(missing: &[&str]) -> Vec<String> {
    let Some(ours) = missing.iter().find(|name| EMULATORS.contains(name)) else { return vec![] };
    let policy = command::capture(Command::new("apt-cache").args(["policy", ours]));
    let policy = policy.unwrap_or_default();
    let Some(candidate) = candidate(&policy) else { return vec![] };
    let differs = |name: &&&str| installed(name).is_some_and(|version| version != candidate);
    EMULATORS.iter().filter(differs).map(|name| format!("{name}={candidate}")).collect()
}

/// Version of an installed package.
fn installed(package: &str) -> Option<String> {
    let format = "-f=${db:Status-Abbrev}${Version}";
    let query = Command::new("dpkg-query").args(["-W", format, package]).output().ok()?;
    let status = String::from_utf8(query.stdout).ok()?;
    Some(status.strip_prefix("ii ")?.trim().to_owned())
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

const EMULATORS: &[&str] = &["qemu-system-arm", "qemu-system-misc", "qemu-user", "qemu-utils"];

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
    fn the_variable_of_a_target_has_neither_dashes_nor_dots() {
        let name = variable("thumbv8m.main-none-eabihf", "RUSTFLAGS");
        assert_eq!(name, "CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS");
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
