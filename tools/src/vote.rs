//! Majority votes: one label for each cluster of cells, as CellTypist gives it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use cic_data::{Column, ExpressionHead, read_labels_tsv};
use cic_model::Model;
use cic_model::labels::UNASSIGNED;
use clap::Args;

use crate::dataset::obs_column;
use crate::failure::Failure;
use crate::results::Call;

/// Clusters of cells, and when one gets a label.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct VoteArgs {
    /// Clusters of the cells, made elsewhere (scanpy:
    /// sc.tl.leiden): a column of obs, a table with
    /// the cells' names first, or a file with one
    /// cluster per line. Adds over_clustering and
    /// majority_voting, the label of most of a
    /// cluster's cells; Unassigned cells do not vote
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    pub(crate) over_clustering: Option<String>,
    /// Implied by --over-clustering
    #[arg(long)]
    pub(crate) majority_voting: bool,
    /// Share of a cluster's votes for its label, or
    /// else it is Heterogeneous
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.0,
        value_parser = parse_share,
        verbatim_doc_comment
    )]
    pub(crate) min_prop: f64,
}

impl VoteArgs {
    /// Refuses a vote without clusters, and a share without a vote.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match (&self.over_clustering, self.majority_voting) {
            (None, true) => Err(Failure::usage(
                "--majority-voting needs clusters: name a column of obs or a file with \
                 --over-clustering (scanpy makes clusters: sc.tl.leiden)",
            )),
            (None, false) if self.min_prop > 0.0 => Err(Failure::usage(
                "--min-prop is of a majority vote: name the clusters with --over-clustering",
            )),
            _ => Ok(()),
        }
    }

    /// The file with the clusters, where they are in one of their own.
    pub(crate) fn file(&self, head: &ExpressionHead) -> Option<PathBuf> {
        let key = self.over_clustering.as_deref()?;
        (head.obs.column(key).is_err() && Path::new(key).is_file()).then(|| PathBuf::from(key))
    }

    /// The clusters of a file's cells.
    pub(crate) fn read(&self, head: &ExpressionHead) -> Result<Option<Clusters>, Failure> {
        let Some(key) = self.over_clustering.as_deref() else { return Ok(None) };
        let column = match self.file(head) {
            Some(file) => column_of_file(&file, &head.obs_names)?,
            None => obs_column(&head.source.path, &head.obs, key)
                .map_err(|error| error.context(format!("--over-clustering {key} is no file")))?
                .clone(),
        };
        let clusters = Clusters::new(&column);
        match clusters.names.is_empty() {
            true => Err(Failure::input(format!(
                "--over-clustering {key}: none of the {} cells has a cluster",
                head.obs_names.len()
            ))),
            false => Ok(Some(clusters)),
        }
    }
}

/// A cluster per line, or a table with the column `over_clustering` or one column beside the names.
fn column_of_file(file: &Path, obs_names: &[String]) -> Result<Column, Failure> {
    let path = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::input(format!("{path}: {error}{}", Failure::advice(&error))))?;
    let first = text.lines().next().unwrap_or_default();
    if first.contains(['\t', ',']) {
        let table = read_labels_tsv(file)?;
        let names: Vec<&str> = table.names().collect();
        let column = match names[..] {
            [only] => only,
            _ => names.into_iter().find(|name| *name == "over_clustering").ok_or_else(|| {
                Failure::usage(format!(
                    "{path}: which of its columns are the clusters? call it over_clustering, or \
                     leave the others out"
                ))
            })?,
        };
        return Ok(table.joined(column, obs_names)?);
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    match lines.len() == obs_names.len() {
        true => Ok(Column::categorical(lines.into_iter().map(Some))),
        false => Err(Failure::input(format!(
            "{path}: has {} lines, but there are {} cells; expected one cluster per line in the \
             order of the cells, or a table with their names in its first column",
            lines.len(),
            obs_names.len()
        ))),
    }
}

/// Which cluster each cell is in.
pub(crate) struct Clusters {
    names: Vec<String>,
    /// Position in `names`; `None` for cells without a cluster.
    of_cell: Vec<Option<u32>>,
}

impl Clusters {
    fn new(column: &Column) -> Self {
        let mut names = Vec::new();
        let mut known: HashMap<String, u32> = HashMap::new();
        let of_cell = (0..column.len()).map(|row| {
            let name = column.text(row).filter(|name| !name.is_empty())?;
            if let Some(&cluster) = known.get(&*name) {
                return Some(cluster);
            }
            // Rows are fewer than 2³².
            let cluster = names.len() as u32;
            known.insert(name.to_string(), cluster);
            names.push(name.into_owned());
            Some(cluster)
        });
        let of_cell = of_cell.collect();
        Self { names, of_cell }
    }

    /// Cells without a cluster.
    pub(crate) fn n_without(&self) -> usize {
        self.of_cell.iter().filter(|cluster| cluster.is_none()).count()
    }

    /// Counts the votes: of each cluster the label that most of its named cells have, the first in
    /// the alphabet where several have as many.
    pub(crate) fn vote(self, model: &Model<'_>, calls: &[Call], min_prop: f64) -> Votes {
        let mut votes: Vec<HashMap<usize, usize>> = vec![HashMap::new(); self.names.len()];
        for (call, cluster) in calls.iter().zip(&self.of_cell) {
            if let (Some(cluster), Some(best), None) = (cluster, call.best(), call.reject) {
                *votes[*cluster as usize].entry(best).or_default() += 1;
            }
        }
        let name = |leaf: usize| model.labels().leaf_name(leaf);
        let elected = votes.iter().map(|votes| {
            let n_votes: usize = votes.values().sum();
            let most =
                votes.iter().max_by(|(a, n), (b, m)| n.cmp(m).then(name(**b).cmp(name(**a))));
            match most {
                None => Elected::Nobody,
                Some((_, n)) if (*n as f64) < min_prop * n_votes as f64 => Elected::Several,
                Some((&leaf, _)) => Elected::Leaf(leaf),
            }
        });
        let elected = elected.collect();
        Votes { clusters: self, elected }
    }
}

/// What a cluster voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elected {
    Leaf(usize),
    /// No label has the share that it needs.
    Several,
    /// No cell of the cluster has a label.
    Nobody,
}

/// The result of a vote.
pub(crate) struct Votes {
    clusters: Clusters,
    /// Of each cluster.
    elected: Vec<Elected>,
}

/// What the vote says of one cell.
#[derive(Clone, Copy)]
pub(crate) struct Vote<'a> {
    /// Empty where the cell has no cluster.
    pub(crate) cluster: &'a str,
    pub(crate) label: &'a str,
}

impl Votes {
    /// The cell's cluster and its label. A cell that is refused for what it is, not for doubt about
    /// its type, stays unassigned; one without a cluster keeps its own label.
    pub(crate) fn of<'a>(&'a self, model: &Model<'a>, row: usize, call: &Call) -> Vote<'a> {
        let cluster = self.clusters.of_cell.get(row).copied().flatten();
        let Some(cluster) = cluster else {
            return Vote { cluster: "", label: call.label(model) };
        };
        let label = match self.elected[cluster as usize] {
            _ if !call.is_named_or_in_doubt() => UNASSIGNED,
            Elected::Leaf(leaf) => model.labels().leaf_name(leaf),
            Elected::Several => HETEROGENEOUS,
            Elected::Nobody => UNASSIGNED,
        };
        Vote { cluster: &self.clusters.names[cluster as usize], label }
    }

    /// The vote in words.
    pub(crate) fn summary(&self) -> String {
        let count = |of: fn(&Elected) -> bool| self.elected.iter().filter(|one| of(one)).count();
        let mut text = format!(
            "{} clusters: {} named, {} {HETEROGENEOUS}, {} without a vote",
            self.elected.len(),
            count(|one| matches!(one, Elected::Leaf(_))),
            count(|one| *one == Elected::Several),
            count(|one| *one == Elected::Nobody),
        );
        let n_without = self.clusters.n_without();
        if n_without > 0 {
            text += &format!("; {n_without} cells without a cluster keep their labels");
        }
        text
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1".into())
}

/// CellTypist's word for a cluster without a label of most.
const HETEROGENEOUS: &str = "Heterogeneous";
