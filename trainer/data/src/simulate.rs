//! Simulated single-cell counts, for demonstrations and tests where no real data is at hand.
//!
//! The model: every gene has a log-normal mean, and a few housekeeping genes are far above it. Cell
//! types come in pairs that share a lineage programme (genes switched up and down) and differ by
//! a weaker one of their own, which each cell expresses more or less and mixes with that of the
//! sibling type: neighbouring types are hard to tell apart, others are not. A programme that has
//! nothing to do with the type varies from cell to cell, donors shift every gene a little,
//! library sizes are log-normal, and counts follow a negative binomial distribution around all that.
//!
//! The same settings give the same counts on every platform: only the four operations, square
//! roots and the software functions of `libm` are used.

use crate::expression::{ExpressionMatrix, Gene, Source};
use crate::matrix::CsrMatrix;
use crate::obs::{Column, ObsTable};

/// Settings of a simulation. With the default ones about nine of ten counts are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Number of cells. A larger number adds cells without changing the first ones.
    pub n_cells: usize,
    /// Number of genes, below 2³².
    pub n_genes: usize,
    /// Number of cell types; the later ones are rarer. At least one is made. The first cells are
    /// one of each type.
    pub n_types: usize,
    /// Number of donors; at least one is made.
    pub n_donors: usize,
    /// Median of the total counts of a cell.
    pub depth: f64,
    /// Everything random follows from it.
    pub seed: u64,
}

impl Default for Simulation {
    fn default() -> Self {
        Self { n_cells: 3000, n_genes: 4000, n_types: 8, n_donors: 6, depth: 1000.0, seed: 1 }
    }
}

/// Simulated counts and the truth behind them.
#[derive(Clone, Debug)]
pub struct SimulatedCells {
    /// The counts. Genes are named `SIM00001`, cells `SIMCELL000001`; the columns `cell_type` and
    /// `donor` of `obs` hold the truth.
    pub matrix: ExpressionMatrix,
    /// Cell type of each cell, a position in `type_names`.
    pub labels: Vec<u32>,
    /// Names of the cell types.
    pub type_names: Vec<String>,
}

impl Simulation {
    /// Draws the cells.
    ///
    /// ```
    /// let cells = cic_data::simulate::Simulation { n_cells: 20, ..Default::default() }.run();
    /// assert_eq!(cells.matrix.n_obs(), 20);
    /// ```
    pub fn run(&self) -> SimulatedCells {
        let n_types = self.n_types.max(1);
        let n_donors = self.n_donors.max(1);
        let tissue = Tissue::draw(self.seed, self.n_genes, n_types, n_donors);
        let mut labels = Vec::with_capacity(self.n_cells);
        let mut donors = Vec::with_capacity(self.n_cells);
        let mut values =
            CsrMatrix { n_cols: self.n_genes, indptr: vec![0], ..CsrMatrix::default() };
        let mut expression = vec![0.0; self.n_genes];
        for cell in 0..self.n_cells {
            let mut random = Random::new(self.seed, CELLS, cell as u64);
            let drawn_type = tissue.draw_type(&mut random);
            let cell_type = if cell < n_types { cell } else { drawn_type };
            let donor = random.below(n_donors);
            tissue.express(cell_type, donor, &mut random, &mut expression);
            let library_size = self.depth * libm::exp(LIBRARY_SD * random.normal());
            let total: f64 = expression.iter().sum();
            for (gene, weight) in (0u32..).zip(&expression) {
                let count = random.negative_binomial(library_size * weight / total);
                if count > 0 {
                    values.indices.push(gene);
                    // At most 2²⁴, which single precision holds exactly.
                    values.data.push(count as f32);
                }
            }
            values.indptr.push(values.data.len());
            labels.push(cell_type as u32);
            donors.push(format!("donor {}", donor + 1));
        }

        let type_names: Vec<String> =
            (0..n_types).map(|index| format!("simulated type {:02}", index + 1)).collect();
        let names = labels.iter().map(|label| Some(type_names[*label as usize].as_str()));
        let mut obs = ObsTable::default();
        obs.insert("cell_type", Column::categorical(names));
        obs.insert("donor", Column::categorical(donors.iter().map(|donor| Some(donor.as_str()))));
        let matrix = ExpressionMatrix {
            obs_names: (1..=self.n_cells).map(|cell| format!("SIMCELL{cell:06}")).collect(),
            genes: (1..=self.n_genes)
                .map(|gene| Gene::new(format!("SIM{gene:05}"), None, None))
                .collect(),
            values,
            obs,
            source: Source {
                path: "simulation".into(),
                format: "simulated counts".into(),
                matrix: "counts".into(),
                notes: vec![format!("no real cells: drawn with seed {}", self.seed)],
                ..Source::default()
            },
        };
        SimulatedCells { matrix, labels, type_names }
    }
}

/// Everything that is the same for all cells.
struct Tissue {
    /// Relative expression of each gene, per donor. `[n_donors][n_genes]`
    baseline: Vec<Vec<f64>>,
    /// One programme per pair of types.
    lineages: Vec<Programme>,
    /// One programme per type.
    types: Vec<Programme>,
    /// Not related to the type.
    nuisance: Programme,
    /// Sums of the shares of the types up to each; the last is the total.
    type_bounds: Vec<f64>,
}

/// Genes and the natural logarithm of the factor by which full activity changes them.
struct Programme(Vec<(usize, f64)>);

impl Tissue {
    fn draw(seed: u64, n_genes: usize, n_types: usize, n_donors: usize) -> Self {
        let mut random = Random::new(seed, TISSUE, 0);
        let mut log_mean: Vec<f64> = (0..n_genes).map(|_| GENE_SD * random.normal()).collect();
        for gene in random.genes(n_genes, HOUSEKEEPING_SHARE) {
            log_mean[gene] = HOUSEKEEPING_LEVEL + HOUSEKEEPING_SD * random.normal();
        }
        let lineages =
            (0..n_types.div_ceil(2)).map(|_| random.programme(n_genes, &LINEAGE)).collect();
        let types = (0..n_types).map(|_| random.programme(n_genes, &OWN)).collect();
        let nuisance = random.programme(n_genes, &NUISANCE);
        let baseline = (0..n_donors)
            .map(|_| {
                log_mean.iter().map(|mean| libm::exp(mean + DONOR_SD * random.normal())).collect()
            })
            .collect();
        let mut total = 0.0;
        let type_bounds = (0..n_types)
            .map(|index| {
                total += 1.0 / (1.0 + RARITY * index as f64);
                total
            })
            .collect();
        Self { baseline, lineages, types, nuisance, type_bounds }
    }

    fn draw_type(&self, random: &mut Random) -> usize {
        let total = self.type_bounds.last().copied().unwrap_or_default();
        let position = random.uniform() * total;
        self.type_bounds.iter().take_while(|bound| **bound <= position).count()
    }

    /// The relative expression of one cell's genes.
    fn express(&self, cell_type: usize, donor: usize, random: &mut Random, into: &mut [f64]) {
        into.copy_from_slice(&self.baseline[donor]);
        let mut apply = |programme: &Programme, activity: f64| {
            for (gene, effect) in &programme.0 {
                into[*gene] *= libm::exp(activity * effect);
            }
        };
        let varied = |random: &mut Random| 1.0 + ACTIVITY_SD * random.normal();
        apply(&self.lineages[cell_type / 2], varied(random));
        // The smallest of three even draws: few cells are far on the way to the sibling type.
        let blend = random.uniform().min(random.uniform()).min(random.uniform()) * MOST_BLENDED;
        apply(&self.types[cell_type], (1.0 - blend) * varied(random));
        if let Some(sibling) = self.types.get(cell_type ^ 1) {
            apply(sibling, blend);
        }
        apply(&self.nuisance, random.normal());
    }
}

/// How many genes a programme changes, and how much.
struct ProgrammeShape {
    /// Share of all genes that go up.
    up: f64,
    /// Share of all genes that go down.
    down: f64,
    /// Mean of the logarithm of the factor.
    effect: f64,
}

/// SplitMix64 (Steele, Lea and Flood 2014): a counter, mixed.
struct Random(u64);

impl Random {
    /// The stream with a number, of a kind.
    fn new(seed: u64, kind: u64, number: u64) -> Self {
        let mut random = Self(seed ^ kind);
        Self(random.next() ^ number.wrapping_mul(STREAM_STEP))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Even in 0..1, in steps of 2⁻⁵³.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Below `bound`, which is at least 1; the bias is below `bound` / 2⁶⁴.
    fn below(&mut self, bound: usize) -> usize {
        // The high half of the product is below `bound`.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(core::f64::consts::TAU * self.uniform())
    }

    /// A count with this mean and shape [`SHAPE`], by inversion.
    fn negative_binomial(&mut self, mean: f64) -> u32 {
        let mut left = self.uniform();
        // Zero has at least the probability 1 − mean.
        if left < 1.0 - mean {
            return 0;
        }
        let ratio = mean / (mean + SHAPE);
        let square = (1.0 + mean / SHAPE) * (1.0 + mean / SHAPE);
        // The shape is 4, hence a fourth power.
        let mut probability = 1.0 / (square * square);
        let mut count = 0;
        while left >= probability && count < MAX_COUNT {
            left -= probability;
            probability *= ratio * (f64::from(count) + SHAPE) / (f64::from(count) + 1.0);
            count += 1;
            // Past the mean, probabilities only fall; what rounding left over ends here.
            if probability < 1e-300 {
                break;
            }
        }
        count
    }

    /// Different genes, a share of all.
    fn genes(&mut self, n_genes: usize, share: f64) -> Vec<usize> {
        // Rounded up, so that small simulations have some as well; a share is at most 1.
        let n = libm::ceil(share * n_genes as f64) as usize;
        let mut genes: Vec<usize> = Vec::with_capacity(n);
        let mut taken = vec![false; n_genes];
        while genes.len() < n.min(n_genes) {
            let gene = self.below(n_genes);
            if !core::mem::replace(&mut taken[gene], true) {
                genes.push(gene);
            }
        }
        genes
    }

    fn programme(&mut self, n_genes: usize, shape: &ProgrammeShape) -> Programme {
        let mut changes = Vec::new();
        for (share, sign) in [(shape.up, 1.0), (shape.down, -1.0)] {
            for gene in self.genes(n_genes, share) {
                let size = shape.effect * (1.0 + EFFECT_SD * self.normal());
                changes.push((gene, sign * size));
            }
        }
        Programme(changes)
    }
}

const GENE_SD: f64 = 2.0;
const HOUSEKEEPING_SHARE: f64 = 0.01;
const HOUSEKEEPING_LEVEL: f64 = 4.5;
const HOUSEKEEPING_SD: f64 = 0.5;
const LINEAGE: ProgrammeShape = ProgrammeShape { up: 0.04, down: 0.03, effect: 1.5 };
const OWN: ProgrammeShape = ProgrammeShape { up: 0.02, down: 0.01, effect: 1.5 };
const NUISANCE: ProgrammeShape = ProgrammeShape { up: 0.02, down: 0.02, effect: 0.6 };
/// Spread of effects within a programme, relative to their mean.
const EFFECT_SD: f64 = 0.4;
/// Spread of a programme's activity between cells.
const ACTIVITY_SD: f64 = 0.15;
/// Share of the sibling's programme in the most ambiguous cell.
const MOST_BLENDED: f64 = 0.6;
const DONOR_SD: f64 = 0.1;
const LIBRARY_SD: f64 = 0.35;
/// The first type is 1 + `RARITY` times as frequent as the second.
const RARITY: f64 = 0.5;
/// Shape of the negative binomial: variance = mean + mean² / 4.
const SHAPE: f64 = 4.0;
const MAX_COUNT: u32 = 1 << 24;
/// Kinds of random streams.
const TISSUE: u64 = 0x7469_7373_7565;
const CELLS: u64 = 0x0063_656c_6c73;
const STREAM_STEP: u64 = 0xd134_2543_de82_ef95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs of the published C code for this seed.
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(random.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn negative_binomial_counts_have_the_stated_mean_and_variance() {
        for mean in [0.02, 0.7, 12.0, 300.0] {
            let mut random = Random::new(5, CELLS, 0);
            let n = 40_000;
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let count = f64::from(random.negative_binomial(mean));
                sum += count;
                squares += count * count;
            }
            let found = sum / f64::from(n);
            let variance = squares / f64::from(n) - found * found;
            let expected = mean + mean * mean / SHAPE;
            assert!((found / mean - 1.0).abs() < 0.1, "mean {found}, expected {mean}");
            assert!((variance / expected - 1.0).abs() < 0.15, "{variance}, expected {expected}");
        }
    }

    #[test]
    fn the_default_is_as_sparse_as_real_cells() {
        let cells = Simulation { n_cells: 300, ..Simulation::default() }.run();
        let values = &cells.matrix.values;
        let density = values.nnz() as f64 / (300.0 * values.n_cols as f64);
        assert!((0.05..0.15).contains(&density), "{density}");
    }

    #[test]
    fn more_cells_leave_the_first_ones_unchanged() {
        let few = Simulation { n_cells: 30, n_genes: 300, ..Simulation::default() };
        let many = Simulation { n_cells: 50, ..few.clone() };
        let (few, many) = (few.run(), many.run());
        for cell in 0..30 {
            assert_eq!(few.matrix.values.row(cell), many.matrix.values.row(cell));
        }
        assert_eq!(few.labels, many.labels[..30]);
        assert_eq!(few.labels[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn small_and_odd_settings_are_drawn() {
        for (n_cells, n_genes, n_types, n_donors) in [(0, 0, 0, 0), (3, 1, 5, 1), (9, 7, 3, 20)] {
            let cells =
                Simulation { n_cells, n_genes, n_types, n_donors, ..Simulation::default() }.run();
            assert_eq!(cells.matrix.n_obs(), n_cells);
            assert_eq!(cells.matrix.n_vars(), n_genes);
            assert_eq!(cells.matrix.values.n_rows(), n_cells);
            assert!(cells.labels.iter().all(|label| (*label as usize) < n_types.max(1)));
        }
    }

    #[test]
    fn the_same_settings_give_the_same_counts_on_every_platform() {
        let cells = Simulation { n_cells: 200, n_genes: 500, ..Simulation::default() }.run();
        // FNV-1a over columns and counts.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let values = &cells.matrix.values;
        for (gene, count) in values.indices.iter().zip(&values.data) {
            for number in [*gene, *count as u32] {
                hash = (hash ^ u64::from(number)).wrapping_mul(0x100_0000_01b3);
            }
        }
        assert_eq!((values.nnz(), hash), PINNED);
    }

    /// Changes with the model of the simulation, and then every figure that depends on it.
    const PINNED: (usize, u64) = (34_571, 18_107_173_536_668_594_832);
}
