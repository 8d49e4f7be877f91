//! The library of C, `runtime/capi`, for processors without a system.

use std::path::PathBuf;

use anyhow::Result;

use crate::toolchain::Target;
use crate::{command, workspace};

/// A build of the library.
pub struct Library<'a> {
    /// Rust target triple.
    pub triple: &'a str,
    /// `-C target-cpu`, where it is not the target's own.
    pub cpu: Option<&'a str>,
    /// Level of optimisation.
    pub level: &'a str,
    /// Whether that is of our own crates, and others are built for size, once for all levels.
    pub shares_core: bool,
    /// Features, the default ones without `floats` among them.
    pub features: Vec<&'a str>,
    /// More arguments for the compiler of the library itself.
    pub flags: &'a [&'a str],
}

impl Library<'_> {
    /// Builds it, with all optimisation that the linker's part allows: `libcic_capi.a`.
    pub fn build(&self) -> Result<PathBuf> {
        // Builds in one directory wait for one another, and share what runs on the host.
        let directory = workspace::target_dir()?.join("capi").join(self.triple);
        let target = Target {
            triple: self.triple,
            std: "core",
            flags: self.cpu.map_or(String::new(), |cpu| format!("-Ctarget-cpu={cpu}")),
            directory: directory.clone(),
        };
        let mut cargo = target.cargo(&workspace::root(), "rustc");
        for (key, value) in [
            ("OPT_LEVEL", if self.shares_core { "s" } else { self.level }),
            ("LTO", "fat"),
            ("CODEGEN_UNITS", "1"),
            ("PANIC", "abort"),
            ("DEBUG", "0"),
        ] {
            cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
        }
        if self.shares_core {
            for own in ["cic-model", "cic-runtime", "cic-capi"] {
                cargo.arg("--config");
                cargo.arg(format!("profile.release.package.{own}.opt-level={}", toml(self.level)));
            }
        }
        cargo.args(["--package", "cic-capi", "--lib", "--crate-type", "staticlib"]);
        cargo.args(["--no-default-features", "--features", &self.features.join(",")]);
        command::run(cargo.arg("--").args(self.flags))?;
        Ok(directory.join(self.triple).join("release/libcic_capi.a"))
    }
}

/// Levels that are numbers are written as numbers.
fn toml(level: &str) -> String {
    if level.parse::<u8>().is_ok() { level.to_owned() } else { format!("{level:?}") }
}
