//! What a model makes of profiles that are no cell of one type.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use cic_data::{CsrMatrix, ExpressionMatrix, PanelAlignment, rank_rows};
use cic_model::{Model, ValueKind};
use cic_trainer::impostors::{Impostor, Originals};
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::{Dataset, model_kind};
use crate::failure::Failure;
use crate::results::{Calls, Prepared};

/// Impostors of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Impostors {
    kind: &'static str,
    /// How many were typed.
    n: u64,
    /// Share of them that were rejected.
    rejected: f64,
    /// How many for which reason.
    reasons: BTreeMap<&'static str, u64>,
}

/// Types `n` impostors of every kind that can be drawn of `rows`, whose types `label` knows. Only counts can be drawn or
/// added; of other values there are shuffled ones alone.
pub(super) fn judge(
    model: &Model<'_>,
    dataset: &Dataset,
    rows: &[usize],
    label: impl Fn(usize) -> Option<String>,
    n: u64,
    is_thorough: bool,
) -> Result<Vec<Impostors>, Failure> {
    let labels: Vec<Option<String>> = rows.iter().map(|&row| label(row)).collect();
    let mut known: Vec<&String> = labels.iter().flatten().collect();
    known.sort_unstable();
    known.dedup();
    let class = |label: &Option<String>| label.as_ref().and_then(|l| known.binary_search(&l).ok());
    // What is not labelled may be anything; where nothing is, every row is taken.
    let with_class = rows.iter().zip(&labels).map(|(&row, label)| (row, class(label)));
    let taken = with_class.filter(|(_, class)| class.is_some() || known.is_empty());
    let Some(originals) = Originals::new(&dataset.matrix.values, taken, SEED) else {
        return Ok(Vec::new());
    };
    let typist = Typist {
        model,
        matrix: &dataset.matrix,
        alignment: PanelAlignment::new(dataset.matrix.names(), model.genes())?,
        originals,
        is_thorough,
    };
    let is_possible = |of: &Impostor| !of.needs_counts() || dataset.kind == ValueKind::Counts;
    let kinds = Impostor::ALL.into_iter().filter(is_possible);
    kinds.map(|of| typist.judge(of, n)).collect()
}

struct Typist<'a> {
    model: &'a Model<'a>,
    matrix: &'a ExpressionMatrix,
    alignment: PanelAlignment,
    originals: Originals<'a>,
    is_thorough: bool,
}

impl Typist<'_> {
    fn judge(&self, of: Impostor, n: u64) -> Result<Impostors, Failure> {
        let parts: Vec<Range<u64>> =
            (0..n).step_by(PART).map(|from| from..n.min(from + PART as u64)).collect();
        let parts: Vec<Calls> = parts
            .into_par_iter()
            .map(|numbers| self.call(of, numbers))
            .collect::<Result<_, Failure>>()?;
        let mut reasons = BTreeMap::new();
        for reason in parts.iter().flat_map(|part| &part.calls).filter_map(|call| call.reject) {
            *reasons.entry(reason.name()).or_insert(0) += 1;
        }
        let n_rejected: u64 = reasons.values().sum();
        Ok(Impostors { kind: of.name(), n, rejected: n_rejected as f64 / n as f64, reasons })
    }

    fn call(&self, of: Impostor, numbers: Range<u64>) -> Result<Calls, Failure> {
        let mut values = CsrMatrix { n_cols: self.matrix.values.n_cols, ..CsrMatrix::default() };
        values.indptr.push(0);
        for number in numbers {
            for (column, value) in self.originals.draw(of, number) {
                values.indices.push(column);
                values.data.push(value);
            }
            values.indptr.push(values.data.len());
        }
        let mut rows = self.alignment.align(&values);
        if model_kind(self.model)? == ValueKind::Ranks {
            rank_rows(&mut rows.values, self.alignment.overlap.n_present as usize);
        }
        let mut memory = None;
        let prepared = Prepared::new(self.model, &mut memory, &self.alignment.present)?;
        let mut runner = prepared.runner(self.is_thorough)?;
        let mut calls = Calls::default();
        calls.append(self.model, &mut runner, &rows.values, &rows.totals)?;
        Ok(calls)
    }
}

/// A table.
pub(super) fn write(all: &[Impostors], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{:<10}  {:>8}  {:>8}  for", "no cells", "n", "rejected")?;
    for one in all {
        let reasons = one.reasons.iter().map(|(reason, n)| format!("{reason} {n}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        writeln!(out, "{:<10}  {:>8}  {:>8.4}  {reasons}", one.kind, one.n, one.rejected)?;
    }
    Ok(())
}

/// Impostors that are typed at a time.
const PART: usize = 500;
const SEED: u64 = 1;
