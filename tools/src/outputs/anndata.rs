//! Calls as the tables of an AnnData file.

use cic_data::{AnnDataOut, Column, ExpressionHead, Gene, ObsTable};

use super::columns;
use super::provenance::Provenance;
use crate::failure::Failure;
use crate::typed::TypedCells;

/// The tables, which hold all of the calls; values and arrays were written as they came.
pub(crate) fn anndata<'a>(
    head: &'a ExpressionHead,
    cells: &TypedCells<'_>,
    var_names: &'a [String],
    provenance: &Provenance,
) -> Result<AnnDataOut<'a>, Failure> {
    let mut obs: ObsTable = head.obs.clone();
    columns::insert(&mut obs, cells.extent(), || cells.cells());
    Ok(AnnDataOut {
        obs_names: &head.obs_names,
        obs,
        var_names,
        var: gene_names(&head.genes),
        uns: vec![("cic".to_string(), provenance.to_uns()?)],
        ..AnnDataOut::default()
    })
}

/// What the file says about its genes beside their ids: models find genes by it.
fn gene_names(genes: &[Gene]) -> ObsTable {
    let mut var = ObsTable::default();
    let genes = || genes.iter();
    for (name, texts) in [
        ("gene_symbols", genes().map(|gene| gene.symbol.as_deref()).collect::<Vec<_>>()),
        ("ensembl_id", genes().map(|gene| gene.ensembl.as_deref()).collect()),
    ] {
        let says_more = |(gene, text): (&Gene, &Option<&str>)| text.is_some_and(|t| t != gene.id);
        if genes().zip(&texts).any(says_more) {
            // Sorted categories would cost more than the texts.
            let texts = texts.iter().map(|text| Some(text.unwrap_or("").to_string()));
            var.insert(name, Column::Text(texts.collect()));
        }
    }
    var
}
