//! What reading in blocks must give, for the tests of several formats.

use std::path::Path;

use cic_data::{BlockSize, CsrMatrix, DataError, ExpressionReader, ReadOptions, read_expression};

/// The blocks of a file.
pub fn blocks(
    path: &Path,
    options: &ReadOptions,
    size: BlockSize,
) -> Result<Vec<CsrMatrix>, DataError> {
    let mut reader = ExpressionReader::open(path, options, size)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Rows of a matrix as lists, so that blocks can be joined without the code under test.
fn rows(matrix: &CsrMatrix) -> Vec<(Vec<u32>, Vec<f32>)> {
    (0..matrix.n_rows()).map(|row| matrix.row(row)).map(|(i, v)| (i.to_vec(), v.to_vec())).collect()
}

/// Blocks of every size give what reading the file whole gives.
pub fn assert_streams_like_whole(path: &Path, options: &ReadOptions, sizes: &[BlockSize]) {
    let whole = read_expression(path, options).unwrap();
    for &size in sizes {
        let blocks = blocks(path, options, size).unwrap();
        assert!(blocks.iter().all(|block| (1..=size.cells).contains(&block.n_rows())), "{size:?}");
        assert!(blocks.iter().all(|block| block.n_cols == whole.values.n_cols), "{size:?}");
        let joined: Vec<_> = blocks.iter().flat_map(rows).collect();
        assert!(joined == rows(&whole.values), "{} in blocks of {size:?}", path.display());
        let head = ExpressionReader::open(path, options, size).unwrap().head().clone();
        assert_eq!(head.obs_names, whole.obs_names);
        assert_eq!(head.genes, whole.genes);
        // As text, because missing numbers are not equal to themselves.
        assert_eq!(format!("{:?}", head.obs), format!("{:?}", whole.obs));
        assert_eq!(head.source, whole.source);
        let read_all = ExpressionReader::open(path, options, size).unwrap().read_all().unwrap();
        assert_eq!(read_all.values, whole.values);
    }
}
