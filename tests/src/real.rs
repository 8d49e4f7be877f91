//! Real data sets, which live outside the repository.

use std::path::PathBuf;

/// The folder of a data set: in `CIC_DATA`, or in `shared/data` beside the repository. Where it is
/// absent this says so on standard error, and the test has nothing to check.
pub fn data_set(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("CIC_DATA") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
    };
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: data set {name} is not there (CIC_DATA or ../shared/data)");
    None
}
