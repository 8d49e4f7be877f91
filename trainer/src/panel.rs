//! The choice of the gene panel, from the fit rows only.
//!
//! A panel is filled in this order:
//! 1. markers: for each class the genes that are highest in it against all other rows (Welch's t
//!    with a floor under the standard error), up to 50 per class and half of the panel in all, so
//!    that rare classes get theirs;
//! 2. anchors: the genes that make up most of the library, a tenth of the panel, so that the
//!    panel's own library size follows that of the whole cell;
//! 3. the genes of highest variance of the preprocessed values.
//!
//! Plain variance of log values does as well as variance corrected for the mean when cell types are
//! told apart afterwards, and it also suits microarrays, which get no anchors.

use std::collections::HashSet;

use cic_data::ExpressionMatrix;
use cic_model::ValueKind;

/// What a panel is chosen from.
#[derive(Clone, Copy, Debug)]
pub struct PanelRequest<'a> {
    /// The values as read from the file.
    pub matrix: &'a ExpressionMatrix,
    /// The fit rows; nothing else is looked at.
    pub rows: &'a [usize],
    /// The class of each row of the matrix; a class that is not below `n_classes` is none.
    pub labels: &'a [u32],
    /// Number of classes; 0 for a panel without markers.
    pub n_classes: usize,
    /// What the values are. Counts and linear values are scaled to 10,000 per row and their
    /// `ln(1 + x)` is taken; logarithms stay as they are.
    pub kind: ValueKind,
    /// How many genes.
    pub size: PanelSize,
}

/// How many genes a panel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanelSize {
    /// Every gene that is not constant over the fit rows.
    All,
    /// At most this many of them: markers of every class, genes that are seen everywhere, and those of highest variance.
    Genes(usize),
    /// At most this many of them, of highest variance alone.
    MostVariable(usize),
}

/// A chosen panel.
#[derive(Clone, Debug, PartialEq)]
pub struct PanelChoice {
    /// The genes, by detection rate from high to low, then by id.
    pub genes: Vec<PanelGene>,
    /// Correlation over the fit rows of the panel's library size with the whole. `None` where
    /// values have no library size (microarrays) or the correlation is undefined.
    pub depth_correlation: Option<f64>,
}

impl PanelChoice {
    /// The columns of the matrix, in panel order.
    pub fn columns(&self) -> Vec<u32> {
        self.genes.iter().map(|gene| gene.column).collect()
    }

    /// Share of all linear values of the fit rows that falls on the panel, 0 to 1.
    pub fn library_share(&self) -> f64 {
        self.genes.iter().map(|gene| gene.library_share).sum()
    }
}

/// A gene of a panel and what the fit rows say about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PanelGene {
    /// Column of the matrix.
    pub column: u32,
    /// Why it was chosen; the first reason that applied.
    pub reason: PanelReason,
    /// Share of the fit rows with a value above zero, 0 to 1.
    pub detection: f64,
    /// Mean of the preprocessed values over the fit rows.
    pub mean: f64,
    /// Share of all linear values of the fit rows, 0 to 1; zero for microarrays.
    pub library_share: f64,
}

/// Why a gene is in the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanelReason {
    /// It is high in one class.
    Marker,
    /// It is a large part of the library.
    Anchor,
    /// It varies between rows.
    Variable,
}

/// Chooses a panel. Of columns with the same gene id only the first is considered. Without rows, or
/// if no gene varies, the panel is empty.
///
/// # Panics
/// If a row is not in the matrix or, with classes, has no label.
pub fn choose(request: &PanelRequest<'_>) -> PanelChoice {
    let figures = Figures::of(request);
    let mut seen = HashSet::new();
    let varying: Vec<usize> = (0..request.matrix.genes.len())
        .filter(|gene| seen.insert(request.matrix.genes[*gene].id.as_str()))
        .filter(|gene| figures.varies(*gene))
        .collect();
    let wanted = match request.size {
        PanelSize::All => varying.len(),
        PanelSize::Genes(n) | PanelSize::MostVariable(n) => n.min(varying.len()),
    };
    let mut filling = Filling { chosen: vec![None; request.matrix.genes.len()], left: wanted };
    let ranked = |score: &dyn Fn(usize) -> f64| {
        let mut ranked: Vec<(f64, usize)> =
            varying.iter().map(|gene| (score(*gene), *gene)).collect();
        let id = |gene: usize| &request.matrix.genes[gene].id;
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| id(a.1).cmp(id(b.1))));
        ranked
    };

    let by_variance_alone = matches!(request.size, PanelSize::MostVariable(_));
    let n_classes = if by_variance_alone { 0 } else { request.n_classes };
    let per_class = (wanted / 2).checked_div(n_classes).map_or(0, |n| n.min(MARKERS));
    for class in 0..n_classes {
        let markers = ranked(&|gene| figures.marker_score(class, gene));
        for (score, gene) in markers.into_iter().take(per_class) {
            if score > 0.0 {
                filling.add(gene, PanelReason::Marker);
            }
        }
    }
    if figures.library > 0.0 && !by_variance_alone {
        for (_, gene) in
            ranked(&|gene| figures.all.tallies[gene].linear).into_iter().take(wanted / ANCHORS)
        {
            filling.add(gene, PanelReason::Anchor);
        }
    }
    for (_, gene) in ranked(&|gene| figures.variance(gene)) {
        filling.add(gene, PanelReason::Variable);
    }

    let mut genes: Vec<PanelGene> = (0u32..)
        .zip(&filling.chosen)
        .filter_map(|(column, reason)| Some(figures.gene(column, (*reason)?)))
        .collect();
    let id = |gene: &PanelGene| &request.matrix.genes[gene.column as usize].id;
    genes.sort_by(|a, b| b.detection.total_cmp(&a.detection).then_with(|| id(a).cmp(id(b))));
    let depth_correlation = depth_correlation(request, &filling.chosen);
    PanelChoice { genes, depth_correlation }
}

/// A panel being filled.
struct Filling {
    /// Per gene of the matrix.
    chosen: Vec<Option<PanelReason>>,
    left: usize,
}

impl Filling {
    /// Adds a gene unless it is there already or the panel is full.
    fn add(&mut self, gene: usize, reason: PanelReason) {
        if self.left > 0 && self.chosen[gene].is_none() {
            self.chosen[gene] = Some(reason);
            self.left -= 1;
        }
    }
}

/// Sums over the fit rows.
struct Figures {
    all: Class,
    /// One per class, and one for the rows without.
    classes: Vec<Class>,
    /// Of linear values, over all genes.
    library: f64,
}

/// Sums over the fit rows of a class.
#[derive(Clone)]
struct Class {
    n_rows: f64,
    /// `[n_genes]`
    tallies: Vec<Tally>,
}

/// Sums over the values of one gene; kept together because they are looked up together.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Rows above zero.
    detected: f64,
    /// Of linear values.
    linear: f64,
    /// Of preprocessed values.
    sum: f64,
    /// Of the squares of preprocessed values.
    squares: f64,
}

impl Tally {
    fn plus(self, other: Self, sign: f64) -> Self {
        Self {
            detected: self.detected + sign * other.detected,
            linear: self.linear + sign * other.linear,
            sum: self.sum + sign * other.sum,
            squares: self.squares + sign * other.squares,
        }
    }

    /// The mean of preprocessed values over `n` rows, and the sum of their squared deviations.
    fn centred(self, n: f64) -> (f64, f64) {
        let mean = self.sum / n;
        (mean, (self.squares - self.sum * mean).max(0.0))
    }
}

impl Figures {
    fn of(request: &PanelRequest<'_>) -> Self {
        let n_genes = request.matrix.genes.len();
        let nothing = Class { n_rows: 0.0, tallies: vec![Tally::default(); n_genes] };
        let mut classes = vec![nothing.clone(); request.n_classes + 1];
        let mut library = 0.0;
        for row in request.rows {
            let (genes, values) = request.matrix.values.row(*row);
            let scale = Scale::of(request.kind, values);
            library += scale.total;
            let label = if request.n_classes > 0 { request.labels[*row] as usize } else { 0 };
            let class = &mut classes[label.min(request.n_classes)];
            class.n_rows += 1.0;
            for (gene, value) in genes.iter().zip(values) {
                let preprocessed = scale.preprocess(*value);
                let tally = &mut class.tallies[*gene as usize];
                tally.detected += 1.0;
                tally.linear += linear(request.kind, *value);
                tally.sum += preprocessed;
                tally.squares += preprocessed * preprocessed;
            }
        }
        let mut all = nothing;
        for class in &classes {
            all.n_rows += class.n_rows;
            for (total, tally) in all.tallies.iter_mut().zip(&class.tallies) {
                *total = total.plus(*tally, 1.0);
            }
        }
        Self { all, classes, library }
    }

    fn gene(&self, column: u32, reason: PanelReason) -> PanelGene {
        let tally = self.all.tallies[column as usize];
        let library_share = if self.library > 0.0 { tally.linear / self.library } else { 0.0 };
        PanelGene {
            column,
            reason,
            detection: tally.detected / self.all.n_rows,
            mean: tally.sum / self.all.n_rows,
            library_share,
        }
    }

    fn variance(&self, gene: usize) -> f64 {
        let (_, deviation) = self.all.tallies[gene].centred(self.all.n_rows);
        deviation / (self.all.n_rows - 1.0)
    }

    /// Whether the variance is more than what rounding leaves of a constant.
    fn varies(&self, gene: usize) -> bool {
        let mean_square = self.all.tallies[gene].squares / self.all.n_rows;
        self.all.n_rows > 1.0 && self.variance(gene) > 1e-12 * mean_square
    }

    /// How far the gene's mean in a class is above that of all other rows, in standard errors.
    /// One more row, as spread as the others, stands in for the unknown spread of small classes.
    fn marker_score(&self, class: usize, gene: usize) -> f64 {
        let class = &self.classes[class];
        let n_rest = self.all.n_rows - class.n_rows;
        if class.n_rows == 0.0 || n_rest == 0.0 {
            return 0.0;
        }
        let inside = class.tallies[gene];
        let (mean, deviation) = inside.centred(class.n_rows);
        let (rest_mean, rest_deviation) = self.all.tallies[gene].plus(inside, -1.0).centred(n_rest);
        let rest_variance = rest_deviation / n_rest;
        let variance = (deviation + rest_variance) / class.n_rows;
        let error = libm::sqrt(variance / class.n_rows + rest_variance / n_rest);
        (mean - rest_mean) / (error + ERROR_FLOOR)
    }
}

/// How the values of one row are preprocessed.
struct Scale {
    kind: ValueKind,
    /// Of linear values.
    total: f64,
}

impl Scale {
    fn of(kind: ValueKind, values: &[f32]) -> Self {
        Self { kind, total: values.iter().map(|value| linear(kind, *value)).sum() }
    }

    /// Values are above zero, so the total of a row that has any is too.
    fn preprocess(&self, value: f32) -> f64 {
        let value = f64::from(value);
        match self.kind {
            ValueKind::Counts | ValueKind::LinearNormalised => {
                libm::log1p(value * (TARGET_SUM / self.total))
            }
            ValueKind::Log1p | ValueKind::Log2Intensity | ValueKind::Ranks => value,
        }
    }
}

/// A value on the scale on which library sizes add up; zero where there is none.
fn linear(kind: ValueKind, value: f32) -> f64 {
    match kind {
        ValueKind::Counts | ValueKind::LinearNormalised => f64::from(value),
        ValueKind::Log1p => libm::expm1(f64::from(value)),
        ValueKind::Log2Intensity | ValueKind::Ranks => 0.0,
    }
}

/// Correlation of the panel's part of each row with the row's total.
fn depth_correlation(request: &PanelRequest<'_>, chosen: &[Option<PanelReason>]) -> Option<f64> {
    let mut sums = Sums::default();
    for row in request.rows {
        let (genes, values) = request.matrix.values.row(*row);
        let (mut panel, mut total) = (0.0, 0.0);
        for (gene, value) in genes.iter().zip(values) {
            let value = linear(request.kind, *value);
            total += value;
            if chosen[*gene as usize].is_some() {
                panel += value;
            }
        }
        sums.add(panel, total);
    }
    sums.correlation()
}

/// Running means and deviations of pairs (Welford), which do not cancel.
#[derive(Default)]
struct Sums {
    n: f64,
    x_mean: f64,
    y_mean: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        let (x_before, y_before) = (x - self.x_mean, y - self.y_mean);
        self.x_mean += x_before / self.n;
        self.y_mean += y_before / self.n;
        self.xx += x_before * (x - self.x_mean);
        self.yy += y_before * (y - self.y_mean);
        self.xy += x_before * (y - self.y_mean);
    }

    fn correlation(&self) -> Option<f64> {
        // The total of log1p rows is the same but for rounding, which correlates with nothing.
        let spread = |deviation: f64, mean: f64| deviation > 1e-9 * self.n * mean * mean;
        let defined = spread(self.xx, self.x_mean) && spread(self.yy, self.y_mean);
        defined.then(|| self.xy / (libm::sqrt(self.xx) * libm::sqrt(self.yy)))
    }
}

/// Markers per class at most.
const MARKERS: usize = 50;
/// One gene in so many is an anchor.
const ANCHORS: usize = 10;
/// Added to the standard error of a marker, in preprocessed values: a difference of that size is
/// not interesting, however certain it is.
const ERROR_FLOOR: f64 = 0.05;
/// Rows are scaled to this total.
const TARGET_SUM: f64 = 1e4;

#[cfg(test)]
mod tests {
    use cic_data::{CsrMatrix, Gene, ObsTable, Source};

    use super::*;

    fn matrix(n_genes: usize, values: &[f32]) -> ExpressionMatrix {
        let values = CsrMatrix::from_dense(n_genes, values).unwrap();
        ExpressionMatrix {
            obs_names: (0..values.n_rows()).map(|row| format!("row {row}")).collect(),
            genes: (0..n_genes).map(|gene| Gene::new(format!("G{gene}"), None, None)).collect(),
            values,
            obs: ObsTable::default(),
            source: Source::default(),
        }
    }

    fn request<'a>(matrix: &'a ExpressionMatrix, rows: &'a [usize]) -> PanelRequest<'a> {
        PanelRequest {
            matrix,
            rows,
            labels: &[],
            n_classes: 0,
            kind: ValueKind::Counts,
            size: PanelSize::All,
        }
    }

    #[test]
    fn all_genes_means_all_that_vary_over_the_fit_rows() {
        // Gene 1 is never seen, gene 2 is constant, gene 3 only varies in a row that is not fitted.
        let mut data = matrix(
            4,
            &[1.0, 0.0, 7.3, 0.0, 4.0, 0.0, 7.3, 0.0, 2.0, 0.0, 7.3, 0.0, 1.0, 0.0, 7.3, 9.0],
        );
        let choice =
            choose(&PanelRequest { kind: ValueKind::Log2Intensity, ..request(&data, &[0, 1, 2]) });
        assert_eq!(choice.columns(), [0]);
        assert_eq!(choice.depth_correlation, None);
        assert_eq!(choice.genes[0].library_share, 0.0);

        data.genes[3].id = "G0".into();
        let choice = choose(&PanelRequest {
            kind: ValueKind::Log2Intensity,
            ..request(&data, &[0, 1, 2, 3])
        });
        assert_eq!(choice.columns(), [0], "the second column of a gene is left out");
    }

    #[test]
    fn nothing_to_choose_from_gives_an_empty_panel() {
        let data = matrix(2, &[1.0, 2.0, 3.0, 0.0]);
        assert!(choose(&request(&data, &[])).genes.is_empty());
        assert!(choose(&request(&data, &[1])).genes.is_empty());
        let none = PanelRequest { size: PanelSize::Genes(0), ..request(&data, &[0, 1]) };
        assert!(choose(&none).genes.is_empty());
    }

    #[test]
    fn ties_are_broken_by_gene_id_and_not_by_column() {
        let mut data = matrix(3, &[1.0, 1.0, 2.0, 3.0, 3.0, 2.0, 9.0, 9.0, 1.0]);
        data.genes[0].id = "B".into();
        data.genes[1].id = "A".into();
        let choice = choose(&PanelRequest {
            size: PanelSize::Genes(1),
            kind: ValueKind::Log2Intensity,
            ..request(&data, &[0, 1, 2])
        });
        assert_eq!(choice.columns(), [1]);
        let choice = choose(&request(&data, &[0, 1, 2]));
        assert_eq!(choice.columns(), [1, 0, 2]);
    }

    #[test]
    fn one_row_of_a_noisy_gene_is_a_weak_marker() {
        // Gene 0 scatters by 2 around 2.5, gene 1 does not; both are at 8 in the last row.
        let mut values: Vec<f32> =
            (0..20).flat_map(|row| [if row % 2 == 0 { 0.5 } else { 4.5 }, 2.5]).collect();
        values.extend([8.0, 8.0]);
        let data = matrix(2, &values);
        let labels: Vec<u32> = (0..21).map(|row| u32::from(row == 20)).collect();
        let rows: Vec<usize> = (0..21).collect();
        let figures = Figures::of(&PanelRequest {
            labels: &labels,
            n_classes: 2,
            kind: ValueKind::Log2Intensity,
            ..request(&data, &rows)
        });
        // 5.5 over the spread of one row among 20, and over the floor alone.
        let noisy = 5.5 / ((4.0_f64 + 4.0 / 20.0).sqrt() + 0.05);
        assert!((figures.marker_score(1, 0) - noisy).abs() < 1e-9);
        assert!((figures.marker_score(1, 1) - 5.5 / 0.05).abs() < 1e-3);
    }

    #[test]
    fn a_class_of_one_row_gets_its_markers() {
        let mut values = vec![5.0; 20 * 6];
        for (row, values) in values.chunks_mut(6).enumerate() {
            values[0] = (row % 5) as f32 * 4.0;
            values[3] = 0.0;
        }
        values[19 * 6 + 3] = 6.0;
        let data = matrix(6, &values);
        let labels: Vec<u32> = (0..20).map(|row| u32::from(row == 19)).collect();
        let rows: Vec<usize> = (0..20).collect();
        let choice = choose(&PanelRequest {
            labels: &labels,
            n_classes: 2,
            size: PanelSize::Genes(4),
            ..request(&data, &rows)
        });
        let marker = choice.genes.iter().find(|gene| gene.column == 3).unwrap();
        assert_eq!(marker.reason, PanelReason::Marker);
        assert_eq!(marker.detection, 0.05);
    }
}
