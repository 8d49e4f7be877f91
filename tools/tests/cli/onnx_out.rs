//! Int8 models as ONNX, run by onnxruntime: see `onnx_out.py`. `cargo xtask python` installs it under the target directory.

use cic_data::ExpressionMatrix;
use serde_json::Value;

use crate::sandbox::{Run, Sandbox, python};
use crate::scales::log2_intensities;
use crate::writers::{N_TRAINED, cells, write_h5ad};

#[test]
fn onnxruntime_gives_the_labels_and_codes_of_the_runtime() {
    let Some(python) = python("onnx_out.py", "onnxruntime") else { return };
    // The fixture, or a model that is trained with these options.
    let cases: [(&str, ExpressionMatrix, Option<&str>); 5] = [
        ("counts", cells(N_TRAINED), None),
        ("tanh", cells(300), Some("--activation tanh")),
        ("soft_plus", cells(300), Some("--activation soft_plus --hidden 24,12")),
        ("all measured", cells(300), Some("--library all_measured")),
        ("intensities", log2_intensities(), Some("--kind log2_intensity")),
    ];
    for (name, matrix, train) in cases {
        let folder = Sandbox::new();
        write_h5ad(&folder.path("cells.h5ad"), &matrix);
        if let Some(options) = train {
            let train =
                "train cells.h5ad --labels cell_type --genes 200 --epochs 8 -q -o model.cic";
            folder.cic(&format!("{train} {options}")).ok();
        }
        let quantize = "model.cic --calibrate cells.h5ad --to int8 -q";
        folder.quantize(&format!("{quantize} -o int8.cic")).ok();
        folder.quantize(&format!("{quantize} --emit onnx -o int8.onnx")).ok();
        folder.cic("type cells.h5ad -m int8.cic -o typed.h5ad -q").ok();
        let mut python = python();
        python.args(["int8.onnx", "typed.h5ad"].map(|name| folder.path(name)));
        let said = Run::of(python.output().unwrap()).ok().stdout;
        println!("{name}: {}", said.trim());
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["n_same_label"], said["n_cells"], "{name}: {said}");
        for (key, most) in
            [("share_of_codes_off", 0.01), ("largest_code_off", 0.01), ("share_sum_off", 1e-5)]
        {
            assert!(said[key].as_f64().unwrap() <= most, "{name}: {key} in {said}");
        }
    }
}

#[test]
fn onnx_is_written_of_int8_only() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(N_TRAINED));
    let to = |to: &str| format!("model.cic --calibrate cells.h5ad --to {to} --emit onnx -o q.onnx");
    folder.quantize(&to("f16")).refused(2, &["--to int8", "cic train --onnx"]);
    folder.quantize(&format!("{} --layout host", to("int8"))).refused(2, &["--layout", "--emit"]);
    folder.quantize(&to("int8")).ok();
    let written = folder.read("q.onnx");
    folder.quantize(&to("int8")).ok();
    assert_eq!(folder.read("q.onnx"), written);
}
