//! Labels with parents and ontology ids, from training to every output.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

const TRAIN: &str = "train cells.h5ad --labels cell_type --genes 200 --hidden 16 --epochs 3";

/// Cells, and a tree in which every two types share a parent.
fn with_tree() -> (Sandbox, Vec<String>) {
    let folder = Sandbox::new();
    let matrix = cells(400);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let labels = (0..400).map(|row| matrix.obs.value("cell_type", row).unwrap().into_owned());
    let labels: Vec<String> =
        labels.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let mut tree = String::from("label\tparent\tontology_id\nany cell\t\tCL:0000000\n");
    for (at, label) in labels.iter().enumerate() {
        tree += &format!("{label}\tgroup {}\tCL:00000{at}1\n", at / 2);
    }
    for group in 0..labels.len().div_ceil(2) {
        tree += &format!("group {group}\tany cell\tCL:00001{group}0\n");
    }
    folder.write("tree.tsv", tree);
    (folder, labels)
}

fn column<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let at = table.lines().next().unwrap().split(',').position(|column| column == name);
    let at = at.unwrap_or_else(|| panic!("no column {name}"));
    table.lines().skip(1).map(|line| line.split(',').nth(at).unwrap()).collect()
}

#[test]
fn parents_and_ids_go_through_training_and_quantising_into_every_output() {
    let (folder, labels) = with_tree();
    folder.cic(&format!("{TRAIN} --label-tree tree.tsv -o tree.cic")).ok();
    folder.quantize("tree.cic --calibrate cells.h5ad --to int8 -o small.cic -q").ok();
    for model in ["tree.cic", "small.cic"] {
        for output in ["out.csv", "out.jsonl", "out.h5ad"] {
            folder.cic(&format!("type cells.h5ad -m {model} -o {output}")).ok();
            folder.cic(&format!("verify {output}")).ok();
        }
        let table = folder.text("out.csv");
        let ids = column(&table, "cell_type_ontology_term_id");
        for (label, id) in column(&table, "predicted_labels").iter().zip(ids) {
            let at = labels.iter().position(|known| known == label);
            assert_eq!(id, at.map_or(String::new(), |at| format!("CL:00000{at}1")));
        }
    }
}

#[test]
fn the_node_is_the_deepest_that_is_probable_enough() {
    let (folder, labels) = with_tree();
    folder.cic(&format!("{TRAIN} --label-tree tree.tsv -o tree.cic")).ok();
    let node = |least: &str| {
        let args = format!("type cells.h5ad -m tree.cic -o out.csv --min-node-confidence {least}");
        folder.cic(&args).ok();
        let table = folder.text("out.csv");
        let texts = |name: &str| -> Vec<String> {
            column(&table, name).into_iter().map(String::from).collect()
        };
        let numbers = |name: &str| -> Vec<f64> {
            column(&table, name).iter().map(|text| text.parse().unwrap()).collect()
        };
        let names = ["predicted_labels", "cic_node", "cic_node_ontology_term_id"].map(texts);
        (names, numbers("conf_score"), numbers("cic_node_conf"))
    };
    for least in [0.5, 0.8, 0.999] {
        let ([labelled, nodes, ids], confidences, probabilities) = node(&least.to_string());
        let rows = labelled.iter().zip(&nodes).zip(ids).zip(confidences).zip(probabilities);
        for ((((label, node), id), confidence), probability) in rows {
            if label == "Unassigned" {
                assert_eq!((node.as_str(), probability), ("Unassigned", 0.0));
                continue;
            }
            if confidence >= least {
                assert_eq!(node, label, "a sure leaf is its own node");
            } else {
                assert!(!labels.contains(node), "{node} is above {label}");
            }
            assert!(probability >= least - 1e-6);
            assert!(id.starts_with("CL:"), "{id}");
        }
    }
    // However little is asked for, the node is the label or stands above it.
    let tree = folder.text("tree.tsv");
    let parent = |label: &str| {
        let line = tree.lines().find(|line| line.split('\t').next() == Some(label));
        line.and_then(|line| line.split('\t').nth(1)).unwrap_or_default().to_owned()
    };
    for least in ["0.001", "0.3", "0.6"] {
        let ([labelled, nodes, _], ..) = node(least);
        for (label, node) in labelled.iter().zip(&nodes).filter(|(label, _)| *label != "Unassigned")
        {
            let above = std::iter::successors(Some(label.clone()), |label| Some(parent(label)));
            let mut above = above.take_while(|label| !label.is_empty());
            assert!(node == "Unassigned" || above.any(|above| above == *node), "{label}, {node}");
        }
    }
    let (_, mut confidences, _) = node("0.5");
    confidences.sort_by(f64::total_cmp);
    let ([_, nodes, _], ..) = node(&confidences[200].to_string());
    let n_above = nodes.iter().filter(|node| !labels.contains(node)).count();
    assert!(n_above > 0 && n_above < 400, "{n_above}");
}

#[test]
fn models_without_parents_have_no_such_columns() {
    let (folder, _) = with_tree();
    let table = folder.cic("type cells.h5ad -m model.cic -o -").ok().stdout;
    assert!(!table.lines().next().unwrap().contains("cic_node"));
}

#[test]
fn faulty_trees_are_refused_before_training() {
    let (folder, labels) = with_tree();
    let good = folder.text("tree.tsv");
    for (tree, words) in [
        (good.replace(&labels[0], "Type 0"), vec![labels[0].as_str(), "not in it"]),
        (good.replace("any cell\t\t", "any cell\tgroup 1\t"), vec!["above itself"]),
        (good.replace("parent\tontology_id", "above\tid"), vec!["expected label first"]),
        (good.replace("group 0\tany cell", "group 0"), vec!["tree.tsv"]),
    ] {
        folder.write("tree.tsv", tree);
        let args = format!("{TRAIN} --label-tree tree.tsv -o tree.cic");
        folder.refuses(&args, 3, &words);
    }
    folder.refuses(&format!("{TRAIN} --label-tree absent.tsv -o tree.cic"), 3, &["absent.tsv"]);
}
