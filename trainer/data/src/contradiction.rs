//! What a single value says against the kind that it is declared to be.

use cic_model::ValueKind;

use crate::error::DataError;
use crate::expression::Names;
use crate::h5_source::MAX_EXACT_COUNT;
use crate::scale::MAX_LOG1P;

/// Why a value is refused.
pub(crate) fn refuse_value(
    names: Names<'_>,
    (row, column): (usize, usize),
    value: f32,
    declared: Option<ValueKind>,
) -> DataError {
    let (path, cell, gene) = (names.path.to_path_buf(), names.cell(row), names.gene(column));
    match declared.and_then(|kind| contradiction(kind, value)) {
        _ if !value.is_finite() => DataError::NotFinite { path, cell, gene, value },
        Some((declared, reason)) if value >= 0.0 => {
            DataError::ScaleMismatch { path, declared, cell, gene: Some(gene), reason }
        }
        _ => DataError::Negative { path, cell, gene, value },
    }
}

/// What one value says against a kind.
pub(crate) fn contradiction(kind: ValueKind, value: f32) -> Option<(ValueKind, String)> {
    let reason = match kind {
        ValueKind::Counts if !is_integer(value) => format!("has {value}, which is no integer"),
        ValueKind::Counts if f64::from(value) > MAX_EXACT_COUNT => {
            format!("has {value}, above 16777216 (2^24), the largest exact count")
        }
        ValueKind::Log1p | ValueKind::Log2Intensity if value > MAX_LOG1P => {
            format!("has {value}, and no logarithm of expression exceeds {MAX_LOG1P}")
        }
        _ => return None,
    };
    Some((kind, reason))
}

/// Whether a value of zero or more is an integer: all are that have no bits left for a fraction.
pub(crate) fn is_integer(value: f32) -> bool {
    value >= 16_777_216.0 || value as u32 as f32 == value
}
