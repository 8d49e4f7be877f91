//! Labels with parents: the most exact label that a cell's probabilities bear.

use cic_model::Model;
use cic_model::labels::{Labels, UNASSIGNED};

use crate::results::Call;

/// The deepest label of a cell that is probable enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NodeCall {
    /// `None` where no label is, or the cell is refused for another reason than doubt.
    node: Option<u32>,
    /// Of the node, 0 where there is none.
    pub(crate) probability: f32,
}

impl NodeCall {
    /// The label that is printed.
    pub(crate) fn label<'m>(&self, model: &Model<'m>) -> &'m str {
        self.node.map_or(UNASSIGNED, |node| model.labels().name(node as usize))
    }

    /// Its ontology id, empty where there is none.
    pub(crate) fn ontology_id<'m>(&self, model: &Model<'m>) -> &'m str {
        self.node.map_or("", |node| model.labels().ontology_id(node as usize))
    }
}

/// The nodes of a model, to descend from the roots.
pub(crate) struct Hierarchy {
    /// Nodes without parents.
    roots: Vec<u32>,
    /// Of each node.
    children: Vec<Vec<u32>>,
    /// Of each node, itself included; each leaf once, however many ways lead to it.
    leaves: Vec<Vec<u32>>,
    min_probability: f32,
}

impl Hierarchy {
    /// `None` where no label has a parent.
    pub(crate) fn new(labels: &Labels<'_>, min_probability: f32) -> Option<Self> {
        let n_nodes = labels.n_nodes();
        let mut children = vec![Vec::new(); n_nodes];
        let mut roots = Vec::new();
        // Nodes are fewer than 2³², as the file counts them.
        for node in 0..n_nodes {
            let parents = labels.parents(node);
            if parents.is_empty() {
                roots.push(node as u32);
            }
            for &parent in parents {
                children[parent as usize].push(node as u32);
            }
        }
        if roots.len() == n_nodes {
            return None;
        }
        let mut leaves = vec![Vec::new(); n_nodes];
        for leaf in 0..labels.n_leaves() {
            leaves[labels.node(leaf)?].push(leaf as u32);
        }
        // Parents come before their children.
        for node in (0..n_nodes).rev() {
            let mut below = std::mem::take(&mut leaves[node]);
            below.extend(children[node].iter().flat_map(|&child| &leaves[child as usize]));
            below.sort_unstable();
            below.dedup();
            leaves[node] = below;
        }
        Some(Self { roots, children, leaves, min_probability })
    }

    /// Goes down from the roots, each time to the most probable child, as long as that is probable
    /// enough: what is above the node in this path is at least as probable. A cell that has a label stays above it.
    pub(crate) fn deepest(&self, call: &Call, probabilities: &[f32]) -> NodeCall {
        let mut deepest = NodeCall { node: None, probability: 0.0 };
        if !call.is_named_or_in_doubt() {
            return deepest;
        }
        // Leaves are fewer than 2³².
        let label = call.best().filter(|_| call.is_named()).map(|leaf| leaf as u32);
        let is_above_label = |node: &&u32| {
            label.is_none_or(|label| self.leaves[**node as usize].binary_search(&label).is_ok())
        };
        let probability = |&node: &u32| {
            let leaves = self.leaves[node as usize].iter();
            leaves.map(|&leaf| probabilities[leaf as usize]).sum::<f32>().min(1.0)
        };
        let mut candidates = &self.roots;
        loop {
            let mut best = NodeCall { node: None, probability: 0.0 };
            for node in candidates.iter().filter(is_above_label) {
                let probability = probability(node);
                if probability > best.probability {
                    best = NodeCall { node: Some(*node), probability };
                }
            }
            let Some(node) = best.node.filter(|_| best.probability >= self.min_probability) else {
                return deepest;
            };
            deepest = best;
            candidates = &self.children[node as usize];
        }
    }
}
