//! The four parts of any training data: fit, early-stop, calibrate, test.
//!
//! Which part a row falls into depends on its id, its label, its group and the seed, not on its
//! position: a file with its rows permuted gives the same parts.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// What decides the part of one row.
#[derive(Clone, Copy, Debug)]
pub struct PartRow<'a> {
    /// The sample or cell id. Rows with the same id are told apart by their order.
    pub id: &'a str,
    /// The class, for stratification; rows without one form a stratum of their own.
    pub label: Option<u32>,
    /// Donor, batch or study. Rows without one form a group of their own, if any row has one.
    pub group: Option<&'a str>,
    /// What a split file says.
    pub assigned: Assigned,
}

/// What a given split says about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// Nothing: the row may be held out for the test part.
    Open,
    /// Not for the test part.
    Train,
    /// For the test part.
    Test,
    /// For no part.
    Excluded,
}

/// Row numbers of each part, ascending and disjoint. A part that the data is too small for is
/// empty; `fit` is empty only if every row is assigned to the test part or excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Weights and preprocessing are fitted on these.
    pub fit: Vec<usize>,
    /// Training stops when these no longer improve.
    pub early_stop: Vec<usize>,
    /// Quantisation ranges, temperature and rejection are fitted on these.
    pub calibrate: Vec<usize>,
    /// Figures are reported on these, nothing is fitted on them.
    pub test: Vec<usize>,
    /// How `early_stop` and `calibrate` were taken.
    pub division: Division,
}

/// How rows were taken out of the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Whole groups were taken.
    ByGroup {
        /// Groups among the training rows.
        n_groups: usize,
    },
    /// Rows were taken at random within each class, because no row has a group.
    StratifiedNoGroups,
    /// Rows were taken at random within each class, because there are too few groups.
    StratifiedFewGroups {
        /// Groups among the training rows.
        n_groups: usize,
    },
    /// Rows were taken at random within each class, because taking whole groups would have left a
    /// class, or half of the rows, out of `fit`.
    StratifiedGroupsTooLarge {
        /// Groups among the training rows.
        n_groups: usize,
    },
}

impl Division {
    /// Whether groups were asked for and not kept together.
    pub const fn divides_groups(self) -> bool {
        matches!(self, Self::StratifiedFewGroups { .. } | Self::StratifiedGroupsTooLarge { .. })
    }
}

impl core::fmt::Display for Division {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ByGroup { n_groups } => write!(f, "whole groups of {n_groups}"),
            Self::StratifiedNoGroups => f.write_str("at random within types"),
            Self::StratifiedFewGroups { n_groups } => {
                write!(f, "at random within types, as {n_groups} groups are too few")
            }
            Self::StratifiedGroupsTooLarge { n_groups } => {
                write!(
                    f,
                    "at random within types, as whole groups ({n_groups}) would leave too little"
                )
            }
        }
    }
}

impl Parts {
    /// Divides rows into parts.
    ///
    /// - Test: the rows assigned to it. If there are none, a fifth of the open rows is held out.
    /// - Calibrate, then early-stop: a tenth of the training rows each. With four or more groups
    ///   whole groups are taken, in an order drawn from the seed, as long as `fit` keeps every
    ///   class and at least half of the rows; if that is impossible, or there are fewer groups,
    ///   rows are taken at random within each class.
    /// - Within a class, rows are taken in proportion to its size, and at most half of its rows
    ///   in all. Classes of fewer than five rows stay in `fit` as far as the larger classes can
    ///   fill the part; a class of one row always does.
    pub fn choose(rows: &[PartRow<'_>], seed: u64) -> Self {
        let with = |assigned| (0..rows.len()).filter(move |row| rows[*row].assigned == assigned);
        let mut test: Vec<usize> = with(Assigned::Test).collect();
        let mut open: Vec<usize> = with(Assigned::Open).collect();
        if test.is_empty() {
            let ([held], rest, _) = take(rows, open, seed, [TEST_DIVISOR]);
            (test, open) = (held, rest);
        }
        let mut train: Vec<usize> = with(Assigned::Train).chain(open).collect();
        train.sort_unstable();
        let ([calibrate, early_stop], fit, division) =
            take(rows, train, seed, [PART_DIVISOR, PART_DIVISOR]);
        Self { fit, early_stop, calibrate, test, division }
    }

    /// The digest of each part, for provenance: see [`part_digest`].
    pub fn digests(&self, rows: &[PartRow<'_>]) -> PartDigests {
        let digest = |part: &[usize]| part_digest(part.iter().map(|row| rows[*row].id));
        PartDigests {
            fit: digest(&self.fit),
            early_stop: digest(&self.early_stop),
            calibrate: digest(&self.calibrate),
            test: digest(&self.test),
        }
    }
}

/// One digest for each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartDigests {
    /// Of the fit rows.
    pub fit: [u8; 32],
    /// Of the early-stop rows.
    pub early_stop: [u8; 32],
    /// Of the calibrate rows.
    pub calibrate: [u8; 32],
    /// Of the test rows.
    pub test: [u8; 32],
}

/// The first 8 bytes of the SHA-256 of a row id in UTF-8: enough to detect that a row was trained
/// on, without carrying the id.
pub fn row_digest(id: &str) -> [u8; 8] {
    let mut digest = [0; 8];
    digest.copy_from_slice(&Sha256::digest(id.as_bytes())[..8]);
    digest
}

/// The SHA-256 of the row digests of a part, sorted: it does not depend on the order of the rows.
pub fn part_digest<'a>(ids: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut digests: Vec<[u8; 8]> = ids.into_iter().map(row_digest).collect();
    digests.sort_unstable();
    Sha256::digest(digests.as_flattened()).into()
}

/// Takes parts of `1 / divisor` of the rows each out of `pool`; returns them and what is left,
/// all ascending.
fn take<const N: usize>(
    rows: &[PartRow<'_>],
    pool: Vec<usize>,
    seed: u64,
    divisors: [usize; N],
) -> ([Vec<usize>; N], Vec<usize>, Division) {
    let targets = divisors.map(|divisor| (pool.len() + divisor / 2) / divisor);
    let has_groups = pool.iter().any(|row| rows[*row].group.is_some());
    let mut groups: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for row in &pool {
        groups.entry(rows[*row].group).or_default().push(*row);
    }
    let n_groups = groups.len();
    let division = if !has_groups {
        Division::StratifiedNoGroups
    } else if n_groups < MIN_GROUPS {
        Division::StratifiedFewGroups { n_groups }
    } else if let Some(parts) = take_groups(rows, groups, pool.len(), seed, targets) {
        let (parts, rest) = sorted(parts, pool);
        return (parts, rest, Division::ByGroup { n_groups });
    } else {
        Division::StratifiedGroupsTooLarge { n_groups }
    };
    let (parts, rest) = sorted(take_stratified(rows, &pool, seed, targets), pool);
    (parts, rest, division)
}

/// Whole groups for each part: in drawn order while they fit under the target; if none fits, the
/// smallest. `None` if a part stays empty or fewer than half of the rows would be left.
fn take_groups<const N: usize>(
    rows: &[PartRow<'_>],
    groups: BTreeMap<Option<&str>, Vec<usize>>,
    n_rows: usize,
    seed: u64,
    targets: [usize; N],
) -> Option<[Vec<usize>; N]> {
    let mut left_of_class: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    for row in groups.values().flatten() {
        *left_of_class.entry(rows[*row].label).or_default() += 1;
    }
    let mut drawn: Vec<([u8; 32], Vec<usize>)> = groups
        .into_iter()
        .map(|(name, members)| (draw(&[seed], name.unwrap_or_default()), members))
        .collect();
    drawn.sort();
    let mut parts = [const { Vec::new() }; N];
    let mut n_left = n_rows;
    for (part, target) in parts.iter_mut().zip(targets) {
        let mut index = 0;
        while index < drawn.len() {
            let members = &drawn[index].1;
            if part.len() + members.len() <= target && spare(rows, members, &left_of_class) {
                let (_, members) = drawn.remove(index);
                remove(rows, &members, &mut left_of_class);
                part.extend(members);
            } else {
                index += 1;
            }
        }
        if part.is_empty() {
            let smallest = (0..drawn.len())
                .filter(|index| spare(rows, &drawn[*index].1, &left_of_class))
                .min_by_key(|index| drawn[*index].1.len())?;
            let (_, members) = drawn.remove(smallest);
            remove(rows, &members, &mut left_of_class);
            part.extend(members);
        }
        n_left -= part.len();
    }
    (2 * n_left >= n_rows).then_some(parts)
}

/// Whether every class of these rows would still have a row elsewhere.
fn spare(rows: &[PartRow<'_>], members: &[usize], left: &BTreeMap<Option<u32>, usize>) -> bool {
    let mut taken: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    for row in members {
        *taken.entry(rows[*row].label).or_default() += 1;
    }
    taken.iter().all(|(label, n)| left.get(label).is_some_and(|left| left > n))
}

fn remove(rows: &[PartRow<'_>], members: &[usize], left: &mut BTreeMap<Option<u32>, usize>) {
    for row in members {
        if let Some(n) = left.get_mut(&rows[*row].label) {
            *n -= 1;
        }
    }
}

/// Rows for each part, drawn within each class.
fn take_stratified<const N: usize>(
    rows: &[PartRow<'_>],
    pool: &[usize],
    seed: u64,
    targets: [usize; N],
) -> [Vec<usize>; N] {
    let mut classes: BTreeMap<Option<u32>, Vec<([u8; 32], usize)>> = BTreeMap::new();
    for row in pool {
        let drawn = (draw(&[seed], rows[*row].id), *row);
        classes.entry(rows[*row].label).or_default().push(drawn);
    }
    let mut classes: Vec<Stratum> = classes
        .into_values()
        .map(|mut drawn| {
            drawn.sort();
            let size = drawn.len();
            Stratum { rows: drawn.into_iter().map(|(_, row)| row).collect(), size }
        })
        .collect();
    targets.map(|target| {
        let mut part = Vec::new();
        let large: Vec<usize> = shares(&classes, target, |size| size >= TINY_CLASS);
        let missing = target.saturating_sub(large.iter().sum());
        let tiny: Vec<usize> = shares(&classes, missing, |size| size < TINY_CLASS);
        for (class, (large, tiny)) in classes.iter_mut().zip(large.into_iter().zip(tiny)) {
            part.extend(class.rows.drain(..large + tiny));
        }
        part
    })
}

/// The rows of one class that no part has taken, in drawn order.
struct Stratum {
    rows: Vec<usize>,
    /// Rows before any were taken.
    size: usize,
}

impl Stratum {
    /// How many more may be taken, so that half of the class is left.
    fn capacity(&self) -> usize {
        self.rows.len() - self.size.div_ceil(2)
    }
}

/// How many rows each eligible class gives towards `target`: in proportion to its size, the
/// remainder to those with the largest fraction (the larger class, then the first, on a tie), and
/// then to any that still has some to give.
fn shares(classes: &[Stratum], target: usize, eligible: impl Fn(usize) -> bool) -> Vec<usize> {
    let capacity: Vec<usize> = classes
        .iter()
        .map(|class| if eligible(class.size) { class.capacity() } else { 0 })
        .collect();
    let weight = |class: usize| if capacity[class] > 0 { classes[class].size } else { 0 };
    let total: usize = (0..classes.len()).map(weight).sum();
    if total == 0 {
        return vec![0; classes.len()];
    }
    let exact = |class: usize| target as u128 * weight(class) as u128;
    let mut shares: Vec<usize> = (0..classes.len())
        // The quotient is at most `target`.
        .map(|class| ((exact(class) / total as u128) as usize).min(capacity[class]))
        .collect();
    let mut order: Vec<usize> = (0..classes.len()).filter(|class| weight(*class) > 0).collect();
    order.sort_by_key(|class| {
        core::cmp::Reverse((exact(*class) % total as u128, classes[*class].size))
    });
    let mut missing = target.saturating_sub(shares.iter().sum());
    while missing > 0 {
        let before = missing;
        for class in &order {
            if missing > 0 && shares[*class] < capacity[*class] {
                shares[*class] += 1;
                missing -= 1;
            }
        }
        if missing == before {
            break;
        }
    }
    shares
}

/// A key that orders names as if at random, the same way on every machine.
pub(crate) fn draw(seeds: &[u64], name: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    seeds.iter().for_each(|seed| hasher.update(seed.to_le_bytes()));
    hasher.chain_update(name.as_bytes()).finalize().into()
}

fn sorted<const N: usize>(
    mut parts: [Vec<usize>; N],
    pool: Vec<usize>,
) -> ([Vec<usize>; N], Vec<usize>) {
    parts.iter_mut().for_each(|part| part.sort_unstable());
    let taken = |row: &usize| parts.iter().any(|part| part.binary_search(row).is_ok());
    let rest = pool.into_iter().filter(|row| !taken(row)).collect();
    (parts, rest)
}

/// A fifth of the open rows is held out for the test part.
const TEST_DIVISOR: usize = 5;
/// A tenth of the training rows goes to each of the calibrate and early-stop parts.
const PART_DIVISOR: usize = 10;
/// With fewer groups, whole groups would be too large a share.
const MIN_GROUPS: usize = 4;
/// Classes with fewer rows are not taken from while larger ones suffice.
pub(crate) const TINY_CLASS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids, labels and groups of generated data sets, small and large, even and uneven.
    struct Case {
        ids: Vec<String>,
        labels: Vec<Option<u32>>,
        groups: Vec<Option<String>>,
        assigned: Vec<Assigned>,
    }

    impl Case {
        fn rows(&self) -> Vec<PartRow<'_>> {
            (0..self.ids.len())
                .map(|row| PartRow {
                    id: &self.ids[row],
                    label: self.labels[row],
                    group: self.groups[row].as_deref(),
                    assigned: self.assigned[row],
                })
                .collect()
        }
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for (case, n) in [0, 1, 2, 3, 5, 9, 10, 17, 60, 101, 400, 1978].into_iter().enumerate() {
            for n_classes in [0u32, 1, 2, 9, 41] {
                for n_groups in [0u64, 1, 3, 4, 12] {
                    let mut state = (case as u64) << 32 | u64::from(n_classes) << 16 | n_groups;
                    let mut below = |bound: u64| {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                        (state >> 33) % bound
                    };
                    // The smaller of two draws makes uneven classes and groups.
                    let mut uneven = |bound: u64| below(bound).min(below(bound));
                    cases.push(Case {
                        ids: (0..n).map(|row| format!("cell-{row}")).collect(),
                        labels: (0..n)
                            .map(|_| (n_classes > 0).then(|| uneven(u64::from(n_classes)) as u32))
                            .collect(),
                        groups: (0..n)
                            .map(|_| (n_groups > 0).then(|| format!("donor {}", uneven(n_groups))))
                            .collect(),
                        assigned: (0..n)
                            .map(|_| match (case % 3, uneven(8)) {
                                (0, _) => Assigned::Open,
                                (1, 0..=3) | (2, 1..=3) => Assigned::Train,
                                (_, 4..=5) => Assigned::Test,
                                (1, _) => Assigned::Excluded,
                                _ => Assigned::Open,
                            })
                            .collect(),
                    });
                }
            }
        }
        cases
    }

    #[test]
    fn every_row_is_in_one_part_unless_excluded() {
        for case in cases() {
            let rows = case.rows();
            let parts = Parts::choose(&rows, 7);
            let mut all = [&parts.fit, &parts.early_stop, &parts.calibrate, &parts.test]
                .map(Vec::as_slice)
                .concat();
            for part in [&parts.fit, &parts.early_stop, &parts.calibrate, &parts.test] {
                assert!(part.is_sorted());
            }
            all.sort_unstable();
            let expected: Vec<usize> =
                (0..rows.len()).filter(|row| rows[*row].assigned != Assigned::Excluded).collect();
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn assigned_rows_keep_to_their_side() {
        for case in cases() {
            let rows = case.rows();
            let parts = Parts::choose(&rows, 7);
            assert!(parts.test.iter().all(|row| rows[*row].assigned != Assigned::Train));
            let training = [parts.fit, parts.early_stop, parts.calibrate].concat();
            assert!(training.iter().all(|row| rows[*row].assigned != Assigned::Test));
            if rows.iter().any(|row| row.assigned == Assigned::Test) {
                assert!(parts.test.iter().all(|row| rows[*row].assigned == Assigned::Test));
            }
        }
    }

    #[test]
    fn fit_keeps_every_class_and_half_of_the_training_rows() {
        for case in cases() {
            let rows = case.rows();
            let parts = Parts::choose(&rows, 7);
            let taken = [parts.early_stop.as_slice(), &parts.calibrate].concat();
            assert!(parts.fit.len() >= taken.len());
            for row in taken {
                assert!(parts.fit.iter().any(|fit| rows[*fit].label == rows[row].label));
            }
        }
    }

    #[test]
    fn parts_by_group_share_no_group() {
        let mut seen = 0;
        for case in cases() {
            let rows = case.rows();
            let parts = Parts::choose(&rows, 7);
            if matches!(parts.division, Division::ByGroup { .. }) {
                seen += 1;
                for part in [&parts.early_stop, &parts.calibrate] {
                    assert!(!part.is_empty());
                    for row in part {
                        assert!(parts.fit.iter().all(|fit| rows[*fit].group != rows[*row].group));
                    }
                }
            }
        }
        assert!(seen > 20, "only {seen} cases were divided by group");
    }

    #[test]
    fn permuted_rows_give_the_same_parts() {
        for case in cases() {
            let rows = case.rows();
            let reversed: Vec<PartRow<'_>> = rows.iter().rev().copied().collect();
            let parts = Parts::choose(&rows, 7);
            let permuted = Parts::choose(&reversed, 7);
            assert_eq!(parts.digests(&rows), permuted.digests(&reversed));
        }
    }

    #[test]
    fn stratified_parts_have_a_tenth_of_each_class() {
        let ids: Vec<String> = (0..1978).map(|row| format!("{row}")).collect();
        // The classes of the training rows of pbmc3k.
        let sizes = [523, 362, 360, 258, 203, 121, 116, 24, 11];
        let labels = sizes.iter().zip(0..).flat_map(|(n, label)| vec![label; *n]);
        let rows: Vec<PartRow<'_>> = ids
            .iter()
            .zip(labels)
            .map(|(id, label)| PartRow {
                id,
                label: Some(label),
                group: None,
                assigned: Assigned::Train,
            })
            .collect();
        let parts = Parts::choose(&rows, 1);
        assert_eq!(parts.division, Division::StratifiedNoGroups);
        assert_eq!((parts.calibrate.len(), parts.early_stop.len()), (198, 198));
        for part in [&parts.calibrate, &parts.early_stop] {
            for (size, label) in sizes.iter().zip(0..) {
                let n = part.iter().filter(|row| rows[**row].label == Some(label)).count();
                assert!(n.abs_diff(size / 10) <= 1, "class {label} of {size}: {n}");
            }
        }
        assert_ne!(parts, Parts::choose(&rows, 2));
    }

    #[test]
    fn tiny_classes_stay_in_fit_while_larger_ones_suffice() {
        let ids: Vec<String> = (0..44).map(|row| format!("{row}")).collect();
        let row = |index: usize, label| PartRow {
            id: &ids[index],
            label: Some(label),
            group: None,
            assigned: Assigned::Train,
        };
        let mut rows: Vec<PartRow<'_>> = (0..40).map(|index| row(index, 0)).collect();
        rows.extend((40..44).map(|index| row(index, 1)));
        let parts = Parts::choose(&rows, 3);
        assert!((40..44).all(|index| parts.fit.contains(&index)));
        assert_eq!(parts.calibrate.len(), 4);

        let pairs: Vec<PartRow<'_>> = (0..40).map(|index| row(index, index as u32 / 2)).collect();
        let parts = Parts::choose(&pairs, 3);
        assert_eq!((parts.calibrate.len(), parts.early_stop.len()), (4, 4));

        let single: Vec<PartRow<'_>> = (0..40).map(|index| row(index, index as u32)).collect();
        assert_eq!(Parts::choose(&single, 3).fit.len(), 40);
    }

    #[test]
    fn at_most_half_of_a_class_is_taken() {
        let ids: Vec<String> = (0..60).map(|row| format!("{row}")).collect();
        let rows: Vec<PartRow<'_>> = (0..60)
            .map(|row| PartRow {
                id: &ids[row],
                label: Some(row.min(53) as u32),
                group: None,
                assigned: Assigned::Train,
            })
            .collect();
        let parts = Parts::choose(&rows, 3);
        assert_eq!((parts.calibrate.len(), parts.early_stop.len()), (3, 0));
    }

    #[test]
    fn groups_that_hold_a_class_alone_fall_back_to_rows() {
        let ids: Vec<String> = (0..60).map(|row| format!("{row}")).collect();
        let donors = ["a", "b", "c", "d", "e", "f"];
        let rows: Vec<PartRow<'_>> = (0..60)
            .map(|row| PartRow {
                id: &ids[row],
                label: Some(row as u32 / 10),
                group: Some(donors[row / 10]),
                assigned: Assigned::Train,
            })
            .collect();
        let parts = Parts::choose(&rows, 3);
        assert_eq!(parts.division, Division::StratifiedGroupsTooLarge { n_groups: 6 });
        assert_eq!((parts.calibrate.len(), parts.early_stop.len()), (6, 6));
    }

    #[test]
    fn digests_equal_those_of_another_implementation() {
        // The example of FIPS 180-4 for one block.
        assert_eq!(row_digest("abc"), [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
        // Python: sha256(b"".join(sorted(sha256(s).digest()[:8] for s in [b"abc", b"", b"x"])))
        let hex: String =
            part_digest(["abc", "", "x"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f92e4db5335604c80edaf77a413ecdfde382d17e51210509a73a8a4b655153ae");
        assert_eq!(part_digest(["x", "abc", ""]), part_digest(["abc", "", "x"]));
    }
}
