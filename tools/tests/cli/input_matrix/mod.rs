//! The input matrix: every kind of file that a program may be given, each with its one verdict.
//!
//! The rows of the modules below are the definition. Each goes through `cic type` and `cic check`
//! with trained models in f32 and int8, and the page `docs/input-matrix.md` is written from the same rows
//! (`cargo xtask input-matrix`).

mod export;
mod files;
mod generators;
mod genes;
mod hdf5;
mod models;
mod page;
mod row;
mod scales;
mod text;
mod values;
mod verdicts;

use self::row::Group;

/// The groups in the order of the page.
fn groups() -> [Group; 6] {
    [values::group(), scales::group(), genes::group(), text::group(), hdf5::group(), files::group()]
}

#[test]
fn values_have_the_verdicts_of_the_table() {
    verdicts::check(&values::group());
}

#[test]
fn scales_have_the_verdicts_of_the_table() {
    verdicts::check(&scales::group());
}

#[test]
fn genes_and_names_have_the_verdicts_of_the_table() {
    verdicts::check(&genes::group());
}

#[test]
fn text_files_have_the_verdicts_of_the_table() {
    verdicts::check(&text::group());
}

#[test]
fn hdf5_files_have_the_verdicts_of_the_table() {
    verdicts::check(&hdf5::group());
}

#[test]
fn other_files_and_names_have_the_verdicts_of_the_table() {
    verdicts::check(&files::group());
}

#[test]
fn no_two_rows_are_the_same() {
    let mut seen = std::collections::BTreeSet::new();
    for group in groups() {
        for row in group.rows {
            assert!(seen.insert(row.name), "{:?} stands twice", row.name);
        }
    }
    assert!(seen.len() > 100, "{} rows", seen.len());
}
