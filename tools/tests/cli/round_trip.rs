//! What is written, read by anndata and scanpy themselves: see `round_trip.py`. `cargo xtask
//! python` installs them under the target directory.

use crate::sandbox::{Run, Sandbox, python};
use crate::writers::{cells, write_h5ad};

#[test]
fn anndata_and_scanpy_read_every_column() {
    let Some(python) = python("round_trip.py", "scanpy") else { return };
    let folder = Sandbox::new();
    let matrix = cells(120);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let script =
        |what: &str| Run::of(python().arg(what).arg(folder.path("")).output().unwrap()).ok();
    script("inputs");
    // With parents, ids and a vote, so that there is every column; and a model in whole numbers.
    let labels: std::collections::BTreeSet<String> =
        (0..120).map(|row| matrix.obs.value("cell_type", row).unwrap().into_owned()).collect();
    let rows = labels.iter().map(|label| format!("{label}\tany cell\tCL:0000001\n"));
    folder.write("tree.tsv", format!("label\tparent\tontology_id\n{}", rows.collect::<String>()));
    let train = "train cells.h5ad --labels cell_type --genes 200 --hidden 16 --epochs 8 -q";
    folder.cic(&format!("{train} --label-tree tree.tsv -o f32.cic")).ok();
    folder.quantize("f32.cic --calibrate cells.h5ad --to int8 -o int8.cic -q").ok();
    for name in ["csr", "csc", "dense", "double"] {
        for ending in ["h5ad", "csv"] {
            let output = format!("{name}-out.{ending}");
            let options = "-m int8.cic --over-clustering leiden";
            folder.cic(&format!("type {name}.h5ad {options} -o {output}")).ok();
        }
    }
    let said = script("outputs").stdout;
    assert!(said.contains("4 files, 60 columns"), "{said}");
    for name in ["csr", "csc", "dense", "double"] {
        let run = folder.cic(&format!("verify {name}-again.h5ad")).ok();
        assert!(run.stdout.contains("same   codes"), "{}", run.stdout);
    }
}
