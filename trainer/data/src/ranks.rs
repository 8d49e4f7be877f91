//! Rows as models read them that take ranks.

use cic_model::ranks::to_ranks;

use crate::matrix::CsrMatrix;

/// Replaces the values of every row by their ranks among the `n_present` columns that the file has: see [`to_ranks`].
pub fn rank_rows(rows: &mut CsrMatrix, n_present: usize) {
    let mut order = Vec::new();
    for bounds in rows.indptr.windows(2) {
        let values = &mut rows.data[bounds[0]..bounds[1]];
        order.resize(values.len(), 0);
        to_ranks(values, n_present, &mut order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_own_ranks() {
        let mut rows = CsrMatrix {
            n_cols: 4,
            indptr: vec![0, 2, 2, 5],
            indices: vec![1, 3, 0, 1, 2],
            data: vec![9.0, 2.0, 1.0, 1.0, 8.0],
        };
        rank_rows(&mut rows, 4);
        assert_eq!(rows.data, [1.0, 0.75, 0.625, 0.625, 1.0]);
    }
}
