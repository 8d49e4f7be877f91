//! What kind of values a matrix holds, judged over every cell.
//!
//! Without a declaration, in this order:
//! 1. only integers: counts;
//! 2. no zeros at all and no value above 20: log2 intensities;
//! 3. the sums of all cells agree to 0.1 %: linear, normalised;
//! 4. the sums of `exp(x) − 1` of all cells agree to 0.1 %: log1p;
//! 5. no value above 25: log1p of another normalisation, or of a part of the genes;
//! 6. anything else is refused. FPKM, intensities on a linear scale and corrected counts look
//!    alike, so their kind must be declared.
//!
//! A declared kind is checked against every cell. `log1p` and `log2_intensity` never have a cell
//! of integers only (a logarithm of a rational number is not an integer) nor a value above 25;
//! `linear_normalised` accepts everything that is not negative, except a matrix that rule 4 shows
//! to be log1p, and fractional values that all lie below 32 in cells of different sums.
//!
//! Neither log1p nor linear_normalised, declared or not, are values whose cells agree only in the
//! sums of `2^x − 1` (log2(1 + x)) or of `exp(exp(x) − 1) − 1` (a logarithm taken twice); a few
//! cells of every part of the file are looked at for that.
//!
//! Negative values have been refused by the readers; here they are refused again for matrices that
//! were built in memory.

use std::sync::LazyLock;

use cic_model::ValueKind;

use crate::contradiction::{contradiction, is_integer, refuse_value};
use crate::error::DataError;
use crate::expression::{ExpressionMatrix, Names};
use crate::h5_source::MAX_EXACT_COUNT;
use crate::matrix::CsrMatrix;
use crate::other_logarithm::OtherLogarithm;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleVerdict {
    /// The kind: as declared, or as detected.
    pub kind: ValueKind,
    /// Why, in words, for a person to judge.
    pub evidence: String,
    /// What the verdict rests on.
    pub scale: Scale,
}

/// Properties of a matrix over all its cells; cells without any value are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Number of cells that have a value.
    pub cells: usize,
    /// The largest value.
    pub max: f32,
    /// Share of values that are zero, 0 to 1, of the cells that have any.
    pub zeros: f64,
    /// Whether every value is an integer.
    pub integers: bool,
    /// Smallest and largest sum of a cell.
    pub sum: (f64, f64),
    /// Smallest and largest sum of `exp(x) − 1` of a cell; infinite for large values.
    pub sum_expm1: (f64, f64),
}

impl Scale {
    /// What every cell of fractional values sums to after `exp(x) − 1`, where all agree: what log1p
    /// values were normalised to. One cell alone shows nothing.
    pub fn log1p_sum(&self) -> Option<f64> {
        let is_known = self.cells > 1 && !self.integers && is_constant(self.sum_expm1);
        is_known.then(|| (self.sum_expm1.0 + self.sum_expm1.1) / 2.0)
    }
}

/// Decides what the values are, or checks what they are declared to be, over every cell.
///
/// # Errors
/// [`DataError::ScaleMismatch`] names the first cell that contradicts the declaration,
/// [`DataError::ScaleUnknown`] says why nothing can be decided, [`DataError::Negative`] and
/// [`DataError::NotFinite`] name cell and gene, [`DataError::Empty`] if all values are zero.
pub fn check_scale(
    matrix: &ExpressionMatrix,
    declared: Option<ValueKind>,
) -> Result<ScaleVerdict, DataError> {
    ScaleEvidence::of(matrix.names(), &matrix.values, 0, declared)?
        .verdict(matrix.names(), declared)
}

/// What some cells of a file show. The evidence of all cells, in whatever parts it was collected,
/// gives the verdict of [`check_scale`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleEvidence {
    n_rows: usize,
    n_cols: usize,
    nnz: usize,
    cells: usize,
    max: f32,
    integers: bool,
    sum: (f64, f64),
    sum_expm1: (f64, f64),
    /// Row, column and value of the first that is no exact count.
    no_count: Option<(usize, usize, f32)>,
    other_logarithm: OtherLogarithm,
}

impl Default for ScaleEvidence {
    /// Of no cell.
    fn default() -> Self {
        Self {
            n_rows: 0,
            n_cols: 0,
            nnz: 0,
            cells: 0,
            max: 0.0,
            integers: true,
            sum: EMPTY_RANGE,
            sum_expm1: EMPTY_RANGE,
            no_count: None,
            other_logarithm: OtherLogarithm::default(),
        }
    }
}

impl ScaleEvidence {
    /// Looks at rows of a file, the first of which is the file's `first_row`; stops at the first
    /// cell that contradicts the declaration.
    ///
    /// # Errors
    /// Those of [`check_scale`] that name a cell.
    pub fn of(
        names: Names<'_>,
        values: &CsrMatrix,
        first_row: usize,
        declared: Option<ValueKind>,
    ) -> Result<Self, DataError> {
        let logarithm =
            declared.filter(|kind| matches!(kind, ValueKind::Log1p | ValueKind::Log2Intensity));
        let expm1 = &*EXPM1;
        let mut evidence = Self {
            n_rows: values.n_rows(),
            n_cols: values.n_cols,
            nnz: values.nnz(),
            ..Self::default()
        };
        for row in 0..values.n_rows() {
            let (columns, data) = values.row(row);
            if logarithm.is_none()
                && let Some((sum, max)) = counts_of(data)
            {
                evidence.add_counts(data, sum, max);
                continue;
            }
            let (mut integers, mut sum, mut sum_expm1) = (true, 0.0, 0.0);
            for (&column, &value) in columns.iter().zip(data) {
                let is_odd = !(value >= 0.0 && value.is_finite())
                    || declared.is_some_and(|kind| contradiction(kind, value).is_some());
                if is_odd {
                    let place = (first_row + row, column as usize);
                    return Err(refuse_value(names, place, value, declared));
                }
                let is_integer = is_integer(value);
                integers &= is_integer;
                if evidence.no_count.is_none() && contradiction(ValueKind::Counts, value).is_some()
                {
                    evidence.no_count = Some((first_row + row, column as usize, value));
                }
                evidence.max = evidence.max.max(value);
                sum += f64::from(value);
                sum_expm1 += match value {
                    // Beyond this no logarithm is meant, and the exponential would only cost time.
                    _ if value > MAX_LOG1P => f64::INFINITY,
                    // An integer up to 25.
                    _ if is_integer => expm1[value as usize],
                    _ => f64::from(value).exp_m1(),
                };
            }
            if let Some(declared) = logarithm.filter(|_| integers && data.len() >= ENOUGH_INTEGERS)
            {
                return Err(DataError::ScaleMismatch {
                    path: names.path.to_path_buf(),
                    declared,
                    cell: names.cell(first_row + row),
                    gene: None,
                    reason: format!(
                        "has {} values and all are integers, as counts are",
                        data.len()
                    ),
                });
            }
            evidence.integers &= integers;
            if !integers {
                evidence.other_logarithm.add(data);
            }
            evidence.add_sums(data, sum, sum_expm1);
        }
        Ok(evidence)
    }

    /// Adds a cell of counts, whose sum and largest one are known.
    fn add_counts(&mut self, data: &[f32], sum: f64, max: f32) {
        self.max = self.max.max(max);
        let sum_expm1 = match max > MAX_LOG1P {
            true => f64::INFINITY,
            false => data.iter().map(|&count| EXPM1[count as usize]).sum(),
        };
        self.add_sums(data, sum, sum_expm1);
    }

    fn add_sums(&mut self, data: &[f32], sum: f64, sum_expm1: f64) {
        if !data.is_empty() {
            self.cells += 1;
            self.sum = extend(self.sum, (sum, sum));
            self.sum_expm1 = extend(self.sum_expm1, (sum_expm1, sum_expm1));
        }
    }

    /// Adds what other cells of the same file show.
    pub fn merge(&mut self, other: &Self) {
        self.n_rows += other.n_rows;
        self.n_cols = self.n_cols.max(other.n_cols);
        self.nnz += other.nnz;
        self.cells += other.cells;
        self.max = self.max.max(other.max);
        self.integers &= other.integers;
        self.sum = extend(self.sum, other.sum);
        self.sum_expm1 = extend(self.sum_expm1, other.sum_expm1);
        let first = [self.no_count, other.no_count].into_iter().flatten();
        self.no_count = first.min_by_key(|&(row, ..)| row);
        self.other_logarithm.merge(&other.other_logarithm);
    }

    /// The first value that is no exact count, in words.
    fn no_count(&self, names: Names<'_>) -> String {
        self.no_count.map_or_else(String::new, |(row, column, value)| {
            format!(
                ", the first {value} of cell {:?}, gene {:?}",
                names.cell(row),
                names.gene(column)
            )
        })
    }

    /// Whether any value is above zero: without one there is no verdict.
    pub fn has_values(&self) -> bool {
        self.nnz > 0
    }

    /// Whether a file with these cells can be of a kind that nobody declared.
    pub fn allows(&self, kind: ValueKind) -> bool {
        self.integers || kind != ValueKind::Counts
    }

    /// What the values of the file are, once all its cells were looked at.
    ///
    /// # Errors
    /// Those of [`check_scale`] that are about the whole file.
    pub fn verdict(
        &self,
        names: Names<'_>,
        declared: Option<ValueKind>,
    ) -> Result<ScaleVerdict, DataError> {
        let path = || names.path.to_path_buf();
        if self.nnz == 0 {
            return Err(DataError::Empty {
                path: path(),
                expected: "values that are not all zero",
            });
        }
        let Self { max, integers, sum, sum_expm1, .. } = *self;
        let zeros = 1.0 - self.nnz as f64 / (self.cells as f64 * self.n_cols as f64);
        let scale = Scale { cells: self.cells, max, zeros, integers, sum, sum_expm1 };
        let verdict = |kind, evidence: String| Ok(ScaleVerdict { kind, evidence, scale });
        let unknown = |reason: String| Err(DataError::ScaleUnknown { path: path(), reason });
        // One cell alone agrees with itself and shows nothing.
        let is_constant = |range| scale.cells > 1 && is_constant(range);
        let looks_log1p = !integers && is_constant(sum_expm1);
        let other_logarithm = || match self.other_logarithm.found() {
            Some((what, advice)) if !integers && !looks_log1p => {
                Err(DataError::OtherLogarithm { path: path(), what, advice })
            }
            _ => Ok(()),
        };
        if let Some(kind) = declared {
            if matches!(kind, ValueKind::Log1p | ValueKind::LinearNormalised) {
                other_logarithm()?;
            }
            if let Some(reason) = self.not_linear().filter(|_| kind == ValueKind::LinearNormalised)
            {
                return Err(DataError::ScaleMismatch {
                    path: path(),
                    declared: kind,
                    cell: names.obs.first().cloned().unwrap_or_default(),
                    gene: None,
                    reason,
                });
            }
            let evidence = format!("declared, and no cell of {} contradicts it", self.n_rows);
            return verdict(kind, evidence);
        }
        if integers {
            return match f64::from(max) > MAX_EXACT_COUNT {
                true => unknown(format!(
                    "integers above 16777216 (2^24) are no exact counts{}",
                    self.no_count(names)
                )),
                false => verdict(ValueKind::Counts, format!("integers up to {max}")),
            };
        }
        if zeros == 0.0 && max <= MAX_LOG2 {
            let evidence = format!("no zeros, values up to {max}");
            return verdict(ValueKind::Log2Intensity, evidence);
        }
        other_logarithm()?;
        if is_constant(sum) {
            let evidence = format!("every cell sums to {:.6}", sum.0);
            return verdict(ValueKind::LinearNormalised, evidence);
        }
        if looks_log1p {
            let evidence = format!("every cell sums to {:.1} after exp(x) - 1", sum_expm1.0);
            return verdict(ValueKind::Log1p, evidence);
        }
        if max <= MAX_LOG1P {
            let evidence = format!("fractional values up to {max}{}", self.no_count(names));
            return verdict(ValueKind::Log1p, evidence);
        }
        unknown(format!(
            "fractional values up to {max}{}, and cells sum to between {:.1} and {:.1}",
            self.no_count(names),
            sum.0,
            sum.1
        ))
    }

    /// What, beginning with the first cell, says that the values are not linear.
    fn not_linear(&self) -> Option<String> {
        // One cell alone agrees with itself, and integers are no logarithms.
        if self.cells < 2 || self.integers {
            return None;
        }
        if is_constant(self.sum_expm1) {
            let sum = self.sum_expm1.0;
            return Some(format!(
                "and all others sum to {sum:.0} after exp(x) - 1: the values are log1p"
            ));
        }
        (self.max <= MIN_LINEAR && !is_constant(self.sum)).then(|| {
            format!(
                "and all others have no value above {} and different sums: these look like \
                 logarithms or roots (if they are linear, multiply all of them by 1000)",
                self.max
            )
        })
    }
}

pub(crate) fn extend((min, max): (f64, f64), other: (f64, f64)) -> (f64, f64) {
    (min.min(other.0), max.max(other.1))
}

pub(crate) fn is_constant((min, max): (f64, f64)) -> bool {
    max.is_finite() && max - min <= CONSTANT * max
}

pub(crate) const EMPTY_RANGE: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);
/// Normalised values that were stored with six digits still agree this well.
const CONSTANT: f64 = 1e-3;
/// Microarray scanners have 16 bits; 20 leaves room for background and averaging.
const MAX_LOG2: f32 = 20.0;
/// `ln(1 + 7e10)`: more than any target sum.
pub(crate) const MAX_LOG1P: f32 = 25.0;
/// Linear values have a longer tail than this; logarithms and fourth roots have not.
const MIN_LINEAR: f32 = 32.0;
/// `exp(x) − 1` of the integers up to [`MAX_LOG1P`]: most values are small counts.
static EXPM1: LazyLock<[f64; 26]> =
    LazyLock::new(|| std::array::from_fn(|integer| (integer as f64).exp_m1()));

/// Sum and largest one of values that are all exact counts; without a branch per value, because nearly all
/// files hold nothing else.
fn counts_of(data: &[f32]) -> Option<(f64, f32)> {
    let (are_counts, sum, max) =
        data.iter().fold((true, 0, 0), |(are_counts, sum, max), &value| {
            let count = value as i32;
            let is_count = count as f32 == value && (0..=MAX_COUNT).contains(&count);
            (are_counts & is_count, sum + i64::from(count), max.max(count))
        });
    // Sums of less than 2²⁹ counts are exact.
    are_counts.then_some((sum as f64, max as f32))
}

/// The largest exact count, 2²⁴.
const MAX_COUNT: i32 = crate::h5_source::MAX_EXACT_COUNT as i32;

/// Values rounded to one digit can be integers by chance, but not many in one cell.
const ENOUGH_INTEGERS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::{Gene, Source};
    use crate::matrix::CsrMatrix;
    use crate::obs::ObsTable;

    fn matrix(rows: &[&[f32]]) -> ExpressionMatrix {
        let n_cols = rows[0].len();
        ExpressionMatrix {
            obs_names: (0..rows.len()).map(|row| format!("cell{row}")).collect(),
            genes: (0..n_cols).map(|gene| Gene::new(format!("G{gene}"), None, None)).collect(),
            values: CsrMatrix::from_dense(n_cols, &rows.concat()).unwrap(),
            obs: ObsTable::default(),
            source: Source::default(),
        }
    }

    fn detected(rows: &[&[f32]]) -> ValueKind {
        check_scale(&matrix(rows), None).unwrap().kind
    }

    /// `ln(1 + 10000 c / total)` of two cells.
    fn log1p_rows() -> [Vec<f32>; 2] {
        [[1.0f64, 2.0, 0.0, 7.0], [30.0, 0.0, 5.0, 5.0]].map(|row| {
            let total: f64 = row.iter().sum();
            row.iter().map(|count| (1e4 * count / total).ln_1p() as f32).collect()
        })
    }

    #[test]
    fn detects_each_kind() {
        let [a, b] = log1p_rows();
        assert_eq!(detected(&[&[0.0, 3.0, 1.0], &[5.0, 0.0, 0.0]]), ValueKind::Counts);
        assert_eq!(detected(&[&[0.0, 2.5, 7.5], &[5.5, 0.0, 4.5]]), ValueKind::LinearNormalised);
        assert_eq!(detected(&[&a, &b]), ValueKind::Log1p);
        let sum = |rows: &[&[f32]]| check_scale(&matrix(rows), None).unwrap().scale.log1p_sum();
        assert!((sum(&[&a, &b]).unwrap() - 1e4).abs() < 0.1);
        assert_eq!((sum(&[&a]), sum(&[&[0.5, 2.5], &[1.5, 0.0]])), (None, None));
        assert_eq!(detected(&[&[0.0, 2.5, 3.5], &[5.5, 0.0, 1.5]]), ValueKind::Log1p);
        assert_eq!(detected(&[&[4.2, 9.5, 14.1], &[5.5, 6.1, 8.0]]), ValueKind::Log2Intensity);
        let fpkm = matrix(&[&[0.0, 250.5, 3.5], &[5.5, 0.0, 91.5]]);
        assert!(matches!(check_scale(&fpkm, None), Err(DataError::ScaleUnknown { .. })));
        let declared = check_scale(&fpkm, Some(ValueKind::LinearNormalised)).unwrap();
        assert_eq!(declared.kind, ValueKind::LinearNormalised);
    }

    #[test]
    fn one_cell_alone_is_no_evidence_of_a_constant_sum() {
        let one = matrix(&[&[0.0, 250.5, 3.5]]);
        assert!(matches!(check_scale(&one, None), Err(DataError::ScaleUnknown { .. })));
        let one = matrix(&[&[0.0, 2.5, 3.5]]);
        assert!(check_scale(&one, Some(ValueKind::LinearNormalised)).is_ok());
    }

    #[test]
    fn empty_cells_do_not_disturb_a_constant_sum() {
        let rows: [&[f32]; 3] = [&[0.0, 2.5, 7.5], &[0.0, 0.0, 0.0], &[5.5, 0.0, 4.5]];
        assert_eq!(detected(&rows), ValueKind::LinearNormalised);
    }

    #[test]
    fn empty_cells_do_not_disturb_the_absence_of_zeros() {
        let rows: [&[f32]; 3] = [&[4.2, 9.5, 14.1], &[0.0, 0.0, 0.0], &[5.5, 6.1, 8.0]];
        assert_eq!(detected(&rows), ValueKind::Log2Intensity);
    }

    #[test]
    fn other_logarithms_are_neither_log1p_nor_linear() {
        let [a, b] = log1p_rows();
        let refused = |undo: fn(f32) -> f32, declared| {
            let rows = [&a, &b].map(|row| row.iter().map(|&value| undo(value)).collect::<Vec<_>>());
            match check_scale(&matrix(&[&rows[0], &rows[1]]), declared) {
                Err(DataError::OtherLogarithm { what, .. }) => what,
                other => panic!("{other:?}"),
            }
        };
        for declared in [None, Some(ValueKind::Log1p), Some(ValueKind::LinearNormalised)] {
            let what = refused(|value| value / std::f32::consts::LN_2, declared);
            assert!(what.starts_with("log2(1 + x)"), "{what}");
            let what = refused(f32::ln_1p, declared);
            assert!(what.starts_with("logarithms of logarithms"), "{what}");
        }
    }

    #[test]
    fn declared_linear_values_have_a_tail_or_a_constant_sum() {
        let declared = |rows: &[&[f32]]| {
            check_scale(&matrix(rows), Some(ValueKind::LinearNormalised)).map(|found| found.kind)
        };
        let roots = declared(&[&[0.0, 12.5, 3.5], &[5.5, 0.0, 1.5]]).unwrap_err().to_string();
        assert!(roots.contains("logarithms or roots") && roots.contains("12.5"), "{roots}");
        assert!(declared(&[&[0.0, 12.5, 7.5], &[15.5, 0.0, 4.5]]).is_ok());
        assert!(declared(&[&[0.0, 92.5, 3.5], &[5.5, 0.0, 1.5]]).is_ok());
    }

    #[test]
    fn a_single_wrong_cell_contradicts_a_declaration() {
        let mismatch = |rows: &[&[f32]], declared| match check_scale(&matrix(rows), Some(declared))
        {
            Err(DataError::ScaleMismatch { cell, gene, .. }) => (cell, gene),
            other => panic!("{other:?}"),
        };
        let (cell, gene) = mismatch(&[&[1.0, 2.0], &[1.0, 0.5]], ValueKind::Counts);
        assert_eq!((cell.as_str(), gene.as_deref()), ("cell1", Some("G1")));
        mismatch(&[&[1.0, 2.0], &[1.0, 20_000_000.0]], ValueKind::Counts);
        let [a, _] = log1p_rows();
        for kind in [ValueKind::Log1p, ValueKind::Log2Intensity] {
            let (cell, gene) = mismatch(&[&a, &[1.0, 3.0, 2.0, 0.0]], kind);
            assert_eq!((cell.as_str(), gene), ("cell1", None));
            let (_, gene) = mismatch(&[&a, &[0.5, 300.5, 0.5, 0.0]], kind);
            assert_eq!(gene.as_deref(), Some("G1"));
        }
        let [a, b] = log1p_rows();
        mismatch(&[&a, &b], ValueKind::LinearNormalised);
    }

    #[test]
    fn nothing_and_negative_values_are_refused() {
        let zeros = matrix(&[&[0.0, 0.0]]);
        assert!(matches!(check_scale(&zeros, None), Err(DataError::Empty { .. })));
        let mut scaled = matrix(&[&[1.0, 2.0]]);
        scaled.values.data[1] = -0.5;
        for declared in ValueKind::ALL.map(Some).into_iter().chain([None]) {
            let error = check_scale(&scaled, declared).unwrap_err();
            assert!(matches!(error, DataError::Negative { .. }), "{error}");
        }
    }
}
