//! What a processor has to do for a model, in units whose cost in instructions is the same for every model.

use cic_model::container::SectionKind;
use cic_model::layer::{Layer, Weights};
use cic_model::{Model, StageKind};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `Model::open`.
    Open,
    /// `Model::open_verified`.
    Verify,
    /// A cell whose counts are all large and all given: the most that one can take.
    Dense,
    /// A cell that lists a fourteenth of the genes, with small counts.
    Sparse,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Verify, Self::Dense, Self::Sparse];

    /// The name in the table of costs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Verify => "verify",
            Self::Dense => "dense",
            Self::Sparse => "sparse",
        }
    }

    /// Tasks with the same name here share their costs.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Verify => "verify",
            Self::Dense | Self::Sparse => "cell",
        }
    }
}

/// Genes that a sparse cell lists, of so many.
pub const fn n_listed(n_genes: usize) -> usize {
    n_genes.div_ceil(14)
}

/// Amounts of work by name, zeros left out.
pub fn amounts(model: &Model<'_>, task: Task) -> Vec<(&'static str, f64)> {
    let mut work = Work(Vec::new());
    work.add("call", 1);
    match task {
        Task::Open | Task::Verify => opening(model, task, &mut work),
        Task::Dense | Task::Sparse => cell(model, task, &mut work),
    }
    work.0
}

struct Work(Vec<(&'static str, f64)>);

impl Work {
    fn add(&mut self, name: &'static str, amount: usize) {
        if amount == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += amount as f64,
            None => self.0.push((name, amount as f64)),
        }
    }
}

fn opening(model: &Model<'_>, task: Task, work: &mut Work) {
    let sections = || model.container().sections();
    let weights = sections().filter(|section| section.kind == SectionKind::Weights as u32);
    let n_weights: usize = weights.map(|section| section.len).sum();
    let n_bytes: usize = sections().map(|section| section.len).sum();
    work.add("metadata bytes", n_bytes - n_weights);
    work.add("sections", sections().count());
    work.add("genes", model.n_genes());
    work.add("cell types", model.n_leaves());
    let layers = || model.layers().iter();
    work.add("layer outputs", layers().map(Layer::out_dim).sum());
    if task == Task::Verify {
        for layer in layers() {
            // Every weight is looked at, which takes longer or shorter by layout, and all bytes are hashed.
            let name = match layer.layout().block {
                4 => "weights in fours",
                1 => "weights gene-major",
                _ => "weights in rows",
            };
            work.add(name, layer.weights().len());
        }
        work.add("bytes", n_bytes);
    }
}

fn cell(model: &Model<'_>, task: Task, work: &mut Work) {
    let n_genes = model.n_genes();
    let is_dense = task == Task::Dense;
    let n_listed = if is_dense { n_genes } else { n_listed(n_genes) };
    work.add(if is_dense { "large counts" } else { "small counts" }, n_listed);
    work.add("dense cell", usize::from(is_dense));
    let stages = [StageKind::Encoder, StageKind::Classifier].map(|kind| model.stage(kind));
    for (n, layer) in stages.into_iter().flatten().enumerate() {
        work.add("layers", 1);
        match (n, is_gene_major(layer)) {
            (0, true) => listed(layer, n_listed, is_dense, work),
            (0, false) => {
                work.add("dense layout", 1);
                work.add("zeros laid out", if is_dense { 0 } else { n_genes });
                products(layer, layer.out_dim(), work);
            }
            _ => products(layer, CHUNK, work),
        }
    }
    work.add("first outputs", stages[0].first().map_or(0, Layer::out_dim));
    let hidden = |layers: &[Layer<'_>]| -> usize {
        layers.split_last().map_or(0, |(_, hidden)| hidden.iter().map(Layer::activated_dim).sum())
    };
    work.add("activations", stages.into_iter().map(hidden).sum());
    work.add("code dimensions", model.code_dim());
    work.add("cell types", model.n_leaves());
}

/// Outputs that are summed together after the first layer.
const CHUNK: usize = 16;

/// A first layer whose listed inputs are summed: columns of eight or sixteen outputs at a time, sixteen inputs at a time.
fn listed(layer: &Layer<'_>, n_listed: usize, is_dense: bool, work: &mut Work) {
    let (out_dim, n_blocks) = (layer.out_dim(), n_listed.div_ceil(16));
    work.add(if is_dense { "inputs of a dense cell" } else { "inputs of a sparse cell" }, n_listed);
    work.add("blocks of a dense cell", if is_dense { n_blocks } else { 0 });
    // Some cores load whole words only.
    let names = match out_dim.is_multiple_of(4) {
        true => [
            ("columns of 8", "passes of 8", "rest of 8", "any rest of 8", 8),
            ("columns of 16", "passes of 16", "rest of 16", "any rest of 16", 16),
        ],
        false => [
            ("odd columns of 8", "odd passes of 8", "odd rest of 8", "any odd rest of 8", 8),
            ("odd columns of 16", "odd passes of 16", "odd rest of 16", "any odd rest of 16", 16),
        ],
    };
    for (name, passes, rest, is_rest, width) in names {
        work.add(name, n_listed.next_multiple_of(2) * (out_dim / width));
        work.add(passes, n_blocks * (out_dim / width));
        work.add(rest, n_listed * (out_dim % width));
        work.add(is_rest, n_listed * usize::from(out_dim % width > 0));
    }
}

/// A layer all of whose inputs are multiplied, so many outputs together.
fn products(layer: &Layer<'_>, chunk: usize, work: &mut Work) {
    let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
    let n_chunks = out_dim.div_ceil(chunk.max(1));
    work.add("chunks", n_chunks);
    if layer.layout().block == 4 {
        let (groups, panels, parts) =
            (in_dim.div_ceil(4), out_dim.div_ceil(4), in_dim.div_ceil(64));
        work.add("groups of four by four", groups * panels);
        work.add("panels of a part", panels * parts);
        work.add("parts", parts * n_chunks);
        work.add("groups read", groups * n_chunks);
        return;
    }
    // Six rows together, 32 inputs together, what is left by sixteens; then single rows.
    let sixes: usize = (0..n_chunks).map(|n| (out_dim - n * chunk).min(chunk) / 6).sum();
    work.add("six rows of 32", sixes * (in_dim / 32));
    work.add("six rows of a rest", sixes * (in_dim % 32).div_ceil(16));
    work.add("six rows", sixes);
    work.add("rows of 16", (out_dim - 6 * sixes) * in_dim.div_ceil(16));
}

fn is_gene_major(layer: &Layer<'_>) -> bool {
    let layout = layer.layout();
    matches!(layer.weights(), Weights::S8(_)) && layout.block == 1 && layout.panel > 1
}
