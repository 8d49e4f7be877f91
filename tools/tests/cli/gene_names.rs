//! Names of genes: what is found, by which names, and what is said where they do not fit.

use cic_data::{CsrMatrix, ExpressionMatrix, Gene};
use cic_model::quant::ONE_Q30;
use cic_model::spec::{LayoutPlan, ModelSpec};
use cic_model::{AlignedBytes, Model};

use crate::sandbox::Sandbox;
use crate::writers::{cells, log_normalised, reorder_genes, write_h5ad, write_mex};

const TRAIN: &str = "train cells.h5ad --labels cell_type --genes 200 --hidden 8 --epochs 2 -q";

/// Well-known human genes, with whatever comes after them.
fn human(number: usize) -> String {
    const KNOWN: [&str; 6] = ["ACTB", "CD3E", "GAPDH", "MT-ND1", "PTPRC", "C1orf112"];
    KNOWN.get(number).map_or_else(|| format!("GENE{number}"), |name| (*name).to_owned())
}

fn mouse(number: usize) -> String {
    match human(number).to_ascii_lowercase() {
        name if name.starts_with("mt-") => "mt-Nd1".into(),
        name => format!("{}{}", name[..1].to_ascii_uppercase(), &name[1..]),
    }
}

fn renamed(matrix: &ExpressionMatrix, name: impl Fn(usize) -> String) -> ExpressionMatrix {
    let mut matrix = matrix.clone();
    for (number, gene) in matrix.genes.iter_mut().enumerate() {
        *gene = Gene::new(name(number), None, None);
    }
    matrix
}

/// A folder with a model of genes of these names, and the cells that it was trained on.
fn trained(name: impl Fn(usize) -> String, options: &str) -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &renamed(&cells(120), name));
    folder.cic(&format!("{TRAIN} {options} -o new.cic")).ok();
    folder
}

/// Refused by typing with these words.
fn refuses(folder: &Sandbox, name: impl Fn(usize) -> String, words: &[&str]) {
    write_h5ad(&folder.path("cells.h5ad"), &renamed(&cells(120), name));
    folder.refuses("type cells.h5ad -m new.cic -o out.csv", 3, words);
}

#[test]
fn too_few_genes_to_tell_what_is_no_cell_are_told() {
    let folder = Sandbox::new();
    let matrix = cells(300);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let train = "train cells.h5ad --labels cell_type --genes all --hidden 8 --epochs 5 -o n.cic";
    folder.cic(&format!("{train} -q")).ok();
    let novelties = |table: &str| -> usize {
        let at = table.lines().next().unwrap().split(',').position(|name| name == "cic_novelty");
        let lines = table.lines().skip(1);
        lines.filter(|line| !line.split(',').nth(at.unwrap()).unwrap().is_empty()).count()
    };
    let whole = folder.cic("type cells.h5ad -m n.cic -o -").ok();
    assert_eq!(novelties(&whole.stdout), 300);
    assert!(!whole.stderr.contains("too many genes"), "{}", whole.stderr);
    // The same model, were it that every gene is needed, and a file that lacks one.
    let bytes = AlignedBytes::new(&folder.read("n.cic"));
    let mut spec = ModelSpec::from_model(&Model::open_verified(&bytes).unwrap());
    spec.novelty.as_mut().unwrap().least_share_q30 = ONE_Q30;
    folder.write("n.cic", spec.to_bytes(LayoutPlan::default()).unwrap());
    let order: Vec<usize> = (1..matrix.n_vars()).collect();
    write_h5ad(&folder.path("few.h5ad"), &reorder_genes(&matrix, &order));
    let said = ["few.h5ad", "too many genes are missing to reject noise", "--accept-unjudged"];
    folder.refuses("type few.h5ad -m n.cic -o -", 3, &said);
    let checked = folder.cic("check few.h5ad -m n.cic");
    assert!(checked.code == Some(3) && checked.stderr.contains(said[2]), "{}", checked.stderr);
    let few = folder.cic("type few.h5ad -m n.cic --accept-unjudged -o out.csv").ok();
    assert_eq!(novelties(&folder.text("out.csv")), 0);
    let checked = folder.cic("check few.h5ad -m n.cic --accept-unjudged").ok();
    for told in [&few.stderr, &checked.stdout] {
        assert!(told.contains("too many genes are missing to reject noise"), "{told}");
    }
    assert!(folder.text("out.csv.json").contains("\"novelty\": \"too few genes\""));
    folder.cic("verify out.csv").ok();
}

#[test]
fn names_of_another_species_kind_or_case_are_refused_with_what_they_look_like() {
    let folder = trained(human, "");
    refuses(
        &folder,
        mouse,
        &[
            "0 of the model's 200 genes",
            "look like mouse or rat (as Actb",
            "human (",
            "orthologues first",
        ],
    );
    refuses(
        &folder,
        |number| human(number).to_ascii_lowercase(),
        &[
            "200 more of its genes",
            "(actb for ACTB)",
            "write the names as the model has them",
            "fish",
        ],
    );
    refuses(
        &folder,
        |number| format!("{number}_at"),
        &["probes of a microarray like 0_at, 1_at, 2_at", "symbols like", "give the file symbols"],
    );
    refuses(
        &folder,
        |number| format!("ENSG{number:011}"),
        &["Ensembl ids like ENSG00000000000", "symbols like", "gene_symbols"],
    );
    refuses(
        &folder,
        |number| format!("GRCh38_{}", human(number)),
        &["name of a genome", "(GRCh38)", "GRCh38_ACTB as ACTB"],
    );
    let folder = trained(|number| format!("ENSG{number:011}"), "");
    refuses(
        &folder,
        |number| format!("ENSMUSG{number:011}"),
        &[
            "look like mouse (as ENSMUSG00000000000: 1200 ids ENSMUSG)",
            "human (ENSG000",
            "orthologues",
        ],
    );
    refuses(&folder, human, &["symbols like ACTB, CD3E, GAPDH", "gene_ids"]);
    // With versions and in another case of nothing they fit.
    let versioned = |number: usize| format!("ENSG{number:011}.{}", number % 7);
    write_h5ad(&folder.path("cells.h5ad"), &renamed(&cells(120), versioned));
    folder.cic("type cells.h5ad -m new.cic -o out.csv").ok();
    let report = folder.cic("check cells.h5ad -m new.cic --json").json();
    assert_eq!(report["model"]["n_by_ensembl"], 200);
    assert_eq!(report["genes"]["id_kind"], "versioned_ensembl");
    assert_eq!(report["model"]["steps"][0], "versions of 1,200 Ensembl ids are dropped");
}

#[test]
fn doubtful_names_of_a_file_that_is_taken_are_noted() {
    let folder = trained(human, "");
    let lower = |number: usize| match number % 3 {
        0 => human(number).to_ascii_lowercase(),
        _ => human(number),
    };
    write_h5ad(&folder.path("cells.h5ad"), &renamed(&cells(120), lower));
    let noted = |data: &str, words: &str| {
        let run = folder.cic(&format!("type {data} -m new.cic -o -")).ok();
        assert!(run.stderr.contains(&format!("note: {words}")), "{}", run.stderr);
        let report = folder.cic(&format!("check {data} -m new.cic --json")).json();
        let steps = report["notes"].as_array().unwrap();
        let is_it = |step: &serde_json::Value| step.as_str().unwrap().starts_with(words);
        assert!(steps.iter().any(is_it), "{report}");
        assert!(
            !folder.cic(&format!("type {data} -m new.cic -o - -q")).ok().stderr.contains("note")
        );
    };
    let report = folder.cic("check cells.h5ad -m new.cic --json").json();
    let n_lost = 200 - report["model"]["n_present"].as_u64().unwrap();
    noted(
        "cells.h5ad",
        &format!("{n_lost} more of its genes would be found if capitals did not matter"),
    );

    // Symbols of mouse genes put in capitals, beside the ids that betray them.
    let mut mouse = cells(120);
    for (number, gene) in mouse.genes.iter_mut().enumerate() {
        *gene = Gene::new(format!("ENSMUSG{number:011}"), Some(&human(number)), None);
    }
    write_mex(&folder.path("mouse"), &mouse);
    noted("mouse", "the genes look like mouse (1200 ids ENSMUSG), those of the model like human");
}

#[test]
fn an_overlap_of_0_3_50_and_99_per_cent_gives_each_its_verdict() {
    let folder = Sandbox::new();
    let matrix = cells(40);
    let bytes = folder.read("model.cic");
    let mut pages = cic_runtime::Pages::zeroed(bytes.len()).unwrap();
    pages.copy_from_slice(&bytes);
    let panel = cic_model::Model::open_verified(&pages).unwrap();
    for (keep, verdict) in [
        (
            0,
            Err([
                "has 0 of the model's 1000 genes, at least 500 are needed",
                "check species and names",
            ]),
        ),
        (30, Err(["has 30 of the model's 1000 genes, at least 500 are needed", "names fit, but "])),
        (499, Err(["has 499 of the model's 1000 genes", "--set gene_dropout=0.51"])),
        (500, Ok("500 of 1000 genes of the model present")),
        (990, Ok("990 of 1000 genes of the model present")),
    ] {
        let mut kept = 0;
        let mut matrix = matrix.clone();
        for (number, gene) in matrix.genes.iter_mut().enumerate() {
            let is_known = panel.genes().find(&cic_data::gene_name(gene)).is_some();
            kept += usize::from(is_known);
            if is_known && kept > keep {
                *gene = Gene::new(format!("Other{number}"), None, None);
            }
        }
        write_h5ad(&folder.path("cells.h5ad"), &matrix);
        match verdict {
            Ok(words) => {
                let run = folder.cic("type cells.h5ad -m model.cic -o out.csv").ok();
                assert!(run.stderr.contains(words), "{}", run.stderr);
                std::fs::remove_file(folder.path("out.csv")).unwrap();
            }
            Err(words) => folder.refuses("type cells.h5ad -m model.cic -o out.csv", 3, &words),
        }
        let code = if verdict.is_ok() { 0 } else { 3 };
        let run = folder.cic("check cells.h5ad -m model.cic --json");
        assert_eq!(run.code, Some(code));
        let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(report["model"]["n_present"], keep);
    }
}

const TABLE: &str = "hgnc_id\tsymbol\talias_symbol\tprev_symbol\n\
    HGNC:1\tACTB\tBETA|SHARED\t\n\
    HGNC:2\tCD3E\tT3E|GAPDH|SHARED\t\n\
    HGNC:3\tNEW112\t\tC1orf112\n\
    HGNC:4\tGAPDH\t\t\n";

#[test]
fn a_table_of_other_names_is_kept_with_the_model_and_used_from_training_to_int8() {
    let folder = Sandbox::new();
    let original = renamed(&cells(120), human);
    write_h5ad(&folder.path("cells.h5ad"), &original);
    folder.write("hgnc.tsv", TABLE);
    let train =
        "train cells.h5ad --labels cell_type --genes all --hidden 8 --epochs 2 --aliases hgnc.tsv";
    let run = folder.cic(&format!("{train} -o new.cic")).ok();
    let said = "aliases: 3 names of 3 genes; left out: 2 that stand for two genes, 1 that are the symbol of another";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let facts = folder.cic("inspect new.cic --json").json();
    assert_eq!(facts["provenance"]["panel.aliases"], "hgnc.tsv");
    folder.quantize("new.cic --calibrate cells.h5ad --to int8 -o q.cic").ok();

    let other = renamed(&cells(120), |number| match number {
        0 => "BETA".into(),
        1 => "T3E".into(),
        5 => "NEW112".into(),
        _ => human(number),
    });
    for model in ["new.cic", "q.cic"] {
        write_h5ad(&folder.path("cells.h5ad"), &original);
        let expected = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok();
        assert!(!expected.stderr.contains("other names"), "{}", expected.stderr);
        write_h5ad(&folder.path("cells.h5ad"), &other);
        let run = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok();
        assert_eq!(run.stdout, expected.stdout, "{model}");
        assert!(run.stderr.contains("3 genes were found by other names"), "{}", run.stderr);
        let report = folder.cic(&format!("check cells.h5ad -m {model} --json")).json();
        assert_eq!(report["model"]["n_by_alias"], 3);

        // The gene's own name, behind another gene with its alias, which is then no gene of the model.
        let mut both = original.clone();
        both.genes.insert(0, Gene::new("BETA", None, None));
        let values = &mut both.values;
        values.n_cols += 1;
        values.indices.iter_mut().for_each(|gene| *gene += 1);
        let (mut indices, mut data, mut indptr) = (Vec::new(), Vec::new(), vec![0]);
        for row in 0..values.n_rows() {
            let (genes, counts) = values.row(row);
            indices.push(0);
            data.push(1_000.0);
            indices.extend(genes);
            data.extend(counts);
            indptr.push(data.len());
        }
        both.values = CsrMatrix { n_cols: values.n_cols, indptr, indices, data };
        write_h5ad(&folder.path("cells.h5ad"), &both);
        let run = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok();
        assert_eq!(run.stdout, expected.stdout, "{model}");
    }
}

#[test]
fn a_table_that_is_none_is_refused_before_training() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(60));
    folder.write("other.tsv", "gene\tname\nA\tB\n");
    let train = format!("{TRAIN} -o new.cic --aliases");
    folder.refuses(&format!("{train} other.tsv"), 3, &["other.tsv", "alias_symbol", "gene, name"]);
    folder.refuses(&format!("{train} absent.tsv"), 3, &["absent.tsv", "is the path right?"]);
    folder.write("aliases.tsv", "alias\tsymbol\nA\tB\n");
    let words = ["aliases.tsv: has none of the genes of cells.h5ad", "SIM00001", "species"];
    folder.refuses(&format!("{train} aliases.tsv"), 3, &words);
    let same = format!("{TRAIN} --aliases aliases.tsv -o aliases.tsv");
    folder.refuses(&same, 2, &["name of its own"]);
}

/// The same cells with half of the counts of the first genes in columns of the same names at the end.
fn split_in_two(matrix: &ExpressionMatrix) -> ExpressionMatrix {
    const SPLIT: u32 = 50;
    let n_cols = matrix.n_vars();
    let mut split = matrix.clone();
    split.genes.extend_from_slice(&matrix.genes[..SPLIT as usize]);
    let mut dense = vec![0.0; matrix.n_obs() * split.genes.len()];
    for row in 0..matrix.n_obs() {
        let (genes, values) = matrix.values.row(row);
        let cell = &mut dense[row * split.genes.len()..];
        for (&gene, &value) in genes.iter().zip(values) {
            let half = if gene < SPLIT { (value / 2.0).floor() } else { 0.0 };
            cell[gene as usize] = value - half;
            if gene < SPLIT {
                cell[n_cols + gene as usize] = half;
            }
        }
    }
    split.values = CsrMatrix::from_dense(split.genes.len(), &dense).unwrap();
    split
}

#[test]
fn genes_that_stand_twice_are_added_up_left_out_or_refused_as_the_model_was_told() {
    let folder = Sandbox::new();
    let whole = cells(120);
    write_h5ad(&folder.path("cells.h5ad"), &whole);
    write_h5ad(&folder.path("split.h5ad"), &split_in_two(&whole));
    let train = "--labels cell_type --genes all --hidden 8 --epochs 2";
    for policy in ["sum", "first", "refuse"] {
        let args = format!("train cells.h5ad {train} -q --duplicates {policy} -o {policy}.cic");
        folder.cic(&args).ok();
    }
    folder.cic(&format!("train cells.h5ad {train} -q -o default.cic")).ok();
    assert_eq!(folder.read("default.cic"), folder.read("first.cic"));

    let expected = folder.cic("type cells.h5ad -m sum.cic -o -").ok();
    let sum = folder.cic("type split.h5ad -m sum.cic -o -").ok();
    assert_eq!(sum.stdout, expected.stdout);
    assert!(
        sum.stderr.contains("stand again in the file: 44; their values are added"),
        "{}",
        sum.stderr
    );
    let first = folder.cic("type split.h5ad -m first.cic -o -").ok();
    assert_ne!(first.stdout, expected.stdout);
    assert!(
        first.stderr.contains("stand again in the file: 44; the first of each counts"),
        "{}",
        first.stderr
    );
    let words = ["SIM0", "are both the model's gene", "remove one of the two"];
    folder.refuses("type split.h5ad -m refuse.cic -o out.csv", 3, &words);
    folder.cic("type cells.h5ad -m refuse.cic -o out.csv").ok();
    let run = folder.cic("check split.h5ad -m refuse.cic");
    assert_eq!(run.code, Some(3));
    assert!(run.stdout.contains("not told: a gene of the model stands there twice"));

    // Training sees what typing will see.
    let of_split = format!("train split.h5ad {train} --duplicates");
    let run = folder.cic(&format!("{of_split} sum -o split.cic")).ok();
    assert!(
        run.stderr
            .contains("genes that stand in the file over again: 50; their values are added up")
    );
    let typed = folder.cic("type cells.h5ad -m split.cic -o - -q").ok().stdout;
    assert_eq!(typed, expected.stdout, "a model of the sums is that of the whole genes");
    let words = ["split.h5ad", "are one gene, the first of 50", "--duplicates first or sum"];
    folder.refuses(&format!("{of_split} refuse -o new.cic"), 3, &words);
}

#[test]
fn logarithms_and_ranks_are_not_added_up() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &log_normalised(&cells(60)));
    let train = format!("{TRAIN} --duplicates sum -o new.cic");
    folder.refuses(&train, 2, &["log1p, whose sums mean nothing", "first or refuse"]);
    write_h5ad(&folder.path("cells.h5ad"), &cells(60));
    folder.refuses(&format!("{train} --set ranks=true"), 2, &["would read ranks"]);
    folder.refuses(&format!("{TRAIN} --duplicates all -o new.cic"), 2, &["refuse, sum, first"]);
}
