//! Models that are refused: exit code 4.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

#[test]
fn flipped_bits_are_refused() {
    let folder = Sandbox::new();
    let sound = folder.read("model.cic");
    for sample in 0..64 {
        let bit = sound.len() * 8 * sample / 64 + 97 * sample % 1_009;
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        folder.write("model.cic", &bytes);
        folder.refuses("inspect model.cic", 4, &["model.cic"]);
    }
}

#[test]
fn truncated_models_are_refused() {
    let folder = Sandbox::new();
    let sound = folder.read("model.cic");
    for len in (0..32).map(|part| sound.len() * part / 32).chain([1, 63, sound.len() - 1]) {
        folder.write("model.cic", &sound[..len]);
        folder.refuses("inspect model.cic", 4, &["model.cic"]);
    }
    let mut longer = sound;
    longer.push(0);
    folder.write("model.cic", longer);
    folder.refuses("inspect model.cic", 4, &["model.cic"]);
}

#[test]
fn every_command_refuses_what_is_no_model() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(12));
    for (model, words) in
        [("cells.h5ad", "not a model file"), ("absent.cic", "No such file"), (".", "directory")]
    {
        for args in [
            format!("inspect {model}"),
            format!("type cells.h5ad -m {model} -o out.csv"),
            format!("type cells.h5ad -m {model} -o -"),
            format!("eval cells.h5ad -m {model}"),
            format!("check cells.h5ad -m {model}"),
        ] {
            folder.refuses(&args, 4, &[model, words]);
        }
        let before = folder.names();
        folder
            .quantize(&format!("{model} --calibrate cells.h5ad --to int8 -o q.cic"))
            .refused(4, &[model, words]);
        assert_eq!(folder.names(), before);
    }
}
