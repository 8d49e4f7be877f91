//! Everything that the page tells, measured once.

use std::collections::{BTreeMap, BTreeSet};

use cic_data::AlignedMatrix;
use cic_model::{Model, StageKind};
use cic_quant::{Comparison, compare};
use cic_trainer::baselines;
use cic_trainer::neighbour_map::neighbour_map;
use cic_trainer::pipeline::data_digest;
use cic_trainer::separation::{Separation, separation};
use faer::Mat;
use serde_json::Value;

use super::ReportArgs;
use super::explained::Explained;
use crate::dataset::{Annotations, Dataset};
use crate::digests::file_sha256;
use crate::evaluate::{Assessment, assess};
use crate::failure::Failure;
use crate::noise::{BEST_NAME, Found, Kind, Plan, REFITTED_NAME, measure};
use crate::profiles::N_GENES;
use crate::promises::evenly;
use crate::reproduce::{self, Study, train_and_test};
use crate::{check, unseen};

/// What is looked at.
pub(super) struct Sources<'a> {
    pub(super) args: &'a ReportArgs,
    pub(super) model: &'a Model<'a>,
    /// Size of its file.
    pub(super) model_bytes: usize,
    pub(super) quantized: Option<&'a Model<'a>>,
    pub(super) quantized_bytes: usize,
    pub(super) dataset: &'a Dataset,
    pub(super) annotations: &'a Annotations,
    pub(super) cells: &'a AlignedMatrix,
}

/// Files of other commands, where they were given.
pub(super) struct Extras {
    pub(super) unseen: Option<unseen::Report>,
    pub(super) explained: Option<Explained>,
}

/// What was found. Figures are of the test rows alone.
pub(super) struct Findings {
    /// What the file holds, as `cic check --json` says.
    pub(super) file: Value,
    /// Of files, not of folders.
    pub(super) file_sha256: Option<String>,
    /// Whether names and values are those that the model was trained with.
    pub(super) is_training_file: bool,
    /// Cells of each label, for training and for testing.
    pub(super) labels: BTreeMap<String, (usize, usize)>,
    pub(super) n_train: usize,
    /// Test rows of the file, in its order.
    pub(super) rows: Vec<usize>,
    /// Labels of the test rows.
    pub(super) truth: Vec<Option<String>>,
    /// Labels of the model.
    leaves: Vec<String>,
    pub(super) assessment: Assessment,
    pub(super) map: CodeMap,
    /// `None` for a model without a decoder.
    pub(super) reproduction: Option<Reproduction>,
    pub(super) noise: Noise,
    pub(super) quantization: Option<Quantization>,
    pub(super) extras: Extras,
}

/// Codes in the plane.
pub(super) struct CodeMap {
    /// Which of the test rows: all, or some evenly.
    pub(super) chosen: Vec<usize>,
    /// `[n × 2]`
    pub(super) places: Mat<f64>,
}

/// How profiles come back, and how types lie, beside principal components.
pub(super) struct Reproduction {
    pub(super) report: reproduce::Report,
    /// Whether that is of all training and test rows, or of some.
    pub(super) is_all: bool,
    pub(super) types: Vec<TypePlace>,
}

/// How the cells of a type lie among the others.
pub(super) struct TypePlace {
    pub(super) label: String,
    pub(super) n: usize,
    pub(super) by_code: Separation,
    pub(super) by_pca: Separation,
}

/// What rounding the numbers changed.
pub(super) struct Quantization {
    pub(super) assessment: Assessment,
    pub(super) comparison: Comparison,
}

/// Points of a map at most: its time goes with their square.
const MOST_POINTS: usize = 2000;

/// Where profiles are compared with one another, time and memory go with the square of the test rows.
const MOST_TEST_PROFILES: usize = 4000;

/// What other methods are fitted to is held in memory several times.
const MOST_TRAINING_PROFILES: usize = 20_000;

/// Neighbours that are looked at.
pub(super) const N_NEIGHBOURS: usize = 15;

impl Findings {
    pub(super) fn gather(sources: &Sources<'_>, extras: Extras) -> Result<Self, Failure> {
        let &Sources { args, model, dataset, annotations, cells, .. } = sources;
        let (train, rows) = train_and_test(model, dataset, annotations.split.as_deref())?;
        let path = args.data.data.display();
        if rows.is_empty() {
            return Err(Failure::input(format!(
                "{path}: has no test row; the page is about cells that the model was not trained on: \
                 name some with --split"
            )));
        }
        let truth: Vec<Option<String>> = rows.iter().map(|&row| annotations.label(row)).collect();
        if truth.iter().all(Option::is_none) {
            return Err(Failure::input(format!(
                "{path}: none of the {} test rows has a label; is {:?} the right column, and the \
                 split that of this file?",
                rows.len(),
                args.labels.labels.as_deref().unwrap_or("")
            )));
        }
        let mut labels: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for label in train.iter().filter_map(|&row| annotations.label(row)) {
            labels.entry(label).or_default().0 += 1;
        }
        for label in truth.iter().flatten() {
            labels.entry(label.clone()).or_default().1 += 1;
        }
        let names: Vec<&str> =
            rows.iter().map(|&row| dataset.matrix.obs_names[row].as_str()).collect();
        let assess = |model| assess(model, cells, &rows, &names, &truth, "test", false);
        let assessment = assess(model)?;
        let quantization = match sources.quantized {
            Some(quantized) => Some(Quantization {
                assessment: assess(quantized)?,
                comparison: compare(model, quantized, cells, &rows).map_err(Failure::internal)?,
            }),
            None => None,
        };
        let noise = Noise::measure(sources, &train, &rows)?;
        let reproduction = match model.stage(StageKind::Decoder).is_empty() {
            true => None,
            false => Some(Reproduction::measure(sources, &train, &rows)?),
        };
        let is_training_file =
            model.provenance().value("data.digest") == Some(&data_digest(&dataset.matrix));
        Ok(Self {
            file: check::describe(dataset, args.data.values.kind)?,
            file_sha256: args
                .data
                .data
                .is_file()
                .then(|| file_sha256(&args.data.data))
                .transpose()?,
            is_training_file,
            labels,
            n_train: train.len(),
            map: CodeMap::draw(model, &assessment)?,
            rows,
            truth,
            leaves: (0..model.n_leaves())
                .map(|leaf| model.labels().leaf_name(leaf).to_owned())
                .collect(),
            assessment,
            reproduction,
            noise,
            quantization,
            extras,
        })
    }

    /// Whether a test row has the label that it was called; a refused one has none.
    pub(super) fn called_right(&self, at: usize) -> bool {
        let call = &self.assessment.calls.calls[at];
        let called = call.best().map(|leaf| self.leaves[leaf].as_str());
        call.reject.is_none() && called.is_some() && called == self.truth[at].as_deref()
    }

    /// Labels that the map shows, each with a colour of its own.
    pub(super) fn test_labels(&self) -> BTreeSet<&str> {
        self.truth.iter().flatten().map(String::as_str).collect()
    }
}

impl CodeMap {
    fn draw(model: &Model<'_>, assessment: &Assessment) -> Result<Self, Failure> {
        let (calls, d) = (&assessment.calls, model.code_dim());
        let chosen = evenly(&(0..calls.calls.len()).collect::<Vec<_>>(), MOST_POINTS);
        let codes =
            Mat::from_fn(chosen.len(), d, |at, dim| f64::from(calls.codes[chosen[at] * d + dim]));
        let places = neighbour_map(codes.as_ref()).map_err(Failure::internal)?;
        Ok(Self { chosen, places })
    }
}

impl Reproduction {
    fn measure(sources: &Sources<'_>, train: &[usize], test: &[usize]) -> Result<Self, Failure> {
        let &Sources { model, dataset, annotations, cells, .. } = sources;
        let parts = (evenly(train, MOST_TRAINING_PROFILES), evenly(test, MOST_TEST_PROFILES));
        let is_all = (parts.0.len(), parts.1.len()) == (train.len(), test.len());
        let study = Study::new(model, dataset, cells, parts, N_GENES)?;
        let report = study.report(&annotations.groups, annotations)?;
        Ok(Self { report, is_all, types: types(&study, annotations) })
    }
}

/// What became of calls and codes of test cells that were spoiled.
pub(super) struct Noise {
    pub(super) found: Found,
    /// Their names among the methods.
    pub(super) models: Vec<String>,
    /// Whether that is of all test rows, or of some.
    pub(super) is_all: bool,
}

/// Ways of spoiling that the page shows.
const NOISES: [Kind; 3] = [Kind::Thinning, Kind::Gaussian, Kind::Genes];

/// What linear methods are fitted to for each set of lost genes.
const MOST_REFITTED: usize = 5000;

impl Noise {
    fn measure(sources: &Sources<'_>, train: &[usize], test: &[usize]) -> Result<Self, Failure> {
        let &Sources { model, dataset, annotations, cells, .. } = sources;
        let models = [model].into_iter().chain(sources.quantized);
        let models: Vec<_> = models.map(|model| (model.dtype().name().to_owned(), model)).collect();
        let names = models.iter().map(|(name, _)| name.clone()).collect();
        let some = evenly(test, MOST_TEST_PROFILES);
        let is_all = some.len() == test.len();
        let found = measure(&Plan {
            models,
            dataset,
            annotations,
            cells,
            train: evenly(train, MOST_REFITTED),
            test: some,
            kinds: &NOISES,
            repeats: 1,
            seed: 1,
            quiet: true,
        })?;
        Ok(Self { found, models: names, is_all })
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.found.levels.iter().any(|level| level.kind() == kind.name())
    }

    /// Whether linear methods had something to learn from.
    pub(super) fn has_linear(&self) -> bool {
        let mut levels = self.found.levels.iter();
        levels.any(|level| level.mean(BEST_NAME, "accuracy").is_finite())
    }

    /// Names of linear methods that have calls of cells spoiled like this.
    pub(super) fn linear(&self, kind: Kind) -> Vec<&'static str> {
        let all = [Some(BEST_NAME), (kind == Kind::Genes).then_some(REFITTED_NAME)];
        all.into_iter().flatten().filter(|_| self.has_linear()).collect()
    }
}

fn types(study: &Study<'_>, annotations: &Annotations) -> Vec<TypePlace> {
    let labels: Vec<Option<String>> =
        study.test.rows.iter().map(|&row| annotations.label(row)).collect();
    let labelled: Vec<usize> = (0..labels.len()).filter(|&at| labels[at].is_some()).collect();
    let names: BTreeSet<&str> = labels.iter().flatten().map(String::as_str).collect();
    let groups: Vec<usize> = (labelled.iter())
        .filter_map(|&at| names.iter().position(|name| labels[at].as_deref() == Some(name)))
        .collect();
    let components = baselines::pca_scores(&study.pca, study.test.matrix().as_ref());
    let of_labelled = |all: &Mat<f64>| {
        Mat::from_fn(labelled.len(), all.ncols(), |at, dim| all[(labelled[at], dim)])
    };
    let (codes, components) = (of_labelled(&study.outputs.codes), of_labelled(&components));
    let types = names.iter().enumerate().map(|(group, name)| {
        let n = groups.iter().filter(|&&of| of == group).count();
        // Of a type with fewer cells, all of its own could be among them.
        let n_neighbours = N_NEIGHBOURS.min(n.saturating_sub(1));
        let place = |points: &Mat<f64>| separation(points.as_ref(), &groups, group, n_neighbours);
        let (by_code, by_pca) = (place(&codes), place(&components));
        TypePlace { label: (*name).to_owned(), n, by_code, by_pca }
    });
    types.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rows_are_chosen_at_even_distances() {
        assert_eq!(evenly(&[3, 5, 9], 3), [3, 5, 9]);
        assert_eq!(evenly(&(0..10).collect::<Vec<_>>(), 4), [0, 2, 5, 7]);
        assert_eq!(evenly(&[], 4), [0; 0]);
    }
}
