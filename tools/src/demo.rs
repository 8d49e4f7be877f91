//! `cic demo`: the whole line on one data set, in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cic_data::simulate::Simulation;
use cic_data::{AnnDataOut, ObsTable, write_h5ad};
use cic_model::profile::Library;
use cic_model::spec::{FalseRejects, LayoutPlan};
use cic_model::{AlignedBytes, Dtype, Model, ValueKind};
use cic_quant::{QuantizeOptions, compare};
use cic_trainer::panel::PanelSize;
use clap::Args;

use crate::console::print_line;
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs, ValueArgs};
use crate::evaluate::evaluate;
use crate::failure::Failure;
use crate::output;
use crate::promises::{PromiseCells, leaves_of};
use crate::quantize::{calibration_rows, quantize_rows};
use crate::train::{Recipe, TrainPlan, parse_panel, part_sizes, promise, train_model};

/// Options of `cic demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Expression data; simulated cells when left out
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    values: ValueArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// Genes of the panel, or all
    #[arg(long, value_name = "N|all", default_value = "2000", value_parser = parse_panel)]
    genes: PanelSize,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the cells (cells.h5ad) and the models (f32.cic,
    /// f16.cic, int8.cic) in this folder
    #[arg(long, value_name = "FOLDER", verbatim_doc_comment)]
    save: Option<PathBuf>,
}

/// Trains, quantises, types the test cells and prints a table.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let (dataset, annotations) = match &args.data {
        Some(path) => read(args, path.clone())?,
        None => simulate(args.seed),
    };
    if let Some(folder) = &args.save {
        save_cells(folder, &dataset, &annotations)?;
    }
    if args.data.is_none() {
        print_line("simulated cells, not real ones: no data was given")?;
    }
    let started = Instant::now();
    print_line(format_args!(
        "data: {}, {} cells x {} genes, {}",
        dataset.matrix.source.format,
        dataset.matrix.n_obs(),
        dataset.matrix.n_vars(),
        dataset.kind.name()
    ))?;
    let mut trained = train_model(TrainPlan {
        dataset: &dataset,
        annotations: &annotations,
        keep: None,
        library: Library::Panel,
        recipe: Recipe::new(args.genes, &[], args.seed),
        trains_on_calibration: false,
        threads: 0,
        checkpoint: None,
        quiet: false,
    })?;
    let parts = &trained.parts;
    print_line(format_args!(
        "trained in {:.0} s; rows: {}\n",
        started.elapsed().as_secs_f64(),
        part_sizes(parts)
    ))?;
    promise(&mut trained.spec, &dataset, &annotations, FalseRejects::default())?;
    let full = trained.spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    let full = AlignedBytes::new(&full);
    let model = Model::open_verified(&full).map_err(Failure::internal)?;
    let cells = dataset.align(&model)?;
    let promises = PromiseCells {
        source: &model,
        names: &dataset.matrix.obs_names,
        cells: &cells,
        leaves: Some(leaves_of(&model, dataset.matrix.n_obs(), |row| annotations.label(row))),
        false_rejects: FalseRejects::default(),
    };
    let calibration = calibration_rows(&model, &dataset, None)?;
    let names: Vec<&str> =
        parts.test.iter().map(|&row| dataset.matrix.obs_names[row].as_str()).collect();
    let labels: Vec<Option<String>> =
        parts.test.iter().map(|&row| annotations.label(row)).collect();

    print_line(format_args!(
        "{:9}  {:>9}  {:>8}  {:>8}  {:>10}  {:>10}  {:>8}",
        "precision", "bytes", "accuracy", "macro-F1", "same label", "code error", "R2"
    ))?;
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Mixed, Dtype::S8] {
        let bytes = match dtype {
            Dtype::F32 => full.to_vec(),
            _ => {
                let options = QuantizeOptions::new(dtype);
                let bytes = quantize_rows(&model, &cells, &calibration, &options)?;
                promises.renew_bytes(&bytes, options.layouts)?
            }
        };
        if let Some(folder) = &args.save {
            let path = folder.join(dtype.name()).with_extension("cic");
            output::write(&path, |file| file.write_all(&bytes))?;
        }
        let aligned = AlignedBytes::new(&bytes);
        let quantised = Model::open_verified(&aligned).map_err(Failure::internal)?;
        let scores = evaluate(&quantised, &cells, &parts.test, &names, &labels, "test")?;
        let changes =
            compare(&model, &quantised, &cells, &parts.test).map_err(Failure::internal)?;
        print_line(format_args!(
            "{:9}  {:>9}  {:>8.4}  {:>8.4}  {:>8.2} %  {:>10.4}  {:>8.4}",
            dtype.name(),
            bytes.len(),
            scores.accuracy.unwrap_or(f64::NAN),
            scores.macro_f1.unwrap_or(f64::NAN),
            100.0 * changes.agreement(),
            changes.pooled_code_error,
            scores.reconstruction.map_or(f64::NAN, |scores| scores.r2),
        ))?;
    }
    print_line(
        "\nsame label  share of the test cells that have the label of f32\n\
         code error  root mean square, in standard deviations between cells\n\
         R2          of the reproduced profiles, against the mean training profile",
    )
}

fn read(args: &DemoArgs, path: PathBuf) -> Result<(Dataset, Annotations), Failure> {
    if args.labels.labels.is_none() {
        return Err(Failure::usage("--data needs --labels KEY, the column with cell types"));
    }
    let dataset = DataArgs { data: path, values: args.values.clone() }.read()?;
    let annotations =
        Annotations::read(&dataset.matrix, &args.labels, &SplitArgs::default(), None)?;
    Ok((dataset, annotations))
}

/// Cells and their labels, as an AnnData file.
fn save_cells(folder: &Path, dataset: &Dataset, annotations: &Annotations) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::output(folder, error))?;
    let path = folder.join("cells.h5ad");
    let matrix = &dataset.matrix;
    let mut obs = ObsTable::default();
    if let Some(labels) = &annotations.labels {
        obs.insert("cell_type", labels.clone());
    }
    let genes: Vec<String> = matrix.genes.iter().map(|gene| gene.id.clone()).collect();
    let cells = AnnDataOut {
        obs_names: &matrix.obs_names,
        obs,
        var_names: &genes,
        x: Some(&matrix.values),
        ..AnnDataOut::default()
    };
    write_h5ad(&path, &cells).map_err(|error| output::failed(&path, error))
}

fn simulate(seed: u64) -> (Dataset, Annotations) {
    let cells = Simulation { seed, ..Simulation::default() }.run();
    let names = cells.labels.iter().map(|&label| cells.type_names.get(label as usize));
    let labels = cic_data::Column::categorical(names.map(|name| name.map(String::as_str)));
    let dataset = Dataset {
        matrix: cells.matrix,
        kind: ValueKind::Counts,
        evidence: String::new(),
        log1p_sum: None,
    };
    let labels = Some(labels);
    (dataset, Annotations { labels, unlabelled: Vec::new(), groups: Vec::new(), split: None })
}
