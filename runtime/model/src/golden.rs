//! Golden cells: samples that a model carries with the code and the logits that they must give.

use crate::container::{Container, SectionKind, is_ascending};
use crate::error::ModelError;

/// View of the golden cells. Synthetic unless the model's maker chose otherwise, so that no
/// patient's data travel.
#[derive(Clone, Copy, Debug)]
pub struct Golden<'a> {
    profile: u32,
    is_integer: bool,
    indptr: &'a [u32],
    genes: &'a [u32],
    values: &'a [u32],
    totals: &'a [u32],
    codes: &'a [u32],
    logits: &'a [u32],
    code_dim: usize,
    n_leaves: usize,
}

/// One golden cell.
#[derive(Clone, Copy, Debug)]
pub struct GoldenCell<'a> {
    /// Panel indices, strictly increasing.
    pub genes: &'a [u32],
    /// Counts, or the bits of `f32` values: see [`Golden::is_integer`].
    pub values: &'a [u32],
    /// Library over all measured genes; 0 where the profile does not need it.
    pub total: u32,
    /// `[code_dim]`: sign-extended `i16` codes of an int8 model, else bits of `f32`.
    pub code: &'a [u32],
    /// `[n_leaves]`: `i32` Q16 logits of an int8 model, else bits of `f32`.
    pub logits: &'a [u32],
}

impl<'a> Golden<'a> {
    pub(crate) fn parse(
        container: &Container<'a>,
        n_genes: usize,
        code_dim: usize,
        n_leaves: usize,
    ) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Golden, 0)?;
        let n_cells = reader.u32()? as usize;
        let profile = reader.u32()?;
        let is_integer = match reader.u32()? {
            1 => true,
            2 => false,
            _ => return Err(reader.bad("value encoding")),
        };
        let nnz = reader.u32()? as usize;
        let too_many = reader.bad("number of cells");
        let indptr: &[u32] = reader.array(n_cells.checked_add(1).ok_or(too_many)?)?;
        let golden = Self {
            profile,
            is_integer,
            indptr,
            genes: reader.array(nnz)?,
            values: reader.array(nnz)?,
            totals: reader.array(n_cells)?,
            codes: reader.array(n_cells.checked_mul(code_dim).ok_or(too_many)?)?,
            logits: reader.array(n_cells.checked_mul(n_leaves).ok_or(too_many)?)?,
            code_dim,
            n_leaves,
        };
        let is_sound = indptr.first() == Some(&0)
            && is_ascending(indptr)
            && indptr.last().is_some_and(|&end| end as usize == nnz)
            && golden.cells().all(|cell| {
                cell.genes.windows(2).all(|pair| pair.first() < pair.last())
                    && cell.genes.last().is_none_or(|&gene| (gene as usize) < n_genes)
            });
        if !is_sound {
            return Err(reader.bad("cell"));
        }
        reader.finish()?;
        Ok(golden)
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.totals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// The input profile that the cells are given in.
    pub fn profile(&self) -> u32 {
        self.profile
    }

    /// Whether the values are counts rather than bits of `f32`.
    pub fn is_integer(&self) -> bool {
        self.is_integer
    }

    /// The cells in order.
    pub fn cells(&self) -> impl Iterator<Item = GoldenCell<'a>> + use<'a> {
        let golden = *self;
        golden.indptr.windows(2).enumerate().map(move |(cell, bounds)| {
            let bounds = match *bounds {
                [begin, end] => begin as usize..end as usize,
                _ => 0..0,
            };
            GoldenCell {
                genes: golden.genes.get(bounds.clone()).unwrap_or(&[]),
                values: golden.values.get(bounds).unwrap_or(&[]),
                total: golden.totals.get(cell).copied().unwrap_or(0),
                code: row(golden.codes, cell, golden.code_dim),
                logits: row(golden.logits, cell, golden.n_leaves),
            }
        })
    }
}

fn row(words: &[u32], row: usize, width: usize) -> &[u32] {
    words.get(row * width..(row + 1) * width).unwrap_or(&[])
}
