//! Parents and ontology ids of labels, from a table: what stands above the types that a model tells
//! apart.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;

use cic_data::{SampleTable, nearest_name, read_labels_tsv};
use cic_model::labels::UNASSIGNED;
use cic_model::spec::{LabelsSpec, NodeSpec};

use crate::console::tell;
use crate::failure::Failure;

/// Labels and what is above them.
pub(crate) struct LabelTree {
    path: String,
    /// By label.
    rows: BTreeMap<String, Row>,
}

#[derive(Default)]
struct Row {
    parents: Vec<String>,
    ontology_id: String,
}

impl LabelTree {
    /// Reads a table with the columns label, parent and ontology_id; the last two may be missing or
    /// empty. Several parents are separated by `|`. A parent needs no row of its own.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let table = read_labels_tsv(path)?;
        let known = |name: &str| table.names().any(|known| known == name);
        if !known("parent") && !known("ontology_id") {
            return Err(Failure::input(format!(
                "{}: has the columns {}; expected label first, then parent, ontology_id or both",
                path.display(),
                table.names().collect::<Vec<_>>().join(", ")
            )));
        }
        let mut tree = Self { path: path.display().to_string(), rows: BTreeMap::new() };
        for (at, label) in table.ids().iter().enumerate() {
            let ontology_id = value(&table, "ontology_id", at).to_owned();
            let parents = value(&table, "parent", at).split('|').map(str::trim);
            let parents: Vec<String> =
                parents.filter(|parent| !parent.is_empty()).map(String::from).collect();
            if label.is_empty() || label == UNASSIGNED {
                return Err(tree.refuse(format!(
                    "row {}: the label is {label:?}, which names no type",
                    at + 1
                )));
            }
            for parent in &parents {
                tree.rows.entry(parent.clone()).or_default();
            }
            let row = tree.rows.entry(label.clone()).or_default();
            *row = Row { parents, ontology_id };
        }
        Ok(tree)
    }

    /// The labels of a model with all that is above them. Labels of the tree that lead to none of
    /// the model's are left out.
    pub(crate) fn of(&self, leaves: &[String]) -> Result<LabelsSpec, Failure> {
        let order = self.top_down()?;
        if let Some(leaf) = leaves.iter().find(|leaf| !self.rows.contains_key(*leaf)) {
            let like = nearest_name(leaf, self.rows.keys().map(String::as_str));
            return Err(self.refuse(format!(
                "the label {leaf:?} of the data is not in it; add a row for it{}",
                like.map_or(String::new(), |like| format!(" (like it: {like:?})"))
            )));
        }
        let is_leaf: BTreeSet<&String> = leaves.iter().collect();
        let above = self.above(leaves);
        if let Some(inner) = leaves.iter().find(|leaf| above.contains(*leaf)) {
            return Err(self.refuse(format!(
                "{inner:?} is a label of cells and the parent of another; give the parent a name \
                 of its own (\"{inner}, any\") with {inner:?} below it"
            )));
        }
        let inner = order.into_iter().filter(|label| above.contains(*label));
        let labels: Vec<&String> = inner.chain(leaves).collect();
        let position: HashMap<&String, u32> = labels.iter().copied().zip(0..).collect();
        let nodes = labels.iter().map(|label| {
            let row = &self.rows[*label];
            NodeSpec {
                name: (*label).clone(),
                ontology_id: row.ontology_id.clone(),
                parents: row.parents.iter().map(|parent| position[parent]).collect(),
                is_leaf: is_leaf.contains(label),
            }
        });
        Ok(LabelsSpec { nodes: nodes.collect(), ontology_release: String::new() })
    }

    /// Says which labels of the tree are left out.
    pub(crate) fn tell_left_out(&self, labels: &LabelsSpec) {
        let kept: BTreeSet<&String> = labels.nodes.iter().map(|node| &node.name).collect();
        let left: Vec<&str> =
            self.rows.keys().filter(|label| !kept.contains(label)).map(String::as_str).collect();
        if !left.is_empty() {
            tell(format_args!(
                "note: {}: {} labels lead to no cell type of the data and are left out, the first \
                 is {}",
                self.path,
                left.len(),
                left[0]
            ));
        }
    }

    /// Everything above some labels.
    fn above(&self, labels: &[String]) -> BTreeSet<&String> {
        let mut above = BTreeSet::new();
        let mut open: Vec<&String> = labels.iter().collect();
        while let Some(label) = open.pop() {
            for parent in self.rows.get(label).map_or(&[][..], |row| &row.parents) {
                if above.insert(parent) {
                    open.push(parent);
                }
            }
        }
        above
    }

    /// All labels, parents before their children. Refused where a label is above itself.
    fn top_down(&self) -> Result<Vec<&String>, Failure> {
        let mut children: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
        let mut waiting: BTreeMap<&String, usize> = BTreeMap::new();
        for (label, row) in &self.rows {
            waiting.insert(label, row.parents.len());
            for parent in &row.parents {
                children.entry(parent).or_default().push(label);
            }
        }
        let roots = waiting.iter().filter(|(_, n)| **n == 0).map(|(label, _)| *label);
        let mut open: VecDeque<&String> = roots.collect();
        let mut order = Vec::with_capacity(self.rows.len());
        while let Some(label) = open.pop_front() {
            order.push(label);
            for child in children.get(label).map_or(&[][..], |children| children) {
                if let Some(n) = waiting.get_mut(child) {
                    *n -= 1;
                    if *n == 0 {
                        open.push_back(child);
                    }
                }
            }
        }
        match self.rows.keys().find(|label| waiting[label] > 0 && self.is_above_itself(label)) {
            None => Ok(order),
            Some(label) => Err(self.refuse(format!(
                "{label:?} is above itself: its parents lead back to it; take one of them away"
            ))),
        }
    }

    fn is_above_itself(&self, label: &String) -> bool {
        self.above(std::slice::from_ref(label)).contains(label)
    }

    fn refuse(&self, reason: String) -> Failure {
        Failure::input(format!("{}: {reason}", self.path))
    }
}

fn value<'a>(table: &'a SampleTable, column: &str, row: usize) -> &'a str {
    table.column(column).ok().and_then(|values| values.get(row)).map_or("", |text| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Result<LabelTree, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.tsv");
        std::fs::write(&path, text).unwrap();
        LabelTree::read(&path)
    }

    fn leaves(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_string()).collect()
    }

    const TREE: &str = "label\tparent\tontology_id\nB\tlymphocyte\tCL:0000236\n\
                        T\tlymphocyte\tCL:0000084\nlymphocyte\tleukocyte\tCL:0000542\n\
                        monocyte\tleukocyte|phagocyte\t\nmast cell\tleukocyte\t\n";

    #[test]
    fn parents_come_first_and_what_leads_nowhere_is_left_out() {
        let labels = tree(TREE).unwrap().of(&leaves(&["B", "T", "monocyte"])).unwrap();
        let names: Vec<&str> = labels.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["leukocyte", "phagocyte", "lymphocyte", "B", "T", "monocyte"]);
        let parents: Vec<&[u32]> = labels.nodes.iter().map(|node| &node.parents[..]).collect();
        assert_eq!(parents, [&[][..], &[], &[0], &[2], &[2], &[0, 1]]);
        assert_eq!(labels.n_leaves(), 3);
        assert_eq!(labels.nodes[3].ontology_id, "CL:0000236");
        assert_eq!(labels.nodes[2].ontology_id, "CL:0000542");
    }

    #[test]
    fn circles_unknown_leaves_and_leaves_above_others_are_refused() {
        let says = |text: &str, of: &[&str]| {
            let result = tree(text).and_then(|tree| tree.of(&leaves(of)));
            result.expect_err("refused").to_string()
        };
        let circle = "label\tparent\nA\tB\nB\tC\nC\tB\n";
        assert!(says(circle, &["A"]).contains("\"B\" is above itself"));
        let unknown = says(TREE, &["B", "monocytes"]);
        assert!(unknown.contains("\"monocytes\"") && unknown.contains("like it: \"monocyte\""));
        assert!(says(TREE, &["B", "lymphocyte"]).contains("name of its own"));
        assert!(says("label\tkind\nA\tx\n", &["A"]).contains("expected label first"));
        assert!(says("label\tparent\nUnassigned\tx\n", &["A"]).contains("names no type"));
    }
}
