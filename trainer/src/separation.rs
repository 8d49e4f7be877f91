//! Whether the points of one group keep together among all others: silhouettes (Rousseeuw 1987) and the labels of nearest
//! neighbours, by Euclidean distance.

use faer::MatRef;

/// How a group lies among the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Separation {
    /// Mean silhouette of its points, −1 to 1: how much nearer they are to one another than to the nearest other
    /// group. NaN without another group; a group of one point has 0.
    pub silhouette: f64,
    /// Share of the nearest neighbours of its points that are of the group.
    pub purity: f64,
    /// The other groups and how far their centres are from its own, the nearest first.
    pub others: Vec<(usize, f64)>,
}

/// Of points, `[n × d]`, each of a group, how the points of `group` lie. `n_neighbours` are looked at for each point.
pub fn separation(
    points: MatRef<'_, f64>,
    groups: &[usize],
    group: usize,
    n_neighbours: usize,
) -> Separation {
    let n_groups = groups.iter().max().map_or(0, |&largest| largest + 1);
    let members: Vec<usize> = (0..groups.len()).filter(|&at| groups[at] == group).collect();
    let mut sizes = vec![0_usize; n_groups];
    groups.iter().for_each(|&group| sizes[group] += 1);
    let (mut silhouettes, mut same, mut seen) = (0.0, 0, 0);
    for &member in &members {
        let distances: Vec<f64> =
            (0..points.nrows()).map(|other| distance(points, member, other)).collect();
        let mut sums = vec![0.0; n_groups];
        groups.iter().zip(&distances).for_each(|(&group, distance)| sums[group] += distance);
        silhouettes += silhouette(&sums, &sizes, group);
        let mut others: Vec<usize> = (0..groups.len()).filter(|&other| other != member).collect();
        others.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        others.truncate(n_neighbours);
        same += others.iter().filter(|&&other| groups[other] == group).count();
        seen += others.len();
    }
    Separation {
        silhouette: silhouettes / members.len() as f64,
        purity: same as f64 / seen as f64,
        others: others(points, groups, group, &sizes),
    }
}

/// Of a point with these sums of distances to the points of every group.
fn silhouette(sums: &[f64], sizes: &[usize], own: usize) -> f64 {
    if sizes[own] < 2 {
        return 0.0;
    }
    let inside = sums[own] / (sizes[own] - 1) as f64;
    let others = (0..sums.len()).filter(|&group| group != own && sizes[group] > 0);
    let outside = others.map(|group| sums[group] / sizes[group] as f64).fold(f64::NAN, f64::min);
    (outside - inside) / outside.max(inside)
}

fn others(
    points: MatRef<'_, f64>,
    groups: &[usize],
    own: usize,
    sizes: &[usize],
) -> Vec<(usize, f64)> {
    let mut centres = vec![vec![0.0; points.ncols()]; sizes.len()];
    for (row, &group) in groups.iter().enumerate() {
        let size = sizes[group] as f64;
        let centre = centres[group].iter_mut().zip(points.row(row).iter());
        centre.for_each(|(centre, value)| *centre += value / size);
    }
    let to_own = |group: usize| -> f64 {
        let squares = centres[group].iter().zip(&centres[own]).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let others = (0..sizes.len()).filter(|&group| group != own && sizes[group] > 0);
    let mut others: Vec<(usize, f64)> = others.map(|group| (group, to_own(group))).collect();
    others.sort_by(|a, b| a.1.total_cmp(&b.1));
    others
}

fn distance(points: MatRef<'_, f64>, a: usize, b: usize) -> f64 {
    let pairs = points.row(a).iter().zip(points.row(b).iter());
    pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    /// Points and groups by a formula; the expected numbers are scikit-learn's `silhouette_samples` and
    /// `NearestNeighbors(n_neighbors=4)`, which counts the point itself: see tests/fixtures/separation.py.
    #[test]
    fn silhouettes_and_neighbours_are_scikit_learns() {
        let point = |row: usize, at: usize| {
            let (row, at) = (row as f64, at as f64);
            (0.9 * row + at).sin() * 2.0 + (row % 3.0) * (1.0 + at)
        };
        let points = Mat::from_fn(18, 3, point);
        let groups: Vec<usize> = (0..18).map(|row| row % 3).collect();
        for (group, silhouette, purity) in EXPECTED {
            let found = separation(points.as_ref(), &groups, group, 3);
            assert!((found.silhouette - silhouette).abs() < 1e-6, "{group}: {found:?}");
            assert!((found.purity - purity).abs() < 1e-6, "{group}: {found:?}");
        }
        let others = separation(points.as_ref(), &groups, 2, 3).others;
        assert_eq!(others.iter().map(|other| other.0).collect::<Vec<_>>(), [1, 0]);
        let centre = |group: usize, at: usize| {
            (0..6).map(|row| point(3 * row + group, at)).sum::<f64>() / 6.0
        };
        let to_0 = (0..3).map(|at| (centre(2, at) - centre(0, at)).powi(2)).sum::<f64>().sqrt();
        assert!((others[1].1 - to_0).abs() < 1e-12);
    }

    const EXPECTED: [(usize, f64, f64); 3] =
        [(0, 0.163917, 0.555556), (1, -0.092667, 0.388889), (2, 0.125564, 0.5)];

    #[test]
    fn a_lone_point_has_no_silhouette() {
        let points = Mat::from_fn(3, 1, |row, _| row as f64);
        let found = separation(points.as_ref(), &[0, 1, 1], 0, 2);
        assert_eq!((found.silhouette, found.purity), (0.0, 0.0));
        assert_eq!(found.others, [(1, 1.5)]);
    }
}
