//! Rows that a model's weights depend on: no test of it.

use std::path::Path;

use cic_model::Model;
use cic_model::provenance::{Part, row_digest};

use crate::console::tell;

/// How many rows of these names the weights depend on; `None` where the model does not carry its rows. Weights depend on
/// rows that were fitted and on those that ended training, as the last fit may be of both; rows for calibration set the
/// temperature alone.
pub(crate) fn n_seen<'a>(model: &Model<'_>, names: impl Iterator<Item = &'a str>) -> Option<usize> {
    let known = model.rows();
    let is_seen = |name: &&str| {
        let digest = row_digest(name);
        [Part::Fit, Part::EarlyStop].iter().any(|&part| known.contains(part, &digest))
    };
    (!known.is_empty()).then(|| names.filter(is_seen).count())
}

/// Says so where a model was trained on test rows.
pub(crate) fn tell_if_seen<'a>(
    model: &Model<'_>,
    path: &Path,
    names: impl ExactSizeIterator<Item = &'a str>,
) {
    let n_test = names.len();
    if let Some(n) = n_seen(model, names).filter(|&n| n > 0) {
        tell(format_args!(
            "note: {}: {n} of the {n_test} test rows were trained on: this is no test",
            path.display()
        ));
    }
}
