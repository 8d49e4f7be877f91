//! Which genes decided the calls of cells.

use std::collections::BTreeMap;

use cic_model::quant::ONE_Q16;
use cic_trainer::interpretation::{Against, Contributions, LogOdds, contributions};

use super::Study;
use crate::failure::Failure;
use crate::results::network_input;

/// A cell, explained.
pub(super) struct Cell {
    pub(super) row: usize,
    pub(super) target: LogOdds,
    /// Network inputs, `[n_genes]`.
    pub(super) input: Vec<f32>,
    pub(super) contributions: Contributions,
    /// Genes by decreasing absolute contribution.
    pub(super) order: Vec<usize>,
}

/// The calls of a type together, explained. Lists are `[n_genes]`.
pub(super) struct TypeCalls {
    pub(super) leaf: usize,
    pub(super) against: Against,
    /// Cells that means are over.
    pub(super) n_cells: usize,
    /// Mean network inputs.
    pub(super) values: Vec<f64>,
    /// Mean contributions.
    pub(super) contributions: Vec<f64>,
    /// Genes by decreasing absolute mean contribution.
    pub(super) order: Vec<usize>,
    /// Largest share by which the contributions of a cell miss their sum.
    pub(super) worst_error: f64,
}

/// More cells change means little.
const MOST_OF_A_TYPE: usize = 50;

impl Study<'_> {
    /// The cells with these names, or else so many of each type called: those whose codes are nearest to the mean code of
    /// the type.
    pub(super) fn chosen_cells(
        &self,
        names: &[String],
        per_type: usize,
    ) -> Result<Vec<usize>, Failure> {
        if self.model.n_leaves() < 2 {
            return Ok(Vec::new());
        }
        let matrix = &self.dataset.matrix;
        let found = |name: &String| {
            let row = matrix.obs_names.iter().position(|known| known == name);
            let row = row.ok_or_else(|| {
                Failure::usage(format!(
                    "--cells {name}: {} has no such cell; its first is {:?}",
                    matrix.source.path.display(),
                    matrix.obs_names.first().map_or("", String::as_str)
                ))
            })?;
            let has_code = self.rows.binary_search(&row).is_ok();
            let refused =
                || Failure::input(format!("--cells {name}: no gene of the panel is in it"));
            has_code.then_some(row).ok_or_else(refused)
        };
        if !names.is_empty() {
            return names.iter().map(found).collect();
        }
        let nearest = |rows: Vec<usize>| {
            let mean = self.mean_code(&rows);
            let distance = |row: usize| -> f64 {
                let pairs = self.code(row).iter().zip(&mean);
                pairs.map(|(&value, mean)| (f64::from(value) - mean).powi(2)).sum()
            };
            let mut rows: Vec<(f64, usize)> =
                rows.into_iter().map(|row| (distance(row), row)).collect();
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows.truncate(per_type);
            rows.into_iter().map(|(_, row)| row)
        };
        Ok(self.named_rows().into_values().flat_map(nearest).collect())
    }

    /// Explains the call of a cell that has a code, against one type or all others. The type itself is told apart from
    /// all others.
    pub(super) fn explain_cell(&self, row: usize, against: Option<usize>) -> Option<Cell> {
        let leaf = self.calls.calls[row].best()?;
        let target = LogOdds {
            leaf,
            against: match against {
                Some(other) if other != leaf => Against::Leaf(other),
                _ => Against::Others,
            },
            inverse_temperature: f64::from(self.model.rules().inv_temperature_q16)
                / f64::from(ONE_Q16),
        };
        let input = self.input(row)?;
        let contributions = contributions(self.network, &input, self.baseline(), target);
        let order = by_size(&contributions.genes);
        Some(Cell { row, target, input, contributions, order })
    }

    /// Explains the calls of each type together, over at most [`MOST_OF_A_TYPE`] cells of it, evenly among all.
    pub(super) fn explain_types(&self, against: Option<usize>) -> Vec<TypeCalls> {
        let explain = |(leaf, rows): (usize, Vec<usize>)| {
            let step = rows.len().div_ceil(MOST_OF_A_TYPE).max(1);
            let rows = rows.into_iter().step_by(step);
            let cells: Vec<Cell> = rows.filter_map(|row| self.explain_cell(row, against)).collect();
            let mean = |of: &dyn Fn(&Cell, usize) -> f64| -> Vec<f64> {
                let sum = |gene| cells.iter().map(|cell| of(cell, gene)).sum::<f64>();
                (0..self.model.n_genes()).map(|gene| sum(gene) / cells.len() as f64).collect()
            };
            let contributions = mean(&|cell, gene| cell.contributions.genes[gene]);
            TypeCalls {
                leaf,
                against: cells.first().map_or(Against::Others, |cell| cell.target.against),
                n_cells: cells.len(),
                values: mean(&|cell, gene| f64::from(cell.input[gene])),
                order: by_size(&contributions),
                contributions,
                worst_error: cells.iter().map(|one| one.contributions.error()).fold(0.0, f64::max),
            }
        };
        self.named_rows().into_iter().map(explain).collect()
    }

    /// Rows of the cells that are named, by leaf.
    fn named_rows(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut by_type: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &row in &self.rows {
            let call = &self.calls.calls[row];
            if let (None, Some(leaf)) = (call.reject, call.best()) {
                by_type.entry(leaf).or_default().push(row);
            }
        }
        by_type
    }

    /// What the network reads of a cell: the training mean stands for genes that the file lacks.
    fn input(&self, row: usize) -> Option<Vec<f32>> {
        let mut input = vec![0.0; self.model.n_genes()];
        let has_values = network_input(self.model, self.cells, row, &mut input);
        let places = input.iter_mut().zip(&self.cells.present).zip(self.baseline());
        places
            .filter(|((_, is_present), _)| !**is_present)
            .for_each(|((input, _), &fill)| *input = fill);
        has_values.then_some(input)
    }
}

/// Genes by decreasing absolute value.
pub(super) fn by_size(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
    order
}
