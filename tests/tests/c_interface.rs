//! The C example, built with this machine's compiler against both libraries, types cells as the runtime
//! does.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cic_data::AlignedMatrix;
use cic_model::labels::UNASSIGNED;
use cic_model::{AlignedBytes, Dtype, Model};
use cic_runtime::{S8Session, Sample};
use cic_tests::fixture;

/// Lines that the example reads, and those that it has to print.
struct Cells {
    input: String,
    expected: String,
}

/// A cell that is empty, one of a single count, then simulated ones.
fn cells(model: &Model<'_>, matrix: &AlignedMatrix) -> Cells {
    let session = S8Session::new(model, 0).unwrap();
    let mut scratch = vec![0; session.scratch_len() / 4];
    let simulated = (0..200).map(|row| {
        let (genes, values) = matrix.values.row(row);
        (genes.to_vec(), values.iter().map(|&value| value as u32).collect())
    });
    let all: Vec<(Vec<u32>, Vec<u32>)> =
        [(vec![], vec![]), (vec![3], vec![1])].into_iter().chain(simulated).collect();
    let mut cells = Cells { input: String::new(), expected: String::new() };
    for (number, (genes, counts)) in (1..).zip(&all) {
        let pairs: Vec<String> =
            genes.iter().zip(counts).map(|(gene, count)| format!("{gene} {count}")).collect();
        writeln!(cells.input, "{}", pairs.join(" ")).unwrap();
        let sample = Sample::Counts { genes, counts, total: None };
        let outcome = session.run(&sample, None, &mut scratch).unwrap();
        let best = outcome.numbers.and_then(|numbers| numbers.best());
        let name = match (outcome.reject, best) {
            (None, Some(best)) => model.labels().leaf_name(best.leaf as usize),
            _ => UNASSIGNED,
        };
        let confidence = best.map_or(0.0, |best| f64::from(best.probability_q16) / 65_536.0);
        let reason = outcome.reject.map_or("accepted", |reason| reason.name());
        writeln!(cells.expected, "{number}\t{name}\t{confidence:.5}\t{reason}").unwrap();
    }
    cells
}

fn int8() -> (AlignedBytes, AlignedMatrix) {
    let bytes = fixture::bytes().unwrap();
    let full = Model::open_verified(&bytes).unwrap();
    let cells = fixture::cells();
    let matrix = fixture::aligned(&full, &cells).unwrap();
    let int8 = fixture::quantised(&full, &matrix, &cells.matrix.obs_names, Dtype::S8).unwrap();
    (AlignedBytes::new(&int8), matrix)
}

/// A compiler of this machine; none is a skip, but not in CI.
fn compiler(name: &str) -> Option<&str> {
    let found = Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI has no {name}");
        println!("SKIPPED: the C example: no {name}");
    }
    found.then_some(name)
}

/// Builds the libraries of C, and says where they are.
fn libraries() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--package", "cic-capi", "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let mut files = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message["filenames"].as_array()?.clone();
        let is_archive = |file: &&str| file.ends_with("libcic_capi.a");
        files.iter().filter_map(|file| file.as_str()).find(is_archive).map(PathBuf::from)
    });
    files.next_back().unwrap().parent().unwrap().to_path_buf()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Builds the example; `link` are the compiler's last arguments.
fn build(compiler: &str, language: &[&str], link: &[String], into: &Path) {
    let capi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/capi");
    let mut command = Command::new(compiler);
    command.args(language).args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-I"]);
    command.arg(capi.join("include")).arg(capi.join("examples/classify.c"));
    run(command.args(["-x", "none"]).args(link).arg("-o").arg(into));
}

#[test]
fn the_c_example_types_cells_as_the_runtime_does() {
    let Some(c) = compiler("cc") else { return };
    let (bytes, matrix) = int8();
    let model = Model::open_verified(&bytes).unwrap();
    let cells = cells(&model, &matrix);
    assert!(cells.expected.contains("\tempty\n") && cells.expected.contains("\taccepted\n"));
    let folder = tempfile::tempdir().unwrap();
    let (model_path, cells_path) = (folder.path().join("m.cic"), folder.path().join("cells"));
    fs::write(&model_path, &bytes[..]).unwrap();
    fs::write(&cells_path, &cells.input).unwrap();
    let libraries = libraries();
    let archive = libraries.join("libcic_capi.a").display().to_string();
    let system = ["-lpthread", "-ldl", "-lm"].map(String::from);
    let archive: Vec<String> = [archive].into_iter().chain(system).collect();
    let shared = [
        format!("-L{}", libraries.display()),
        "-lcic_capi".into(),
        format!("-Wl,-rpath,{}", libraries.display()),
    ];
    // The shared library where there is an archive of the same name beside it.
    let c99 = ["-std=c99", "-x", "c"];
    let mut programs =
        vec![("static", c, &c99[..], &archive[..]), ("shared", c, &c99[..], &shared[..])];
    if let Some(cpp) = compiler("c++") {
        programs.push(("c++", cpp, &["-std=c++11", "-x", "c++"], &archive));
    }
    for (name, compiler, language, link) in programs {
        let program = folder.path().join(name);
        build(compiler, language, link, &program);
        let output = run(Command::new(&program).arg(&model_path).arg(&cells_path));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), cells.expected, "{name}");
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(talk, format!("self-test: {} golden cells\n", model.golden().len()), "{name}");
    }

    let program = folder.path().join("static");
    let refused = |model: &[u8], cells: &str| {
        fs::write(&model_path, model).unwrap();
        fs::write(&cells_path, cells).unwrap();
        let output = Command::new(&program).arg(&model_path).arg(&cells_path).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let mut altered = bytes.to_vec();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let (code, talk) = refused(&altered, "");
    assert!(code == 4 && talk.contains("altered"), "{code}: {talk}");
    let (code, talk) = refused(&bytes, "4 1 2 9\n");
    assert!(code == 3 && talk.contains("entry 2: gene indices do not increase"), "{code}: {talk}");
    let (code, talk) = refused(&bytes, "\n4 1 2000000 9\n");
    assert!(code == 3 && talk.contains("line 2, entry 2: a gene index"), "{code}: {talk}");
}
