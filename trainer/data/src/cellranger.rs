//! Cell Ranger's `.h5` files: version 3 (`/matrix`) and version 2 (`/<genome>`).

use crate::cell_blocks::BlockSize;
use crate::csr_blocks::CsrBlocks;
use crate::error::DataError;
use crate::expression::{ExpressionHead, Gene, Source, check_addressable, check_len};
use crate::expression_reader::Opened;
use crate::h5_source::H5Source;
use crate::obs::ObsTable;

/// Opens the one matrix of the file, which stores one cell after the other. Of version 3 only
/// features of the type `Gene Expression` are genes.
pub(crate) fn open(source: &H5Source, size: BlockSize) -> Result<Opened, DataError> {
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
    let indptr = source.pointers(&format!("{group}/indptr"))?;
    check_len(path, "row pointers", obs_names.len() + 1, indptr.len())?;
    let blocks = CsrBlocks::open(source, &group, indptr, ids.len(), size)?;
    let genes = ids.iter().zip(&names).map(|(id, name)| Gene::new(id, Some(name), None)).collect();
    let source = Source {
        path: path.to_path_buf(),
        format: format.into(),
        matrix: group,
        ..Source::default()
    };
    let head = ExpressionHead { obs_names, genes, obs: ObsTable::default(), source };
    Ok(Opened { head, feature_types: types, blocks: Box::new(blocks) })
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
