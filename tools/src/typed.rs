//! The calls of a whole file, and what is made of them together: hierarchy and votes.

use std::sync::Arc;

use cic_data::ExpressionHead;
use cic_model::Model;
use cic_model::genes::Overlap;

use crate::failure::Failure;
use crate::hierarchy::{Hierarchy, NodeCall};
use crate::outputs::columns::{Cell, Extent};
use crate::results::{Call, Calls};
use crate::typing::Opened;
use crate::typing_options::TypingOptions;
use crate::vote::{Clusters, Votes};

/// Calls as they come, then all of them.
pub(crate) struct TypedCells<'a> {
    pub(crate) model: &'a Model<'a>,
    pub(crate) head: Arc<ExpressionHead>,
    pub(crate) overlap: Overlap,
    pub(crate) calls: Vec<Call>,
    hierarchy: Option<Hierarchy>,
    /// One per call where labels have parents.
    nodes: Vec<NodeCall>,
    clusters: Option<Clusters>,
    votes: Option<Votes>,
}

impl<'a> TypedCells<'a> {
    /// For the cells of a file that was opened; reads their clusters.
    pub(crate) fn new(
        model: &'a Model<'a>,
        options: &TypingOptions,
        opened: &Opened<'_>,
    ) -> Result<Self, Failure> {
        let head = opened.head.clone();
        Ok(Self {
            model,
            overlap: opened.overlap,
            calls: Vec::with_capacity(head.obs_names.len()),
            hierarchy: Hierarchy::new(model.labels(), options.min_node_confidence),
            nodes: Vec::new(),
            clusters: options.vote.read(&head)?,
            votes: None,
            head,
        })
    }

    /// Takes the calls of the next cells.
    pub(crate) fn take(&mut self, calls: Calls) {
        if let Some(hierarchy) = &self.hierarchy {
            let probabilities = calls.probabilities.chunks_exact(self.model.n_leaves().max(1));
            let of_cells = calls.calls.iter().zip(probabilities);
            self.nodes.extend(of_cells.map(|(call, each)| hierarchy.deepest(call, each)));
        }
        self.calls.extend(calls.calls);
    }

    /// Counts the votes: all cells are there.
    pub(crate) fn count_votes(&mut self, options: &TypingOptions) {
        let vote =
            |clusters: Clusters| clusters.vote(self.model, &self.calls, options.vote.min_prop);
        self.votes = self.clusters.take().map(vote);
    }

    /// The vote in words, if there was one.
    pub(crate) fn vote_summary(&self) -> Option<String> {
        self.votes.as_ref().map(Votes::summary)
    }

    /// Which columns there are.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            has_parents: self.hierarchy.is_some(),
            has_clusters: self.votes.is_some(),
            has_novelty: self.model.novelty().is_some(),
            has_sets: self.model.confidence().is_some_and(|confidence| confidence.has_sets()),
        }
    }

    /// What the columns of a cell are made of; `None` past the last.
    pub(crate) fn cell(&self, row: usize) -> Option<Cell<'_>> {
        let call = self.calls.get(row)?;
        let vote = self.votes.as_ref().map(|votes| votes.of(self.model, row, call));
        Some(Cell { model: self.model, call, node: self.nodes.get(row), vote })
    }

    /// The same of all cells.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..self.calls.len()).filter_map(|row| self.cell(row))
    }

    /// Cells without a label.
    pub(crate) fn n_rejected(&self) -> usize {
        self.calls.iter().filter(|call| call.reject.is_some()).count()
    }
}
