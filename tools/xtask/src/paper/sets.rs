//! The data sets of the comparison, and how their files are read.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A labelled data set.
pub struct Set {
    /// Its folder.
    pub name: &'static str,
    /// Within the folder.
    file: &'static str,
    /// Array signals whose logarithm to base 2 is taken first.
    takes_log2: bool,
    /// Further arguments for every command; `{}` is the folder.
    arguments: &'static str,
    /// The stored split.
    pub split: &'static str,
    /// How rows are divided anew, for `cic compare`.
    pub division: &'static str,
}

/// All that have labels to tell apart on more than one sample a class.
pub const SETS: [Set; 11] = [
    Set {
        name: "pbmc3k",
        file: "pbmc3k.h5ad",
        takes_log2: false,
        arguments: "--labels cell_type",
        split: "{}/split.tsv",
        division: "",
    },
    Set {
        name: "cbmc-panel500",
        file: "cbmc-panel500.h5ad",
        takes_log2: false,
        arguments: "--labels cell_type",
        split: "{}/split.tsv",
        division: "--without Unknown,Mouse",
    },
    Set {
        name: "cell-lines-celseq2",
        file: "cell-lines-celseq2.h5ad",
        takes_log2: false,
        arguments: "--labels cell_type",
        split: "{}/split.tsv",
        division: "--groups batch",
    },
    Set {
        name: "cell-lines-li",
        file: "cell-lines-li.h5ad",
        takes_log2: false,
        arguments: "--labels cell_type --kind linear_normalised",
        split: "{}/split.tsv",
        division: "",
    },
    Set {
        name: "pollen",
        file: "pollen.h5ad",
        takes_log2: false,
        arguments: "--labels cell_type",
        split: "{}/split.tsv",
        division: "",
    },
    Set {
        name: "dendritic-two-batches",
        file: "dendritic-two-batches.h5ad",
        takes_log2: false,
        arguments: "--labels cell_type",
        split: "{}/split.tsv",
        division: "--groups batch",
    },
    Set {
        name: "gnf-atlas-replicates",
        file: "expression.tsv.gz",
        takes_log2: true,
        arguments: "--labels-file {}/labels.tsv --labels broad --kind log2_intensity",
        split: "split_tissue",
        division: "--groups tissue",
    },
    Set {
        name: "tissue-189x500",
        file: "expression.tsv.gz",
        takes_log2: false,
        arguments: "--labels-file {}/labels.tsv --labels tissue --kind log2_intensity",
        split: "split",
        division: "",
    },
    Set {
        name: "sarcoma-u133a",
        file: "expression.tsv.gz",
        takes_log2: true,
        arguments: "--labels-file {}/labels.tsv --labels label --kind log2_intensity",
        split: "split",
        division: "",
    },
    Set {
        name: "stem-cells-4-studies",
        file: "expression.tsv.gz",
        takes_log2: false,
        arguments: "--labels-file {}/labels.tsv --labels cell_type --kind log2_intensity",
        split: "split",
        division: "--groups study",
    },
    Set {
        name: "bulk-tissues-3-studies",
        file: "expression.tsv.gz",
        takes_log2: false,
        arguments: "--labels-file {}/labels.tsv --labels tissue --kind linear_normalised",
        split: "split",
        division: "--groups study",
    },
];

/// Where the data sets are: the folder that `CIC_DATA` names, or `../shared/data`.
pub fn root() -> Result<PathBuf> {
    let root = match std::env::var_os("CIC_DATA") {
        Some(root) => PathBuf::from(root),
        None => workspace::root().join("../shared/data"),
    };
    if !root.is_dir() {
        bail!("the data sets are not there: name their folder with CIC_DATA");
    }
    root.canonicalize().context("the folder of the data sets")
}

impl Set {
    /// The one of this name.
    pub fn named(name: &str) -> Result<&'static Self> {
        SETS.iter().find(|set| set.name == name).with_context(|| format!("no data set {name}"))
    }

    /// The file to read; made in `work` where logarithms are taken first.
    pub fn file(&self, root: &Path, work: &Path) -> Result<PathBuf> {
        let file = root.join(self.name).join(self.file);
        if !self.takes_log2 {
            return Ok(file);
        }
        let logs = work.join(format!("{}.log2.tsv", self.name));
        if !logs.is_file() {
            let text = unzip(&file)?;
            fs::write(&logs, log2(&text)?)
                .with_context(|| format!("writing {}", logs.display()))?;
        }
        Ok(logs)
    }

    /// Labels and kind of values.
    pub fn arguments(&self, root: &Path) -> Vec<String> {
        self.words(self.arguments, root)
    }

    /// How `cic compare` divides.
    pub fn division(&self, root: &Path) -> Vec<String> {
        self.words(self.division, root)
    }

    /// The stored split.
    pub fn split(&self, root: &Path) -> Vec<String> {
        self.words(&format!("--split {}", self.split), root)
    }

    fn words(&self, text: &str, root: &Path) -> Vec<String> {
        let folder = root.join(self.name).display().to_string();
        text.split_whitespace().map(|word| word.replace("{}", &folder)).collect()
    }
}

fn unzip(path: &Path) -> Result<String> {
    crate::command::capture(std::process::Command::new("gzip").arg("-dc").arg(path))
}

/// The table with log2(max(x, 1)) in place of each x.
fn log2(text: &str) -> Result<String> {
    let mut lines = text.lines();
    let mut logs = lines.next().context("an empty table")?.to_owned() + "\n";
    for line in lines {
        let mut fields = line.split('\t');
        logs += fields.next().unwrap_or_default();
        for field in fields {
            let value: f64 = field.parse().with_context(|| format!("{field:?} is no number"))?;
            write!(logs, "\t{:.6}", value.max(1.0).log2())?;
        }
        logs.push('\n');
    }
    Ok(logs)
}
