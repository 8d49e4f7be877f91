//! Models and linear methods on the same samples, as measured and spoiled.

use std::collections::BTreeSet;

use cic_data::AlignedMatrix;
use cic_model::{AlignedBytes, Model, ValueKind};
use cic_trainer::Pca;
use cic_trainer::baselines::{self, Contender, Fitted, Labelled, Prepared};
use cic_trainer::noise::CodeShift;
use cic_trainer::resplits::folds;
use rayon::prelude::*;

use super::figures::{
    Bench, Contestant, Figures, of_classifier, of_components, of_refitted, type_cells,
};
use super::levels::Level;
use super::spoil::{Condition, Held, Inputs, Kind, reads_inputs};
use crate::console::tell;
use crate::countdown::Countdown;
use crate::dataset::{Annotations, Dataset, model_kind};
use crate::failure::Failure;
use crate::profiles::{N_GENES, Profiles};
use crate::study::{INNER_FOLDS, part_rows};

/// What is spoiled, how, and who takes part.
pub(crate) struct Plan<'a> {
    /// Of one panel, with names for tables.
    pub(crate) models: Vec<(String, &'a Model<'a>)>,
    pub(crate) dataset: &'a Dataset,
    pub(crate) annotations: &'a Annotations,
    pub(crate) cells: &'a AlignedMatrix,
    pub(crate) train: Vec<usize>,
    pub(crate) test: Vec<usize>,
    /// All of them where there is none.
    pub(crate) kinds: &'a [Kind],
    pub(crate) repeats: usize,
    pub(crate) seed: u64,
    pub(crate) quiet: bool,
}

/// What was found.
pub(crate) struct Found {
    /// Labelled rows with values.
    pub(crate) n_train: usize,
    pub(crate) n_test: usize,
    pub(crate) n_classes: usize,
    pub(crate) n_genes_reproduced: usize,
    /// The linear method that cross-validation on training rows chose.
    pub(crate) best_linear: Option<String>,
    /// The clean samples first; nothing where there are fewer than two test rows.
    pub(crate) levels: Vec<Level>,
    pub(crate) skipped: Vec<String>,
}

/// As in `cic compare`.
const LOGISTIC: Contender = Contender::Logistic(0.1);

pub(crate) const BEST_NAME: &str = "best linear";
pub(crate) const REFITTED_NAME: &str = "logistic, refitted";

/// Types the test rows under every condition.
pub(crate) fn measure(plan: &Plan<'_>) -> Result<Found, Failure> {
    let (_, model) = plan.models.first().ok_or_else(|| Failure::internal("no model"))?;
    let annotations = plan.annotations;
    let labelled = |rows: &[usize]| -> Profiles {
        let rows = rows.iter().copied().filter(|&row| annotations.label(row).is_some());
        Profiles::read(model, plan.cells, rows.collect())
    };
    let (train, test) = (labelled(&plan.train), labelled(&plan.test));
    let names = ClassNames::new(annotations, &train.rows, &test.rows);
    let class_of = |row| annotations.label(row).and_then(|label: String| names.class(&label));
    // Each of these rows has a label, and each label a class.
    let classes = |rows: &[usize]| -> Vec<usize> {
        rows.iter().map(|&row| class_of(row).unwrap_or(0)).collect()
    };
    let (train_classes, truth) = (classes(&train.rows), classes(&test.rows));
    // Linear methods need something to learn from; without it the genes are known from the test rows.
    let can_learn = train.rows.len() >= LEAST_TRAIN && names.n_trained > 1;
    let known = if can_learn { &train } else { &test };
    let of_labels = Labelled {
        values: &train.values,
        n_genes: train.n_genes,
        classes: &train_classes,
        n_classes: names.n_trained,
    };
    let n_classes = names.all.len();
    if test.rows.len() < 2 {
        return Ok(Found {
            n_train: train.rows.len(),
            n_test: test.rows.len(),
            n_classes,
            n_genes_reproduced: 0,
            best_linear: None,
            levels: Vec::new(),
            skipped: Vec::new(),
        });
    }
    let k = model.code_dim();
    let chosen = match can_learn {
        true => {
            let rows = part_rows(plan.dataset, &[], class_of);
            let inner = folds(&rows, &train.rows, INNER_FOLDS, plan.seed);
            Some(baselines::choose(of_labels, &inner, k).map_err(Failure::internal)?)
        }
        false => None,
    };
    let prepared = match can_learn {
        true => Some(Prepared::new(of_labels, k).map_err(Failure::internal)?),
        false => None,
    };
    let held = Held::new(model, plan.cells, &test.rows, known, plan.seed);
    let linear = match &prepared {
        Some(prepared) => Some(Linear::fit(prepared, chosen, of_labels, &test, k)?),
        None => None,
    };
    let readers: Vec<AlignedBytes> =
        plan.models.iter().map(|(_, model)| reads_inputs(model)).collect::<Result<_, _>>()?;
    let readers: Vec<Model<'_>> = readers
        .iter()
        .map(|bytes| Model::open_verified(bytes))
        .collect::<Result<_, _>>()
        .map_err(Failure::internal)?;
    let study = Study {
        models: contestants(plan, &readers, &names, &held)?,
        linear,
        held,
        truth,
        n_classes,
        genes: known.most_variable(N_GENES),
        mean: known.mean(),
    };
    let (conditions, skipped) = conditions(plan, model_kind(model)?);
    let figures = study.run(&conditions, plan.quiet)?;
    Ok(Found {
        n_train: train.rows.len(),
        n_test: test.rows.len(),
        n_classes,
        n_genes_reproduced: study.genes.len(),
        best_linear: chosen.map(|chosen| chosen.name()),
        levels: levels(&conditions, &study.names(), &figures),
        skipped,
    })
}

/// Training rows that linear methods need.
pub(crate) const LEAST_TRAIN: usize = 10;

/// Everything that is compared.
struct Study<'a> {
    models: Vec<Contestant<'a>>,
    linear: Option<Linear<'a>>,
    held: Held<'a>,
    truth: Vec<usize>,
    n_classes: usize,
    genes: Vec<usize>,
    mean: Vec<f32>,
}

/// Linear methods, fitted on clean training rows.
struct Linear<'a> {
    classifiers: Vec<(&'static str, Fitted<'a>)>,
    train: Labelled<'a>,
    pca: Pca,
    pca_shift: CodeShift,
}

impl<'a> Linear<'a> {
    fn fit(
        prepared: &'a Prepared,
        chosen: Option<Contender>,
        train: Labelled<'a>,
        test: &Profiles,
        n_components: usize,
    ) -> Result<Self, Failure> {
        let all = chosen.map(|chosen| (BEST_NAME, chosen)).into_iter();
        let classifiers = all
            .chain([("logistic regression", LOGISTIC)])
            .map(|(name, contender)| Ok((name, prepared.fit(contender)?)))
            .collect::<Result<_, _>>();
        let pca = baselines::pca(train.values, train.n_genes, n_components, 1)
            .map_err(Failure::internal)?;
        let scores = baselines::pca_scores(&pca, test.matrix().as_ref());
        Ok(Self {
            classifiers: classifiers
                .map_err(|error: cic_trainer::TrainError| Failure::internal(error))?,
            train,
            pca,
            pca_shift: CodeShift::new(scores),
        })
    }

    /// In the order of [`Linear::names`].
    fn figures(&self, condition: &Condition, present: &[bool], bench: &Bench<'_>) -> Vec<Figures> {
        let mut figures = vec![of_components(&self.pca, &self.pca_shift, bench)];
        figures.extend(self.classifiers.iter().map(|(_, fitted)| of_classifier(fitted, bench)));
        figures.push(match condition.kind {
            Some(Kind::Genes | Kind::LowGenes) => of_refitted(self.train, present, LOGISTIC, bench),
            _ => Figures::NONE,
        });
        figures
    }

    fn names(&self) -> Vec<String> {
        let classifiers = self.classifiers.iter().map(|(name, _)| *name);
        let all = ["PCA"].into_iter().chain(classifiers).chain([REFITTED_NAME]);
        all.map(String::from).collect()
    }
}

impl Study<'_> {
    /// Of the methods, in the order of [`Study::measure`].
    fn names(&self) -> Vec<String> {
        let models = self.models.iter().map(|model| model.name.clone());
        models.chain(self.linear.iter().flat_map(Linear::names)).collect()
    }

    /// Figures of all methods under each condition.
    fn run(&self, conditions: &[Condition], quiet: bool) -> Result<Vec<Vec<Figures>>, Failure> {
        let clean = self.inputs(&Condition::CLEAN).values;
        let countdown = Countdown::new(conditions.len());
        conditions
            .par_iter()
            .map(|condition| {
                let figures = self.measure(condition, &clean)?;
                countdown.step(|n, left| {
                    if !quiet && n.is_multiple_of(10) {
                        let all = conditions.len();
                        tell(format_args!("{n} of {all} conditions; about {left} s to go"));
                    }
                });
                Ok(figures)
            })
            .collect()
    }

    fn measure(&self, condition: &Condition, clean: &[f32]) -> Result<Vec<Figures>, Failure> {
        let spoiled = self.held.spoil(condition);
        let inputs = self.held.inputs(self.reader(spoiled.is_input), &spoiled);
        let present = &spoiled.cells.present;
        let kept: Vec<usize> = self.genes.iter().copied().filter(|&gene| present[gene]).collect();
        let bench = Bench {
            truth: &self.truth,
            n_classes: self.n_classes,
            clean,
            inputs: &inputs,
            genes: &self.genes,
            kept: &kept,
            mean: &self.mean,
        };
        let models = self.models.iter().map(|model| model.figures(&spoiled, &bench));
        let mut figures: Vec<Figures> = models.collect::<Result<_, _>>()?;
        let linear = self.linear.iter();
        figures.extend(linear.flat_map(|linear| linear.figures(condition, present, &bench)));
        Ok(figures)
    }

    fn inputs(&self, condition: &Condition) -> Inputs {
        let spoiled = self.held.spoil(condition);
        self.held.inputs(self.reader(spoiled.is_input), &spoiled)
    }

    /// A model that takes values as they are, or network inputs.
    fn reader(&self, is_input: bool) -> &Model<'_> {
        // There is a model at least; they read alike.
        let first = &self.models[0];
        if is_input { first.reader } else { first.model }
    }
}

fn contestants<'a>(
    plan: &Plan<'a>,
    readers: &'a [Model<'a>],
    names: &ClassNames,
    held: &Held<'_>,
) -> Result<Vec<Contestant<'a>>, Failure> {
    let clean: AlignedMatrix = held.spoil(&Condition::CLEAN).cells;
    let all = plan.models.iter().zip(readers);
    all.map(|((name, model), reader)| {
        let leaves = 0..model.n_leaves();
        Ok(Contestant {
            name: name.clone(),
            model,
            reader,
            classes: leaves.map(|leaf| names.class(model.labels().leaf_name(leaf))).collect(),
            shift: CodeShift::new(type_cells(model, &clean, |_, _| {})?.codes),
        })
    })
    .collect()
}

/// Classes by name, those that training rows have first.
struct ClassNames {
    all: Vec<String>,
    n_trained: usize,
}

impl ClassNames {
    fn new(annotations: &Annotations, train: &[usize], test: &[usize]) -> Self {
        let of = |rows: &[usize]| -> BTreeSet<String> {
            rows.iter().filter_map(|&row| annotations.label(row)).collect()
        };
        let (trained, tested) = (of(train), of(test));
        let n_trained = trained.len();
        let others: Vec<String> = tested.difference(&trained).cloned().collect();
        Self { all: trained.into_iter().chain(others).collect(), n_trained }
    }

    fn class(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|known| known == name)
    }
}

/// The clean samples, then every amount of every kind, repeats side by side.
fn conditions(plan: &Plan<'_>, kind: ValueKind) -> (Vec<Condition>, Vec<String>) {
    let mut skipped = Vec::new();
    let mut conditions = vec![Condition::CLEAN];
    let is_asked = |kind: &Kind| plan.kinds.is_empty() || plan.kinds.contains(kind);
    for of in Kind::ALL.into_iter().filter(is_asked) {
        if of == Kind::Thinning && kind != ValueKind::Counts {
            skipped.push(format!("thinning: the model reads {}, no counts", kind.name()));
            continue;
        }
        let repeats = if of.is_random() { plan.repeats } else { 1 };
        for step in 0..of.amounts().len() {
            conditions.extend((0..repeats).map(|repeat| Condition {
                kind: Some(of),
                step,
                repeat,
            }));
        }
    }
    (conditions, skipped)
}

fn levels(conditions: &[Condition], names: &[String], figures: &[Vec<Figures>]) -> Vec<Level> {
    let mut levels = Vec::new();
    let same = |a: &Condition, b: &Condition| (a.kind, a.step) == (b.kind, b.step);
    let mut begin = 0;
    for repeats in conditions.chunk_by(same) {
        let end = begin + repeats.len();
        let figures: Vec<&[Figures]> = figures[begin..end].iter().map(Vec::as_slice).collect();
        levels.push(Level::new(&repeats[0], names, &figures));
        begin = end;
    }
    levels
}
