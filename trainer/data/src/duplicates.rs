//! Genes that a file has more than once.

use std::collections::HashMap;

use crate::expression::{ExpressionMatrix, Gene};
use crate::matrix::CsrMatrix;

/// Columns that are the gene of an earlier one over again, by their [key](Gene::key): the earliest
/// and the later one, in the order of the later ones.
pub fn repeated_genes(genes: &[Gene]) -> Vec<(usize, usize)> {
    let mut first = HashMap::with_capacity(genes.len());
    let columns = genes.iter().enumerate();
    columns
        .filter_map(|(column, gene)| {
            let first = *first.entry(gene.key()).or_insert(column);
            (first != column).then_some((first, column))
        })
        .collect()
}

/// Adds the values of columns that are the same gene, in the order of the file, in the place of the
/// first of them. Returns how many columns are gone.
pub fn add_up_repeated_genes(matrix: &mut ExpressionMatrix) -> usize {
    let repeated: HashMap<usize, usize> =
        repeated_genes(&matrix.genes).into_iter().map(|(first, column)| (column, first)).collect();
    if repeated.is_empty() {
        return 0;
    }
    let mut n_cols = 0;
    let mut places = Vec::with_capacity(matrix.genes.len());
    for column in 0..matrix.genes.len() {
        let place = match repeated.get(&column) {
            Some(&first) => places[first],
            None => {
                n_cols += 1;
                n_cols - 1
            }
        };
        places.push(place);
    }
    let values = &matrix.values;
    let mut added = CsrMatrix { n_cols, indptr: vec![0], indices: Vec::new(), data: Vec::new() };
    let mut entries: Vec<(usize, f32)> = Vec::new();
    for row in 0..values.n_rows() {
        let (columns, data) = values.row(row);
        entries.clear();
        entries.extend(columns.iter().zip(data).map(|(&c, &value)| (places[c as usize], value)));
        entries.sort_by_key(|&(place, _)| place);
        for same in entries.chunk_by(|a, b| a.0 == b.0) {
            // Columns of a matrix have numbers of 32 bits.
            added.indices.push(same[0].0 as u32);
            added.data.push(same.iter().map(|&(_, value)| value).sum());
        }
        added.indptr.push(added.data.len());
    }
    matrix.values = added;
    let mut column = 0..;
    matrix.genes.retain(|_| column.next().is_some_and(|column| !repeated.contains_key(&column)));
    repeated.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Source;
    use crate::obs::ObsTable;

    #[test]
    fn values_of_a_gene_that_stands_thrice_are_added_in_its_first_place() {
        let ids = ["ENSG00000000001.1", "B", "ENSG00000000001.2", "C", "ENSG00000000001"];
        let mut matrix = ExpressionMatrix {
            obs_names: vec!["a".into(), "b".into()],
            genes: ids.iter().map(|id| Gene::new(*id, None, None)).collect(),
            values: CsrMatrix::from_dense(5, &[1.0, 2.0, 4.0, 0.0, 8.0, 0.0, 0.0, 3.0, 5.0, 0.0])
                .unwrap(),
            obs: ObsTable::default(),
            source: Source::default(),
        };
        assert_eq!(repeated_genes(&matrix.genes), [(0, 2), (0, 4)]);
        assert_eq!(add_up_repeated_genes(&mut matrix), 2);
        let ids: Vec<&str> = matrix.genes.iter().map(|gene| gene.id.as_str()).collect();
        assert_eq!(ids, ["ENSG00000000001.1", "B", "C"]);
        assert_eq!(matrix.values.row(0), (&[0, 1][..], &[13.0, 2.0][..]));
        assert_eq!(matrix.values.row(1), (&[0, 2][..], &[3.0, 5.0][..]));
        assert_eq!(add_up_repeated_genes(&mut matrix), 0);
    }
}
