//! Majority votes over clusters that others made.

use cic_data::Column;

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

const TYPE: &str = "type cells.h5ad -m model.cic -o out.csv";

/// Cells in clusters, in the column `leiden`: `cluster` names that of a row from its label.
fn with_clusters(cluster: impl Fn(usize, &str) -> String) -> Sandbox {
    let folder = Sandbox::new();
    let mut matrix = cells(60);
    let names: Vec<String> =
        (0..60).map(|row| cluster(row, &matrix.obs.value("cell_type", row).unwrap())).collect();
    let names = names.iter().map(|name| (!name.is_empty()).then_some(name.as_str()));
    matrix.obs.insert("leiden", Column::categorical(names));
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    folder
}

/// Rows of the table: barcode, label, cluster, vote.
fn rows(folder: &Sandbox) -> Vec<[String; 4]> {
    let table = folder.text("out.csv");
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let at = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let columns = ["barcode", "predicted_labels", "over_clustering", "majority_voting"].map(at);
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        columns.map(|column| fields[column].to_owned())
    };
    table.lines().skip(1).map(row).collect()
}

#[test]
fn a_cluster_gets_the_label_of_most_of_its_cells() {
    let folder = with_clusters(|row, label| match row {
        0..3 => "mixed".into(),
        _ => label.into(),
    });
    let run = folder.cic(&format!("{TYPE} --over-clustering leiden --majority-voting")).ok();
    assert!(run.stderr.contains("clusters: "), "{}", run.stderr);
    let rows = rows(&folder);
    for [_, _, cluster, vote] in rows.iter().filter(|row| row[2] != "mixed") {
        assert_eq!(cluster, vote);
    }
    let mut mixed: Vec<&String> =
        rows.iter().filter(|row| row[2] == "mixed").map(|row| &row[1]).collect();
    mixed.sort();
    // Of three, two alike or else the first in the alphabet.
    let expected = if mixed[1] == mixed[2] { mixed[1] } else { mixed[0] };
    assert!(rows.iter().filter(|row| row[2] == "mixed").all(|row| row[3] == *expected));
}

#[test]
fn a_cluster_without_a_label_of_enough_cells_is_heterogeneous() {
    let folder = with_clusters(|_, _| "all".into());
    folder.cic(&format!("{TYPE} --over-clustering leiden --min-prop 0.9")).ok();
    assert!(rows(&folder).iter().all(|row| row[3] == "Heterogeneous"));
    folder.cic(&format!("{TYPE} --over-clustering leiden --min-prop 0")).ok();
    assert!(rows(&folder).iter().all(|row| row[3] == rows(&folder)[0][3]));
    folder.cic("verify out.csv").ok();
}

#[test]
fn empty_cells_neither_vote_nor_get_a_label_from_others() {
    let folder = Sandbox::new();
    let mut matrix = cells(30);
    let clusters = (0..30).map(|row| Some(if row < 20 { "a" } else { "b" }));
    matrix.obs.insert("leiden", Column::categorical(clusters));
    let starts = matrix.values.indptr.clone();
    // All of b and one cell of a have nothing.
    matrix.values.data.truncate(starts[20]);
    matrix.values.indices.truncate(starts[20]);
    matrix.values.indptr[20..].fill(starts[20]);
    matrix.values.data.drain(..starts[1]);
    matrix.values.indices.drain(..starts[1]);
    matrix.values.indptr[1..].iter_mut().for_each(|at| *at -= starts[1]);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let run = folder.cic(&format!("{TYPE} --over-clustering leiden")).ok();
    assert!(run.stderr.contains("2 clusters: 1 named, 0 Heterogeneous, 1 without a vote"));
    for (row, [_, label, _, vote]) in rows(&folder).iter().enumerate() {
        let is_empty = row == 0 || row >= 20;
        assert_eq!(label == "Unassigned", is_empty);
        assert_eq!(vote == "Unassigned", is_empty, "row {row}");
    }
}

#[test]
fn clusters_come_from_a_table_or_from_lines_in_the_order_of_the_cells() {
    let folder = with_clusters(|row, _| (row % 3).to_string());
    folder.cic(&format!("{TYPE} --over-clustering leiden")).ok();
    let expected = folder.text("out.csv");
    let names = cells(60).obs_names;
    let lines: String = (0..60).map(|row| format!("{}\n", row % 3)).collect();
    folder.write("lines.txt", lines);
    let table = names.iter().enumerate().rev().map(|(row, name)| format!("{name}\t{}\n", row % 3));
    folder.write("table.tsv", format!("cell\tcluster\n{}", table.collect::<String>()));
    for file in ["lines.txt", "table.tsv"] {
        folder.cic(&format!("{TYPE} --over-clustering {file}")).ok();
        assert_eq!(folder.text("out.csv"), expected, "{file}");
    }
    folder.cic("verify out.csv").ok();
    folder.write("table.tsv", format!("cell\tcluster\n{}\t7\n", names[0]));
    folder.cic("verify out.csv").refused(3, &["table.tsv", "voted in"]);
    folder.write("lines.txt", "0\n1\n");
    let words = ["lines.txt", "2 lines", "60 cells"];
    folder.cic(&format!("{TYPE} --over-clustering lines.txt")).refused(3, &words);
}

#[test]
fn cells_without_a_cluster_keep_their_labels() {
    let folder = with_clusters(|row, _| if row < 5 { String::new() } else { "rest".into() });
    let run = folder.cic(&format!("{TYPE} --over-clustering leiden")).ok();
    assert!(run.stderr.contains("5 cells without a cluster keep their labels"), "{}", run.stderr);
    for [_, label, cluster, vote] in &rows(&folder)[..5] {
        assert_eq!((label, cluster.as_str()), (vote, ""));
    }
}

#[test]
fn a_vote_needs_clusters() {
    let folder = with_clusters(|_, label| label.into());
    let words = ["--over-clustering", "leiden"];
    folder.refuses(&format!("{TYPE} --majority-voting"), 2, &words);
    folder.refuses(&format!("{TYPE} --min-prop 0.5"), 2, &["--over-clustering"]);
    folder.refuses(&format!("{TYPE} --min-prop 2"), 2, &["from 0 to 1"]);
    let words = ["\"clusters\"", "is no file", "leiden"];
    folder.refuses(&format!("{TYPE} --over-clustering clusters"), 2, &words);
}
