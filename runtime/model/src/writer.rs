//! The writer: a model's bytes from its description. The same description gives the same bytes.

use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::container::{
    DIGEST_LEN, ENTRY_LEN, HEADER_LEN, MAGIC, SECTION_ALIGN, SectionKind, VERSION, field,
};
use crate::error::ModelError;
use crate::layer::{Layout, MAX_SEGMENTS, OWN_TYPE, RECORD_WORDS};
use crate::model::Model;
use crate::network::{DenseLayer, Network};
use crate::profile::MAX_NAME_LEN;
use crate::spec::{
    ConfidenceSpec, GeneSpec, GoldenSpec, LabelsSpec, LayoutPlan, MixedNetwork, ModelSpec,
    NetworkSpec, NoveltySpec, PanelSpec, ProfileSpec, QuantEpilogue, QuantLayer, QuantNetwork,
};
use crate::vocabulary::Dtype;

impl ModelSpec {
    /// The bytes of the model, checked by opening them. They must be kept at an address that is a
    /// multiple of 4 to be opened again.
    ///
    /// # Errors
    /// What [`Model::open_verified`] finds wrong with the description.
    pub fn to_bytes(&self, layouts: LayoutPlan) -> Result<Vec<u8>, ModelError> {
        // A longer name would be cut off.
        if self.profiles.iter().any(|profile| profile.name.len() > MAX_NAME_LEN) {
            return Err(ModelError::BadField { kind: SectionKind::Profile, field: "name" });
        }
        // Layouts are no part of the identity, so it is taken from plain rows.
        let id = identity(&self.sections(LayoutPlan::Rows, [0; 32]));
        let bytes = assemble(&self.sections(layouts, id));
        Model::open_verified(&AlignedBytes::new(&bytes))?;
        Ok(bytes)
    }

    fn sections(&self, layouts: LayoutPlan, id: [u8; 32]) -> Vec<Section> {
        let layers = self.layers(layouts);
        let mut sections = vec![
            Section::new(SectionKind::Info, 0, self.info(id)),
            Section::new(SectionKind::Genes, 0, panel(&self.panel)),
            Section::new(SectionKind::Graph, 0, graph(&layers)),
            Section::new(SectionKind::Labels, 0, labels(&self.labels)),
            Section::new(SectionKind::Rules, 0, self.rules()),
            Section::new(SectionKind::Provenance, 0, self.provenance()),
            Section::new(SectionKind::Golden, 0, golden(&self.golden)),
        ];
        if self.rows.iter().any(|rows| !rows.is_empty()) {
            sections.push(Section::new(SectionKind::Rows, 0, self.rows()));
        }
        if let Some(spec) = &self.confidence {
            sections.push(Section::new(SectionKind::Confidence, 0, confidence(spec)));
        }
        if let Some(spec) = &self.novelty {
            sections.push(Section::new(SectionKind::Novelty, 0, novelty(spec)));
        }
        for (index, spec) in (0..).zip(&self.profiles) {
            sections.push(Section::new(SectionKind::Profile, index, profile(spec)));
        }
        for (index, layer) in (0..).zip(layers) {
            sections.push(Section::new(SectionKind::Epilogue, index, layer.epilogue));
            if let Some(tables) = layer.tables {
                sections.push(Section::new(SectionKind::Tables, index, tables));
            }
            sections.push(Section::new(SectionKind::Weights, index, layer.weights));
        }
        if let NetworkSpec::S8(network) = &self.network {
            sections.extend(quantised_sections(network));
        }
        sections.sort_by_key(|section| (section.kind, section.index));
        sections
    }

    fn info(&self, id: [u8; 32]) -> Vec<u8> {
        let (dims, code_dim) = match &self.network {
            NetworkSpec::F32(n)
            | NetworkSpec::F16(n)
            | NetworkSpec::Mixed(MixedNetwork { network: n, .. }) => (
                [n.encoder.len(), n.classifier.len(), n.decoder.len()],
                n.encoder.last().map_or(0, DenseLayer::out_dim),
            ),
            NetworkSpec::S8(n) => (
                [n.encoder.len(), n.classifier.len(), n.decoder.len()],
                n.encoder.last().map_or(0, QuantLayer::out_dim),
            ),
        };
        let mut out = Vec::new();
        put_u32(&mut out, self.network.dtype() as u32);
        for count in [self.n_genes(), code_dim, self.labels.n_leaves(), self.profiles.len()] {
            put_len(&mut out, count);
        }
        for count in dims {
            put_len(&mut out, count);
        }
        out.extend(id);
        out
    }

    fn rules(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [
            self.rules.min_counts,
            self.rules.min_genes,
            self.rules.min_coverage_q16,
            self.rules.min_confidence_q16,
            self.rules.inv_temperature_q16,
            0,
            0,
            0,
        ] {
            put_u32(&mut out, word);
        }
        out
    }

    fn provenance(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_strings(&mut out, self.provenance.keys().map(|key| key.as_str()));
        put_strings(&mut out, self.provenance.values().map(|value| value.as_str()));
        out
    }

    fn rows(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.rows {
            put_len(&mut out, part.len());
        }
        for part in &self.rows {
            let mut sorted = part.clone();
            sorted.sort_unstable();
            out.extend(sorted.as_flattened());
        }
        out
    }

    fn layers(&self, layouts: LayoutPlan) -> Vec<LayerBytes> {
        match &self.network {
            NetworkSpec::F32(network) => dense_layers(network, layouts, |_| (Stored::Single, 0)),
            NetworkSpec::F16(network) => dense_layers(network, layouts, |_| (Stored::Half, 0)),
            NetworkSpec::Mixed(MixedNetwork { network, scales }) => {
                dense_layers(network, layouts, |number| match scales.get(number) {
                    Some(scales) if !scales.is_empty() => (Stored::Int8(scales), Dtype::S8 as u32),
                    _ => (Stored::Half, Dtype::F16 as u32),
                })
            }
            NetworkSpec::S8(network) => (network.encoder.iter())
                .chain(&network.classifier)
                .chain(&network.decoder)
                .enumerate()
                .map(|(number, layer)| quant_layer(number, layer, layouts))
                .collect(),
        }
    }
}

/// A copy of bytes at an address that is a multiple of 64: [`Model::open`] asks for 4 only, but weights
/// that begin where cache lines do are read faster.
#[derive(Debug)]
pub struct AlignedBytes {
    words: Vec<u32>,
    /// The first word of the bytes.
    start: usize,
    len: usize,
}

impl AlignedBytes {
    /// Copies.
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0_u32; bytes.len().div_ceil(4) + SECTION_ALIGN / 4 - 1];
        let start = words.as_ptr().align_offset(SECTION_ALIGN).min(SECTION_ALIGN / 4 - 1);
        let target: &mut [u8] =
            bytemuck::cast_slice_mut(words.get_mut(start..).unwrap_or_default());
        if let Some(target) = target.get_mut(..bytes.len()) {
            target.copy_from_slice(bytes);
        }
        Self { words, start, len: bytes.len() }
    }
}

impl Clone for AlignedBytes {
    fn clone(&self) -> Self {
        Self::new(self)
    }
}

impl core::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = bytemuck::cast_slice(self.words.get(self.start..).unwrap_or_default());
        bytes.get(..self.len).unwrap_or(bytes)
    }
}

struct Section {
    kind: SectionKind,
    index: u32,
    bytes: Vec<u8>,
}

impl Section {
    fn new(kind: SectionKind, index: u32, bytes: Vec<u8>) -> Self {
        Self { kind, index, bytes }
    }
}

/// One layer, ready to be written.
struct LayerBytes {
    record: [u32; RECORD_WORDS],
    epilogue: Vec<u8>,
    tables: Option<Vec<u8>>,
    weights: Vec<u8>,
}

fn identity(sections: &[Section]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for section in sections {
        hasher.update((section.kind as u32).to_le_bytes());
        hasher.update(section.index.to_le_bytes());
        hasher.update((section.bytes.len() as u64).to_le_bytes());
        hasher.update(&section.bytes);
    }
    hasher.finalize().into()
}

fn assemble(sections: &[Section]) -> Vec<u8> {
    let mut out = vec![0_u8; HEADER_LEN];
    let mut offset = HEADER_LEN + sections.len() * ENTRY_LEN;
    let mut end = offset;
    for section in sections {
        offset = end.next_multiple_of(SECTION_ALIGN);
        end = offset + section.bytes.len();
        put_u32(&mut out, section.kind as u32);
        put_u32(&mut out, section.index);
        out.extend((offset as u64).to_le_bytes());
        out.extend((section.bytes.len() as u64).to_le_bytes());
    }
    let file_len = end.next_multiple_of(SECTION_ALIGN) + DIGEST_LEN;
    out[field::MAGIC].copy_from_slice(&MAGIC);
    out[field::VERSION].copy_from_slice(&VERSION.to_le_bytes());
    out[field::N_SECTIONS].copy_from_slice(&(sections.len() as u32).to_le_bytes());
    out[field::FILE_LEN].copy_from_slice(&(file_len as u64).to_le_bytes());

    let mut metadata = Sha256::new();
    metadata.update(&out[field::DIGESTED]);
    metadata.update(&out[HEADER_LEN..]);
    for section in sections.iter().filter(|section| section.kind != SectionKind::Weights) {
        metadata.update(&section.bytes);
    }
    out[field::METADATA_DIGEST].copy_from_slice(&metadata.finalize());

    for section in sections {
        out.resize(out.len().next_multiple_of(SECTION_ALIGN), 0);
        out.extend(&section.bytes);
    }
    out.resize(out.len().next_multiple_of(SECTION_ALIGN), 0);
    let digest = Sha256::digest(&out);
    out.extend(digest);
    out
}

fn panel(panel: &PanelSpec) -> Vec<u8> {
    let genes = &panel.genes;
    let mut aliases: Vec<(&str, u32)> = (0..)
        .zip(genes)
        .flat_map(|(index, gene)| gene.aliases.iter().map(move |alias| (alias.as_str(), index)))
        .collect();
    aliases.sort_unstable();
    // A name that stands for two genes stands for neither.
    let aliases: Vec<(&str, u32)> = aliases
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|same| if let [alias] = same { Some(*alias) } else { None })
        .collect();

    let mut out = Vec::new();
    put_u32(&mut out, panel.id_kind as u32);
    put_u32(&mut out, panel.duplicates as u32);
    put_len(&mut out, genes.len());
    put_len(&mut out, aliases.len());
    put_u32s(&mut out, genes.iter().map(|gene| gene.library_share_q30));
    put_u32s(&mut out, sorted_by(genes, |gene| &gene.id));
    put_u32s(&mut out, sorted_by(genes, |gene| &gene.symbol));
    put_u32s(&mut out, aliases.iter().map(|&(_, gene)| gene));
    put_strings(&mut out, genes.iter().map(|gene| gene.id.as_str()));
    put_strings(&mut out, genes.iter().map(|gene| gene.symbol.as_str()));
    put_strings(&mut out, aliases.iter().map(|&(name, _)| name));
    out
}

/// Indices of the genes in ascending order of a key, the first first among equals.
fn sorted_by(genes: &[GeneSpec], key: impl Fn(&GeneSpec) -> &str) -> Vec<u32> {
    let mut order: Vec<(&str, u32)> = genes.iter().map(key).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

fn profile(spec: &ProfileSpec) -> Vec<u8> {
    let levels = spec.levels.as_ref();
    let mut out = Vec::new();
    put_u32(&mut out, spec.kind as u32);
    put_u32(&mut out, spec.library as u32);
    put_u32(&mut out, spec.target_sum);
    put_u32(&mut out, levels.map_or(0, |levels| levels.shift));
    put_u32(&mut out, levels.map_or(0.0, |levels| levels.scale).to_bits());
    put_u32(&mut out, levels.map_or(0.0, |levels| levels.offset).to_bits());
    put_len(&mut out, levels.map_or(0, |levels| levels.value_thresholds.len()));
    put_len(&mut out, spec.limits.len());
    let name_end = out.len() + MAX_NAME_LEN;
    out.extend(spec.name.bytes().take(MAX_NAME_LEN));
    out.resize(name_end, 0);
    put_f32s(&mut out, &spec.fill_values);
    put_f32s(&mut out, &spec.limits);
    if let Some(levels) = levels {
        put_u32s(&mut out, levels.count_thresholds.iter().copied());
        put_f32s(&mut out, &levels.value_thresholds);
        put_bytes(&mut out, levels.fill_levels.iter().chain(&levels.level_limits).copied());
        let (offsets, gains): (Vec<f32>, Vec<f32>) =
            levels.gene_scales.iter().map(|scale| (scale.offset, scale.gain)).unzip();
        put_f32s(&mut out, &offsets);
        put_f32s(&mut out, &gains);
    }
    out
}

fn graph(layers: &[LayerBytes]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32s(&mut out, layers.iter().flat_map(|layer| layer.record));
    out
}

fn labels(labels: &LabelsSpec) -> Vec<u8> {
    let nodes = &labels.nodes;
    let mut out = Vec::new();
    put_len(&mut out, nodes.len());
    put_len(&mut out, nodes.iter().map(|node| node.parents.len()).sum());
    let leaves = (0_u32..).zip(nodes).filter(|(_, node)| node.is_leaf);
    put_u32s(&mut out, leaves.map(|(index, _)| index));
    let ends = nodes.iter().scan(0, |end, node| {
        *end += node.parents.len() as u32;
        Some(*end)
    });
    put_u32s(&mut out, ends);
    put_u32s(&mut out, nodes.iter().flat_map(|node| node.parents.iter().copied()));
    put_strings(&mut out, nodes.iter().map(|node| node.name.as_str()));
    put_strings(&mut out, nodes.iter().map(|node| node.ontology_id.as_str()));
    put_strings(&mut out, [labels.ontology_release.as_str()].into_iter());
    out
}

fn confidence(spec: &ConfidenceSpec) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, spec.n_cells);
    put_u32s(&mut out, spec.margins_q16.map(|margin| margin as u32));
    put_u32s(&mut out, spec.inv_temperatures_q16);
    out
}

fn novelty(spec: &NoveltySpec) -> Vec<u8> {
    let place_dims = spec.shifts.len();
    let mut out = Vec::new();
    put_len(&mut out, spec.type_dims);
    put_len(&mut out, place_dims);
    put_len(&mut out, spec.noise.len() / place_dims.max(1));
    put_len(&mut out, spec.pairs.len() / place_dims.max(1));
    put_u32(&mut out, spec.pair_limit as u32);
    put_u32(&mut out, spec.least_share_q30);
    for words in [&spec.offsets, &spec.noise_limits] {
        put_u32s(&mut out, words.iter().map(|&word| word as u32));
    }
    for words in [&spec.type_limits, &spec.rest_scales, &spec.rest_limits] {
        put_u32s(&mut out, words.iter().copied());
    }
    put_f32s(&mut out, &spec.error_limits);
    for halves in [&spec.weights, &spec.types, &spec.noise, &spec.pairs] {
        put_bytes(&mut out, halves.iter().flat_map(|half| half.to_le_bytes()));
    }
    put_bytes(&mut out, spec.shifts.iter().copied());
    out
}

fn golden(golden: &GoldenSpec) -> Vec<u8> {
    let cells = &golden.cells;
    let mut out = Vec::new();
    put_len(&mut out, cells.len());
    put_u32(&mut out, golden.profile);
    put_u32(&mut out, if golden.is_integer { 1 } else { 2 });
    put_len(&mut out, cells.iter().map(|cell| cell.genes.len()).sum());
    let ends = cells.iter().scan(0, |end, cell| {
        *end += cell.genes.len() as u32;
        Some(*end)
    });
    put_u32s(&mut out, [0].into_iter().chain(ends));
    put_u32s(&mut out, cells.iter().flat_map(|cell| cell.genes.iter().copied()));
    put_u32s(&mut out, cells.iter().flat_map(|cell| cell.values.iter().copied()));
    put_u32s(&mut out, cells.iter().map(|cell| cell.total));
    put_u32s(&mut out, cells.iter().flat_map(|cell| cell.code.iter().copied()));
    put_u32s(&mut out, cells.iter().flat_map(|cell| cell.logits.iter().copied()));
    out
}

fn quantised_sections(network: &QuantNetwork) -> Vec<Section> {
    let code = &network.code;
    let mut scales = Vec::new();
    put_u32s(&mut scales, code.iter().map(|dim| dim.scale.to_bits()));
    put_u32s(&mut scales, code.iter().map(|dim| dim.level_offset as u32));
    put_u32s(&mut scales, code.iter().map(|dim| dim.level_ratio.multiplier as u32));
    put_bytes(&mut scales, code.iter().map(|dim| dim.level_ratio.shift));
    let mut sections = vec![Section::new(SectionKind::Code, 0, scales)];
    if !network.decoder.is_empty() {
        let mut scales = Vec::new();
        put_f32s(&mut scales, &network.reconstruction_scales);
        sections.push(Section::new(SectionKind::Reconstruction, 0, scales));
    }
    for (profile, epilogue) in (1_u32..).zip(&network.other_profiles) {
        let index = profile << 16;
        sections.push(Section::new(SectionKind::Epilogue, index, quant_epilogue(epilogue)));
    }
    sections
}

/// How the weights of a layer are stored.
enum Stored<'a> {
    Single,
    Half,
    /// Integers, of weights that are such times the scale of their row.
    Int8(&'a [f32]),
}

/// Layers with a bias; `stored` gives how the weights of a layer are stored, and the word of its record that says so.
fn dense_layers<'a>(
    network: &Network,
    layouts: LayoutPlan,
    stored: impl Fn(usize) -> (Stored<'a>, u32),
) -> Vec<LayerBytes> {
    (network.layers().enumerate())
        .map(|(number, layer)| {
            let (in_dim, out_dim) = (layer.in_dim, layer.out_dim());
            let layout = layouts.layout(number, in_dim, out_dim);
            let segments = layer.segments.iter().map(|s| (s.len, s.activation as u32));
            let (stored, own_type) = stored(number);
            let mut epilogue = Vec::new();
            put_f32s(&mut epilogue, &layer.bias);
            if let Stored::Int8(scales) = stored {
                put_f32s(&mut epilogue, scales);
            }
            let mut record = record(in_dim, out_dim, layer.carry, layout, segments);
            record[OWN_TYPE] = own_type;
            let weights = dense_weights(&layer.weights, stored, layout, in_dim, out_dim);
            LayerBytes { record, epilogue, tables: None, weights }
        })
        .collect()
}

fn dense_weights(
    weights: &[f32],
    stored: Stored<'_>,
    layout: Layout,
    in_dim: usize,
    out_dim: usize,
) -> Vec<u8> {
    match stored {
        Stored::Single => {
            let stored = arrange(weights, layout, in_dim, out_dim);
            stored.into_iter().flat_map(f32::to_le_bytes).collect()
        }
        Stored::Half => {
            let stored = arrange(weights, layout, in_dim, out_dim);
            let halves = stored.into_iter().map(half::f16::from_f32);
            halves.flat_map(half::f16::to_le_bytes).collect()
        }
        Stored::Int8(scales) => {
            let rows = weights.chunks(in_dim.max(1)).zip(scales);
            // The nearest integer, which is the one that was multiplied.
            let integers = rows.flat_map(|(row, &scale)| {
                row.iter().map(move |&weight| libm::roundf(weight / scale) as i8)
            });
            let stored = arrange(&integers.collect::<Vec<i8>>(), layout, in_dim, out_dim);
            // The sign bit is kept.
            stored.into_iter().map(|weight| weight as u8).collect()
        }
    }
}

fn quant_layer(number: usize, layer: &QuantLayer, layouts: LayoutPlan) -> LayerBytes {
    let (in_dim, out_dim) = (layer.in_dim, layer.out_dim());
    let layout = layouts.layout(number, in_dim, out_dim);
    let segments = layer.segments.iter().map(|s| (s.len, s.activation as u32));
    let has_tables = layer.segments.iter().any(|segment| !segment.table.is_empty());
    let tables = has_tables.then(|| {
        let mut out = Vec::new();
        for segment in &layer.segments {
            put_u32(&mut out, segment.scale.to_bits());
            put_u32(&mut out, segment.offset.to_bits());
            put_bytes(&mut out, segment.table.iter().copied());
        }
        out
    });
    // The sign bit is kept.
    let stored = arrange(&layer.weights, layout, in_dim, out_dim);
    LayerBytes {
        record: record(in_dim, out_dim, layer.carry, layout, segments),
        epilogue: quant_epilogue(&layer.epilogue),
        tables,
        weights: stored.into_iter().map(|weight| weight as u8).collect(),
    }
}

fn quant_epilogue(epilogue: &QuantEpilogue) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32s(&mut out, epilogue.bias.iter().map(|&bias| bias as u32));
    put_u32s(&mut out, epilogue.ratios.iter().map(|ratio| ratio.multiplier as u32));
    put_bytes(&mut out, epilogue.ratios.iter().map(|ratio| ratio.shift));
    out
}

fn record(
    in_dim: usize,
    out_dim: usize,
    carry: usize,
    layout: Layout,
    segments: impl ExactSizeIterator<Item = (usize, u32)>,
) -> [u32; RECORD_WORDS] {
    let mut record = [0; RECORD_WORDS];
    let n_segments = segments.len();
    let fixed = [in_dim, out_dim, n_segments, carry].map(|value| value as u32);
    record[..4].copy_from_slice(&fixed);
    record[4] = layout.block;
    record[5] = layout.panel;
    for (words, (len, activation)) in
        record[8..].chunks_exact_mut(2).zip(segments).take(MAX_SEGMENTS)
    {
        words.copy_from_slice(&[len as u32, activation]);
    }
    record
}

/// Weights `[out_dim × in_dim]` in a layout, padding zero. Missing weights are zero too: the
/// reader then refuses the shape.
fn arrange<T: Copy + Default>(
    weights: &[T],
    layout: Layout,
    in_dim: usize,
    out_dim: usize,
) -> Vec<T> {
    let len = layout.stored_len(in_dim, out_dim).unwrap_or(0);
    let mut stored = vec![T::default(); len];
    for (row, weights) in weights.chunks(in_dim.max(1)).take(out_dim).enumerate() {
        for (column, &weight) in weights.iter().enumerate() {
            if let Some(place) = stored.get_mut(layout.index(row, column, in_dim)) {
                *place = weight;
            }
        }
    }
    stored
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

/// Lengths above 32 bits become the largest value, which no reader accepts.
fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u32(out, u32::try_from(len).unwrap_or(u32::MAX));
}

fn put_u32s(out: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    values.into_iter().for_each(|value| put_u32(out, value));
}

fn put_f32s(out: &mut Vec<u8>, values: &[f32]) {
    put_u32s(out, values.iter().map(|value| value.to_bits()));
}

/// Bytes, padded to a multiple of 4 (sections begin at multiples of 64).
fn put_bytes(out: &mut Vec<u8>, bytes: impl IntoIterator<Item = u8>) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn put_strings<'s>(out: &mut Vec<u8>, strings: impl Iterator<Item = &'s str> + Clone) {
    put_len(out, strings.clone().count());
    put_len(out, strings.clone().map(str::len).sum());
    let ends = strings.clone().scan(0, |end, string| {
        *end += string.len() as u32;
        Some(*end)
    });
    put_u32s(out, ends);
    put_bytes(out, strings.flat_map(str::bytes));
}
