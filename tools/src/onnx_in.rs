//! Networks that others trained, from ONNX files.

use std::path::{Path, PathBuf};

use cic_data::align;
use cic_model::profile::Library;
use cic_model::spec::{LayoutPlan, ModelSpec};
use cic_model::{AlignedBytes, Model, ValueKind};
use cic_quant::CellRunner;
use cic_quant::onnx::{OnnxNetwork, OnnxOptions, OnnxReference, read_onnx};
use cic_runtime::{Numbers, Session};
use cic_trainer::adoption::{Adoption, adopt};
use clap::Args;

use crate::adopted::{Difference, Imported, MOST_COMPARED, check_labels, difference, gene_columns};
use crate::dataset::{Annotations, Dataset};
use crate::failure::Failure;
use crate::onnx_out;
use crate::promises::evenly;
use crate::results::network_input;
use crate::same_scale::note_scale;

/// What an ONNX file does not say about itself.
#[derive(Args, Clone, Debug)]
pub struct OnnxArgs {
    /// Of an ONNX model: file with the genes it reads,
    /// one a line, in order [default: its property genes]
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    genes: Option<PathBuf>,
    /// Of an ONNX model: file with names of its outputs,
    /// one a line, in order [default: what the file says]
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    classes: Option<PathBuf>,
    /// Of an ONNX model, what it reads: log1p:SUM, counts
    /// scaled to SUM over all measured genes, then
    /// ln(1 + x); log1p:SUM:panel, over its own genes; or
    /// none, values as DATA has them
    #[arg(long, value_name = "HOW", value_parser = parse_preprocess, verbatim_doc_comment)]
    preprocess: Option<Preprocess>,
    /// Of an ONNX model: the tensor that is the code
    /// [default: the output called code, or the sums of
    /// the narrowest hidden layer]
    #[arg(long, value_name = "TENSOR", verbatim_doc_comment)]
    code: Option<String>,
    /// Of an ONNX model: its outputs are the code; it
    /// names no classes
    #[arg(long, verbatim_doc_comment)]
    encoder_only: bool,
}

impl OnnxArgs {
    /// The option that was given, if any.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (self.genes.is_some(), "--genes"),
            (self.classes.is_some(), "--classes"),
            (self.preprocess.is_some(), "--preprocess"),
            (self.code.is_some(), "--code"),
            (self.encoder_only, "--encoder-only"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, name)| name)
    }

    /// Refuses options that a model of this project has no use for.
    pub(crate) fn check_unused(&self) -> Result<(), Failure> {
        match self.given() {
            None => Ok(()),
            Some(name) => Err(Failure::usage(format!("{name} is for ONNX models; leave it out"))),
        }
    }
}

/// What a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preprocess {
    /// Values as they are.
    None,
    /// `ln(1 + value · sum / library)`
    Log1p { sum: u32, library: Library },
}

fn parse_preprocess(text: &str) -> Result<Preprocess, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let sum = |text: &str| text.parse::<u32>().ok().filter(|&sum| sum > 0);
    match parts[..] {
        ["none"] => Some(Preprocess::None),
        ["log1p", text] => {
            sum(text).map(|sum| Preprocess::Log1p { sum, library: Library::AllMeasured })
        }
        ["log1p", text, "panel"] => {
            sum(text).map(|sum| Preprocess::Log1p { sum, library: Library::Panel })
        }
        _ => None,
    }
    .ok_or_else(|| "expected none, log1p:SUM or log1p:SUM:panel, as log1p:10000".into())
}

/// What the file says, as the option or as `cic train --onnx` has it.
fn own_preprocess(text: &str) -> Option<Preprocess> {
    if let Ok(own) = parse_preprocess(text) {
        return Some(own);
    }
    if text.ends_with(onnx_out::AS_THEY_ARE) {
        return Some(Preprocess::None);
    }
    let (sum, over) = text.split_once(onnx_out::LOGARITHM)?.1.split_once(" / ")?;
    let library = match over.trim_end_matches(')') {
        onnx_out::OVER_PANEL => Library::Panel,
        onnx_out::OVER_ALL => Library::AllMeasured,
        _ => return None,
    };
    Some(Preprocess::Log1p { sum: sum.parse().ok()?, library })
}

/// Makes a model of an ONNX file with the cells that it is to be calibrated with.
pub(crate) fn import(
    path: &Path,
    args: &OnnxArgs,
    are_held_out: bool,
    dataset: &Dataset,
    annotations: &Annotations,
) -> Result<Imported, Failure> {
    let in_file =
        |message: String| Failure::Model(anyhow::anyhow!("{}: {message}", path.display()));
    let options = OnnxOptions { code: args.code.as_deref(), is_encoder: args.encoder_only };
    let read = read_onnx(path, options).map_err(|error| in_file(error.to_string()))?;
    let OnnxNetwork { network, genes, labels: classes, preprocessing, producer, mut notes, code } =
        read;
    let own = own_preprocess(&preprocessing);
    if let (Some(given), Some(own)) = (args.preprocess, own)
        && given != own
    {
        notes.push(format!("--preprocess is used, though the file says {preprocessing:?}"));
    }
    if args.encoder_only && args.classes.is_some() {
        return Err(Failure::usage(
            "--classes names what --encoder-only says is not there; leave one of them out",
        ));
    }
    let n_genes = network.encoder.first().map_or(0, |layer| layer.in_dim);
    let n_classes = network.classifier.last().map_or(0, cic_model::DenseLayer::out_dim);
    let genes =
        names(args.genes.as_deref(), genes, n_genes, "--genes", "inputs", path, &mut notes)?;
    let classes = match args.encoder_only {
        true => Vec::new(),
        false => names(
            args.classes.as_deref(),
            classes,
            n_classes,
            "--classes",
            "outputs",
            path,
            &mut notes,
        )?,
    };
    let columns = columns(&genes, dataset)?;
    let (library, target_sum) = scaling(args.preprocess.or(own), dataset)?;
    let n_rows = dataset.matrix.n_obs();
    let labels: Vec<Option<String>> = (0..n_rows).map(|row| annotations.label(row)).collect();
    notes.extend(check_labels(&labels, &classes, dataset)?);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut spec = adopt(&Adoption {
        network,
        matrix: &dataset.matrix,
        are_held_out,
        kind: dataset.kind,
        library,
        target_sum,
        columns: &columns,
        own_inputs: None,
        classes: &classes,
        labels: &labels,
        groups: &annotations.groups,
        assigned: &annotations.assigned(n_rows),
        seed: 1,
        facts: &[
            ("import.code", code.clone()),
            ("import.file", name),
            ("import.format", "onnx".into()),
            ("import.producer", producer),
        ],
    })
    .map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    note_scale(&mut spec, dataset);
    notes.push(format!("the code is {code:?}, its dimensions scaled to unit variance"));
    if !are_held_out && !classes.is_empty() {
        notes.push(
            "no sets of labels are promised, as DATA may be what the network was trained on; --held-out says \
             that it is not. Limits for what is no cell, with --labels, are DATA's too: of cells that the network was trained on \
             they are too narrow, and cells to come are rejected"
                .into(),
        );
    }
    notes.push(compare_with_tract(path, &spec, dataset).map_err(in_file)?);
    let bytes = spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    Ok(Imported { bytes: AlignedBytes::new(&bytes), notes })
}

/// One name a line, or those that the file itself has.
fn names(
    given: Option<&Path>,
    own: Vec<String>,
    expected: usize,
    option: &str,
    of: &str,
    model: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<String>, Failure> {
    let (names, place): (Vec<String>, &Path) = match given {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::input(format!("{}: {error}{}", path.display(), Failure::advice(&error)))
            })?;
            let names = text.lines().map(|line| line.trim().to_string());
            let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
            let mut pairs = names.iter().zip(&own).enumerate();
            if let Some((at, (given, own))) = pairs.find(|(_, (given, own))| given != own) {
                notes.push(format!(
                    "{option} is used, though the file has names of its own: its number {} is {own:?} there and {given:?} here",
                    at + 1
                ));
            }
            (names, path)
        }
        None if own.is_empty() => {
            return Err(Failure::usage(format!(
                "{}: the file does not name its {expected} {of}; give them with {option} FILE, one a line",
                model.display()
            )));
        }
        None => (own, model),
    };
    if names.len() != expected {
        return Err(Failure::input(format!(
            "{}: {} names for the {expected} {of} of {}; give one for each, in order, with {option} FILE",
            place.display(),
            names.len(),
            model.display()
        )));
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::input(format!(
            "{}: {:?} stands there twice",
            place.display(),
            pair[0]
        )));
    }
    Ok(names)
}

/// Columns of the data that the network reads, by id, Ensembl id or symbol.
fn columns(genes: &[String], dataset: &Dataset) -> Result<Vec<u32>, Failure> {
    let places = gene_columns(genes, dataset);
    let pairs = genes.iter().zip(&places);
    let missing: Vec<&String> =
        pairs.filter(|(_, place)| place.is_none()).map(|(gene, _)| gene).collect();
    if let Some(first) = missing.first() {
        return Err(Failure::input(format!(
            "{}: lacks {} of the {} genes that the network reads, the first is {first:?}; calibrate with the \
             data that it was trained on, under the same names",
            dataset.matrix.source.path.display(),
            missing.len(),
            genes.len(),
        )));
    }
    let columns: Vec<u32> = places.into_iter().flatten().collect();
    // By what a file that is typed later is searched for.
    let mut named: Vec<(&str, &String)> = columns
        .iter()
        .map(|&column| dataset.matrix.genes[column as usize].key())
        .zip(genes)
        .collect();
    named.sort_unstable();
    match named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(columns),
        Some(pair) => Err(Failure::input(format!(
            "{}: {:?} and {:?}, which the network reads, are the same gene ({}); a file that is typed has it once",
            dataset.matrix.source.path.display(),
            pair[0].1,
            pair[1].1,
            pair[0].0
        ))),
    }
}

/// Library and sum of the profile.
fn scaling(preprocess: Option<Preprocess>, dataset: &Dataset) -> Result<(Library, u32), Failure> {
    let kind = dataset.kind.name();
    let path = dataset.matrix.source.path.display();
    let are_counts = matches!(dataset.kind, ValueKind::Counts | ValueKind::LinearNormalised);
    match preprocess {
        None => Err(Failure::usage(
            "--preprocess is missing: the file does not say what its network reads; log1p:10000 is what \
             scanpy's normalize_total(target_sum=1e4) and log1p give, none is values as DATA has them",
        )),
        Some(Preprocess::Log1p { sum, library }) if are_counts => Ok((library, sum)),
        Some(Preprocess::None) if !are_counts => Ok((Library::None, 0)),
        Some(Preprocess::None) => Err(Failure::usage(format!(
            "{path}: its values are {kind}, and networks that read them without a logarithm are not run; give \
             --preprocess log1p:SUM if the network was trained on that"
        ))),
        Some(Preprocess::Log1p { sum, .. }) => match dataset.log1p_sum {
            Some(found) if (found / f64::from(sum) - 1.0).abs() < 1e-3 => Ok((Library::None, 0)),
            _ => Err(Failure::usage(format!(
                "{path}: its values are {kind} already, and not of cells that sum to {sum}; give the counts, or \
                 --preprocess none if the network was trained on these values"
            ))),
        },
    }
}

/// Runs the untouched graph on some cells. What differs by more than rounding is refused, what cannot be run is told.
fn compare_with_tract(path: &Path, spec: &ModelSpec, dataset: &Dataset) -> Result<String, String> {
    let bytes = spec.to_bytes(LayoutPlan::default()).map_err(|error| error.to_string())?;
    let bytes = AlignedBytes::new(&bytes);
    let model = Model::open(&bytes).map_err(|error| error.to_string())?;
    let cells = align(&dataset.matrix, model.genes()).map_err(|error| error.to_string())?;
    let rows = evenly(&(0..cells.values.n_rows()).collect::<Vec<_>>(), MOST_COMPARED);
    let reference = match OnnxReference::open(path, model.n_genes(), rows.len()) {
        Ok(reference) => reference,
        Err(reason) => return Ok(format!("the graph itself was not run beside: {reason}")),
    };
    let mut inputs = vec![0.0; rows.len() * model.n_genes()];
    for (&row, input) in rows.iter().zip(inputs.chunks_exact_mut(model.n_genes())) {
        // Of a cell that cannot be scaled all is zero, and it is not compared.
        network_input(&model, &cells, row, input);
    }
    let expected = reference.run(&inputs)?;
    let width = expected.len() / rows.len().max(1);
    let session = Session::new(&model, 0).map_err(|error| error.to_string())?;
    let mut runner = CellRunner::new(session, &cells.present).map_err(|error| error.to_string())?;
    let n_classes = model.labels().n_leaves();
    let mut pairs = vec![Vec::new(); width];
    for (&row, expected) in rows.iter().zip(expected.chunks_exact(width.max(1))) {
        let (genes, values) = cells.values.row(row);
        let outcome =
            runner.run(genes, values, cells.totals[row]).map_err(|error| error.to_string())?;
        let Some(numbers) = outcome.numbers else { continue };
        let Numbers::Float(numbers) = numbers else { continue };
        let found = if n_classes > 0 { numbers.logits } else { numbers.code };
        for ((pairs, &expected), &found) in pairs.iter_mut().zip(expected).zip(found) {
            pairs.push((f64::from(found), f64::from(expected)));
        }
    }
    let what = if n_classes > 0 { "scores" } else { "codes" };
    if n_classes == 0 {
        // The dimensions of the code are scaled and moved.
        pairs.iter_mut().for_each(|pairs| undo_scaling(pairs));
    }
    let Difference { worst, .. } =
        difference(what, "those of the graph itself", pairs.iter().flatten().copied(), rows.len())?;
    Ok(format!(
        "{what} are those of the graph itself (tract) within {worst:.1e}, on {} cells",
        rows.len()
    ))
}

/// Replaces what was found by its best line through what is expected (least squares).
fn undo_scaling(pairs: &mut [(f64, f64)]) {
    let n = pairs.len().max(1) as f64;
    let sums = pairs.iter().fold((0.0, 0.0), |sums, pair| (sums.0 + pair.0, sums.1 + pair.1));
    let means = (sums.0 / n, sums.1 / n);
    let (mut square, mut product) = (0.0, 0.0);
    for (found, expected) in pairs.iter() {
        square += (found - means.0) * (found - means.0);
        product += (found - means.0) * (expected - means.1);
    }
    let slope = if square > 0.0 { product / square } else { 0.0 };
    pairs.iter_mut().for_each(|(found, _)| *found = means.1 + slope * (*found - means.0));
}

#[cfg(test)]
mod tests {
    use cic_data::{CsrMatrix, ExpressionMatrix, Gene, ObsTable};

    use super::*;

    #[test]
    fn what_files_say_of_their_inputs_is_read() {
        let log1p = |library| Some(Preprocess::Log1p { sum: 10_000, library });
        for (text, expected) in [
            ("log1p:10000", log1p(Library::AllMeasured)),
            (
                "counts: ln(1 + value * 10000 / sum over the genes of the panel)",
                log1p(Library::Panel),
            ),
            (
                "counts: ln(1 + value * 10000 / sum over all measured genes)",
                log1p(Library::AllMeasured),
            ),
            ("log1p: values as they are", Some(Preprocess::None)),
            ("none", Some(Preprocess::None)),
            ("", None),
            ("counts: ln(1 + value * x / sum over all measured genes)", None),
            ("scaled", None),
        ] {
            assert_eq!(own_preprocess(text), expected, "{text}");
        }
    }

    #[test]
    fn a_gene_by_two_of_its_names_is_refused() {
        let gene =
            |number: u32, symbol: &str| Gene::new(format!("ENSG{number:011}"), Some(symbol), None);
        let matrix = ExpressionMatrix {
            obs_names: vec!["cell".into()],
            genes: vec![gene(1, "TP53"), gene(2, "ACTB")],
            values: CsrMatrix::from_dense(2, &[1.0, 2.0]).unwrap(),
            obs: ObsTable::default(),
            source: cic_data::Source::default(),
        };
        let dataset = Dataset::checked(matrix, Some(ValueKind::Counts)).unwrap();
        let found = |names: &[&str]| {
            columns(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), &dataset)
        };
        assert_eq!(found(&["ACTB", "ENSG00000000001.7"]).unwrap(), [1, 0]);
        assert!(found(&["ACTB", "MYC"]).unwrap_err().to_string().contains("lacks 1 of the 2"));
        assert_eq!(found(&["ACTB", "ENSG00000000001"]).unwrap(), [1, 0]);
        let message = found(&["TP53", "ENSG00000000001"]).unwrap_err().to_string();
        assert!(message.contains("are the same gene"), "{message}");
    }
}
