//! Cell Ranger's `.h5` files: version 3 (`/matrix`) and version 2 (`/<genome>`).

use crate::error::DataError;
use crate::expression::{ExpressionMatrix, Gene, Parts, Source, check_addressable, check_len};
use crate::h5_source::H5Source;
use crate::h5ad::read_sparse;
use crate::matrix::CsrMatrix;
use crate::obs::ObsTable;

/// Reads the one matrix of the file. Of version 3 only features of the type `Gene Expression` are
/// kept; the source notes say how many others there were.
pub(crate) fn read(source: &H5Source) -> Result<ExpressionMatrix, DataError> {
    let (group, format, ids, names) = match source.has_group("matrix/features")? {
        true => ("matrix".to_string(), "Cell Ranger 3 .h5", "features/id", "features/name"),
        false => (find_genome(source)?, "Cell Ranger 2 .h5", "genes", "gene_names"),
    };
    let path = source.path();
    let obs_names = source.strings(&format!("{group}/barcodes"))?;
    let ids = source.strings(&format!("{group}/{ids}"))?;
    let names = source.strings(&format!("{group}/{names}"))?;
    check_addressable(path, "cells", obs_names.len())?;
    check_addressable(path, "features", ids.len())?;
    check_len(path, "feature names", ids.len(), names.len())?;
    let shape = source.pointers(&format!("{group}/shape"))?;
    if shape != [ids.len(), obs_names.len()] {
        return Err(DataError::Shape {
            path: path.to_path_buf(),
            what: format!("{group}/shape"),
            expected: format!("{:?} (features, barcodes)", [ids.len(), obs_names.len()]),
            found: format!("{shape:?}"),
        });
    }
    let types = format!("{group}/features/feature_type");
    let types = match source.has_dataset(&types)? {
        true => source.strings(&types)?,
        false => Vec::new(),
    };
    let sparse = read_sparse(source, &group)?;
    check_len(path, "row pointers", obs_names.len() + 1, sparse.indptr.len())?;
    if let Some((at, value)) = sparse.values.too_large {
        let cell = sparse.indptr.partition_point(|&start| start <= at).saturating_sub(1);
        let gene = sparse.indices.get(at).map_or(0, |&gene| gene as usize);
        return Err(DataError::CountTooLarge {
            path: path.to_path_buf(),
            cell: obs_names.get(cell).cloned().unwrap_or_default(),
            gene: ids.get(gene).cloned().unwrap_or_default(),
            value,
        });
    }
    let genes: Vec<Gene> =
        ids.iter().zip(&names).map(|(id, name)| Gene::new(id, Some(name), None)).collect();
    let values =
        CsrMatrix::normalise(genes.len(), sparse.indptr, sparse.indices, sparse.values.data);
    let source = Source {
        path: path.to_path_buf(),
        format: format.into(),
        matrix: group,
        notes: Vec::new(),
    };
    let matrix = Parts { obs_names, genes, obs: ObsTable::default(), source }.assemble(values)?;
    keep_gene_expression(matrix, &types)
}

/// Drops the features of other types (antibodies, guides, peaks) and notes how many there were.
/// With no types at all every feature is a gene.
pub(crate) fn keep_gene_expression(
    mut matrix: ExpressionMatrix,
    types: &[String],
) -> Result<ExpressionMatrix, DataError> {
    if types.is_empty() {
        return Ok(matrix);
    }
    check_len(&matrix.source.path, "feature types", matrix.n_vars(), types.len())?;
    let keep: Vec<bool> = types.iter().map(|kind| kind == GENE_EXPRESSION).collect();
    let dropped = keep.iter().filter(|&&keep| !keep).count();
    if dropped == 0 {
        return Ok(matrix);
    }
    if dropped == keep.len() {
        return Err(DataError::MissingPart {
            path: matrix.source.path,
            part: format!("feature of the type {GENE_EXPRESSION:?}"),
            advice: format!("its first feature is of the type {:?}", types[0]),
        });
    }
    let mut kept = 0;
    let new_index: Vec<Option<u32>> = keep
        .iter()
        .map(|&keep| {
            let index = keep.then_some(kept);
            kept += u32::from(keep);
            index
        })
        .collect();
    let values = &mut matrix.values;
    let (mut start, mut out) = (0, 0);
    for row in 0..values.n_rows() {
        let end = values.indptr[row + 1];
        for entry in start..end {
            if let Some(index) = new_index[values.indices[entry] as usize] {
                values.indices[out] = index;
                values.data[out] = values.data[entry];
                out += 1;
            }
        }
        start = end;
        values.indptr[row + 1] = out;
    }
    values.indices.truncate(out);
    values.data.truncate(out);
    values.n_cols = kept as usize;
    let mut keep = keep.into_iter();
    matrix.genes.retain(|_| keep.next().unwrap_or(false));
    matrix.source.notes.push(format!("{dropped} features are not {GENE_EXPRESSION} and left out"));
    Ok(matrix)
}

/// The group of a version 2 file that holds the matrix.
fn find_genome(source: &H5Source) -> Result<String, DataError> {
    let mut genomes = Vec::new();
    for name in source.members("")? {
        if source.has_group(&name)?
            && source.has_dataset(&format!("{name}/barcodes"))?
            && source.has_dataset(&format!("{name}/genes"))?
        {
            genomes.push(name);
        }
    }
    let path = source.path().to_path_buf();
    match genomes.len() {
        1 => Ok(genomes.remove(0)),
        0 => Err(DataError::UnsupportedFormat {
            path,
            format: "an HDF5 file that is neither AnnData nor Cell Ranger's".into(),
            advice: "expected obs and var, or matrix/features, or <genome>/barcodes",
        }),
        _ => Err(DataError::UnsupportedFormat {
            path,
            format: format!("a Cell Ranger 2 file with several genomes ({})", genomes.join(", ")),
            advice: "write the genome that you need as a file of its own",
        }),
    }
}

/// The type of the features that are genes.
const GENE_EXPRESSION: &str = "Gene Expression";
