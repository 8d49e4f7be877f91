//! Profiles that are no cells: noise, and mixtures of two.

use cic_model::quant::ONE_Q30;

use crate::engine::rng::{Purpose, Rng};
use crate::impostors::{Profile, added, multinomial, running_sums, shuffled};

use super::{Cells, sum};

/// Rows that profiles are drawn from.
pub(super) struct Panel<'a> {
    pub(super) cells: &'a Cells<'a>,
    pub(super) rows: &'a [usize],
    pub(super) seed: u64,
    /// Sum over all measured genes for each of the panel, of all rows together.
    measured: f64,
}

/// What was drawn.
pub(super) struct NoCells {
    /// By kind: values of a cell at random genes; as many counts as a cell has, drawn from the mixture of all cells, at random
    /// genes, and from the mixture of cells of known types where others are there.
    pub(super) noise: Vec<Vec<Profile>>,
    /// By pair of types: a cell of each, added.
    pub(super) pairs: Vec<Vec<Profile>>,
}

impl NoCells {
    /// `classes` are those of the labelled `rows`. Only counts can be drawn or added.
    pub(super) fn draw(panel: &Panel<'_>, classes: &[usize], rows: &[usize]) -> Self {
        let n_genes = panel.cells.raw.n_cols;
        let filled: Vec<usize> =
            panel.rows.iter().copied().filter(|&row| !panel.values(row).is_empty()).collect();
        let mut noise = Vec::new();
        if filled.is_empty() {
            return Self { noise, pairs: Vec::new() };
        }
        let draw = |kind: u64, one: &dyn Fn(&mut Rng, usize) -> Profile| -> Vec<Profile> {
            let of = |number: u64| {
                let mut rng = Rng::stream(panel.seed, Purpose::NoCell, kind, number);
                let row = filled[rng.below(filled.len())];
                one(&mut rng, row)
            };
            (0..N_NOISE).map(of).collect()
        };
        noise.push(draw(0, &|rng, row| shuffled(rng, &panel.values(row), n_genes)));
        if !panel.cells.are_counts {
            return Self { noise, pairs: Vec::new() };
        }
        let mixture = |rows: &[usize]| {
            let mut all = vec![0.0; n_genes];
            let values = rows.iter().flat_map(|&row| panel.values(row));
            values.for_each(|(gene, value)| all[gene as usize] += f64::from(value));
            all
        };
        let mut weights = vec![(1, mixture(&filled)), (2, vec![1.0; n_genes])];
        // What is no cell of a known type may be missing elsewhere.
        if rows.len() < panel.rows.len() {
            weights.push((3, mixture(rows)));
        }
        for (kind, weights) in weights {
            let ends = running_sums(&weights);
            noise.push(draw(kind, &|rng, row| {
                multinomial(rng, &ends, sum(panel.cells.raw.row(row).1))
            }));
        }
        let members = |class: usize| -> Vec<usize> {
            let own = rows.iter().zip(classes).filter(|(_, c)| **c == class);
            own.map(|(&row, _)| row).filter(|&row| !panel.values(row).is_empty()).collect()
        };
        let members: Vec<Vec<usize>> = (0..panel.cells.n_classes).map(members).collect();
        let pairs = likely_pairs(&members).into_iter().map(|(a, b)| {
            let of = |number: u64| {
                let place = 4 + (a * members.len() + b) as u64;
                let mut rng = Rng::stream(panel.seed, Purpose::NoCell, place, number);
                let mut one = |of: &[usize]| of[rng.below(of.len())];
                let (first, second) = (one(&members[a]), one(&members[b]));
                added(&panel.values(first), &panel.values(second))
            };
            (0..N_PAIR).map(of).collect()
        });
        Self { noise, pairs: pairs.collect() }
    }
}

impl<'a> Panel<'a> {
    pub(super) fn new(cells: &'a Cells<'a>, rows: &'a [usize], seed: u64) -> Self {
        let measured: f64 = rows.iter().map(|&row| cells.totals[row]).sum();
        let in_panel: f64 = rows.iter().map(|&row| sum(cells.raw.row(row).1)).sum();
        let measured = if in_panel > 0.0 { measured / in_panel } else { 1.0 };
        Self { cells, rows, seed, measured }
    }

    fn values(&self, row: usize) -> Profile {
        let (genes, values) = self.cells.raw.row(row);
        genes.iter().copied().zip(values.iter().copied()).collect()
    }

    /// What the network reads of a profile. As much of it lies outside the panel as of all cells together.
    pub(super) fn inputs(&self, profile: &Profile) -> (Vec<u32>, Vec<f32>) {
        let rule = self.cells.rule;
        let sum: f64 = profile.iter().map(|&(_, value)| f64::from(value)).sum();
        let factor = rule.scaling.factor(sum, sum * self.measured, ONE_Q30).unwrap_or(0.0);
        let input = |gene: u32, value| rule.input(gene as usize, value, factor);
        profile.iter().map(|&(gene, value)| (gene, input(gene, value))).unzip()
    }
}

/// Pairs of types with cells, those of many cells first, no more than a device has room for.
fn likely_pairs(members: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = (0..members.len())
        .flat_map(|a| (a + 1..members.len()).map(move |b| (a, b)))
        .filter(|&(a, b)| !members[a].is_empty() && !members[b].is_empty())
        .collect();
    pairs.sort_by_key(|&(a, b)| core::cmp::Reverse(members[a].len() * members[b].len()));
    pairs.truncate(MOST_PAIRS);
    pairs
}

/// Profiles of each kind of noise.
const N_NOISE: u64 = 1_000;

/// Profiles of each pair of types.
const N_PAIR: u64 = 60;

/// Pairs of types whose mixtures are known.
const MOST_PAIRS: usize = 48;
