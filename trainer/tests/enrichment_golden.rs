//! Enrichment tests against SciPy; `fixtures/README.md` says how the values were made.

use std::collections::HashMap;

use cic_trainer::enrichment::{RankedGenes, benjamini_hochberg, bonferroni, over_representation};

/// Both sides compute in double precision, in a different way.
const TOLERANCE: f64 = 1e-10;

#[test]
fn over_representation_is_the_tail_of_scipys_hypergeometric_distribution() {
    let golden = golden();
    for (case, expected) in golden["cases"].chunks(4).zip(&golden["tails"]) {
        let [overlap, set, list, background] = [0, 1, 2, 3].map(|at| case[at] as usize);
        let found = over_representation(overlap, set, list, background);
        assert_close(&format!("{case:?}"), found, *expected);
    }
}

#[test]
fn false_discoveries_are_scipys() {
    let golden = golden();
    let p_values = &golden["p_values"];
    let adjusted = benjamini_hochberg(p_values);
    assert_eq!(adjusted.len(), golden["benjamini_hochberg"].len());
    for (at, expected) in golden["benjamini_hochberg"].iter().enumerate() {
        assert_close(&format!("of {}", p_values[at]), adjusted[at], *expected);
    }
    let least = p_values.iter().zip(bonferroni(p_values)).zip(&adjusted);
    for ((p, by_bonferroni), by_rank) in least {
        assert_eq!(by_bonferroni, (p * p_values.len() as f64).min(1.0));
        assert!(by_bonferroni >= *by_rank);
    }
}

#[test]
fn rank_sums_are_those_of_scipys_mannwhitneyu() {
    let golden = golden();
    let ranked = RankedGenes::new(&golden["values"]);
    for n in 0..4 {
        let set: Vec<u32> = golden[&format!("set{n}")].iter().map(|&gene| gene as u32).collect();
        let [sign, p_value] = golden[&format!("rank_sum{n}")][..] else { panic!("two numbers") };
        let found = ranked.rank_sum(&set);
        assert_close(&format!("set {n}"), found.p_value, p_value);
        assert!(found.z == 0.0 || found.z.signum() == sign, "{n}: {found:?}");
    }
}

fn assert_close(what: &str, found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= TOLERANCE * expected.abs(), "{what}: {found} for {expected}");
}

fn golden() -> HashMap<String, Vec<f64>> {
    let text = include_str!("fixtures/enrichment.tsv");
    let entry = |line: &str| {
        let (name, numbers) = line.split_once('\t').unwrap();
        let numbers = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        (name.to_owned(), numbers)
    };
    text.lines().map(entry).collect()
}
