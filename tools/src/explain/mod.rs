//! `cic explain`: which genes a dimension of the code moves and which gene sets stand out among them; which genes decided
//! the call of a cell.

mod bars;
mod cells;
mod dimensions;
mod report;
mod tables;

use std::path::{Path, PathBuf};

use cic_data::{AlignedMatrix, read_gene_sets};
use cic_model::spec::{MixedNetwork, ModelSpec, NetworkSpec};
use cic_model::{Model, Network};
use cic_trainer::gene_sets::{PanelSets, SetSizes};
use clap::Args;

use crate::console::{print, print_json, tell};
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::results::{Calls, network_input};
use crate::totals::TotalArgs;
use crate::{model_file, output};

use cells::{Cell, TypeCalls};
use dimensions::Dimension;
use report::Report;

/// Options of `cic explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// The model, f32 or f16, with its decoder where
    /// dimensions are explained
    #[arg(long, short, value_name = "MODEL", verbatim_doc_comment)]
    model: PathBuf,
    #[command(flatten)]
    totals: TotalArgs,
    /// Gene sets, .gmt or .gmt.gz; can be given again
    #[arg(long, value_name = "FILE")]
    gmt: Vec<PathBuf>,
    /// Fewest and most genes of a set in the panel
    /// [default: 5..500]
    #[arg(
        long,
        value_name = "N..N",
        default_value = "5..500",
        hide_default_value = true,
        value_parser = parse_sizes,
        verbatim_doc_comment
    )]
    set_size: (usize, usize),
    /// Dimensions of the code, from 0 on, separated by
    /// commas, or none [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', verbatim_doc_comment)]
    dimensions: Vec<String>,
    /// So many genes of largest change are looked at
    /// [default: 100]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(1..),
        verbatim_doc_comment
    )]
    top: u32,
    /// Cells whose calls are explained, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    cells: Vec<String>,
    /// Or each type as a whole (of 50 of its cells at
    /// most), and so many cells of it,
    /// those nearest to its mean code [default: 1]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        hide_default_value = true,
        conflicts_with = "cells",
        verbatim_doc_comment
    )]
    per_type: usize,
    /// Explain why cells are not of this type, rather
    /// than of any other
    #[arg(long, value_name = "TYPE", verbatim_doc_comment)]
    against: Option<String>,
    /// Write tables and plots into this folder
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A collection of gene sets, reduced to the panel.
struct Collection {
    name: String,
    sets: PanelSets,
}

/// What is explained.
struct Study<'a> {
    model: &'a Model<'a>,
    network: &'a Network,
    dataset: &'a Dataset,
    annotations: &'a Annotations,
    cells: &'a AlignedMatrix,
    calls: &'a Calls,
    /// Rows that have a code.
    rows: Vec<usize>,
}

/// What was found.
struct Findings {
    collections: Vec<Collection>,
    dimensions: Vec<Dimension>,
    types: Vec<TypeCalls>,
    cells: Vec<Cell>,
}

/// Explains, prints and writes.
pub fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    let network = match ModelSpec::from_model(&model).network {
        NetworkSpec::F32(network)
        | NetworkSpec::F16(network)
        | NetworkSpec::Mixed(MixedNetwork { network, .. }) => network,
        NetworkSpec::S8(_) => {
            return Err(refused(
                &args.model,
                "it is an int8 model, whose steps have no derivatives; explain the f32 model that it \
                 was made from, its calls are the same but for rounding",
            ));
        }
    };
    let dimensions = chosen_dimensions(&args.dimensions, model.code_dim())?;
    if !dimensions.is_empty() && network.decoder.is_empty() {
        return Err(refused(
            &args.model,
            "it has no decoder, so dimensions of its code cannot be decoded; give the model as cic \
             train wrote it, or --dimensions none",
        ));
    }
    let against = args.against.as_deref().map(|name| leaf(&model, name)).transpose()?;
    if network.classifier.is_empty() && (!args.cells.is_empty() || against.is_some()) {
        return Err(refused(
            &args.model,
            "it names no cell types, so there are no calls to explain",
        ));
    }
    if let Some(twice) = (1..args.gmt.len()).find(|&at| args.gmt[..at].contains(&args.gmt[at])) {
        return Err(Failure::usage(format!("--gmt {}: is given twice", args.gmt[twice].display())));
    }
    let collections = args.gmt.iter().map(|path| read_collection(path, &model, args));
    let collections: Vec<Collection> = collections.collect::<Result<_, _>>()?;
    let files = args.out.as_deref().map(|folder| out_files(folder, args)).transpose()?;

    let dataset = args.data.read()?;
    let annotations =
        Annotations::read(&dataset.matrix, &args.labels, &SplitArgs::default(), None)?;
    let mut cells = dataset.align(&model)?;
    args.totals.apply(&model, &dataset.matrix, &mut cells)?;
    let calls = Calls::run(&model, &cells, false)?;
    let mut input = vec![0.0; model.n_genes()];
    let rows: Vec<usize> = (0..dataset.matrix.n_obs())
        .filter(|&row| network_input(&model, &cells, row, &mut input))
        .collect();
    if rows.len() < 2 {
        return Err(Failure::input(format!(
            "{}: {} cells with values in the panel; codes vary over at least two",
            args.data.data.display(),
            rows.len()
        )));
    }
    let study = Study {
        model: &model,
        network: &network,
        dataset: &dataset,
        annotations: &annotations,
        cells: &cells,
        calls: &calls,
        rows,
    };
    let chosen = study.chosen_cells(&args.cells, args.per_type)?;
    let top = model.n_genes().min(args.top as usize);
    let found = Findings {
        dimensions: study.explain_dimensions(&dimensions, top, &collections),
        types: match args.cells.is_empty() && args.per_type > 0 && model.n_leaves() > 1 {
            true => study.explain_types(against),
            false => Vec::new(),
        },
        cells: chosen.iter().filter_map(|&row| study.explain_cell(row, against)).collect(),
        collections,
    };
    if let Some(files) = &files {
        tables::write(files, &study, &found)?;
    }
    let report = Report::new(&study, &found, top);
    match args.json {
        true => print_json(&report),
        false => print(|out| report.write(out)),
    }
}

impl Study<'_> {
    /// Code of a row.
    fn code(&self, row: usize) -> &[f32] {
        let dim = self.model.code_dim();
        &self.calls.codes[row * dim..(row + 1) * dim]
    }

    /// Mean code of rows.
    fn mean_code(&self, rows: &[usize]) -> Vec<f64> {
        let mut mean = vec![0.0; self.model.code_dim()];
        for &row in rows {
            let code = mean.iter_mut().zip(self.code(row));
            code.for_each(|(mean, &value)| *mean += f64::from(value) / rows.len() as f64);
        }
        mean
    }

    /// What a gene is called: its symbol, or else its id.
    fn gene_name(&self, gene: usize) -> &str {
        let panel = self.model.genes();
        match panel.symbol(gene) {
            "" => panel.id(gene),
            symbol => symbol,
        }
    }

    /// The mean training profile.
    fn baseline(&self) -> &[f32] {
        self.model.profiles().first().map_or(&[], |profile| profile.fill_values())
    }
}

/// Where results go.
struct OutFiles {
    folder: PathBuf,
    dimensions: PathBuf,
    gene_sets: PathBuf,
    types: PathBuf,
    types_plot: PathBuf,
    cells: PathBuf,
    cells_plot: PathBuf,
}

/// The files in a folder, which is made when there is something to write.
fn out_files(folder: &Path, args: &ExplainArgs) -> Result<OutFiles, Failure> {
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::usage(format!("{}: is no folder; name one", folder.display())));
    }
    let files = OutFiles {
        folder: folder.to_path_buf(),
        dimensions: folder.join("dimensions.tsv"),
        gene_sets: folder.join("gene_sets.tsv"),
        types: folder.join("types.tsv"),
        types_plot: folder.join("types.svg"),
        cells: folder.join("cells.tsv"),
        cells_plot: folder.join("cells.svg"),
    };
    let outputs = [
        &*files.dimensions,
        &*files.gene_sets,
        &*files.types,
        &*files.types_plot,
        &*files.cells,
        &*files.cells_plot,
    ];
    let mut inputs = vec![&*args.data.data, &*args.model];
    inputs.extend(args.gmt.iter().map(PathBuf::as_path));
    inputs.extend(args.labels.labels_file.as_deref());
    match folder.exists() {
        true => output::check(&outputs, &inputs)?,
        false => output::check(&[folder], &inputs)?,
    }
    Ok(files)
}

fn read_collection(
    path: &Path,
    model: &Model<'_>,
    args: &ExplainArgs,
) -> Result<Collection, Failure> {
    let (least, most) = args.set_size;
    let read = read_gene_sets(path)?;
    let sets = PanelSets::new(&read, model.genes(), SetSizes { least, most });
    if sets.n_matched == 0 {
        if read.sets.iter().all(|set| set.genes.is_empty()) {
            return Err(Failure::input(format!(
                "{}: no line has a gene after its name and description; GMT has a set a line: name, \
                 description and genes, separated by tabs",
                path.display()
            )));
        }
        let theirs = read.sets.iter().flat_map(|set| &set.genes).take(3).map(String::as_str);
        let ours = (0..model.n_genes().min(3)).map(|gene| model.genes().id(gene));
        return Err(Failure::input(format!(
            "{}: none of its genes is in the model's panel; they are named like {}, the panel's like \
             {}: check species and names",
            path.display(),
            theirs.collect::<Vec<_>>().join(", "),
            ours.collect::<Vec<_>>().join(", "),
        )));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let name = name.strip_suffix(".gmt").unwrap_or(name).to_owned();
    if sets.sets.is_empty() {
        tell(format_args!(
            "note: {name}: no set has {least} to {most} genes in the panel; --set-size allows others"
        ));
    }
    Ok(Collection { name, sets })
}

fn chosen_dimensions(list: &[String], code_dim: usize) -> Result<Vec<usize>, Failure> {
    match list {
        [] => Ok((0..code_dim).collect()),
        [none] if none == "none" => Ok(Vec::new()),
        list => {
            let known = |text: &String| {
                let found =
                    text.trim().parse().ok().filter(|&dimension: &usize| dimension < code_dim);
                found.ok_or_else(|| {
                    Failure::usage(format!(
                        "--dimensions {text}: the code has the dimensions 0 to {}",
                        code_dim - 1
                    ))
                })
            };
            let mut chosen: Vec<usize> = list.iter().map(known).collect::<Result<_, _>>()?;
            chosen.sort_unstable();
            chosen.dedup();
            Ok(chosen)
        }
    }
}

/// The leaf with a name.
fn leaf(model: &Model<'_>, name: &str) -> Result<usize, Failure> {
    let leaves = 0..model.n_leaves();
    leaves.clone().find(|&leaf| model.labels().leaf_name(leaf) == name).ok_or_else(|| {
        let known: Vec<&str> = leaves.map(|leaf| model.labels().leaf_name(leaf)).collect();
        Failure::usage(format!(
            "--against {name}: the model knows no such type; there are {}",
            known.join(", ")
        ))
    })
}

fn refused(path: &Path, reason: &str) -> Failure {
    Failure::Model(anyhow::anyhow!("{}: {reason}", path.display()))
}

fn parse_sizes(text: &str) -> Result<(usize, usize), String> {
    let sizes = text.split_once("..").and_then(|(least, most)| {
        Some((least.parse().ok().filter(|&n: &usize| n > 0)?, most.parse().ok()?))
    });
    sizes
        .filter(|(least, most)| least <= most)
        .ok_or_else(|| "expected the fewest and the most, such as 5..500".into())
}
