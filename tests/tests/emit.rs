//! Models as source code hold the bytes of the model, for the compilers of both languages.

use std::fs;
use std::path::Path;
use std::process::Command;

use cic_model::spec::LayoutPlan;
use cic_model::{AlignedBytes, Model};
use cic_quant::{Language, emit};
use cic_tests::models::smallest_int8;

/// Writes the constant to standard output, if it is aligned.
const RUST_MAIN: &str = "mod cells;
use std::io::Write;
fn main() {
    assert!(cells::CELLS.as_ptr().addr().is_multiple_of(64));
    std::io::stdout().write_all(cells::CELLS).unwrap();
}
";
const C_MAIN: &str = "#include <stdio.h>
#include \"cells.h\"
int main(void) {
    if ((uintptr_t)cells % 64 != 0) { return 1; }
    return fwrite(cells, 1, cells_len, stdout) == cells_len ? 0 : 1;
}
";

#[test]
fn rust_source_holds_the_bytes_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path(), Language::Rust, "cells.rs", "main.rs", RUST_MAIN);
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".into());
    assert_eq!(
        compile_and_run(folder.path(), &[&rustc, "--edition=2024", "-Dwarnings"], "main.rs"),
        bytes
    );
}

#[test]
fn c_source_holds_the_bytes_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    if Command::new("cc").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "cc is missing");
        println!("SKIPPED: C source of a model: no C compiler");
        return;
    }
    let bytes = write(folder.path(), Language::C, "cells.h", "main.c", C_MAIN);
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"];
    for dialect in
        [&["cc", "-std=c99"][..], &["cc", "-std=c11"], &["c++", "-x", "c++", "-std=c++11"]]
    {
        let compiler: Vec<&str> = dialect.iter().chain(&strict).copied().collect();
        assert!(compile_and_run(folder.path(), &compiler, "main.c") == bytes, "{dialect:?}");
    }
}

/// The model as source code beside a program that prints it; its bytes.
fn write(folder: &Path, language: Language, source: &str, main: &str, program: &str) -> Vec<u8> {
    let bytes = AlignedBytes::new(&smallest_int8().to_bytes(LayoutPlan::Fours).unwrap());
    let model = Model::open_verified(&bytes).unwrap();
    let text = emit(language, &bytes, &model, "cells");
    assert!(text.contains(&model.id().to_string()));
    assert_eq!(text, emit(language, &bytes, &model, "cells"));
    fs::write(folder.join(source), text).unwrap();
    fs::write(folder.join(main), program).unwrap();
    bytes.to_vec()
}

fn compile_and_run(folder: &Path, compiler: &[&str], main: &str) -> Vec<u8> {
    let compiled = Command::new(compiler[0])
        .args(&compiler[1..])
        .args([main, "-o", "program"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let run = Command::new(folder.join("program")).output().unwrap();
    assert!(run.status.success());
    run.stdout
}
