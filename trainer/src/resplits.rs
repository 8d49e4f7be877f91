//! Many random divisions of one data set into training and test rows, shared by all methods that are compared, and what
//! paired differences over them say.

use std::collections::{BTreeMap, BTreeSet};

use crate::parts::{PartRow, TINY_CLASS, draw};

/// One division. Rows that are in neither take no part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resplit {
    /// Rows, ascending.
    pub train: Vec<usize>,
    /// Rows, ascending, of classes that are trained on.
    pub test: Vec<usize>,
}

impl Resplit {
    /// The division without test rows of classes that no training row has.
    pub fn of_known(rows: &[PartRow<'_>], train: Vec<usize>, test: Vec<usize>) -> Self {
        let known: BTreeSet<Option<u32>> = train.iter().map(|&row| rows[row].label).collect();
        let test = test.into_iter().filter(|&row| known.contains(&rows[row].label)).collect();
        Self { train, test }
    }
}

/// `n` divisions of labelled rows; which they are depends on ids, labels, groups and `seed`.
///
/// Without groups a quarter of each class is for testing; classes of fewer than five rows give one row if they have two.
/// With groups (donors, batches, studies, tissues) whole groups are, drawn until they hold a quarter of the rows. With
/// fewer than ten groups, a fifth of the training rows of each class is left out besides, so that divisions with
/// the same groups differ.
/// Test rows of classes that no training row has are left out.
pub fn resplits(rows: &[PartRow<'_>], n: usize, seed: u64) -> Vec<Resplit> {
    let labelled: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].label.is_some()).collect();
    let grouped = labelled.iter().any(|&row| rows[row].group.is_some());
    (0..n as u64)
        .map(|at| {
            let (train, test) = match grouped {
                true => by_group(rows, &labelled, seed, at),
                false => within_classes(rows, &labelled, seed, at, 4),
            };
            Resplit::of_known(rows, train, test)
        })
        .collect()
}

/// A fold for each of these rows: within each class, or by group where they are of several groups, whose rows stay together. There
/// are at most as many folds as groups.
pub fn folds(rows: &[PartRow<'_>], of: &[usize], n_folds: usize, seed: u64) -> Vec<usize> {
    let groups: BTreeSet<Option<&str>> = of.iter().map(|&row| rows[row].group).collect();
    if groups.len() > 1 {
        let n_folds = n_folds.min(groups.len());
        let mut order: Vec<Option<&str>> = groups.into_iter().collect();
        order.sort_by_key(|group| draw(&[seed, FOLD], group.unwrap_or_default()));
        let fold = |row: usize| order.iter().position(|&group| group == rows[row].group);
        return of.iter().map(|&row| fold(row).unwrap_or(0) % n_folds).collect();
    }
    let mut folds = vec![0; of.len()];
    let mut next = 0;
    let place: BTreeMap<usize, usize> = of.iter().copied().zip(0..).collect();
    for mut members in by_class(rows, of).into_values() {
        members.sort_by_key(|&row| draw(&[seed, FOLD], rows[row].id));
        for row in members {
            folds[place[&row]] = next % n_folds;
            next += 1;
        }
    }
    folds
}

type Divided = (Vec<usize>, Vec<usize>);

/// One in `divisor` of each class for testing.
fn within_classes(
    rows: &[PartRow<'_>],
    of: &[usize],
    seed: u64,
    at: u64,
    divisor: usize,
) -> Divided {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for mut members in by_class(rows, of).into_values() {
        members.sort_by_key(|&row| draw(&[seed, at], rows[row].id));
        let n_test = match members.len() {
            0 | 1 => 0,
            few if few < TINY_CLASS => 1,
            many => (many + divisor / 2) / divisor,
        };
        test.extend(members.drain(..n_test));
        train.extend(members);
    }
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

fn by_group(rows: &[PartRow<'_>], of: &[usize], seed: u64, at: u64) -> Divided {
    let mut sizes: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    of.iter().for_each(|&row| *sizes.entry(rows[row].group).or_default() += 1);
    let n_groups = sizes.len();
    let mut order: Vec<(Option<&str>, usize)> = sizes.into_iter().collect();
    order.sort_by_key(|(group, _)| draw(&[seed, at], group.unwrap_or_default()));
    let mut held: BTreeSet<Option<&str>> = BTreeSet::new();
    let mut n_held = 0;
    for (group, size) in order {
        // One group at least stays, and one at least goes.
        if 4 * n_held >= of.len() || held.len() + 1 >= n_groups {
            break;
        }
        held.insert(group);
        n_held += size;
    }
    let (test, train): Divided = of.iter().partition(|&&row| held.contains(&rows[row].group));
    if n_groups >= MANY_GROUPS {
        return (train, test);
    }
    (within_classes(rows, &train, seed, at, 5).0, test)
}

fn by_class(rows: &[PartRow<'_>], of: &[usize]) -> BTreeMap<Option<u32>, Vec<usize>> {
    let mut classes: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
    of.iter().for_each(|&row| classes.entry(rows[row].label).or_default().push(row));
    classes
}

/// From so many groups on, random draws of them differ enough.
const MANY_GROUPS: usize = 10;
/// In place of the number of a division.
const FOLD: u64 = u64::MAX;

/// Differences of two methods over the same divisions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Mean difference.
    pub mean: f64,
    /// Half the width of its 95 % interval over these divisions: Student's t on n − 1 degrees of freedom.
    pub half_width: f64,
    /// The same for a new division of new samples, wider because divisions share rows (Nadeau, Bengio 2003: the
    /// variance times 1/n + test/train instead of 1/n).
    pub corrected_half_width: f64,
}

/// Compares `a` with `b`, one value a division. `test_share` is the mean number of test rows for one training row.
pub fn paired(a: &[f64], b: &[f64], test_share: f64) -> Paired {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let square = differences.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    let variance = square / (n - 1.0);
    let t = student_975(differences.len().saturating_sub(1));
    Paired {
        mean,
        half_width: t * (variance / n).sqrt(),
        corrected_half_width: t * (variance * (1.0 / n + test_share)).sqrt(),
    }
}

/// The 97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, else the expansion of Hill (1970) to a
/// few millionths from 10 degrees on, and to four thousandths from 3 on.
fn student_975(degrees: usize) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    let v = degrees as f64;
    match degrees {
        0 => f64::NAN,
        1 => 12.706_204_736,
        2 => 4.302_652_730,
        _ => {
            let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
            Z + (z3 + Z) / (4.0 * v)
                + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * v * v)
                + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * v.powi(3))
                + (79.0 * Z.powi(9) + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * Z)
                    / (92_160.0 * v.powi(4))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Assigned;

    fn rows<'a>(ids: &'a [String], groups: Option<&'a [&'a str]>) -> Vec<PartRow<'a>> {
        ids.iter()
            .enumerate()
            .map(|(at, id)| PartRow {
                id,
                label: (at % 7 != 6).then_some((at % 3) as u32),
                group: groups.map(|groups| groups[at % groups.len()]),
                assigned: Assigned::Open,
            })
            .collect()
    }

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|at| format!("cell {at}")).collect()
    }

    #[test]
    fn a_quarter_of_every_class_is_for_testing_and_no_row_is_on_both_sides() {
        let ids = ids(140);
        let rows = rows(&ids, None);
        let all = resplits(&rows, 20, 1);
        for one in &all {
            assert!(one.test.iter().all(|row| !one.train.contains(row)));
            assert_eq!(one.train.len() + one.test.len(), 120);
            for class in 0..3 {
                let n = one.test.iter().filter(|&&row| rows[row].label == Some(class)).count();
                assert_eq!(n, 10);
            }
        }
        assert_eq!(all, resplits(&rows, 20, 1));
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(all, resplits(&rows, 20, 2));
    }

    #[test]
    fn groups_stay_together_and_few_of_them_still_give_different_divisions() {
        let ids = ids(200);
        for groups in
            [&["a", "b", "c", "d"][..], &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]]
        {
            let rows = rows(&ids, Some(groups));
            let all = resplits(&rows, 20, 1);
            for one in &all {
                let of = |rows_of: &[usize]| -> BTreeSet<Option<&str>> {
                    rows_of.iter().map(|&row| rows[row].group).collect()
                };
                assert!(of(&one.train).is_disjoint(&of(&one.test)));
                assert!(!one.test.is_empty());
            }
            assert!((1..20).all(|at| all[at] != all[0]), "{} groups", groups.len());
        }
    }

    #[test]
    fn classes_that_are_not_trained_on_are_not_tested() {
        let ids = ids(40);
        let mut rows = rows(&ids, Some(&["a", "b"]));
        for row in &mut rows {
            row.label = Some(u32::from(row.group == Some("b")));
        }
        assert!(resplits(&rows, 2, 1).iter().all(|one| one.test.is_empty()));
    }

    #[test]
    fn folds_hold_every_row_once_and_keep_groups_together() {
        let ids = ids(90);
        let all: Vec<usize> = (0..90).collect();
        let plain = rows(&ids, None);
        let of = folds(&plain, &all, 3, 1);
        assert!((0..3).all(|fold| of.iter().filter(|&&one| one == fold).count() == 30));
        let grouped = rows(&ids, Some(&["a", "b", "c", "d", "e"]));
        let of = folds(&grouped, &all, 3, 1);
        assert!((5..90).all(|row| of[row] == of[row % 5]));
        // Fewer groups than folds: one fold each.
        let of = folds(&grouped, &all, 7, 1);
        assert!((5..90).all(|row| of[row] == of[row % 5]));
        assert_eq!(of[..5].iter().collect::<BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn intervals_are_students() {
        // scipy.stats.t.ppf(.975, n)
        for (n, expected) in
            [(3, 3.18245), (4, 2.77645), (9, 2.26216), (19, 2.093024), (99, 1.984217)]
        {
            assert!((student_975(n) - expected).abs() < 4e-3, "{n}: {}", student_975(n));
        }
        let found = paired(&[1.0, 2.0, 4.0], &[0.5, 1.0, 2.5], 1.0 / 3.0);
        // Differences .5, 1, 1.5: deviation .5.
        assert!((found.mean - 1.0).abs() < 1e-12);
        assert!((found.half_width - 4.302653 * 0.5 / 3.0_f64.sqrt()).abs() < 1e-6);
        assert!(
            (found.corrected_half_width - 4.302653 * 0.5 * (2.0 / 3.0_f64).sqrt()).abs() < 1e-6
        );
    }
}
