//! AnnData files with everything the writer can write, read back. `fixtures/check_written.py` opens
//! the same files with anndata.

use std::path::{Path, PathBuf};

use cic_data::{
    AnnDataOut, Column, CsrMatrix, DataError, ObsTable, ReadOptions, UnsValue, read_expression,
    write_h5ad,
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_string()).collect()
}

fn full_obs() -> ObsTable {
    let text = |text: &str| Some(text.to_string());
    let mut obs = ObsTable::default();
    obs.insert("label", Column::categorical([Some("T"), None, Some("B")]));
    obs.insert("reason", Column::Text(vec![text("too shallow"), text(""), text("β, \"x\"")]));
    obs.insert("guess", Column::Text(vec![text("T"), None, text("T")]));
    obs.insert("rejected", Column::Bool(vec![Some(true), Some(false), Some(true)]));
    obs.insert("unsure", Column::Bool(vec![Some(true), None, Some(false)]));
    obs.insert("confidence", Column::F64(vec![0.25, f64::NAN, 1e-300]));
    obs.insert("coverage", Column::F32(vec![0.5, 0.1, f32::NAN]));
    obs.insert("n_genes", Column::I32(vec![-1, 0, i32::MAX]));
    obs
}

fn write_full(path: &Path) -> (Vec<String>, CsrMatrix) {
    let obs_names = names(&["c1", "c2-é", "c3"]);
    let var_names = names(&["TP53", "ACTB"]);
    let x = CsrMatrix::from_dense(2, &[0.0, 1.5, 0.0, 0.0, 2.0, 3.0]).unwrap();
    let mut var = ObsTable::default();
    var.insert("ensembl_id", Column::Text(vec![Some("ENSG00000141510".into()), None]));
    let out = AnnDataOut {
        obs_names: &obs_names,
        obs: full_obs(),
        var_names: &var_names,
        var,
        x: Some(&x),
        obsm: vec![
            ("X_cic".into(), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("one".into(), vec![7.0, 8.0, 9.0]),
        ],
        uns: vec![(
            "cic".into(),
            UnsValue::Dict(vec![
                ("model".into(), UnsValue::Text("sha256:äb".into())),
                ("empty".into(), UnsValue::Text(String::new())),
                ("threshold".into(), UnsValue::Number(0.5)),
                ("seed".into(), UnsValue::Integer(-7)),
                ("labels".into(), UnsValue::Texts(names(&["B", "T"]))),
                ("none".into(), UnsValue::Texts(Vec::new())),
                ("nested".into(), UnsValue::Dict(Vec::new())),
            ]),
        )],
    };
    write_h5ad(path, &out).unwrap_or_else(|error| panic!("{error}"));
    (obs_names, x)
}

#[test]
fn everything_written_is_read_back() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("written.h5ad");
    let (obs_names, x) = write_full(&path);
    let back = read_expression(&path, &ReadOptions::default()).unwrap();
    assert_eq!(back.obs_names, obs_names);
    assert_eq!(back.values, x);
    assert_eq!(back.genes[0].ensembl.as_deref(), Some("ENSG00000141510"));
    assert_eq!(back.obs.unreadable(), []);
    let expected = full_obs();
    assert_eq!(back.obs.names().count(), expected.names().count());
    for (name, column) in expected.columns() {
        for row in 0..3 {
            match column {
                Column::F32(_) => {
                    let single = |number: f64| number as f32;
                    let found = back.obs.number(name, row).map(single);
                    assert_eq!(found, column.number(row).map(single), "{name} {row}");
                }
                _ => assert_eq!(back.obs.value(name, row), column.text(row), "{name} {row}"),
            }
        }
    }
}

#[test]
fn a_matrix_of_zeros_can_be_written() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("zeros.h5ad");
    let (obs_names, var_names) = (names(&["c1", "c2"]), names(&["A"]));
    let x = CsrMatrix::from_dense(1, &[0.0, 0.0]).unwrap();
    let mut obs = ObsTable::default();
    obs.insert("none", Column::categorical([None, None]));
    let out = AnnDataOut {
        obs_names: &obs_names,
        obs,
        var_names: &var_names,
        x: Some(&x),
        ..AnnDataOut::default()
    };
    write_h5ad(&path, &out).unwrap();
    let back = read_expression(&path, &ReadOptions::default()).unwrap();
    assert_eq!(back.values, x);
    assert_eq!(back.obs.value("none", 0), None);
}

#[test]
fn cells_without_columns_values_or_genes_can_be_written() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("codes_only.h5ad");
    let obs_names = names(&["c1", "c2"]);
    let out = AnnDataOut {
        obs_names: &obs_names,
        obsm: vec![("X_cic".into(), vec![1.0; 60])],
        ..AnnDataOut::default()
    };
    write_h5ad(&path, &out).unwrap();
    let error = read_expression(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no matrix"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.h5ad");
    let obs_names = names(&["c1", "c2"]);
    let x = CsrMatrix::from_dense(2, &[1.0, 2.0]).unwrap();
    let column = |name: &str, len: usize| {
        let mut table = ObsTable::default();
        table.insert(name, Column::I32(vec![0; len]));
        table
    };
    let good = AnnDataOut { obs_names: &obs_names, ..AnnDataOut::default() };
    for bad in [
        AnnDataOut { x: Some(&x), ..good.clone() },
        AnnDataOut { obs: column("a", 3), ..good.clone() },
        AnnDataOut { obs: column("a/b", 2), ..good.clone() },
        AnnDataOut { obs: column("_index", 2), ..good.clone() },
        AnnDataOut { obsm: vec![("a".into(), vec![0.0; 3])], ..good.clone() },
        AnnDataOut { uns: vec![("".into(), UnsValue::Number(0.0))], ..good.clone() },
    ] {
        let error = write_h5ad(&path, &bad).unwrap_err();
        assert!(matches!(error, DataError::NotWritable { .. }), "{error}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn many_strings_survive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.h5ad");
    let obs_names: Vec<String> = (0..70_000).map(|i| format!("cell-{i}")).collect();
    let var_names = names(&["A"]);
    let x = CsrMatrix::from_dense(1, &vec![1.0; 70_000]).unwrap();
    let out = AnnDataOut {
        obs_names: &obs_names,
        var_names: &var_names,
        x: Some(&x),
        ..AnnDataOut::default()
    };
    write_h5ad(&path, &out).unwrap();
    assert_eq!(read_expression(&path, &ReadOptions::default()).unwrap().obs_names, obs_names);
}
