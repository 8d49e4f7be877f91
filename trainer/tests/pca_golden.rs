//! Principal components against scikit-learn (fixtures/pca.py).

use cic_trainer::{Expression, Pca, TrainingData};

#[test]
fn components_and_variances_equal_those_of_scikit_learn() {
    for name in ["tall", "wide"] {
        let rows = numbers(name, "row");
        let components = numbers(name, "component");
        let n_genes = rows[0].len();
        let dense: Vec<f32> = rows.iter().flatten().map(|&x| x as f32).collect();
        let (indptr, indices, values) = compress(&rows);
        let csr = Expression::Csr { indptr: &indptr, indices: &indices, values: &values };
        for expression in [Expression::Dense(&dense), csr] {
            let data =
                TrainingData { expression, n_genes, labels: None, n_classes: 0, counts: None };
            let all: Vec<usize> = (0..rows.len()).collect();
            let pca = Pca::fit(&data, &all, components.len(), 1).unwrap();
            assert_eq!(pca.n_components(), components.len());
            for (k, expected) in components.iter().enumerate() {
                assert!((pca.variances[k] - expected[0]).abs() < 1e-10 * components[0][0]);
                for (loading, expected) in pca.component(k).iter().zip(&expected[1..]) {
                    assert!((loading - expected).abs() < 1e-8, "{name} {k}: {loading} {expected}");
                }
            }
        }
    }
}

fn numbers(name: &str, kind: &str) -> Vec<Vec<f64>> {
    include_str!("fixtures/pca.tsv")
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields[0] == name && fields[1] == kind)
        .map(|fields| fields[2..].iter().map(|field| field.parse().unwrap()).collect())
        .collect()
}

fn compress(rows: &[Vec<f64>]) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
    let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
    for row in rows {
        for (gene, &x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            indices.push(gene as u32);
            values.push(x as f32);
        }
        indptr.push(values.len());
    }
    (indptr, indices, values)
}
