//! Training on some rows of a data set and looking at others, as often as a study needs.

use std::collections::BTreeSet;

use cic_data::{AlignedMatrix, SplitPart};
use cic_model::profile::Library;
use cic_model::spec::LayoutPlan;
use cic_model::{AlignedBytes, Model};
use cic_trainer::metrics::Confusion;
use cic_trainer::parts::{Assigned, PartRow};
use cic_trainer::pipeline::TrainedModel;
use cic_trainer::resplits::Resplit;
use faer::Mat;

use crate::console::tell;
use crate::dataset::{Annotations, Dataset};
use crate::failure::Failure;
use crate::profiles::{ModelOutputs, N_GENES, Profiles, genes_of, run_model, scores};
use crate::train::{Recipe, TrainPlan, train_model};

/// Labelled rows of a data set.
pub(crate) struct Study<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) annotations: &'a Annotations,
    /// Of the classes, sorted.
    pub(crate) names: Vec<String>,
    /// Class of each row that takes part.
    pub(crate) classes: Vec<Option<usize>>,
}

/// A model, the rows it was trained on and those it was not.
pub(crate) struct Held {
    pub(crate) trained: TrainedModel,
    /// The model in full precision.
    pub(crate) bytes: AlignedBytes,
    /// Numbers of the code: principal components beside it are as many.
    pub(crate) code_dim: usize,
    pub(crate) cells: AlignedMatrix,
    pub(crate) train: Profiles,
    pub(crate) test: Profiles,
    pub(crate) train_classes: Vec<usize>,
    pub(crate) truth: Vec<usize>,
    /// Genes of largest training variance, on which reproduction is measured.
    pub(crate) genes: Vec<usize>,
    /// Training mean of these genes.
    mean: Vec<f32>,
    /// Test profiles on these genes.
    scored: Mat<f64>,
    /// Class of each leaf of the model.
    leaves: Vec<usize>,
}

/// Folds of the training rows on which the best linear method is chosen.
pub(crate) const INNER_FOLDS: usize = 3;

/// Every row with its class, for division.
pub(crate) fn part_rows<'a>(
    dataset: &'a Dataset,
    groups: &'a [Option<String>],
    class: impl Fn(usize) -> Option<usize>,
) -> Vec<PartRow<'a>> {
    let ids = dataset.matrix.obs_names.iter().enumerate();
    ids.map(|(row, id)| PartRow {
        id,
        // There are at most as many classes as rows.
        label: class(row).map(|class| class as u32),
        group: groups.get(row).and_then(|group| group.as_deref()),
        assigned: Assigned::Open,
    })
    .collect()
}

/// Refuses labels to leave out that no row has.
pub(crate) fn check_without(
    annotations: &Annotations,
    n_rows: usize,
    without: &[String],
) -> Result<(), Failure> {
    let known: BTreeSet<String> = (0..n_rows).filter_map(|row| annotations.label(row)).collect();
    match without.iter().find(|label| !known.contains(*label)) {
        Some(unknown) => Err(Failure::usage(format!(
            "--without {unknown}: no cell has this label; there are {}",
            known.into_iter().collect::<Vec<_>>().join(", ")
        ))),
        None => Ok(()),
    }
}

impl<'a> Study<'a> {
    /// Rows without values, without a label or with one of `without` take no part.
    pub(crate) fn new(
        dataset: &'a Dataset,
        annotations: &'a Annotations,
        without: &[String],
    ) -> Result<Self, Failure> {
        let n = dataset.matrix.n_obs();
        check_without(annotations, n, without)?;
        let has_values = |row: usize| !dataset.matrix.values.row(row).1.is_empty();
        let label = |row: usize| {
            let label = annotations.label(row).filter(|_| has_values(row));
            label.filter(|label| !without.contains(label))
        };
        let labels: Vec<Option<String>> = (0..n).map(label).collect();
        let mut names: Vec<String> = labels.iter().flatten().cloned().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            return Err(Failure::input(format!(
                "{}: at least two cell types are needed, see --labels",
                dataset.matrix.source.path.display()
            )));
        }
        let classes = labels
            .iter()
            .map(|label| label.as_ref().and_then(|label| names.binary_search(label).ok()))
            .collect();
        Ok(Self { dataset, annotations, names, classes })
    }

    /// Says how many rows take no part.
    pub(crate) fn tell_left_out(&self) {
        let n = self.classes.iter().filter(|class| class.is_none()).count();
        if n > 0 {
            tell(format_args!(
                "note: {n} of {} rows have no label, or no values, or are left out; they take no part, \
                 while cic train uses rows without a label for reproduction",
                self.classes.len()
            ));
        }
    }

    /// Every row; those that take part have a label.
    pub(crate) fn part_rows(&self) -> Vec<PartRow<'_>> {
        part_rows(self.dataset, &self.annotations.groups, |row| self.classes[row])
    }

    /// Trains on all training rows of a division, on one thread.
    pub(crate) fn train(&self, resplit: &Resplit, recipe: Recipe<'_>) -> Result<Held, Failure> {
        let mut split = vec![None; self.classes.len()];
        resplit.train.iter().for_each(|&row| split[row] = Some(SplitPart::Train));
        resplit.test.iter().for_each(|&row| split[row] = Some(SplitPart::Test));
        let annotations = Annotations { split: Some(split), ..self.annotations.clone() };
        let trained = train_model(TrainPlan {
            dataset: self.dataset,
            annotations: &annotations,
            keep: None,
            library: Library::Panel,
            recipe,
            trains_on_calibration: true,
            threads: 1,
            checkpoint: None,
            quiet: true,
        })?;
        let bytes = trained.spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
        let bytes = AlignedBytes::new(&bytes);
        let model = Model::open_verified(&bytes).map_err(Failure::internal)?;
        let cells = self.dataset.align(&model)?;
        let train = Profiles::read(&model, &cells, resplit.train.clone());
        let test = Profiles::read(&model, &cells, resplit.test.clone());
        let class = |row: &usize| self.classes[*row].unwrap_or(0);
        let train_classes = train.rows.iter().map(class).collect();
        let truth = test.rows.iter().map(class).collect();
        let leaves = (0..model.labels().n_leaves())
            .map(|leaf| {
                let name = model.labels().leaf_name(leaf);
                self.names.iter().position(|known| known == name).unwrap_or(0)
            })
            .collect();
        let genes = train.most_variable(N_GENES);
        let mean = train.mean();
        let mean = genes.iter().map(|&gene| mean[gene]).collect();
        let scored = genes_of(&test.matrix(), &genes);
        let code_dim = model.code_dim();
        drop(model);
        Ok(Held {
            trained,
            bytes,
            code_dim,
            cells,
            train,
            test,
            train_classes,
            truth,
            genes,
            mean,
            scored,
            leaves,
        })
    }
}

impl Held {
    /// What a model of the same panel and labels, in whatever precision, makes of rows.
    pub(crate) fn outputs(
        &self,
        bytes: &AlignedBytes,
        of: &Profiles,
    ) -> Result<ModelOutputs, Failure> {
        let model = Model::open_verified(bytes).map_err(Failure::internal)?;
        run_model(&model, &self.cells, of)
    }

    /// The classes that were called.
    pub(crate) fn called(&self, outputs: &ModelOutputs) -> Vec<usize> {
        outputs.leaves.iter().map(|&leaf| self.leaves[leaf]).collect()
    }

    /// R2 of reproduced test profiles `[n × n_genes]`, on the genes that count, against the training mean.
    pub(crate) fn r2(&self, reproduced: &Mat<f64>) -> f64 {
        let all: Vec<usize> = (0..self.truth.len()).collect();
        scores(&self.scored, &genes_of(reproduced, &self.genes), &self.mean, &all).r2
    }
}

/// What was called for what.
pub(crate) fn confusion(truth: &[usize], called: &[usize], n_classes: usize) -> Confusion {
    let mut confusion = Confusion::new(n_classes);
    truth.iter().zip(called).for_each(|(&truth, &called)| confusion.add(truth, Some(called)));
    confusion
}
