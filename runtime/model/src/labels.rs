//! Label nodes: cell types, their ontology ids and their parents.

use crate::container::{Container, SectionKind, is_ascending};
use crate::error::ModelError;
use crate::strings::StringTable;

/// What stands for a cell that was not named. An outcome, never a class.
pub const UNASSIGNED: &str = "Unassigned";

/// View of the label nodes. Logits sit on leaves; the probability of any other node is the sum
/// over the leaves below it. Parents come before their children, so there are no cycles.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    leaf_nodes: &'a [u32],
    parent_ends: &'a [u32],
    parents: &'a [u32],
    names: StringTable<'a>,
    ontology_ids: StringTable<'a>,
    release: StringTable<'a>,
}

impl<'a> Labels<'a> {
    pub(crate) fn parse(container: &Container<'a>, n_leaves: usize) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Labels, 0)?;
        let n_nodes = reader.u32()? as usize;
        let n_parents = reader.u32()? as usize;
        let labels = Self {
            leaf_nodes: reader.array(n_leaves)?,
            parent_ends: reader.array(n_nodes)?,
            parents: reader.array(n_parents)?,
            names: StringTable::parse(&mut reader)?,
            ontology_ids: StringTable::parse(&mut reader)?,
            release: StringTable::parse(&mut reader)?,
        };
        let is_sound = labels.names.len() == n_nodes
            && labels.ontology_ids.len() == n_nodes
            && labels.release.len() == 1
            && labels.leaf_nodes.iter().all(|&node| (node as usize) < n_nodes)
            && labels.leaf_nodes.windows(2).all(|pair| pair.first() < pair.last())
            && is_ascending(labels.parent_ends)
            && labels.parent_ends.last().map_or(0, |&end| end as usize) == n_parents
            && (0..n_nodes)
                .all(|node| labels.parents(node).iter().all(|&parent| (parent as usize) < node));
        if !is_sound {
            return Err(reader.bad("node"));
        }
        reader.finish()?;
        Ok(labels)
    }

    /// Number of leaves, hence of logits.
    #[inline]
    pub fn n_leaves(&self) -> usize {
        self.leaf_nodes.len()
    }

    /// Number of nodes, leaves included.
    pub fn n_nodes(&self) -> usize {
        self.names.len()
    }

    /// Node of a leaf.
    pub fn node(&self, leaf: usize) -> Option<usize> {
        self.leaf_nodes.get(leaf).map(|&node| node as usize)
    }

    /// Name of a leaf, empty past the end.
    pub fn leaf_name(&self, leaf: usize) -> &'a str {
        self.node(leaf).map_or("", |node| self.name(node))
    }

    /// Name of a node, empty past the end.
    pub fn name(&self, node: usize) -> &'a str {
        self.names.at(node)
    }

    /// Ontology id of a node (`CL:0000236`), empty where there is none.
    pub fn ontology_id(&self, node: usize) -> &'a str {
        self.ontology_ids.at(node)
    }

    /// Release of the ontology, empty where there is none.
    pub fn ontology_release(&self) -> &'a str {
        self.release.at(0)
    }

    /// Parents of a node, each smaller than the node itself.
    pub fn parents(&self, node: usize) -> &'a [u32] {
        let end = self.parent_ends.get(node).copied().unwrap_or(0) as usize;
        let begin = match node.checked_sub(1) {
            Some(before) => self.parent_ends.get(before).copied().unwrap_or(0) as usize,
            None => 0,
        };
        self.parents.get(begin..end).unwrap_or(&[])
    }
}
