//! Held samples, spoiled: what a model gets to see.

use cic_data::{AlignedMatrix, CsrMatrix, rank_rows};
use cic_model::profile::{Library, Profile, fit_value_thresholds, is_scaled};
use cic_model::spec::{GoldenSpec, LayoutPlan, ModelSpec};
use cic_model::{AlignedBytes, Model, ValueKind};
use cic_trainer::noise::{Disturbance, disturb, shuffled, thin};
use clap::ValueEnum;

use crate::coverage::library_share_q30;
use crate::failure::Failure;
use crate::profiles::Profiles;
use crate::results::network_input;

/// What is done to samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// Noise on what the network reads.
    Gaussian,
    /// Fewer molecules are counted.
    Thinning,
    /// Random genes of the panel are missing.
    Genes,
    /// The genes of lowest mean are missing.
    LowGenes,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Gaussian, Self::Thinning, Self::Genes, Self::LowGenes];

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Thinning => "thinning",
            Self::Genes => "genes",
            Self::LowGenes => "low_genes",
        }
    }

    /// Standard deviations that are added, shares of the counts that are kept, or of the genes that are lost.
    pub(super) fn amounts(self) -> &'static [f64] {
        match self {
            Self::Gaussian => &[0.25, 0.5, 1.0, 2.0],
            Self::Thinning => &[0.5, 0.25, 0.1, 0.05],
            Self::Genes | Self::LowGenes => &[0.1, 0.25, 0.5, 0.75, 0.9, 0.95],
        }
    }

    /// Whether chance takes part, so that repeats differ.
    pub(super) fn is_random(self) -> bool {
        self != Self::LowGenes
    }
}

/// One thing that is done to all held samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Condition {
    /// Nothing is, where there is none.
    pub(super) kind: Option<Kind>,
    /// Which of the kind's amounts.
    pub(super) step: usize,
    pub(super) repeat: usize,
}

impl Condition {
    pub(super) const CLEAN: Self = Self { kind: None, step: 0, repeat: 0 };

    pub(super) fn amount(&self) -> f64 {
        let amount = self.kind.and_then(|kind| kind.amounts().get(self.step));
        amount.copied().unwrap_or(0.0)
    }
}

/// The held samples as a model gets them.
pub(super) struct Spoiled {
    /// One row for each held row, in their order.
    pub(super) cells: AlignedMatrix,
    /// Whether the values are what the network reads, and not what the model was trained on: see
    /// [`reads_inputs`].
    pub(super) is_input: bool,
}

/// The same as the linear methods get it.
pub(super) struct Inputs {
    /// `[n × n_genes]`, in network input units; the model's fill values stand for genes that were lost.
    pub(super) values: Vec<f32>,
    /// Held samples that have any value.
    pub(super) rows: Vec<usize>,
}

/// Held samples, and what is known of the genes from training samples.
pub(super) struct Held<'a> {
    model: &'a Model<'a>,
    /// Rows of the file.
    rows: &'a [usize],
    cells: AlignedMatrix,
    /// `[n_genes]` over training samples, in network input units.
    deviation: Vec<f32>,
    /// Genes that the file has, those of lowest mean first.
    by_mean: Vec<usize>,
    seed: u64,
}

impl<'a> Held<'a> {
    pub(super) fn new(
        model: &'a Model<'a>,
        cells: &AlignedMatrix,
        rows: &'a [usize],
        train: &Profiles,
        seed: u64,
    ) -> Self {
        let mean = train.mean();
        let mut by_mean: Vec<usize> =
            (0..model.n_genes()).filter(|&gene| cells.present[gene]).collect();
        by_mean.sort_by(|&a, &b| mean[a].total_cmp(&mean[b]));
        let deviation = train.variance().iter().map(|variance| variance.sqrt() as f32).collect();
        let cells = AlignedMatrix {
            values: cells.values.select_rows(rows),
            present: cells.present.clone(),
            overlap: cells.overlap,
            totals: rows.iter().map(|&row| cells.totals[row]).collect(),
        };
        Self { model, rows, cells, deviation, by_mean, seed }
    }

    pub(super) fn n(&self) -> usize {
        self.rows.len()
    }

    /// Applies a condition.
    pub(super) fn spoil(&self, condition: &Condition) -> Spoiled {
        let cells = match condition.kind {
            None => self.cells.clone(),
            Some(Kind::Gaussian) => self.add_noise(condition),
            Some(Kind::Thinning) => self.thin(condition),
            Some(kind @ (Kind::Genes | Kind::LowGenes)) => {
                let n_lost = (condition.amount() * self.by_mean.len() as f64).round() as usize;
                let mut lost = self.by_mean.clone();
                if kind == Kind::Genes {
                    // The same order for every amount: what is lost of a tenth is lost of a quarter.
                    let order = shuffled(lost.len(), self.seed, condition.repeat as u64);
                    lost = order.into_iter().map(|at| self.by_mean[at]).collect();
                }
                lost.truncate(n_lost);
                self.lose(&lost)
            }
        };
        Spoiled { cells, is_input: condition.kind == Some(Kind::Gaussian) }
    }

    /// What the network reads of spoiled samples. `reader` is a model that takes their values.
    pub(super) fn inputs(&self, reader: &Model<'_>, spoiled: &Spoiled) -> Inputs {
        let n_genes = self.model.n_genes();
        let mut values = vec![0.0; self.n() * n_genes];
        let mut rows = Vec::new();
        let fill: &[f32] = self.model.profiles().first().map_or(&[], Profile::fill_values);
        let lost: Vec<usize> = (0..n_genes)
            .filter(|&gene| self.cells.present[gene] && !spoiled.cells.present[gene])
            .collect();
        let may_be_empty = reader.profiles().first().is_some_and(|profile| !profile.is_sparse());
        for (row, input) in values.chunks_exact_mut(n_genes).enumerate() {
            let is_empty = spoiled.cells.values.row(row).0.is_empty() && !may_be_empty;
            if network_input(reader, &spoiled.cells, row, input) && !is_empty {
                rows.push(row);
            }
            lost.iter().for_each(|&gene| input[gene] = fill[gene]);
        }
        Inputs { values, rows }
    }

    fn add_noise(&self, condition: &Condition) -> AlignedMatrix {
        let seed = self.seed_of(condition);
        let may_be_negative = self.kind() == ValueKind::Log2Intensity;
        let least = if may_be_negative { f32::NEG_INFINITY } else { 0.0 };
        let by = Disturbance { level: condition.amount(), least };
        let mut input = vec![0.0; self.model.n_genes()];
        self.rewrite(|at, row, kept| {
            if !network_input(self.model, &self.cells, at, &mut input) {
                return;
            }
            disturb(&mut input, &self.deviation, by, seed, row);
            for (gene, &value) in input.iter().enumerate() {
                if self.cells.present[gene] {
                    kept.push(gene, value);
                }
            }
        })
    }

    fn thin(&self, condition: &Condition) -> AlignedMatrix {
        let seed = self.seed_of(condition);
        self.rewrite(|at, row, kept| {
            let (genes, counts) = self.cells.values.row(at);
            let thinned = thin(counts, self.cells.totals[at], condition.amount(), seed, row);
            for (&gene, &count) in genes.iter().zip(&thinned.counts) {
                kept.push(gene as usize, count);
            }
            kept.total = thinned.total;
        })
    }

    fn lose(&self, lost: &[usize]) -> AlignedMatrix {
        let mut present = self.cells.present.clone();
        lost.iter().for_each(|&gene| present[gene] = false);
        let mut cells = self.rewrite(|at, _, kept| {
            let (genes, values) = self.cells.values.row(at);
            let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
            kept.total = self.cells.totals[at] - sum;
            for (&gene, &value) in genes.iter().zip(values) {
                if present[gene as usize] {
                    kept.push(gene as usize, value);
                }
            }
        });
        cells.overlap.share_q30 = library_share_q30(self.model, &present);
        cells.overlap.n_present -= lost.len() as u32;
        cells.present = present;
        if self.kind() == ValueKind::Ranks {
            // Among the genes that are left.
            rank_rows(&mut cells.values, cells.overlap.n_present as usize);
        }
        cells
    }

    /// New values for every held sample.
    fn rewrite(&self, mut row: impl FnMut(usize, usize, &mut Kept)) -> AlignedMatrix {
        let mut values = CsrMatrix { n_cols: self.model.n_genes(), ..CsrMatrix::default() };
        values.indptr.push(0);
        let mut totals = Vec::with_capacity(self.n());
        for (at, &of_file) in self.rows.iter().enumerate() {
            let mut kept = Kept { values: &mut values, total: 0.0 };
            row(at, of_file, &mut kept);
            totals.push(kept.total);
            values.indptr.push(values.data.len());
        }
        let AlignedMatrix { present, overlap, .. } = &self.cells;
        AlignedMatrix { values, totals, present: present.clone(), overlap: *overlap }
    }

    /// What repeats differ by; amounts and rows differ by themselves.
    fn seed_of(&self, condition: &Condition) -> u64 {
        self.seed.wrapping_add((condition.repeat as u64) << 32)
    }

    fn kind(&self) -> ValueKind {
        self.model.profiles().first().map_or(ValueKind::Counts, Profile::kind)
    }
}

/// The values of a sample that are left, and their sum.
struct Kept<'a> {
    values: &'a mut CsrMatrix,
    total: f64,
}

impl Kept<'_> {
    /// Genes come in order.
    fn push(&mut self, gene: usize, value: f32) {
        self.total += f64::from(value);
        if value != 0.0 {
            // The number of a gene of the panel, which fits 32 bits.
            self.values.indices.push(gene as u32);
            self.values.data.push(value);
        }
    }
}

/// The same model for what its network reads, in place of counts or linear values. Levels of an int8 model are those of the
/// same inputs, but rounded from the input itself. There is no smallest number of counts.
pub(super) fn reads_inputs(model: &Model<'_>) -> Result<AlignedBytes, Failure> {
    let mut spec = ModelSpec::from_model(model);
    spec.golden = GoldenSpec::default();
    spec.novelty = None;
    spec.rules.min_counts = 0;
    for profile in &mut spec.profiles {
        if !is_scaled(profile.kind) {
            continue;
        }
        profile.kind = ValueKind::Log1p;
        profile.library = Library::None;
        profile.target_sum = 0;
        if let Some(levels) = &mut profile.levels {
            let (scale, offset) = (f64::from(levels.scale), f64::from(levels.offset));
            levels.value_thresholds =
                fit_value_thresholds(ValueKind::Log1p, scale, offset).to_vec();
            levels.count_thresholds.fill(0);
            levels.shift = 0;
        }
    }
    let bytes = spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    Ok(AlignedBytes::new(&bytes))
}

#[cfg(test)]
mod tests {
    use cic_data::simulate::Simulation;
    use cic_data::{ExpressionMatrix, align};

    use super::super::figures::type_cells;
    use super::*;

    const FIXTURE: &[u8] = include_bytes!("../../../tests/data/fixture/simulated.cic");

    /// Cells of the kind that the fixture model was trained on.
    fn cells() -> ExpressionMatrix {
        let settings = Simulation {
            n_cells: 60,
            n_genes: 1_200,
            n_types: 6,
            seed: 20_190_219,
            ..Simulation::default()
        };
        settings.run().matrix
    }

    /// Hands the model, aligned cells and all of them as held ones to `test`.
    fn with_held(test: impl FnOnce(&Model<'_>, &ExpressionMatrix, &Held<'_>)) {
        let bytes = AlignedBytes::new(FIXTURE);
        let model = Model::open_verified(&bytes).unwrap();
        let matrix = cells();
        let aligned = align(&matrix, model.genes()).unwrap();
        let rows: Vec<usize> = (0..matrix.n_obs()).collect();
        let train = Profiles::read(&model, &aligned, rows.clone());
        test(&model, &matrix, &Held::new(&model, &aligned, &rows, &train, 1));
    }

    #[test]
    fn lost_genes_leave_what_a_file_without_them_gives() {
        with_held(|model, matrix, held| {
            for kind in [Kind::Genes, Kind::LowGenes] {
                let condition = Condition { kind: Some(kind), step: 2, repeat: 1 };
                let spoiled = held.spoil(&condition).cells;
                let panel = model.genes();
                let is_lost = |id: &str| {
                    (0..panel.len()).any(|gene| panel.id(gene) == id && !spoiled.present[gene])
                };
                let mut without = matrix.clone();
                let kept: Vec<usize> = (0..matrix.genes.len())
                    .filter(|&gene| !is_lost(&matrix.genes[gene].id))
                    .collect();
                without.genes = kept.iter().map(|&gene| matrix.genes[gene].clone()).collect();
                let mut values = Vec::new();
                for row in 0..matrix.n_obs() {
                    let mut dense = vec![0.0; matrix.genes.len()];
                    let (genes, counts) = matrix.values.row(row);
                    genes.iter().zip(counts).for_each(|(&gene, &n)| dense[gene as usize] = n);
                    values.extend(kept.iter().map(|&gene| dense[gene]));
                }
                without.values = CsrMatrix::from_dense(kept.len(), &values).unwrap();
                let expected = align(&without, panel).unwrap();
                assert!(expected.overlap.n_present * 2 <= panel.len() as u32 + 1);
                assert_eq!(spoiled.values, expected.values);
                assert_eq!(spoiled.present, expected.present);
                assert_eq!(spoiled.totals, expected.totals);
                assert_eq!(spoiled.overlap.n_present, expected.overlap.n_present);
                assert_eq!(spoiled.overlap.share_q30, expected.overlap.share_q30);
            }
        });
    }

    #[test]
    fn thinned_cells_keep_their_share_of_panel_and_total() {
        with_held(|_, _, held| {
            let sum = |cells: &AlignedMatrix| -> (f64, f64) {
                let panel = cells.values.data.iter().map(|&value| f64::from(value)).sum();
                (panel, cells.totals.iter().sum())
            };
            let before = sum(&held.cells);
            let condition = Condition { kind: Some(Kind::Thinning), step: 1, repeat: 0 };
            let after = sum(&held.spoil(&condition).cells);
            // Five standard deviations of the sums.
            let near = |a: f64, n: f64| (a - 0.25 * n).abs() < 5.0 * (n * 0.25 * 0.75).sqrt();
            assert!(near(after.0, before.0) && near(after.1, before.1), "{before:?} {after:?}");
        });
    }

    #[test]
    fn a_reader_of_inputs_makes_the_same_of_clean_cells() {
        with_held(|model, _, held| {
            let bytes = reads_inputs(model).unwrap();
            let reader = Model::open_verified(&bytes).unwrap();
            let clean = held.spoil(&Condition::CLEAN);
            let inputs = held.inputs(model, &clean);
            let mut cells = clean.cells.clone();
            cells.values = CsrMatrix::from_dense(model.n_genes(), &inputs.values).unwrap();
            let by_model = type_cells(model, &clean.cells, |_, _| {}).unwrap().codes;
            let by_reader = type_cells(&reader, &cells, |_, _| {}).unwrap().codes;
            let difference = (&by_model - &by_reader).norm_max();
            assert!(difference < 1e-4 && by_model.norm_max() > 0.1, "{difference}");
        });
    }
}
