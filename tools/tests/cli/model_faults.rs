//! Models that are refused: exit code 4.

use std::io::Write;
use std::process::Stdio;

use crate::sandbox::{Run, Sandbox};
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

/// A pipe has no length to ask for and no end to seek to.
#[test]
#[cfg(unix)]
fn models_may_come_through_a_pipe() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(12));
    let model = folder.read("model.cic");
    let through_a_pipe = |model: &[u8]| {
        let mut command = folder.command("type cells.h5ad -m /dev/stdin -o -");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let written = std::thread::scope(|scope| {
            let writer = scope.spawn(move || pipe.write_all(model));
            (Run::of(child.wait_with_output().unwrap()), writer.join().unwrap())
        });
        written.1.unwrap();
        written.0
    };
    let named = folder.cic("type cells.h5ad -m model.cic -o -");
    assert_eq!(through_a_pipe(&model).stdout, named.stdout);
    for cut in [0, 63, model.len() - 1] {
        through_a_pipe(&model[..cut]).refused(4, &["/dev/stdin", "model file"]);
    }
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
