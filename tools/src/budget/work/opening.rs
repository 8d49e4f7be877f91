//! Opening a model: what `cic-model` reads, compares and hashes.

use cic_model::container::{SectionEntry, SectionKind};
use cic_model::layer::Layer;
use cic_model::provenance::Part;
use cic_model::{Model, StageKind};

use super::{Task, Work};

pub(super) fn add(model: &Model<'_>, task: Task, work: &mut Work) {
    let sections: Vec<SectionEntry> = model.container().sections().collect();
    let is_metadata = |section: &&SectionEntry| section.kind != SectionKind::Weights as u32;
    let metadata: usize = sections.iter().filter(is_metadata).map(|section| section.len).sum();
    let table = HEADER_DIGESTED + ENTRY_LEN * sections.len();
    work.add("digest blocks", digest_blocks(table + metadata));
    names(model, work);
    numbers(model, work);
    if task == Task::Verify {
        verify(model, &sections, work);
    }
}

/// Blocks that SHA-256 takes for so many bytes, with the length after them.
fn digest_blocks(n_bytes: usize) -> usize {
    (n_bytes + 9).div_ceil(64)
}

/// Strings: their bytes must be UTF-8, their ends in order, and those that are looked up sorted.
fn names(model: &Model<'_>, work: &mut Work) {
    let (genes, labels) = (model.genes(), model.labels());
    let mut ids: Vec<&str> = (0..genes.len()).map(|gene| genes.id(gene)).collect();
    let mut symbols: Vec<&str> = (0..genes.len()).map(|gene| genes.symbol(gene)).collect();
    ids.sort_unstable();
    symbols.sort_unstable();
    let aliases: Vec<&str> = genes.aliases().map(|(alias, _)| alias).collect();
    let nodes = 0..labels.n_nodes();
    let of_nodes = nodes.flat_map(|node| [labels.name(node), labels.ontology_id(node)]);
    let (keys, values): (Vec<&str>, Vec<&str>) = model.provenance().iter().unzip();

    let unsorted = of_nodes.chain([labels.ontology_release()]).chain(values);
    let all = [&ids, &symbols, &aliases, &keys].into_iter().flatten().copied().chain(unsorted);
    for name in all {
        work.add("name bytes", name.len());
        work.add("letters beyond ASCII", name.chars().filter(|letter| !letter.is_ascii()).count());
    }
    for sorted in [&ids, &symbols, &aliases, &keys] {
        work.add("names compared", sorted.len());
        work.add("name bytes compared", sorted.windows(2).map(n_compared).sum());
    }
    // No id may stand twice, and names of another length are not.
    let is_compared = |pair: &&[&str]| matches!(pair, [a, b] if a.len() == b.len());
    work.add("name bytes compared", ids.windows(2).filter(is_compared).map(n_compared).sum());
}

/// Bytes of two names up to the first that differs.
fn n_compared(pair: &[&str]) -> usize {
    let [a, b] = pair else { return 0 };
    let n_equal = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (n_equal + 1).min(a.len()).min(b.len())
}

/// Numbers whose range or order is checked.
fn numbers(model: &Model<'_>, work: &mut Work) {
    work.add("genes", model.n_genes());
    work.add("profiles", model.profiles().len());
    for profile in model.profiles() {
        work.add("genes of a profile", profile.fill_values().len());
        // Limits are two numbers for a gene, as ranges are.
        let n_limited = profile.level_limits().len();
        work.add("gene ranges", profile.gene_scales().count() + n_limited);
    }
    work.add("genes of the decoder", model.reconstruction_scales().len());
    let layers = || model.layers().iter();
    work.add("layers", layers().count());
    work.add("tables", layers().flat_map(Layer::segments).filter(|s| !s.table.is_empty()).count());
    // The first layer has ratios for every profile.
    let first = model.layers().first().map_or(0, Layer::out_dim);
    let ratios = layers().map(Layer::out_dim).sum::<usize>() + first * model.profiles().len();
    work.add("ratios", ratios);
    let labels = model.labels();
    work.add("label nodes", labels.n_nodes());
    work.add("label parents", (0..labels.n_nodes()).map(|node| labels.parents(node).len()).sum());
    work.add("rows", Part::ALL.map(|part| model.rows().part(part).len()).iter().sum());
    if let Some(novelty) = model.novelty() {
        let (dims, n_types) = (novelty.place_dims(), model.n_leaves());
        let n_others = novelty.n_noise() + novelty.n_pairs();
        work.add("novelty", 1);
        work.add("coordinates", dims);
        work.add("weights of coordinates", dims * model.code_dim());
        work.add("numbers of places", n_types * novelty.type_dims() + n_others * dims);
    }
    work.add("confidence", usize::from(model.confidence().is_some()));
    work.add("golden counts", model.golden().cells().map(|cell| cell.genes.len()).sum());
}

/// All bytes are hashed, and every weight is looked at, which takes longer or shorter by layout.
fn verify(model: &Model<'_>, sections: &[SectionEntry], work: &mut Work) {
    work.add("verification", 1);
    let end = sections.iter().map(|section| section.offset + section.len).max().unwrap_or(0);
    work.add("digest blocks", digest_blocks(end.next_multiple_of(64)));
    for layer in model.layers() {
        let n_stored = layer.weights().len();
        work.add("weights", n_stored);
        work.add("padding", n_stored.saturating_sub(layer.in_dim() * layer.out_dim()));
        work.add("outputs", layer.out_dim());
    }
    for _ in model.profiles() {
        bounds(model.stage(StageKind::Encoder), work);
    }
    bounds(model.stage(StageKind::Classifier), work);
    bounds(model.stage(StageKind::Decoder), work);
}

/// Sums of magnitudes, rows of a layer at a time; what the first layer carries is bounded together with the last.
fn bounds(layers: &[Layer<'_>], work: &mut Work) {
    for layer in layers {
        bound(layer, 0, work);
    }
    if let [first, .., _] = layers
        && first.carry() > 0
    {
        bound(first, first.activated_dim(), work);
    }
}

fn bound(layer: &Layer<'_>, first_row: usize, work: &mut Work) {
    let (in_dim, n_rows) = (layer.in_dim(), layer.out_dim() - first_row);
    let n_chunks = n_rows.div_ceil(ROWS);
    work.add("chunks of bounds", n_chunks);
    let layout = layer.layout();
    if (layout.block, layout.panel as usize) == (1, layer.out_dim()) {
        work.add("bounds gene-major", in_dim * n_rows);
        work.add("bounds gene-major, genes", in_dim * n_chunks);
    } else if (layout.block as usize, layout.panel) == (in_dim, 1) {
        work.add("bounds in rows", in_dim * n_rows);
    } else {
        work.add("bounds in panels", in_dim * n_rows);
        work.add("bounds in panels, rows", n_rows);
    }
}

/// Rows whose bounds are found together.
const ROWS: usize = 64;

/// Bytes of the header that the digest of the metadata covers, and of a line of the section table.
const HEADER_DIGESTED: usize = 32;
const ENTRY_LEN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_55_bytes_and_their_length() {
        assert_eq!([0, 55, 56, 119, 120].map(digest_blocks), [1, 1, 2, 2, 3]);
    }

    #[test]
    fn names_are_compared_up_to_the_first_byte_that_differs() {
        assert_eq!(n_compared(&["CD3D", "CD4"]), 3);
        assert_eq!(n_compared(&["CD3", "CD3D"]), 3);
        assert_eq!(n_compared(&["", "CD3"]), 0);
    }
}
