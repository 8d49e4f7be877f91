//! Expression data with labels and a split, as the command line names them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cic_data::{
    AlignedMatrix, Column, ExpressionMatrix, MatrixChoice, Names, ObsTable, Orientation,
    PanelAlignment, ReadOptions, ScaleVerdict, SplitPart, align, check_scale, rank_rows,
    read_expression, read_labels_tsv, read_split, split_parts,
};
use cic_model::{Model, ValueKind};
use cic_trainer::parts::Assigned;
use clap::Args;

use crate::coverage::{check_coverage, check_judged};
use crate::failure::Failure;
use crate::same_scale::{GeneSums, check_log1p_sum};

/// How to read the expression file.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Expression data: .h5ad, Cell Ranger .h5, 10x folder or
    /// matrix.mtx[.gz], GEO series matrix, TSV, CSV [.gz];
    /// with the features of their names Parquet, Zarr
    #[arg(verbatim_doc_comment)]
    pub data: PathBuf,
    /// Which of its values, and what they are.
    #[command(flatten)]
    pub values: ValueArgs,
}

/// Which values of the file, what they are, and how a table of them lies.
#[derive(Args, Clone, Debug)]
pub struct ValueArgs {
    /// What the values are: counts, linear_normalised,
    /// log1p or log2_intensity
    /// [default: detected over every cell]
    #[arg(long, value_name = "KIND", value_parser = parse_kind, verbatim_doc_comment)]
    pub kind: Option<ValueKind>,
    /// Matrix of an AnnData file: X, raw or the name
    /// of a layer
    #[arg(long, value_name = "NAME", default_value = "X", verbatim_doc_comment)]
    pub layer: String,
    /// Rows of a text table: genes or cells
    /// [default: by the form of the names]
    #[arg(long, value_name = "AXIS", value_parser = parse_orientation, verbatim_doc_comment)]
    pub rows: Option<Orientation>,
}

/// Where the labels are.
#[derive(Args, Clone, Debug, Default)]
pub struct LabelArgs {
    /// Column with cell types, of the labels file or of
    /// obs; empty, NA, nan and None are no cell types
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    pub labels: Option<String>,
    /// Table (TSV or CSV) with the columns about the
    /// cells; its first column is their id
    #[arg(long, value_name = "TSV", verbatim_doc_comment)]
    pub labels_file: Option<PathBuf>,
    /// Labels that are no cell types: their cells
    /// count as cells without a label
    #[arg(long, value_name = "A,B", value_delimiter = ',', verbatim_doc_comment)]
    pub unlabelled: Vec<String>,
}

impl LabelArgs {
    /// Refuses to go on without the column.
    pub(crate) fn require(&self) -> Result<(), Failure> {
        match self.labels {
            Some(_) => Ok(()),
            None => {
                Err(Failure::usage("--labels KEY is missing: it names the column with cell types"))
            }
        }
    }
}

/// Where the split is.
#[derive(Args, Clone, Debug, Default)]
pub struct SplitArgs {
    /// Table with the columns id and split (train or
    /// test), or a column like that beside the labels
    #[arg(long, value_name = "TSV|KEY", verbatim_doc_comment)]
    pub split: Option<String>,
}

/// Data as read, its kind checked.
pub(crate) struct Dataset {
    pub(crate) matrix: ExpressionMatrix,
    pub(crate) kind: ValueKind,
    /// What shows the kind; empty where it was declared.
    pub(crate) evidence: String,
    /// What every cell sums to after `exp(x) − 1`, where all agree.
    pub(crate) log1p_sum: Option<f64>,
}

impl DataArgs {
    /// Reads the file and checks what its values are over every cell.
    pub(crate) fn read(&self) -> Result<Dataset, Failure> {
        Dataset::checked(self.read_any()?, self.values.kind)
    }

    /// Reads the file, whatever its values are.
    pub(crate) fn read_any(&self) -> Result<ExpressionMatrix, Failure> {
        Ok(read_expression(&self.data, &self.options())?)
    }

    /// The options, without the kind: whoever reads checks it.
    pub(crate) fn options(&self) -> ReadOptions {
        let layer = match self.values.layer.as_str() {
            "X" => MatrixChoice::X,
            "raw" => MatrixChoice::Raw,
            name => MatrixChoice::Layer(name.into()),
        };
        ReadOptions { layer, orientation: self.values.rows, value_kind: None }
    }
}

impl Dataset {
    /// A file whose values are of a kind, the declared one if there is one.
    pub(crate) fn checked(
        matrix: ExpressionMatrix,
        declared: Option<ValueKind>,
    ) -> Result<Self, Failure> {
        let verdict = check_scale(&matrix, declared)?;
        let evidence = if declared.is_none() { verdict.evidence } else { String::new() };
        let log1p_sum = verdict.scale.log1p_sum();
        Ok(Self { matrix, kind: verdict.kind, evidence, log1p_sum })
    }

    /// The cells in the order of a model's panel. Refused where the model was trained on another
    /// kind of values, on another scale, or too few of its genes are there.
    pub(crate) fn align(&self, model: &Model<'_>) -> Result<AlignedMatrix, Failure> {
        let names = self.matrix.names();
        check_kind(names, self.kind, &self.evidence, model)?;
        check_log1p_sum(names, self.log1p_sum, model)?;
        let mut cells = align(&self.matrix, model.genes())?;
        check_coverage(names, &cells.present, model)?;
        GeneSums::of(model_kind(model)?, &cells.values).check(names, &cells.present, model)?;
        if model_kind(model)? == ValueKind::Ranks {
            rank_rows(&mut cells.values, cells.overlap.n_present as usize);
        }
        Ok(cells)
    }

    /// Ids of some rows.
    pub(crate) fn names_of<'a>(
        &'a self,
        rows: &'a [usize],
    ) -> impl ExactSizeIterator<Item = &'a str> {
        rows.iter().map(|&row| self.matrix.obs_names[row].as_str())
    }
}

/// Whether files are typed whose cells cannot be told from noise.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct UnjudgedArgs {
    /// Take a file also where so many of the model's
    /// genes are missing that noise, doublets and
    /// other cells cannot be told from those that it
    /// knows, and get labels
    #[arg(long, verbatim_doc_comment)]
    pub(crate) accept_unjudged: bool,
}

/// Finds the genes of a file in the panel of a model. Refused where that much says already that the
/// model cannot take the file, before a value was read.
pub(crate) fn admit(
    names: Names<'_>,
    declared: Option<ValueKind>,
    model: &Model<'_>,
    accepts_unjudged: bool,
) -> Result<PanelAlignment, Failure> {
    if let Some(declared) = declared {
        check_kind(names, declared, "", model)?;
    }
    let alignment = PanelAlignment::new(names, model.genes())?;
    check_coverage(names, &alignment.present, model)?;
    if !accepts_unjudged {
        check_judged(names, alignment.overlap.share_q30, model)?;
    }
    Ok(alignment)
}

/// Refuses values of another kind or on another scale than the model was trained on, once all of
/// them were looked at.
pub(crate) fn check_values(
    names: Names<'_>,
    verdict: &ScaleVerdict,
    gene_sums: &GeneSums,
    present: &[bool],
    model: &Model<'_>,
) -> Result<(), Failure> {
    check_kind(names, verdict.kind, &verdict.evidence, model)?;
    check_log1p_sum(names, verdict.scale.log1p_sum(), model)?;
    gene_sums.check(names, present, model)
}

/// Refuses values of another kind than those that the model was trained on. `evidence` shows the
/// kind where nobody declared it.
pub(crate) fn check_kind(
    names: Names<'_>,
    kind: ValueKind,
    evidence: &str,
    model: &Model<'_>,
) -> Result<(), Failure> {
    let expected = model_kind(model)?;
    // Ranks are made of values of any kind.
    if expected == kind || expected == ValueKind::Ranks {
        return Ok(());
    }
    let (path, found, expected) = (names.path.display(), kind.name(), expected.name());
    Err(Failure::input(match evidence {
        "" => format!(
            "{path}: declared {found}, but the model was trained on {expected}; give it {expected} (another layer of the file?), \
             or leave --kind out if the values are {expected}"
        ),
        _ => format!(
            "{path}: the values are {found} ({evidence}), the model was trained on {expected}; give it \
             {expected} (another layer of the file?), or declare them with --kind if they were taken \
             for the wrong kind"
        ),
    }))
}

/// The kind of values that the model was trained on.
pub(crate) fn model_kind(model: &Model<'_>) -> Result<ValueKind, Failure> {
    let profile = model.profiles().first().ok_or_else(|| Failure::internal("no profile"))?;
    Ok(profile.kind())
}

/// Labels and split of a data set, joined to its rows.
#[derive(Clone)]
pub(crate) struct Annotations {
    /// One text per row, where there is one.
    pub(crate) labels: Option<Column>,
    /// Texts that are no labels.
    pub(crate) unlabelled: Vec<String>,
    /// Donor, batch or study of every row; empty when none were asked for.
    pub(crate) groups: Vec<Option<String>>,
    /// One part per row, where the split mentions it; `None` without a split.
    pub(crate) split: Option<Vec<Option<SplitPart>>>,
}

impl Annotations {
    pub(crate) fn read(
        matrix: &ExpressionMatrix,
        labels: &LabelArgs,
        split: &SplitArgs,
        groups: Option<&str>,
    ) -> Result<Self, Failure> {
        let table = labels.labels_file.as_deref().map(read_labels_tsv).transpose()?;
        let column = |name: &str| match &table {
            Some(table) => Ok(table.joined(name, &matrix.obs_names)?),
            None => obs_column(&matrix.source.path, &matrix.obs, name).cloned(),
        };
        let unlabelled = labels.unlabelled.clone();
        let labels = labels.labels.as_deref().map(column).transpose()?;
        let has = |name: &String| {
            let texts = (0..matrix.n_obs()).filter_map(|row| labels.as_ref()?.text(row));
            texts.into_iter().any(|text| text == name.as_str())
        };
        if let Some(unknown) = unlabelled.iter().find(|name| !has(name)) {
            return Err(Failure::usage(format!("--unlabelled {unknown}: no cell has this label")));
        }
        let groups = groups.map(column).transpose()?.map_or(Vec::new(), |groups| {
            (0..matrix.n_obs()).map(|row| groups.text(row).map(Cow::into_owned)).collect()
        });
        let names = &matrix.obs_names;
        let split = match split.split.as_deref() {
            None => None,
            Some(file) if Path::new(file).is_file() => Some(read_split(Path::new(file), names)?),
            Some(key) => {
                let column = column(key)
                    .map_err(|error| error.context(format!("--split {key} is no file")))?;
                Some(split_parts(&column, &format!("column {key}"), names)?)
            }
        };
        Ok(Self { labels, unlabelled, groups, split })
    }

    /// What the split says of each row; what it does not mention is for no part.
    pub(crate) fn assigned(&self, n_rows: usize) -> Vec<Assigned> {
        let Some(split) = &self.split else { return vec![Assigned::Open; n_rows] };
        let of_part = |part: &Option<SplitPart>| match part {
            Some(SplitPart::Train) => Assigned::Train,
            Some(SplitPart::Test) => Assigned::Test,
            None => Assigned::Excluded,
        };
        split.iter().map(of_part).collect()
    }

    /// Label of a row.
    pub(crate) fn label(&self, row: usize) -> Option<String> {
        let text = self.labels.as_ref()?.text(row)?;
        let is_none =
            NO_LABEL.contains(&&*text) || self.unlabelled.iter().any(|none| *none == *text);
        (!is_none).then(|| text.into_owned())
    }
}

/// What pandas and R write where there is no label.
const NO_LABEL: [&str; 6] = ["", "NA", "nan", "NaN", "None", "<NA>"];

/// A column of what the data file itself says about its cells.
pub(crate) fn obs_column<'a>(
    path: &Path,
    obs: &'a ObsTable,
    name: &str,
) -> Result<&'a Column, Failure> {
    let path = path.display();
    if obs.names().next().is_none() && obs.unreadable().is_empty() {
        return Err(Failure::usage(format!(
            "{path}: no column {name:?}: the file says nothing about its cells; labels and splits \
             can come from a table, with --labels-file"
        )));
    }
    obs.column(name).map_err(|error| Failure::from(error).context(path))
}

pub(crate) fn parse_kind(text: &str) -> Result<ValueKind, String> {
    let kind = ValueKind::from_name(text).filter(|kind| ValueKind::OF_FILES.contains(kind));
    kind.ok_or_else(|| {
        let names: Vec<&str> = ValueKind::OF_FILES.iter().map(|kind| kind.name()).collect();
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
