//! The columns of a table of calls, each defined once. Every format writes them, the help lists
//! them and `cic verify` compares them from here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use cic_data::{Column, ObsTable, csv_text};
use cic_model::Model;
use cic_model::confidence::LEVELS;

use crate::hierarchy::NodeCall;
use crate::results::Call;
use crate::vote::Vote;

/// One column.
pub(crate) struct ColumnSpec {
    /// As it stands in every format.
    pub(crate) name: &'static str,
    /// What it says, for the help.
    about: &'static str,
    presence: Presence,
    pub(crate) get: Get,
}

/// Where a column gets its values, and with it of what kind they are.
#[derive(Clone, Copy)]
pub(crate) enum Get {
    /// Few texts, many cells: a categorical of pandas.
    Text(for<'a> fn(&Cell<'a>) -> Cow<'a, str>),
    /// Not a number where it is not known: empty in tables, null in JSON.
    Real(fn(&Cell<'_>) -> f32),
    Whole(fn(&Cell<'_>) -> u64),
    Flag(fn(&Cell<'_>) -> bool),
}

/// Which tables have a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    /// Of models whose labels have parents.
    WithParents,
    /// Where clusters are given.
    WithClusters,
    /// Of models that know what cells unlike their training cells are.
    WithNovelty,
    /// Of models that promise sets of labels.
    WithSets,
}

use Presence::{Always, WithClusters, WithNovelty, WithParents, WithSets};

/// The columns of sets are named for these.
const _: () = assert!(matches!(LEVELS, [90, 95]));

/// All columns beside the names of the cells, in the order in which they are written.
pub(crate) const COLUMNS: &[ColumnSpec] = &[
    ColumnSpec {
        name: "predicted_labels",
        about: "cell type, or Unassigned",
        presence: Always,
        get: Get::Text(|cell| cell.call.label(cell.model).into()),
    },
    ColumnSpec {
        name: "conf_score",
        about: "probability of the best guess",
        presence: Always,
        get: Get::Real(|cell| cell.call.confidence),
    },
    ColumnSpec {
        name: "cic_rejected",
        about: "whether the cell is Unassigned",
        presence: Always,
        get: Get::Flag(|cell| cell.call.reject.is_some()),
    },
    ColumnSpec {
        name: "cic_reject_reason",
        about: "why, or empty",
        presence: Always,
        get: Get::Text(|cell| cell.call.reason().into()),
    },
    ColumnSpec {
        name: "cic_best_guess",
        about: "the most probable type, of rejected cells too",
        presence: Always,
        get: Get::Text(|cell| cell.call.best_guess(cell.model).into()),
    },
    ColumnSpec {
        name: "cic_margin",
        about: "best less second best probability",
        presence: Always,
        get: Get::Real(|cell| cell.call.margin),
    },
    ColumnSpec {
        name: "cell_type_ontology_term_id",
        about: "of predicted_labels, if the model has ids",
        presence: Always,
        get: Get::Text(|cell| cell.call.ontology_id(cell.model).into()),
    },
    ColumnSpec {
        name: "n_genes_used",
        about: "genes of the model above zero",
        presence: Always,
        get: Get::Whole(|cell| cell.call.n_genes.into()),
    },
    ColumnSpec {
        name: "n_counts_used",
        about: "their sum, of counts",
        presence: Always,
        get: Get::Whole(|cell| cell.call.n_counts),
    },
    ColumnSpec {
        name: "cic_novelty",
        about: "how unlike training: rejected above 1",
        presence: WithNovelty,
        get: Get::Real(|cell| cell.call.novelty),
    },
    ColumnSpec {
        name: "cic_set_90",
        about: "labels, the true one among them for 90 %",
        presence: WithSets,
        get: Get::Text(|cell| cell.call.label_names(cell.model, 0).into()),
    },
    ColumnSpec {
        name: "cic_set_95",
        about: "the same for 95 %; | between labels",
        presence: WithSets,
        get: Get::Text(|cell| cell.call.label_names(cell.model, 1).into()),
    },
    ColumnSpec {
        name: "cic_node",
        about: "deepest label that is probable enough",
        presence: WithParents,
        get: Get::Text(|cell| cell.node.map_or("", |node| node.label(cell.model)).into()),
    },
    ColumnSpec {
        name: "cic_node_conf",
        about: "its probability",
        presence: WithParents,
        get: Get::Real(|cell| cell.node.map_or(0.0, |node| node.probability)),
    },
    ColumnSpec {
        name: "cic_node_ontology_term_id",
        about: "its ontology id",
        presence: WithParents,
        get: Get::Text(|cell| cell.node.map_or("", |node| node.ontology_id(cell.model)).into()),
    },
    ColumnSpec {
        name: "over_clustering",
        about: "the cell's cluster, as given",
        presence: WithClusters,
        get: Get::Text(|cell| cell.vote.map_or("", |vote| vote.cluster).into()),
    },
    ColumnSpec {
        name: "majority_voting",
        about: "label of most cells of the cluster",
        presence: WithClusters,
        get: Get::Text(|cell| cell.vote.map_or("", |vote| vote.label).into()),
    },
];

/// Names of the columns that every table has.
pub(crate) fn always() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().filter(|column| column.presence == Always).map(|column| column.name)
}

/// What the columns of one cell are made of.
pub(crate) struct Cell<'a> {
    pub(crate) model: &'a Model<'a>,
    pub(crate) call: &'a Call,
    pub(crate) node: Option<&'a NodeCall>,
    pub(crate) vote: Option<Vote<'a>>,
}

/// What a table has beyond the columns that every table has.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) has_parents: bool,
    pub(crate) has_clusters: bool,
    pub(crate) has_novelty: bool,
    pub(crate) has_sets: bool,
}

impl Extent {
    /// The columns of such a table.
    pub(crate) fn columns(self) -> impl Iterator<Item = &'static ColumnSpec> + Clone {
        COLUMNS.iter().filter(move |column| match column.presence {
            Always => true,
            WithParents => self.has_parents,
            WithClusters => self.has_clusters,
            WithNovelty => self.has_novelty,
            WithSets => self.has_sets,
        })
    }
}

impl ColumnSpec {
    /// The value as text tables have it, not yet quoted.
    pub(crate) fn text<'a>(&self, cell: &Cell<'a>) -> Cow<'a, str> {
        match self.get {
            Get::Text(get) => match get(cell) {
                Cow::Borrowed(text) => csv_text(text),
                Cow::Owned(text) => Cow::Owned(csv_text(&text).into_owned()),
            },
            Get::Real(get) => match get(cell) {
                unknown if unknown.is_nan() => "".into(),
                real => format!("{real:.6}").into(),
            },
            Get::Whole(get) => get(cell).to_string().into(),
            Get::Flag(get) => if get(cell) { "True" } else { "False" }.into(),
        }
    }

    /// The whole column.
    pub(crate) fn column<'a>(&self, cells: impl Iterator<Item = Cell<'a>>) -> Column {
        match self.get {
            Get::Text(get) => categorical(cells.map(|cell| get(&cell))),
            Get::Real(get) => Column::F32(cells.map(|cell| get(&cell)).collect()),
            Get::Whole(get) => {
                let whole = |cell| i64::try_from(get(&cell)).unwrap_or(i64::MAX);
                Column::I64(cells.map(whole).collect())
            }
            Get::Flag(get) => Column::Bool(cells.map(|cell| Some(get(&cell))).collect()),
        }
    }
}

/// A column of few texts, without the texts of all cells in memory; categories are sorted.
fn categorical<'a>(texts: impl Iterator<Item = Cow<'a, str>>) -> Column {
    let mut known: BTreeMap<String, i32> = BTreeMap::new();
    let mut codes: Vec<i32> = Vec::with_capacity(texts.size_hint().0);
    for text in texts {
        // Rows beyond i32 do not fit memory.
        let next = known.len() as i32;
        codes.push(match known.get(&*text) {
            Some(&code) => code,
            None => *known.entry(text.into_owned()).or_insert(next),
        });
    }
    let mut sorted = vec![0; known.len()];
    for (at, &code) in known.values().enumerate() {
        sorted[code as usize] = at as i32;
    }
    codes.iter_mut().for_each(|code| *code = sorted[*code as usize]);
    Column::Categorical { codes, categories: known.into_keys().collect() }
}

/// Adds the columns to what is known of the cells; a column of that name is replaced.
pub(crate) fn insert<'a, I>(obs: &mut ObsTable, extent: Extent, cells: impl Fn() -> I)
where
    I: Iterator<Item = Cell<'a>>,
{
    for column in extent.columns() {
        obs.insert(column.name, column.column(cells()));
    }
}

/// The columns in words, for the help.
pub(crate) fn help() -> String {
    let mut text = String::from("Columns, after the cell's name:\n");
    let width = COLUMNS.iter().map(|column| column.name.len()).max().unwrap_or(0);
    for column in COLUMNS {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {:width$}  {}", column.name, column.about);
    }
    text + "cic_novelty, empty where too many genes are missing to judge by it, and the\n\
            sets are of models that know them, the three of cic_node of\n\
            models whose labels have parents (cic train --label-tree); the last two are\n\
            there with --over-clustering. A .h5ad has the codes in obsm['X_cic'], the\n\
            probabilities in obsm['cic_prob'], and where all of it comes from in\n\
            uns['cic']; tables have that in a file beside them, OUT.csv.json. cic verify\n\
            OUT types again and compares."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_texts_is_that_of_the_texts_all_at_once() {
        let texts = ["b", "", "a", "b", "c", "a"];
        let expected = Column::categorical(texts.map(Some));
        assert_eq!(categorical(texts.into_iter().map(Cow::Borrowed)), expected);
        assert_eq!(categorical(std::iter::empty()), Column::categorical([]));
    }

    #[test]
    fn no_two_columns_have_a_name() {
        let names: std::collections::BTreeSet<&str> =
            COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
    }
}
