//! Expression data with labels and a split, as the command line names them.

use std::path::{Path, PathBuf};

use cic_data::{
    AlignedMatrix, Column, ExpressionMatrix, MatrixChoice, Orientation, ReadOptions, SampleTable,
    SplitPart, align, check_scale, read_expression, read_labels_tsv, read_split, split_parts,
};
use cic_model::quant::ONE_Q16;
use cic_model::{Model, ValueKind};
use clap::Args;

use crate::failure::Failure;

/// How to read the expression file.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Expression data: .h5ad, Cell Ranger .h5, 10x folder or matrix.mtx[.gz], TSV or CSV [.gz]
    pub data: PathBuf,
    /// What the values are: counts, linear_normalised, log1p or log2_intensity [default: detected
    /// over every cell]
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    pub kind: Option<ValueKind>,
    /// Matrix of an AnnData file: X, raw or the name of a layer
    #[arg(long, value_name = "NAME", default_value = "X")]
    pub layer: String,
    /// Rows of a text table: genes or cells [default: detected]
    #[arg(long, value_name = "genes|cells", value_parser = parse_orientation)]
    pub rows: Option<Orientation>,
}

/// Where the labels are.
#[derive(Args, Clone, Debug, Default)]
pub struct LabelArgs {
    /// Column with the labels, of the labels file or of the AnnData file's obs
    #[arg(long, value_name = "KEY")]
    pub labels: Option<String>,
    /// Table with labels: TSV or CSV, the first column is the sample id
    #[arg(long, value_name = "TSV")]
    pub labels_file: Option<PathBuf>,
}

/// Where the split is.
#[derive(Args, Clone, Debug, Default)]
pub struct SplitArgs {
    /// Table with the columns id and split (train or test), or the name of such a column beside
    /// the labels
    #[arg(long, value_name = "TSV|KEY")]
    pub split: Option<String>,
}

/// Data as read, its kind checked.
pub(crate) struct Dataset {
    pub(crate) matrix: ExpressionMatrix,
    pub(crate) kind: ValueKind,
}

impl DataArgs {
    /// Reads the file and checks what its values are over every cell.
    pub(crate) fn read(&self) -> Result<Dataset, Failure> {
        let layer = match self.layer.as_str() {
            "X" => MatrixChoice::X,
            "raw" => MatrixChoice::Raw,
            name => MatrixChoice::Layer(name.into()),
        };
        let options = ReadOptions { layer, orientation: self.rows, value_kind: None };
        let matrix = read_expression(&self.data, &options)?;
        let kind = check_scale(&matrix, self.kind)?.kind;
        Ok(Dataset { matrix, kind })
    }
}

impl Dataset {
    /// The cells in the order of a model's panel. Refused where the model was trained on another
    /// kind of values or too few of its genes are there.
    pub(crate) fn align(&self, model: &Model<'_>) -> Result<AlignedMatrix, Failure> {
        let path = self.matrix.source.path.display();
        let profile = model.profiles().first().ok_or_else(|| Failure::internal("no profile"))?;
        if profile.kind() != self.kind {
            return Err(Failure::input(format!(
                "{path}: the values are {found}, the model was trained on {expected}; give it \
                 {expected} (another layer of the file?), or declare them with --kind if they were \
                 taken for the wrong kind",
                found = self.kind.name(),
                expected = profile.kind().name(),
            )));
        }
        let cells = align(&self.matrix, model.genes())?;
        let n_genes = model.n_genes();
        let coverage = u64::from(cells.overlap.n_present) * u64::from(ONE_Q16);
        if coverage < u64::from(model.rules().min_coverage_q16) * n_genes as u64
            || cells.overlap.n_present == 0
        {
            let example = |genes: Vec<&str>| genes.join(", ");
            return Err(Failure::input(format!(
                "{path}: has {found} of the model's {n_genes} genes, at least {needed} are needed; \
                 its genes are named like {theirs}, the model's like {ours}: check species and \
                 names",
                found = cells.overlap.n_present,
                needed = (u64::from(model.rules().min_coverage_q16) * n_genes as u64)
                    .div_ceil(u64::from(ONE_Q16))
                    .max(1),
                theirs =
                    example(self.matrix.genes.iter().take(3).map(|g| g.id.as_str()).collect()),
                ours = example((0..n_genes.min(3)).map(|g| model.genes().id(g)).collect()),
            )));
        }
        Ok(cells)
    }
}

/// Labels and split of a data set, joined to its rows.
pub(crate) struct Annotations {
    /// One text per row, where there is one.
    pub(crate) labels: Option<Column>,
    /// One part per row, where the split mentions it; `None` without a split.
    pub(crate) split: Option<Vec<Option<SplitPart>>>,
}

impl Annotations {
    pub(crate) fn read(
        matrix: &ExpressionMatrix,
        labels: &LabelArgs,
        split: &SplitArgs,
    ) -> Result<Self, Failure> {
        let table = labels.labels_file.as_deref().map(read_labels_tsv).transpose()?;
        let column = |name: &str| column(matrix, table.as_ref(), name);
        let labels = labels.labels.as_deref().map(column).transpose()?;
        let names = &matrix.obs_names;
        let split = match split.split.as_deref() {
            None => None,
            Some(file) if Path::new(file).is_file() => Some(read_split(Path::new(file), names)?),
            Some(key) => Some(split_parts(&column(key)?, key, names)?),
        };
        Ok(Self { labels, split })
    }

    /// Label of a row; empty texts are no labels.
    pub(crate) fn label(&self, row: usize) -> Option<String> {
        let text = self.labels.as_ref()?.text(row)?;
        (!text.is_empty()).then(|| text.into_owned())
    }
}

/// A column of the labels file if there is one, else of the data.
pub(crate) fn column(
    matrix: &ExpressionMatrix,
    table: Option<&SampleTable>,
    name: &str,
) -> Result<Column, Failure> {
    Ok(match table {
        Some(table) => table.joined(name, &matrix.obs_names)?,
        None => matrix.obs.column(name)?.clone(),
    })
}

fn parse_kind(text: &str) -> Result<ValueKind, String> {
    ValueKind::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = ValueKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn parse_orientation(text: &str) -> Result<Orientation, String> {
    match text {
        "genes" => Ok(Orientation::GenesByObs),
        "cells" | "samples" => Ok(Orientation::ObsByGenes),
        _ => Err("expected genes or cells".into()),
    }
}
