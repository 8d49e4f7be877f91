//! Linear classifiers against scikit-learn; `fixtures/classifiers.py` prints the numbers.

use cic_trainer::baselines::{
    Contender, Forest, Labelled, LinearClassifier, LinearLoss, Prepared, choose, matrix,
    shrinkage_lda,
};
use faer::Mat;

fn profiles(n: usize, n_genes: usize, shift: usize) -> Vec<f32> {
    let value = |row: usize, gene: usize| {
        let (row, gene) = ((row + shift) as f64, (gene + shift) as f64);
        ((0.7 * row + 1.3 * gene).sin() + (0.2 * row * gene).cos() + 2.5) as f32
    };
    (0..n).flat_map(|row| (0..n_genes).map(move |gene| value(row, gene))).collect()
}

fn classes() -> Vec<usize> {
    (0..20).map(|row| row * 7 % 5 % 3).collect()
}

/// Compares the scores of the second test profile.
fn assert_scores(model: &LinearClassifier, n_genes: usize, expected: [f64; 3]) {
    let test: Mat<f64> = matrix(&profiles(2, n_genes, 100), n_genes);
    let scores = test.as_ref() * &model.weights;
    for (class, expected) in expected.into_iter().enumerate() {
        let found = scores[(1, class)] + model.bias[class];
        assert!((found - expected).abs() < 2e-4, "{n_genes} class {class}: {found} for {expected}");
    }
}

#[test]
fn fewer_and_more_features_than_rows_give_the_scores_of_scikit_learn() {
    for (n_genes, logistic, svm, lda) in [
        (
            8,
            [0.493187, -0.099432, -0.393755],
            [0.041027, -0.433598, -0.470306],
            [56.762958, 55.015482, 55.138802],
        ),
        (
            80,
            [-0.178132, 0.532239, -0.354107],
            [-0.181161, -0.162967, -0.541178],
            [96.747969, 107.191161, 96.319578],
        ),
        (
            30,
            [0.087304, -0.198277, 0.110973],
            [-0.046219, -0.482004, -0.352375],
            [72.015975, 70.107233, 71.582249],
        ),
    ] {
        let rows = matrix(&profiles(20, n_genes, 0), n_genes);
        let fit = |loss, c| LinearClassifier::fit(rows.as_ref(), &classes(), 3, loss, c).unwrap();
        assert_scores(&fit(LinearLoss::Logistic, 0.1), n_genes, logistic);
        assert_scores(&fit(LinearLoss::SquaredHinge, 0.01), n_genes, svm);
        assert_scores(&shrinkage_lda(rows.as_ref(), &classes(), 3).unwrap(), n_genes, lda);
    }
}

/// Three types that differ by 8 in one gene each, among 20 of noise.
fn types() -> (Vec<f32>, Vec<usize>) {
    let mut state = 7_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let classes: Vec<usize> = (0..60).map(|row| row % 3).collect();
    let shifted = |gene: usize, class: usize| if gene == class { 8.0 } else { 0.0 };
    let values = classes
        .iter()
        .flat_map(|&class| (0..20).map(move |gene| (gene, class)).collect::<Vec<_>>())
        .map(|(gene, class)| noise() + shifted(gene, class))
        .collect();
    (values, classes)
}

#[test]
fn every_contender_tells_plain_types_apart() {
    let (values, classes) = types();
    let (train, test) = values.split_at(40 * 20);
    let labelled = Labelled { values: train, n_genes: 20, classes: &classes[..40], n_classes: 3 };
    let prepared = Prepared::new(labelled, 5).unwrap();
    // At the smallest C the bias decides for forty rows.
    for contender in Contender::ALL.into_iter().filter(|one| *one != Contender::Logistic(0.001)) {
        let called = prepared.classify(contender, test).unwrap();
        let right = called.iter().zip(&classes[40..]).filter(|(a, b)| a == b).count();
        assert!(right >= 18, "{}: {right} of 20", contender.name());
    }
    let train = matrix(train, 20);
    let forest = Forest::fit(train.as_ref(), &classes[..40], 1).unwrap();
    let called = forest.predict(matrix(test, 20).as_ref()).unwrap();
    assert!(called.iter().zip(&classes[40..]).filter(|(a, b)| a == b).count() >= 18);
    let folds: Vec<usize> = (0..40).map(|row| row % 3).collect();
    choose(labelled, &folds, 5).unwrap();
}

#[test]
fn a_class_without_rows_is_never_called() {
    let (values, classes) = types();
    let rows = matrix(&values, 20);
    let lda = shrinkage_lda(rows.as_ref(), &classes, 4).unwrap();
    assert!(lda.predict(rows.as_ref()).iter().all(|&class| class < 3));
}
