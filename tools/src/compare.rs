//! `cic compare`: the classifier autoencoder beside linear methods, over many divisions of the data that all of them
//! share.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cic_data::SplitPart;
use cic_model::spec::NetworkSpec;
use cic_trainer::baselines::{
    self, Contender, Forest, Labelled, LinearClassifier, LinearLoss, Prepared, Reproducer,
    shrinkage_lda,
};
use cic_trainer::linear_path::LinearPath;
use cic_trainer::parts::PartRow;
use cic_trainer::resplits::{Paired, Resplit, folds, paired, resplits};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

use crate::console::{print, print_json, tell};
use crate::countdown::Countdown;
use crate::dataset::{Annotations, DataArgs, LabelArgs, SplitArgs};
use crate::failure::Failure;
use crate::output;
use crate::plots::{self, Axis, Estimate, ForestRow};
use crate::study::{Held, INNER_FOLDS, Study, confusion};
use crate::threads::ThreadArgs;
use crate::train::{RecipeArgs, check_interrupted};

/// Options of `cic compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// Column with donors, batches or studies, beside the
    /// labels: no group is on both sides of a division
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    groups: Option<String>,
    /// Labels that are no cell types, separated by commas:
    /// their rows take no part
    #[arg(long, value_name = "LABELS", value_delimiter = ',', verbatim_doc_comment)]
    without: Vec<String>,
    /// Random divisions into training and test rows; a
    /// split that is given is told beside them
    #[arg(long, value_name = "N", default_value_t = 20, verbatim_doc_comment)]
    resplits: usize,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Draw the differences here, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// What was found, as printed with `--json`.
#[derive(Serialize)]
struct Report {
    schema_version: u32,
    data: String,
    n_rows: usize,
    n_classes: usize,
    n_groups: usize,
    /// Divisions with different test rows: few, where there are few groups.
    n_distinct: usize,
    n_train: f64,
    n_test: f64,
    /// Genes of largest training variance that reproduction is measured on.
    n_genes: usize,
    divisions: Vec<Division>,
    /// The split that was given.
    stored: Option<Division>,
    comparisons: Vec<Comparison>,
}

/// One division.
#[derive(Serialize, Clone)]
struct Division {
    n_train: usize,
    n_test: usize,
    n_genes: usize,
    classified: Vec<Classified>,
    /// The linear method that cross-validation on training rows chose; `classified[1]` is its.
    chosen: String,
    r2_model: f64,
    /// Of its linear path alone; `null` without hidden layers on both sides of the code.
    r2_linear_path: f64,
    r2_pca: f64,
}

#[derive(Serialize, Clone)]
struct Classified {
    method: &'static str,
    accuracy: f64,
    macro_f1: f64,
}

/// Means over the divisions and their paired difference.
#[derive(Serialize)]
struct Comparison {
    what: &'static str,
    of: &'static str,
    against: &'static str,
    mean: f64,
    mean_against: f64,
    difference: f64,
    /// Half of the 95 % interval over these divisions.
    half_width: f64,
    /// The same for new samples (Nadeau, Bengio 2003).
    corrected_half_width: f64,
}

const MODEL: &str = "classifier autoencoder";
const BEST_LINEAR: &str = "best linear";

/// Divides, trains, compares and prints.
pub fn run(args: &CompareArgs) -> Result<(), Failure> {
    args.labels.require()?;
    args.recipe.recipe()?;
    if args.resplits < 2 {
        return Err(Failure::usage("--resplits: an interval needs at least 2"));
    }
    let outputs: Vec<&Path> = args.plot.iter().map(PathBuf::as_path).collect();
    output::check(&outputs, &[&args.data.data])?;
    let dataset = args.data.read()?;
    let groups = args.groups.as_deref();
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, groups)?;
    let study = Study::new(&dataset, &annotations, &args.without)?;
    if !args.quiet {
        study.tell_left_out();
    }
    let study = Comparing { args, study };
    let rows = study.study.part_rows();
    let all = resplits(&rows, args.resplits, args.recipe.seed);
    if let Some(empty) = all.iter().position(|one| one.test.is_empty() || one.train.len() < 10) {
        return Err(Failure::input(format!(
            "{}: division {} has {} training and {} test rows of known types; more rows or groups \
             are needed",
            args.data.data.display(),
            empty + 1,
            all[empty].train.len(),
            all[empty].test.len()
        )));
    }
    let n_distinct = all
        .iter()
        .map(|one| one.test.iter().collect::<BTreeSet<_>>())
        .collect::<BTreeSet<_>>()
        .len();
    let divisions = study.run(&rows, &all).map_err(|failure| match failure {
        Failure::Interrupted(_) => {
            Failure::Interrupted(anyhow::anyhow!("interrupted; nothing was kept"))
        }
        other => other,
    })?;
    let stored = study.stored(&rows)?;
    let report = study.report(divisions, n_distinct, stored);
    if let Some(path) = &args.plot {
        let svg = plots::standalone(&report.plot());
        output::write(path, |file| file.write_all(svg.as_bytes()))?;
    }
    match args.json {
        true => print_json(&report),
        false => print(|out| report.write(out)),
    }
}

struct Comparing<'a> {
    args: &'a CompareArgs,
    study: Study<'a>,
}

impl Comparing<'_> {
    /// Divisions side by side, one thread each.
    fn run(&self, rows: &[PartRow<'_>], all: &[Resplit]) -> Result<Vec<Division>, Failure> {
        let countdown = Countdown::new(all.len());
        self.args.threads.pool()?.install(|| {
            all.par_iter()
                .map(|resplit| {
                    let division = self.divide(rows, resplit)?;
                    countdown.step(|n, left| {
                        if !self.args.quiet {
                            let all = all.len();
                            tell(format_args!("{n} of {all} divisions; about {left} s to go"));
                        }
                    });
                    Ok(division)
                })
                .collect()
        })
    }

    /// The given split, as one more division.
    fn stored(&self, rows: &[PartRow<'_>]) -> Result<Option<Division>, Failure> {
        let Some(split) = &self.study.annotations.split else { return Ok(None) };
        let of = |part| -> Vec<usize> {
            (0..split.len())
                .filter(|&row| split[row] == Some(part) && self.study.classes[row].is_some())
                .collect()
        };
        let stored = Resplit::of_known(rows, of(SplitPart::Train), of(SplitPart::Test));
        if stored.test.is_empty() || stored.train.len() < 10 {
            return Ok(None);
        }
        self.divide(rows, &stored).map(Some)
    }

    fn divide(&self, rows: &[PartRow<'_>], resplit: &Resplit) -> Result<Division, Failure> {
        let args = self.args;
        let held = self.study.train(resplit, args.recipe.recipe()?)?;
        let Held { train, test, train_classes, truth, code_dim, .. } = &held;
        let outputs = held.outputs(&held.bytes, test)?;
        let called = held.called(&outputs);
        let n_classes = self.study.names.len();
        let mut classified = vec![score(MODEL, truth, &called, n_classes)];

        let labelled = Labelled {
            values: &train.values,
            n_genes: train.n_genes,
            classes: train_classes,
            n_classes,
        };
        let failed = Failure::internal;
        let inner = folds(rows, &train.rows, INNER_FOLDS, args.recipe.seed);
        check_interrupted()?;
        let chosen = baselines::choose(labelled, &inner, *code_dim).map_err(failed)?;
        let prepared = Prepared::new(labelled, *code_dim).map_err(failed)?;
        let called = prepared.classify(chosen, &test.values).map_err(failed)?;
        classified.push(score(BEST_LINEAR, truth, &called, n_classes));
        for (method, contender) in [
            ("logistic regression", Contender::Logistic(0.1)),
            ("linear SVM", Contender::Svm(0.01)),
            ("shrinkage LDA", Contender::Lda),
            ("PCA, logistic regression", Contender::PcaLogistic(1.0)),
            ("PCA, 5 neighbours", Contender::PcaNeighbours(5)),
        ] {
            check_interrupted()?;
            if let Ok(called) = prepared.classify(contender, &test.values) {
                classified.push(score(method, truth, &called, n_classes));
            }
        }
        check_interrupted()?;
        let train_codes = held.outputs(&held.bytes, train)?.codes;
        let (x, y) = (train_codes.as_ref(), outputs.codes.as_ref());
        let forest = Forest::fit(x, train_classes, args.recipe.seed).map_err(failed)?;
        let called = forest.predict(y).map_err(failed)?;
        classified.push(score("codes, random forest", truth, &called, n_classes));
        let svm = LinearClassifier::fit(x, train_classes, n_classes, LinearLoss::SquaredHinge, 1.0);
        classified.push(score(
            "codes, linear SVM",
            truth,
            &svm.map_err(failed)?.predict(y),
            n_classes,
        ));
        if let Ok(lda) = shrinkage_lda(x, train_classes, n_classes) {
            classified.push(score("codes, shrinkage LDA", truth, &lda.predict(y), n_classes));
        }

        let profiles = test.matrix();
        let pca = baselines::pca(&train.values, train.n_genes, *code_dim, 1).map_err(failed)?;
        let linear_path = match &held.trained.spec.network {
            NetworkSpec::F32(network) => LinearPath::of(network, train.matrix().as_ref()),
            _ => None,
        };
        Ok(Division {
            n_train: train.rows.len(),
            n_test: test.rows.len(),
            n_genes: held.genes.len(),
            classified,
            chosen: chosen.name(),
            r2_model: held.r2(&outputs.reproduced),
            r2_linear_path: linear_path
                .map_or(f64::NAN, |path| held.r2(&path.reproduce(profiles.as_ref()))),
            r2_pca: held.r2(&pca.reproduce(profiles.as_ref())),
        })
    }

    fn report(
        &self,
        divisions: Vec<Division>,
        n_distinct: usize,
        stored: Option<Division>,
    ) -> Report {
        let mean = |of: &dyn Fn(&Division) -> f64| {
            divisions.iter().map(of).sum::<f64>() / divisions.len() as f64
        };
        let (n_train, n_test) = (mean(&|one| one.n_train as f64), mean(&|one| one.n_test as f64));
        type Value = fn(&Division) -> f64;
        let pairs: [(&str, &str, &str, Value, Value); 4] = [
            (
                "accuracy",
                MODEL,
                BEST_LINEAR,
                |one| one.classified[0].accuracy,
                |one| one.classified[1].accuracy,
            ),
            (
                "macro-F1",
                MODEL,
                BEST_LINEAR,
                |one| one.classified[0].macro_f1,
                |one| one.classified[1].macro_f1,
            ),
            ("R2", MODEL, "its linear path", |one| one.r2_model, |one| one.r2_linear_path),
            ("R2", MODEL, "PCA", |one| one.r2_model, |one| one.r2_pca),
        ];
        let comparisons = pairs.map(|(what, of, against, a, b)| {
            let values = |f: Value| -> Vec<f64> { divisions.iter().map(f).collect() };
            let Paired { mean: difference, half_width, corrected_half_width } =
                paired(&values(a), &values(b), n_test / n_train);
            let (mean, mean_against) = (mean(&a), mean(&b));
            Comparison {
                what,
                of,
                against,
                mean,
                mean_against,
                difference,
                half_width,
                corrected_half_width,
            }
        });
        let rows =
            || (0..self.study.classes.len()).filter(|&row| self.study.classes[row].is_some());
        let groups: BTreeSet<Option<&String>> = rows()
            .filter_map(|row| self.study.annotations.groups.get(row))
            .map(Option::as_ref)
            .collect();
        Report {
            schema_version: 1,
            data: self.args.data.data.display().to_string(),
            n_rows: rows().count(),
            n_classes: self.study.names.len(),
            n_groups: groups.len(),
            n_distinct,
            n_train,
            n_test,
            n_genes: divisions.first().map_or(0, |one| one.n_genes),
            divisions,
            stored,
            comparisons: comparisons.into(),
        }
    }
}

fn score(method: &'static str, truth: &[usize], called: &[usize], n_classes: usize) -> Classified {
    let confusion = confusion(truth, called, n_classes);
    Classified { method, accuracy: confusion.accuracy(), macro_f1: confusion.macro_f1() }
}

impl Report {
    /// The paired differences with both intervals.
    fn plot(&self) -> String {
        let row = |one: &Comparison| {
            let with = |half: f64| {
                let interval = Some((one.difference - half, one.difference + half));
                Some(Estimate { value: one.difference, interval })
            };
            ForestRow {
                name: format!("{} against {}", one.what, one.against),
                estimates: vec![with(one.half_width), with(one.corrected_half_width)],
            }
        };
        let figure = plots::Forest {
            title: "Classifier autoencoder, difference to others".into(),
            axis: Axis { label: "difference, 95 % interval".into(), ..Axis::default() },
            groups: vec!["over these divisions".into(), "for new samples".into()],
            rows: self.comparisons.iter().map(row).collect(),
        };
        figure.svg()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let groups =
            if self.n_groups > 0 { format!(" in {} groups", self.n_groups) } else { String::new() };
        let distinct = match self.n_distinct < self.divisions.len() {
            true => format!(" ({} different ones)", self.n_distinct),
            false => String::new(),
        };
        writeln!(
            out,
            "{} rows of {} types{groups}; {} divisions{distinct} of about {:.0} training and {:.0} test rows\n",
            self.n_rows,
            self.n_classes,
            self.divisions.len(),
            self.n_train,
            self.n_test
        )?;
        let methods = self.divisions.iter().map(|one| &one.classified).max_by_key(|of| of.len());
        writeln!(
            out,
            "{:28}  {:>8}  {:>8}  {:>16}",
            "mean over the divisions",
            "accuracy",
            "macro-F1",
            if self.stored.is_some() { "the given split" } else { "" }
        )?;
        for Classified { method, .. } in methods.into_iter().flatten() {
            let of = |division: &Division| -> Option<Classified> {
                division.classified.iter().find(|one| one.method == *method).cloned()
            };
            let all: Vec<Classified> = self.divisions.iter().filter_map(of).collect();
            let mean =
                |f: fn(&Classified) -> f64| all.iter().map(f).sum::<f64>() / all.len() as f64;
            let stored =
                self.stored.as_ref().and_then(of).map_or(String::new(), |one| {
                    format!("{:.4}  {:.4}", one.accuracy, one.macro_f1)
                });
            let line = format!(
                "{method:28}  {:>8.4}  {:>8.4}  {stored:>16}",
                mean(|one| one.accuracy),
                mean(|one| one.macro_f1)
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        let mut chosen: BTreeMap<&str, usize> = BTreeMap::new();
        self.divisions.iter().for_each(|one| *chosen.entry(&one.chosen).or_default() += 1);
        let chosen: Vec<String> = chosen.iter().map(|(name, n)| format!("{name} ({n})")).collect();
        writeln!(
            out,
            "\nbest linear by cross-validation on training rows: {}\n",
            chosen.join(", ")
        )?;
        writeln!(
            out,
            "{:9} {:>9}  {:28}  {:>10}  {:>16}  {:>16}",
            "", "of model", "against", "difference", "95 % interval", "for new samples"
        )?;
        for one in &self.comparisons {
            let interval =
                |half: f64| format!("{:+.4} {:+.4}", one.difference - half, one.difference + half);
            writeln!(
                out,
                "{:9} {:>9.4}  {:28}  {:>+10.4}  {:>16}  {:>16}",
                one.what,
                one.mean,
                format!("{} {:.4}", one.against, one.mean_against),
                one.difference,
                interval(one.half_width),
                interval(one.corrected_half_width)
            )?;
        }
        if let Some(stored) = &self.stored {
            writeln!(
                out,
                "\nthe given split ({} and {} rows): R2 {:.4}, of its linear path {:.4}, of PCA {:.4}; best \
                 linear: {}",
                stored.n_train,
                stored.n_test,
                stored.r2_model,
                stored.r2_linear_path,
                stored.r2_pca,
                stored.chosen
            )?;
        }
        writeln!(
            out,
            "\nModels are trained on all training rows, also those that cic train keeps for calibration. Macro-F1: over \
             types that occur or are called.\nIntervals are of the paired difference over the divisions; those for new samples \
             are wider because divisions share\nrows (Nadeau, Bengio 2003). R2 is against the \
             training mean, of the {} genes of largest training variance.",
            self.n_genes
        )
    }
}
