//! `docs/input-matrix.md`, from the rows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use cic_model::rules::RejectReason;

use super::row::{Cells, Row, Verdict};

/// What `bench/celltypist_matrix.py` found: rows and what CellTypist does, separated by a tab.
const CELLTYPIST: &str = include_str!("celltypist.tsv");

/// Where `cargo xtask input-matrix` wants the page written rather than compared.
const BLESS: &str = "CIC_BLESS_INPUT_MATRIX";

#[test]
fn the_page_is_what_the_rows_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/input-matrix.md");
    let made = page();
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).find(|(old, new)| old != new);
    assert!(
        committed == made,
        "docs/input-matrix.md is stale, run `cargo xtask input-matrix`: {differs:?}"
    );
}

fn page() -> String {
    let mut page = ABOUT.to_string();
    let measured: BTreeMap<&str, &str> =
        CELLTYPIST.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let rows = super::groups().into_iter().flat_map(|group| group.rows);
    let names: Vec<&str> = rows.map(|row| row.name).collect();
    let odd = measured.keys().find(|name| !names.contains(name));
    assert_eq!(odd, None, "celltypist.tsv is about a row that is not there");
    page.push_str(&summary(&measured));
    for group in super::groups() {
        write!(page, "\n## {}\n\n{}\n\n{HEAD}", group.title, group.about).unwrap();
        for row in &group.rows {
            page.push_str(&line(row, measured.get(row.name)));
        }
    }
    page.push_str(REASONS);
    for (code, name, meaning) in reject_reasons() {
        writeln!(page, "| {code} | `{name}` | {meaning} |").unwrap();
    }
    page
}

/// How many rows have which verdict, and what CellTypist does with those that are refused.
fn summary(measured: &BTreeMap<&str, &str>) -> String {
    let rows: Vec<Row> = super::groups().into_iter().flat_map(|group| group.rows).collect();
    let mut counts = BTreeMap::new();
    for row in &rows {
        *counts.entry(row.verdict.name()).or_insert(0) += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let refused = rows.iter().filter(|row| row.verdict.exit_code() != 0);
    let given: Vec<&&str> = refused.filter_map(|row| measured.get(row.name)).collect();
    let labelled = given.iter().filter(|does| does.starts_with("exit code 0")).count();
    format!(
        "\n{} rows: {}. CellTypist was given {} of those that are refused here, and labels every \
         cell of {labelled}.\n",
        rows.len(),
        counts.join(", "),
        given.len()
    )
}

const ABOUT: &str = "\
# What becomes of a file

Every kind of file that we could think of has one verdict:

- **accept**: the cells are typed, and there is nothing to say;
- **normalise**: the cells are typed, and a note on standard error says what was put right or left out;
- **reject the cell**: the row of the cell says `Unassigned`, `True` and the reason; all others are as they would be without it;
- **refuse the file**: exit code 3, the message on standard error, and no output.

Each row is a test: it goes through `cic type`, with a model in f32 and in int8, to standard output, a table and a `.h5ad`, and through
`cic check -m MODEL`, which tells the same beforehand. Where a file is accepted or normalised, its table is, byte for byte, that of
the same cells in a file that nothing is wrong with; where genes are missing, most labels are. With `--strict` a rejected cell
refuses the file. `cells.h5ad`, `mex` and `cells.tsv` stand for the file that is given.

The rows are `tools/tests/cli/input_matrix`; `cargo xtask input-matrix` writes this page from them, and a test fails where it is
stale. The last column is what CellTypist 1.7.1 does with the same cells, as `bench/celltypist_matrix.py` found: files of counts are
given as the text that it asks for, those of logarithms as `.h5ad`. Labels are compared with those that it gives the sound file. `-`
stands where that was not measured.
";

const HEAD: &str = "\
| file | verdict | exit code | message or note | CellTypist |
|---|---|---:|---|---|
";

const REASONS: &str = "
## Why a cell is rejected

Reasons stand in the column `cic_reject_reason` of tables and of `obs`, and in `reject` of the runtime's outcomes, where C has the
code.

| code | name | meaning |
|---:|---|---|
";

fn line(row: &Row, celltypist: Option<&&str>) -> String {
    let says = match row.verdict {
        Verdict::Accept(_) => String::new(),
        Verdict::Normalise(_, note) => code(note),
        Verdict::Reject(reason, Cells::These(_)) => code(reason),
        Verdict::Reject(reason, Cells::All(note)) => format!("{}; {}", code(reason), code(note)),
        Verdict::Refuse(message) => code(message),
    };
    let name = row.name.replace('|', "\\|");
    let (verdict, exit_code) = (row.verdict.name(), row.verdict.exit_code());
    let celltypist = celltypist.map_or("-".to_string(), |does| does.replace('|', "\\|"));
    format!("| {name} | {verdict} | {exit_code} | {says} | {celltypist} |\n")
}

/// A text as Markdown shows it unchanged, in a cell of a table.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('\n', " ");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// Code, name and meaning of every reason: the meaning is what its definition says.
fn reject_reasons() -> Vec<(u32, &'static str, String)> {
    let source = include_str!("../../../../runtime/model/src/rules.rs");
    let (_, body) = source.split_once("pub enum RejectReason {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let mut meaning = String::new();
    let mut reasons = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            meaning.push_str(text);
        } else if let Some((_, code)) = line.strip_suffix(',').and_then(|v| v.split_once(" = ")) {
            let code = code.parse().unwrap();
            let name = RejectReason::from_code(code).expect("a code of its own").name();
            reasons.push((code, name, std::mem::take(&mut meaning).trim().to_string()));
        }
    }
    let known = (0..=255).filter(|&code| RejectReason::from_code(code).is_some()).count();
    assert_eq!(reasons.len(), known, "a reason is not in the table");
    reasons
}
