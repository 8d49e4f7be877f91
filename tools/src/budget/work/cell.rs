//! Typing a cell: from counts to levels, through the layers, to probabilities.

use cic_model::layer::{Layer, Layout, Weights};
use cic_model::{Model, StageKind};

use super::{Task, Work, n_listed, requantised};
use crate::budget::costs::Core;

pub(super) fn add(model: &Model<'_>, task: Task, core: &Core, work: &mut Work) {
    let n_genes = model.n_genes();
    let is_dense = task == Task::Dense;
    let n_listed = if is_dense { n_genes } else { n_listed(n_genes) };
    if is_dense {
        work.add("large counts", n_listed);
    } else {
        // The level of a small count is searched for once.
        work.add("sparse cell", 1);
    }
    let stages = [StageKind::Encoder, StageKind::Classifier].map(|kind| model.stage(kind));
    for (n, layer) in stages.into_iter().flatten().enumerate() {
        work.add("layers", 1);
        match (n, is_gene_major(layer)) {
            (0, true) => listed(layer, n_listed, is_dense, core, work),
            (0, false) => {
                work.add("small counts laid out", if is_dense { 0 } else { n_listed });
                all(layer, layer.out_dim(), core, work);
            }
            _ => all(layer, CHUNK, core, work),
        }
    }
    work.add("first outputs", stages[0].first().map_or(0, Layer::out_dim));
    requantised::add(model, stages, core, work);
    work.add("cell types", model.n_leaves());
    if let Some(novelty) = model.novelty() {
        let (dims, n_types) = (novelty.place_dims(), model.n_leaves());
        let n_others = novelty.n_noise() + novelty.n_pairs();
        work.add("novelty", 1);
        work.add("coordinates", dims);
        work.add("products of coordinates", dims * model.code_dim());
        work.add("places of types", n_types);
        work.add("places of others", n_others);
        let n_rest = dims - novelty.type_dims();
        work.add("differences of types", n_types * novelty.type_dims() + n_rest);
        work.add("differences of others", n_others * dims);
    }
}

/// Outputs that are summed together after the first layer.
pub(super) const CHUNK: usize = 16;

/// Inputs that pass together where they are listed.
const BLOCK: usize = 16;

/// Inputs of the first layer that pass together where all are multiplied.
const PART: usize = 1024;

/// A first layer whose listed inputs are summed, some outputs at a time.
fn listed(layer: &Layer<'_>, n_listed: usize, is_dense: bool, core: &Core, work: &mut Work) {
    let (out_dim, n_blocks) = (layer.out_dim(), n_listed.div_ceil(BLOCK));
    work.add(if is_dense { "inputs of a dense cell" } else { "inputs of a sparse cell" }, n_listed);
    work.add("gene-major layer", 1);
    // In a dense cell there is one for every sixteen of its inputs.
    work.add("blocks of a sparse cell", if is_dense { 0 } else { n_blocks });
    // Loads of whole words want columns that begin with one; else the portable loop runs.
    let [columns, passes, rest, any_rest] = match core.outputs == 4 && !out_dim.is_multiple_of(4) {
        false => ["columns", "passes of columns", "rest of a column", "columns with a rest"],
        true => {
            ["odd columns", "passes of odd columns", "rest of an odd column", "odd with a rest"]
        }
    };
    let (width, together) = if columns == "columns" { (core.outputs, core.listed) } else { (8, 1) };
    work.add(columns, n_listed.next_multiple_of(together) * (out_dim / width));
    work.add(passes, n_blocks * (out_dim / width));
    work.add(rest, n_listed * (out_dim % width).div_ceil(core.lanes));
    work.add(any_rest, n_listed * usize::from(out_dim % width > 0));
}

/// A layer all of whose inputs are multiplied, so many outputs together.
fn all(layer: &Layer<'_>, chunk: usize, core: &Core, work: &mut Work) {
    let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
    let n_chunks = out_dim.div_ceil(chunk.max(1));
    work.add("chunks", n_chunks);
    // The bias of an incomplete one is padded.
    work.add("incomplete chunks", usize::from(!out_dim.is_multiple_of(CHUNK)));
    if layer.layout() == Layout::FOURS {
        let (groups, panels) = (in_dim.div_ceil(4), out_dim.div_ceil(4));
        work.add("groups of four by four", groups * panels);
        work.add("panels", panels * in_dim.div_ceil(core.inputs));
        // Where inputs pass in parts, each part is widened before.
        if core.inputs < PART {
            work.add("parts", in_dim.div_ceil(core.inputs) * n_chunks);
            work.add("groups widened", groups * n_chunks);
        }
        return;
    }
    // Six rows together, 32 inputs together, what is left by sixteens; then single rows.
    let sixes: usize = (0..n_chunks).map(|n| (out_dim - n * chunk).min(chunk) / 6).sum();
    work.add("six rows of 32", sixes * (in_dim / 32));
    work.add("six rows of a rest", sixes * (in_dim % 32).div_ceil(16));
    work.add("six rows", sixes);
    let single = out_dim - 6 * sixes;
    work.add("rows of 16", single * in_dim.div_ceil(16));
    work.add("rows", single);
}

fn is_gene_major(layer: &Layer<'_>) -> bool {
    let layout = layer.layout();
    matches!(layer.weights(), Weights::S8(_)) && layout.block == 1 && layout.panel > 1
}
