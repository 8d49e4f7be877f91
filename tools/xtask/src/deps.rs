//! Who may depend on whom.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// A project package, and the project packages that it may depend on. A package that is not here
/// is refused, so that a new one cannot slip in unseen.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("cic-model", &[]),
    ("cic-runtime", &["cic-model"]),
    // The runtime, and the model types that its interface is made of.
    ("cic-capi", &["cic-runtime", "cic-model"]),
    ("cic-data", &["cic-model"]),
    ("cic-trainer", &["cic-model", "cic-data"]),
    ("cic-quant", &["cic-model", "cic-runtime", "cic-data"]),
    (
        "cic-tools",
        &["cic-model", "cic-runtime", "cic-capi", "cic-data", "cic-trainer", "cic-quant"],
    ),
    (
        "cic-tests",
        &[
            "cic-model",
            "cic-runtime",
            "cic-capi",
            "cic-data",
            "cic-trainer",
            "cic-quant",
            "cic-tools",
        ],
    ),
    ("cic-conformance", &["cic-model", "cic-runtime"]),
    ("cic-bench", &["cic-model", "cic-runtime", "cic-data", "cic-quant"]),
    ("xtask", &[]),
    ("firmware-examples", &["cic-runtime", "cic-model"]),
];

/// Nothing depends on these, not even for its own tests.
const LEAVES: &[&str] =
    &["cic-tests", "cic-conformance", "cic-bench", "xtask", "firmware-examples"];

/// Checks both workspaces.
pub fn run() -> Result<()> {
    let mut wrong = Vec::new();
    let mut packages = 0;
    for directory in [workspace::root(), workspace::firmware()] {
        let metadata = workspace::metadata(&directory)?;
        let found = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        packages += found.len();
        wrong.extend(found.iter().flat_map(violations));
    }
    if !wrong.is_empty() {
        bail!("forbidden dependencies (see ARCHITECTURE.md):\n  {}", wrong.join("\n  "));
    }
    println!("deps: {packages} packages depend only on what they may");
    Ok(())
}

/// What is wrong with one package of `cargo metadata`. Normal and build dependencies follow the
/// table; a development dependency may only not be on a leaf.
fn violations(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(known, _)| *known == name) else {
        return vec![format!("{name} is not in the table of tools/xtask/src/deps.rs")];
    };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies
        .iter()
        .filter_map(|dependency| {
            let on = dependency["name"].as_str()?;
            let ours = dependency["path"].is_string()
                || MAY_DEPEND_ON.iter().any(|(known, _)| *known == on);
            let forbidden = match dependency["kind"].as_str() {
                Some("dev") => LEAVES.contains(&on),
                _ => !allowed.contains(&on),
            };
            (ours && forbidden).then(|| format!("{name} must not depend on {on}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind, "path": "/p" }))
            .collect();
        json!({ "name": name, "dependencies": dependencies })
    }

    #[test]
    fn accepts_the_runtime_on_the_model() {
        assert!(violations(&package("cic-runtime", &[("cic-model", None)])).is_empty());
    }

    #[test]
    fn refuses_the_runtime_on_the_trainer() {
        let wrong = violations(&package("cic-runtime", &[("cic-trainer", None)]));
        assert_eq!(wrong, ["cic-runtime must not depend on cic-trainer"]);
    }

    #[test]
    fn refuses_a_build_dependency_like_a_normal_one() {
        let wrong = violations(&package("cic-model", &[("cic-data", Some("build"))]));
        assert_eq!(wrong, ["cic-model must not depend on cic-data"]);
    }

    #[test]
    fn refuses_firmware_on_anything_but_the_runtime() {
        let wrong =
            violations(&package("firmware-examples", &[("cic-runtime", None), ("cic-data", None)]));
        assert_eq!(wrong, ["firmware-examples must not depend on cic-data"]);
    }

    #[test]
    fn refuses_a_package_that_the_table_does_not_know() {
        assert_eq!(violations(&package("cic-new", &[])).len(), 1);
    }

    #[test]
    fn lets_tests_look_up_the_house_but_not_depend_on_the_pipeline_tests() {
        assert!(violations(&package("cic-data", &[("cic-trainer", Some("dev"))])).is_empty());
        assert_eq!(violations(&package("cic-data", &[("cic-tests", Some("dev"))])).len(), 1);
    }

    #[test]
    fn ignores_external_crates() {
        let package =
            json!({ "name": "cic-model", "dependencies": [{ "name": "libm", "kind": null }] });
        assert!(violations(&package).is_empty());
    }
}
