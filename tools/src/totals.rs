//! Sums over all measured genes, for files that hold only some of them.

use cic_data::{AlignedMatrix, ExpressionMatrix, Names, ObsTable};
use cic_model::Model;
use cic_model::profile::Library;
use clap::Args;

use crate::console::tell;
use crate::dataset::obs_column;
use crate::failure::Failure;

/// Where the library sizes are.
#[derive(Args, Clone, Debug, Default)]
pub struct TotalArgs {
    /// Column of obs with each cell's counts over all
    /// genes, for files that hold only some of them
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    pub(crate) total_counts: Option<String>,
}

/// The sums of the cells of a file.
pub(crate) struct Totals<'a> {
    column: &'a str,
    values: Vec<f64>,
    /// Whether the model divides by them.
    matter: bool,
}

impl TotalArgs {
    /// The sums from the column, if one was named.
    pub(crate) fn read(
        &self,
        model: &Model<'_>,
        names: Names<'_>,
        obs: &ObsTable,
    ) -> Result<Option<Totals<'_>>, Failure> {
        let Some(key) = &self.total_counts else { return Ok(None) };
        let column = obs_column(names.path, obs, key)?;
        let total = |(row, name): (usize, &String)| {
            let number = column.number(row).filter(|total| total.is_finite() && *total >= 0.0);
            number.ok_or_else(|| {
                Failure::input(format!(
                    "{}: column {key:?} has no usable number for cell {name:?}; total counts are \
                     numbers that are not negative",
                    names.path.display(),
                ))
            })
        };
        let values = names.obs.iter().enumerate().map(total).collect::<Result<_, _>>()?;
        let mut profiles = model.profiles().iter();
        let matter = profiles.any(|profile| profile.library() == Library::AllMeasured);
        Ok(Some(Totals { column: key, values, matter }))
    }

    /// Puts the sums from the column, if one was named, in the place of those over the genes of the
    /// file. Says so where the model has no use for them.
    pub(crate) fn apply(
        &self,
        model: &Model<'_>,
        matrix: &ExpressionMatrix,
        cells: &mut AlignedMatrix,
    ) -> Result<(), Failure> {
        let names = matrix.names();
        let Some(totals) = self.read(model, names, &matrix.obs)? else { return Ok(()) };
        if let Some(note) = totals.note() {
            tell(format_args!("note: {note}"));
        }
        totals.replace(names, 0, &mut cells.totals)
    }
}

impl Totals<'_> {
    /// Said where the model has no use for them.
    pub(crate) fn note(&self) -> Option<&'static str> {
        (!self.matter).then_some(
            "--total-counts changes nothing: the model divides by sums over its own genes (cic train \
             --library)",
        )
    }

    /// Puts the sums of cells, from the file's `first_row` on, in the place of those over the genes
    /// of the file. Refuses what is less than these: it is something else.
    pub(crate) fn replace(
        &self,
        names: Names<'_>,
        first_row: usize,
        sums: &mut [f64],
    ) -> Result<(), Failure> {
        let totals = &self.values[first_row..first_row + sums.len()];
        let is_below = |(total, sum): (&f64, &f64)| *total < sum * (1.0 - ROUNDING);
        match totals.iter().zip(&*sums).position(is_below).filter(|_| self.matter) {
            None => {
                sums.copy_from_slice(totals);
                Ok(())
            }
            Some(row) => Err(Failure::input(format!(
                "{}: column {:?} says {} of cell {:?}, whose values in the file sum to {}; total \
                 counts are sums over all genes that were measured, in the unit of the values",
                names.path.display(),
                self.column,
                totals[row],
                names.obs[first_row + row],
                sums[row],
            ))),
        }
    }
}

/// Totals that were stored in single precision are no smaller than this share allows.
const ROUNDING: f64 = 1e-6;
