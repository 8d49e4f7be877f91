//! Profiles that are no cell of one type, drawn from cells: what a model should reject.

use cic_data::CsrMatrix;

use crate::engine::rng::{Purpose, Rng};

/// A profile: columns, ascending, and their values.
pub type Profile = Vec<(u32, f32)>;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impostor {
    /// A droplet without a cell: counts from the mixture of all cells, up to a fiftieth of the median cell's.
    Empty,
    /// The values of a cell at random genes.
    Shuffled,
    /// As many counts as a cell has, each at a random gene.
    Uniform,
    /// As many counts as a cell has, drawn from the mixture of all cells.
    Ambient,
    /// Two cells, of different types where types are known, added.
    Doublet,
}

impl Impostor {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Empty, Self::Shuffled, Self::Uniform, Self::Ambient, Self::Doublet];

    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Shuffled => "shuffled",
            Self::Uniform => "uniform",
            Self::Ambient => "ambient",
            Self::Doublet => "doublet",
        }
    }

    /// Whether it can be made of counts alone.
    pub fn needs_counts(self) -> bool {
        self != Self::Shuffled
    }
}

/// Cells that impostors are drawn from.
pub struct Originals<'a> {
    values: &'a CsrMatrix,
    /// Rows with any value, and the type of each where it is known.
    rows: Vec<(usize, Option<usize>)>,
    /// Running sums over the columns: of all cells together, and of the same share for each.
    mixture: Vec<f64>,
    even: Vec<f64>,
    most_empty: usize,
    has_types: bool,
    seed: u64,
}

impl<'a> Originals<'a> {
    /// Of `rows`, each with its type where that is known. Rows without values are left out; `None` where no row is left. What
    /// flows about in a sample comes from all cells of `values`, also from those that are none of `rows`.
    pub fn new(
        values: &'a CsrMatrix,
        rows: impl Iterator<Item = (usize, Option<usize>)>,
        seed: u64,
    ) -> Option<Self> {
        let rows: Vec<_> = rows.filter(|&(row, _)| !values.row(row).0.is_empty()).collect();
        let mut sums = vec![0.0; values.n_cols];
        for (&column, &value) in values.indices.iter().zip(&values.data) {
            sums[column as usize] += f64::from(value);
        }
        let mut depths: Vec<f64> = rows.iter().map(|&(row, _)| sum(values.row(row).1)).collect();
        depths.sort_by(f64::total_cmp);
        let median = *depths.get(depths.len() / 2)?;
        let mut types: Vec<usize> = rows.iter().filter_map(|&(_, of)| of).collect();
        types.sort_unstable();
        types.dedup();
        Some(Self {
            values,
            mixture: running_sums(&sums),
            even: running_sums(&vec![1.0; values.n_cols]),
            // Below 2³², by the limit of what is drawn.
            most_empty: (median.clamp(0.0, MOST_COUNTS) * SHARE_OF_EMPTY) as usize,
            has_types: types.len() > 1,
            rows,
            seed,
        })
    }

    /// The impostor of that number: the same for the same seed.
    pub fn draw(&self, of: Impostor, number: u64) -> Profile {
        let mut rng = Rng::stream(self.seed, Purpose::Impostor, of as u64, number);
        let (row, class) = self.pick(&mut rng);
        let depth = || sum(self.values.row(row).1);
        match of {
            Impostor::Empty => {
                let n_counts = rng.below(self.most_empty + 1) as f64;
                multinomial(&mut rng, &self.mixture, n_counts)
            }
            Impostor::Shuffled => shuffled(&mut rng, &self.profile(row), self.values.n_cols),
            Impostor::Uniform => multinomial(&mut rng, &self.even, depth()),
            Impostor::Ambient => multinomial(&mut rng, &self.mixture, depth()),
            Impostor::Doublet => {
                // A cell of no known type goes with any.
                let mut other = self.pick(&mut rng);
                while self.has_types && class.is_some() && other.1 == class {
                    other = self.pick(&mut rng);
                }
                added(&self.profile(row), &self.profile(other.0))
            }
        }
    }

    fn pick(&self, rng: &mut Rng) -> (usize, Option<usize>) {
        self.rows[rng.below(self.rows.len())]
    }

    fn profile(&self, row: usize) -> Profile {
        let (columns, values) = self.values.row(row);
        columns.iter().copied().zip(values.iter().copied()).collect()
    }
}

/// The same values at other genes.
pub(crate) fn shuffled(rng: &mut Rng, profile: &Profile, n_genes: usize) -> Profile {
    let mut genes: Vec<u32> = (0..n_genes as u32).collect();
    // As many as are needed of a random order.
    for place in 0..profile.len() {
        genes.swap(place, place + rng.below(n_genes - place));
    }
    let mut moved: Profile =
        genes.iter().zip(profile).map(|(&gene, &(_, value))| (gene, value)).collect();
    moved.sort_unstable_by_key(|&(gene, _)| gene);
    moved
}

/// So many counts, each at a gene by chance.
pub(crate) fn multinomial(rng: &mut Rng, ends: &[f64], n_counts: f64) -> Profile {
    let all = ends.last().copied().unwrap_or(0.0);
    let mut counts = vec![0.0_f32; ends.len()];
    // A draw of 24 bits is too coarse for genes that are rare.
    let fine = |rng: &mut Rng| (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    for _ in 0..n_counts.min(MOST_COUNTS) as u32 {
        let at = fine(rng) * all;
        let gene = ends.partition_point(|&end| end <= at).min(ends.len() - 1);
        counts[gene] += 1.0;
    }
    (0..).zip(counts).filter(|&(_, count)| count > 0.0).collect()
}

/// Where the share of each gene ends.
pub(crate) fn running_sums(weights: &[f64]) -> Vec<f64> {
    let sums = weights.iter().scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    sums.collect()
}

pub(crate) fn added(a: &Profile, b: &Profile) -> Profile {
    let mut all: std::collections::BTreeMap<u32, f32> = a.iter().copied().collect();
    for &(gene, value) in b {
        *all.entry(gene).or_default() += value;
    }
    all.into_iter().collect()
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

/// Counts of a profile that are drawn: deeper ones differ no more.
const MOST_COUNTS: f64 = 50_000.0;

/// Of the median cell, in a droplet without a cell.
const SHARE_OF_EMPTY: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    /// Three cells of two types over a hundred genes, and one without values.
    fn originals() -> CsrMatrix {
        let row = |from: usize| (0..100).map(move |gene| f32::from(u8::from(gene / 10 == from)));
        let rows = [row(0), row(0), row(1)].into_iter().flatten().map(|value| 300.0 * value);
        CsrMatrix::from_dense(100, &rows.chain([0.0; 100]).collect::<Vec<_>>()).unwrap()
    }

    fn drawn(of: Impostor) -> Vec<Profile> {
        let values = originals();
        let rows = [(0, Some(0)), (1, Some(0)), (2, Some(1)), (3, Some(1))];
        let originals = Originals::new(&values, rows.into_iter(), 1).unwrap();
        (0..50).map(|number| originals.draw(of, number)).collect()
    }

    fn depth(profile: &Profile) -> f32 {
        profile.iter().map(|&(_, value)| value).sum()
    }

    #[test]
    fn noise_is_as_deep_as_cells_and_lies_where_it_should() {
        for of in [Impostor::Shuffled, Impostor::Uniform, Impostor::Ambient] {
            let all = drawn(of);
            assert!(all.iter().all(|profile| depth(profile) == 3_000.0), "{of:?}");
            assert!(all.iter().all(|profile| profile.is_sorted_by(|a, b| a.0 < b.0)), "{of:?}");
            // Genes that no cell has are those of noise, but not of the mixture.
            let elsewhere = all.iter().flatten().any(|&(gene, _)| gene >= 20);
            assert_eq!(elsewhere, of != Impostor::Ambient, "{of:?}");
        }
    }

    #[test]
    fn empty_droplets_hold_a_fiftieth_at_most() {
        let all = drawn(Impostor::Empty);
        assert!(all.iter().all(|profile| depth(profile) <= 60.0));
        assert!(all.iter().any(|profile| depth(profile) > 30.0));
    }

    #[test]
    fn doublets_are_of_two_types() {
        for doublet in drawn(Impostor::Doublet) {
            assert_eq!(doublet.len(), 20);
            assert_eq!(depth(&doublet), 6_000.0);
        }
    }

    #[test]
    fn nothing_is_drawn_from_empty_cells() {
        let values = originals();
        assert!(Originals::new(&values, [(3, None)].into_iter(), 1).is_none());
    }
}
