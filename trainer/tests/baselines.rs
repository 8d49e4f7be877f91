//! Baselines of reproduction against scikit-learn; `fixtures/baselines.py` prints the numbers.

use cic_trainer::baselines::{Kernel, KernelPca, Nmf, Reproducer, matrix, pca};
use faer::Mat;

const N_GENES: usize = 8;

fn profiles(n: usize, shift: usize) -> Vec<f32> {
    let value = |row: usize, gene: usize| {
        let (row, gene) = ((row + shift) as f64, (gene + shift) as f64);
        ((0.7 * row + 1.3 * gene).sin() + (0.2 * row * gene).cos() + 2.5) as f32
    };
    (0..n).flat_map(|row| (0..N_GENES).map(move |gene| value(row, gene))).collect()
}

fn train() -> Vec<f32> {
    profiles(20, 0)
}

fn test() -> Mat<f64> {
    matrix(&profiles(4, 100), N_GENES)
}

/// Compares the second reproduced profile.
fn assert_second(reproduced: &Mat<f64>, expected: [f64; N_GENES]) {
    for (gene, expected) in expected.into_iter().enumerate() {
        let found = reproduced[(1, gene)];
        assert!((found - expected).abs() < 2e-5, "gene {gene}: {found} for {expected}");
    }
}

#[test]
fn principal_components_reproduce_as_scikit_learns_do() {
    let pca = pca(&train(), N_GENES, 3, 1).unwrap();
    let expected = [2.399986, 2.723698, 4.41454, 2.193136, 2.470856, 1.6252, 3.897105, 4.531062];
    assert_second(&pca.reproduce(test().as_ref()), expected);
}

#[test]
fn kernel_components_reproduce_as_scikit_learns_do() {
    let expected = [
        (
            0.3249954,
            [2.798872, 2.450803, 4.222062, 1.861804, 2.015377, 1.792745, 3.695309, 3.910313],
        ),
        (1.0, [2.840161, 2.631596, 3.644808, 2.256561, 2.427143, 1.981666, 3.437709, 3.693996]),
        (0.001, [3.139938, 2.053532, 3.819412, 1.972572, 1.835687, 3.085648, 2.818959, 3.319552]),
    ];
    for (kernel, (ridge, expected)) in Kernel::ALL.into_iter().zip(expected) {
        let fitted = KernelPca::fit(matrix(&train(), N_GENES), 3, kernel).unwrap();
        assert!((fitted.ridge() / ridge - 1.0).abs() < 1e-5, "{} for {ridge}", fitted.ridge());
        assert_second(&fitted.reproduce(test().as_ref()), expected);
    }
}

#[test]
fn factors_come_as_near_as_scikit_learns() {
    let rows = matrix(&train(), N_GENES);
    let nmf = Nmf::fit(rows.as_ref(), 3, 1).unwrap();
    let difference = &nmf.reproduce(rows.as_ref()) - &rows;
    let error = difference.squared_norm_l2() / (rows.nrows() * N_GENES) as f64;
    // .210008, after ten times as many updates from a start of its own.
    assert!(error < 1.03 * 0.210008, "{error}");
}

#[test]
fn negative_profiles_have_no_non_negative_factors() {
    let mut rows = train();
    rows[5] = -0.1;
    assert!(Nmf::fit(matrix(&rows, N_GENES).as_ref(), 3, 1).is_none());
}
