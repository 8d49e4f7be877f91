//! What a model has beside its network: names, golden cells, provenance, rows, profiles. Their amounts vary
//! independently of one another and of the shape, so that what each takes can be told apart.

use cic_model::confidence::COVERAGE_STEPS;
use cic_model::novelty::DEPTH_STEPS;
use cic_model::profile::{GeneScale, Library};
use cic_model::quant::Ratio;
use cic_model::spec::{
    ConfidenceSpec, GoldenCellSpec, GoldenSpec, ModelSpec, NetworkSpec, NodeSpec, NoveltySpec,
};
use cic_model::{IdKind, ValueKind};
use cic_tests::models::Random;

/// Gives a model other names and more of everything.
pub fn dress(spec: &mut ModelSpec, random: &mut Random) {
    genes(spec, random);
    labels(spec, random);
    provenance(spec, random);
    golden(spec, random);
    novelty(spec, random);
    for part in &mut spec.rows {
        let n_rows = random.below(3) * random.below(300);
        *part = (0..n_rows).map(|_| random.next_u64().to_be_bytes()).collect();
        part.sort_unstable();
    }
    let NetworkSpec::S8(network) = &mut spec.network else { return };
    for number in 1..[1, 1, 2, 3][random.below(4)] {
        let mut profile = spec.profiles[0].clone();
        profile.name = format!("another {number}");
        if random.below(2) == 0 {
            (profile.kind, profile.library, profile.target_sum) =
                (ValueKind::Log2Intensity, Library::None, 0);
            if let Some(levels) = &mut profile.levels {
                levels.gene_scales =
                    vec![GeneScale { offset: 0.0, gain: 1.0 }; spec.panel.genes.len()];
            }
        }
        spec.profiles.push(profile);
        network.other_profiles.extend(network.encoder.first().map(|layer| layer.epilogue.clone()));
    }
}

/// Makes shifts short and long, as some trained networks have them: sums are then shifted by a word or less, or by more.
/// What the cells give is no longer theirs; what they take is.
pub fn shifts(network: &mut NetworkSpec, random: &mut Random) {
    let NetworkSpec::S8(network) = network else { return };
    for layer in network.encoder.iter_mut().chain(&mut network.classifier) {
        some_shifts(layer.epilogue.ratios.iter_mut(), random);
    }
    some_shifts(network.code.iter_mut().map(|dim| &mut dim.level_ratio), random);
}

fn some_shifts<'a>(ratios: impl Iterator<Item = &'a mut Ratio>, random: &mut Random) {
    let (share, is_short) = (random.below(4), random.below(2) == 0);
    for ratio in ratios.filter(|ratio| ratio.multiplier != 0) {
        if share > 0 && random.below(3) < share {
            ratio.shift = if is_short { 31 } else { 34 };
        }
    }
}

fn genes(spec: &mut ModelSpec, random: &mut Random) {
    let (ids, symbols, n_aliases) = (random.below(4), random.below(4), random.below(3));
    if ids != 0 {
        spec.panel.id_kind = IdKind::Symbol;
    }
    for (number, gene) in spec.panel.genes.iter_mut().enumerate() {
        gene.id = match ids {
            0 => format!("ENSG{:011}", 1_000 + 317 * number),
            1 => format!("G{number}"),
            2 => format!("{}-{number}", word(3, 12, random)),
            _ => format!("{number}{}", word(2, 5, random)),
        };
        gene.symbol = match symbols {
            0 => String::new(),
            1 => gene.id.clone(),
            2 => word(3, 7, random).to_uppercase(),
            _ => format!("GENE{number}"),
        };
        let alias = |n| format!("{}{number}.{n}", word(2, 6, random));
        gene.aliases = (0..if number < 300 { n_aliases } else { 0 }).map(alias).collect();
    }
}

fn labels(spec: &mut ModelSpec, random: &mut Random) {
    let (n_inner, has_ids) = (random.below(12), random.below(2) == 0);
    let is_foreign = random.below(3) == 0;
    let inner = (0..n_inner).map(|number| NodeSpec {
        name: format!("{} cells", word(4, 20, random)),
        ontology_id: String::new(),
        parents: if number == 0 { Vec::new() } else { vec![number as u32 - 1] },
        is_leaf: false,
    });
    let mut nodes: Vec<NodeSpec> = inner.collect();
    for (leaf, node) in spec.labels.nodes.iter().enumerate() {
        let greek = if is_foreign { "γδ naïve " } else { "" };
        let n_parents = if n_inner == 0 { 0 } else { random.below(3).min(n_inner) as u32 };
        nodes.push(NodeSpec {
            name: format!("{greek}{} {leaf}", word(2, 24, random)),
            ontology_id: if has_ids { format!("CL:{leaf:07}") } else { String::new() },
            parents: (0..n_parents).collect(),
            ..node.clone()
        });
    }
    spec.labels.nodes = nodes;
    spec.labels.ontology_release = if has_ids { "2025-01-08".into() } else { String::new() };
}

fn provenance(spec: &mut ModelSpec, random: &mut Random) {
    for number in 0..random.below(50) {
        let key = format!("{}.{number}", word(3, 20, random));
        spec.provenance.insert(key, word(0, 90, random));
    }
    if random.below(3) == 0 {
        spec.provenance.insert("words".into(), word(500, 6_000, random));
    }
}

fn golden(spec: &mut ModelSpec, random: &mut Random) {
    let (n_genes, code) = (spec.n_genes(), code_dim(spec));
    let (n_cells, share) = (random.below(17), 1 + random.below(12) + n_genes / 200);
    let n_leaves = spec.labels.n_leaves();
    let mut cell = || {
        let genes: Vec<u32> = (0..n_genes as u32).filter(|_| random.below(share) == 0).collect();
        GoldenCellSpec {
            values: vec![1; genes.len()],
            genes,
            total: 0,
            code: vec![0; code],
            logits: vec![0; n_leaves],
        }
    };
    let cells = (0..n_cells).map(|_| cell()).collect();
    spec.golden = GoldenSpec { profile: 0, is_integer: true, cells };
}

/// Places of any number, and limits that no cell exceeds: all of them are looked at.
fn novelty(spec: &mut ModelSpec, random: &mut Random) {
    let (code_dim, n_leaves) = (code_dim(spec), spec.labels.n_leaves());
    if random.below(4) == 0 || n_leaves < 2 {
        return;
    }
    let (dims, type_dims) = (code_dim, (n_leaves - 1).min(code_dim));
    let (n_noise, n_pairs) = ([1, 3][random.below(2)], random.below(49));
    let mut numbers = |n: usize, most: usize| -> Vec<i16> {
        // Far below 2¹⁵.
        (0..n).map(|_| random.below(2 * most + 1) as i16 - most as i16).collect()
    };
    spec.novelty = Some(NoveltySpec {
        code_dim,
        type_dims,
        weights: numbers(dims * code_dim, 49_151 / code_dim.max(2)),
        shifts: vec![14; dims],
        offsets: vec![-5; dims],
        types: numbers(n_leaves * type_dims, 300),
        noise: numbers(n_noise * dims, 300),
        pairs: numbers(n_pairs * dims, 300),
        type_limits: vec![u32::MAX; n_leaves],
        rest_scales: vec![1 << 16; n_leaves],
        rest_limits: vec![u32::MAX; DEPTH_STEPS],
        error_limits: vec![0.0; DEPTH_STEPS],
        noise_limits: vec![i32::MAX; n_noise],
        pair_limit: i32::MAX,
        least_share_q30: 0,
    });
    spec.confidence = Some(ConfidenceSpec {
        n_cells: 100,
        margins_q16: [0, 1 << 16],
        inv_temperatures_q16: [1 << 16; COVERAGE_STEPS],
    });
}

fn code_dim(spec: &ModelSpec) -> usize {
    match &spec.network {
        NetworkSpec::S8(network) => network.code.len(),
        NetworkSpec::F32(_) | NetworkSpec::F16(_) | NetworkSpec::Mixed(_) => 0,
    }
}

/// Letters, at least and at most so many.
fn word(least: usize, most: usize, random: &mut Random) -> String {
    let n = least + random.below(most - least + 1);
    (0..n).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}
