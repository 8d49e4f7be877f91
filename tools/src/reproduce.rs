//! `cic reproduce`: how well profiles that a model never saw come back from their codes, beside other methods with as
//! many numbers, and beside how near other profiles are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use cic_data::{AlignedMatrix, SplitPart};
use cic_model::provenance::{Part, row_digest};
use cic_model::{Model, StageKind};
use cic_trainer::Pca;
use cic_trainer::baselines::{self, Kernel, KernelPca, Nmf, Reproducer};
use cic_trainer::metrics::ReconstructionScores;
use cic_trainer::reproduction::{Samples, nearest_other, own_ranks};
use clap::Args;
use faer::Mat;
use rayon::prelude::*;
use serde::Serialize;

use crate::console::{print, print_json, tell};
use crate::dataset::{Annotations, DataArgs, Dataset, LabelArgs, SplitArgs};
use crate::denoise::{Denoised, Reproduced, by_sample, mse};
use crate::failure::Failure;
use crate::model_file;
use crate::profiles::{ModelOutputs, Profiles, genes_of, run_model, scores};
use crate::seen::tell_if_seen;
use crate::totals::TotalArgs;

/// Options of `cic reproduce`.
#[derive(Args, Clone, Debug)]
pub struct ReproduceArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    split: SplitArgs,
    /// The model, with its decoder
    #[arg(long, short, value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    totals: TotalArgs,
    /// Most variable genes, which count
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    genes: u32,
    /// Column beside the labels, with the same text for
    /// technical replicates of a sample; several columns,
    /// separated by commas, where all texts count. Of the
    /// test rows, each replicate is also compared with
    /// what comes back from the code of another
    #[arg(long, value_name = "KEYS", value_delimiter = ',', verbatim_doc_comment)]
    replicates: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found, as printed with `--json`.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) model_id: String,
    pub(crate) dtype: &'static str,
    pub(crate) code_dim: usize,
    pub(crate) n_train: usize,
    pub(crate) n_test: usize,
    pub(crate) n_genes: usize,
    pub(crate) methods: Vec<Method>,
    pub(crate) nearest_other: Nearness,
    pub(crate) replicates: Option<Nearness>,
    pub(crate) denoised: Option<Denoised>,
    pub(crate) types: Vec<TypeReport>,
    pub(crate) skipped: Vec<String>,
}

/// How well a method reproduces the test profiles.
#[derive(Serialize)]
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) pearson: f64,
    pub(crate) spearman: f64,
    pub(crate) mse: f64,
    pub(crate) r2: f64,
    /// Share of reproductions that are nearer to their own profile than to any other, by Spearman's correlation.
    pub(crate) nearest_by_spearman: f64,
    /// The same by squared error.
    pub(crate) nearest_by_error: f64,
    /// Median rank of the own profile.
    pub(crate) median_rank_by_spearman: f64,
    pub(crate) median_rank_by_error: f64,
}

/// How near profiles are to one another.
#[derive(Serialize)]
pub(crate) struct Nearness {
    pub(crate) n: usize,
    pub(crate) median_spearman: f64,
    pub(crate) median_mse: f64,
}

/// How well the model reproduces the profiles of one type.
#[derive(Serialize)]
pub(crate) struct TypeReport {
    pub(crate) label: String,
    pub(crate) n: usize,
    pub(crate) pearson: f64,
    pub(crate) spearman: f64,
    pub(crate) mse: f64,
    pub(crate) r2: f64,
}

/// Kernel components take time and memory of the square of the rows and more; beyond so many, as many of them, evenly.
const MOST_KERNEL_ROWS: usize = 2_000;

/// Training rows whose sums are searched for the nearest.
const MOST_SPANNING_ROWS: usize = 1_000;

/// Reproduces, compares and prints.
pub fn run(args: &ReproduceArgs) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    if model.stage(StageKind::Decoder).is_empty() {
        return Err(Failure::Model(anyhow::anyhow!(
            "{}: it has no decoder, so nothing can be reproduced; cic-quantize keeps it without \
             --no-decoder",
            args.model.display()
        )));
    }
    let dataset = args.data.read()?;
    let annotations = Annotations::read(&dataset.matrix, &args.labels, &args.split, None)?;
    let samples = samples(args, &dataset)?;
    let mut cells = dataset.align(&model)?;
    args.totals.apply(&model, &dataset.matrix, &mut cells)?;
    let parts = train_and_test(&model, &dataset, annotations.split.as_deref())?;
    tell_if_seen(&model, &args.model, dataset.names_of(&parts.1));
    let study = Study::new(&model, &dataset, &cells, parts, args.genes as usize)?;
    let report = study.report(&samples, &annotations)?;
    if !samples.is_empty() && report.replicates.is_none() {
        let keys = args.replicates.join(",");
        tell(format_args!("note: no two rows have the same text in the columns {keys:?}"));
    }
    match args.json {
        true => print_json(&report),
        false => print(|out| report.write(out)),
    }
}

/// Rows for training and for testing: of the split, or else those that the model says it was trained on, and its
/// own test rows.
pub(crate) fn train_and_test(
    model: &Model<'_>,
    dataset: &Dataset,
    split: Option<&[Option<SplitPart>]>,
) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let rows = 0..dataset.matrix.n_obs();
    if let Some(split) = split {
        let of = |part| rows.clone().filter(|&row| split[row] == Some(part)).collect();
        return Ok((of(SplitPart::Train), of(SplitPart::Test)));
    }
    let known = model.rows();
    if known.is_empty() {
        return Err(Failure::usage(
            "the model does not carry its rows: say which are for training and which for testing \
             with --split",
        ));
    }
    let is_in = |row: usize, parts: &[Part]| {
        let digest = row_digest(&dataset.matrix.obs_names[row]);
        parts.iter().any(|&part| known.contains(part, &digest))
    };
    let train = [Part::Fit, Part::EarlyStop, Part::Calibrate];
    Ok((
        rows.clone().filter(|&row| is_in(row, &train)).collect(),
        rows.filter(|&row| is_in(row, &[Part::Test])).collect(),
    ))
}

/// What is compared.
pub(crate) struct Study<'a> {
    model: &'a Model<'a>,
    cells: &'a AlignedMatrix,
    pub(crate) train: Profiles,
    pub(crate) test: Profiles,
    /// Genes that count.
    genes: Vec<usize>,
    /// Of the training profiles, as many components as the code has numbers.
    pub(crate) pca: Pca,
    /// What the model makes of the test profiles.
    pub(crate) outputs: ModelOutputs,
}

impl<'a> Study<'a> {
    /// Of a model with a decoder, on rows for training and for testing; the `n_genes` genes of largest variance count.
    pub(crate) fn new(
        model: &'a Model<'a>,
        dataset: &Dataset,
        cells: &'a AlignedMatrix,
        (train, test): (Vec<usize>, Vec<usize>),
        n_genes: usize,
    ) -> Result<Self, Failure> {
        let train = Profiles::read(model, cells, train);
        let test = Profiles::read(model, cells, test);
        if test.rows.len() < 2 || train.rows.len() < 2 {
            return Err(Failure::input(format!(
                "{}: {} training and {} test rows with values; at least two of each are compared",
                dataset.matrix.source.path.display(),
                train.rows.len(),
                test.rows.len()
            )));
        }
        let genes = train.most_variable(n_genes);
        let pca = baselines::pca(&train.values, train.n_genes, model.code_dim(), 1);
        let pca = pca.map_err(Failure::internal)?;
        let outputs = run_model(model, cells, &test)?;
        Ok(Self { model, cells, train, test, genes, pca, outputs })
    }

    pub(crate) fn report(
        &self,
        samples: &[Option<String>],
        annotations: &Annotations,
    ) -> Result<Report, Failure> {
        let (model, k) = (self.model, self.model.code_dim());
        let profiles = self.test.matrix();
        let of_genes = |all: &Mat<f64>| genes_of(all, &self.genes);
        let scored = of_genes(&profiles);
        let mean: Vec<f32> = self.train.mean();
        let mean: Vec<f32> = self.genes.iter().map(|&gene| mean[gene]).collect();
        let by_model = of_genes(&self.outputs.reproduced);

        let of_row = |&row: &usize| samples.get(row).cloned().flatten();
        let own = Samples::new(self.test.rows.iter().map(of_row).collect());
        let method =
            |name: &str, reproduced: &Mat<f64>| method(name, &scored, reproduced, &mean, &own);
        let mut methods = vec![method(&format!("this model, {}", model.dtype().name()), &by_model)];
        let mut skipped = Vec::new();
        let by_pca = of_genes(&self.pca.reproduce(profiles.as_ref()));
        methods.push(method("PCA", &by_pca));
        let rows = self.train.evenly(MOST_KERNEL_ROWS);
        if rows.nrows() < self.train.rows.len() {
            let (n, all) = (rows.nrows(), self.train.rows.len());
            skipped.push(format!("kernel PCA: fitted on {n} of {all} rows"));
        }
        let by_kernels = Kernel::ALL.into_par_iter().map(|kernel| {
            let fitted = KernelPca::fit(rows.clone(), k, kernel).map_err(Failure::internal)?;
            let reproduced = of_genes(&fitted.reproduce(profiles.as_ref()));
            Ok(method(kernel.name(), &reproduced))
        });
        methods.extend(by_kernels.collect::<Result<Vec<_>, Failure>>()?);
        match Nmf::fit(self.train.matrix().as_ref(), k, 1) {
            Some(nmf) => {
                let reproduced = of_genes(&nmf.reproduce(profiles.as_ref()));
                methods.push(method("NMF", &reproduced));
            }
            None => skipped.push("NMF: there are negative values".into()),
        }
        let same = Mat::from_fn(scored.nrows(), scored.ncols(), |_, at| f64::from(mean[at]));
        methods.push(method("training mean", &same));

        let groups = by_sample(&self.test.rows, samples);
        let in_span = if groups.is_empty() { None } else { self.nearest_sums(&scored)? };
        let of = Reproduced {
            profiles: &scored,
            by_model: &by_model,
            by_pca: &by_pca,
            mean: &mean,
            in_span: in_span.as_ref(),
        };
        let denoised = Denoised::of(&groups, &of);

        let nearest = nearest_other(scored.as_ref(), &own);
        Ok(Report {
            schema_version: 1,
            model_id: model.id().to_string(),
            dtype: model.dtype().name(),
            code_dim: k,
            n_train: self.train.rows.len(),
            n_test: self.test.rows.len(),
            n_genes: self.genes.len(),
            methods,
            nearest_other: Nearness {
                n: scored.nrows(),
                median_spearman: median(nearest.spearman),
                median_mse: median(nearest.error),
            },
            replicates: self.replicates(samples),
            denoised,
            types: self.types(&scored, &by_model, &mean, annotations),
            skipped,
        })
    }

    /// For each of these profiles the nearest sum of training profiles; `None` where that takes long or says nothing.
    fn nearest_sums(&self, profiles: &Mat<f64>) -> Result<Option<Mat<f64>>, Failure> {
        let (n, n_genes) = (self.train.rows.len(), self.genes.len());
        if n >= n_genes || n > MOST_SPANNING_ROWS {
            return Ok(None);
        }
        let train = genes_of(&self.train.matrix(), &self.genes);
        let rows: Vec<f32> = (0..n)
            .flat_map(|row| train.row(row).iter().map(|&x| x as f32).collect::<Vec<_>>())
            .collect();
        let all = baselines::pca(&rows, n_genes, n - 1, 1).map_err(Failure::internal)?;
        Ok(Some(all.reproduce(profiles.as_ref())))
    }

    fn types(
        &self,
        profiles: &Mat<f64>,
        reproduced: &Mat<f64>,
        mean: &[f32],
        annotations: &Annotations,
    ) -> Vec<TypeReport> {
        let mut by_label: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, &row) in self.test.rows.iter().enumerate() {
            if let Some(label) = annotations.label(row) {
                by_label.entry(label).or_default().push(at);
            }
        }
        let types = by_label.into_iter().map(|(label, rows)| {
            let scores = scores(profiles, reproduced, mean, &rows);
            let ReconstructionScores { n_rows: n, r2, mse, pearson, spearman } = scores;
            TypeReport { label, n, pearson, spearman, mse, r2 }
        });
        types.collect()
    }

    /// How near replicates among all rows of the file are to one another.
    fn replicates(&self, samples: &[Option<String>]) -> Option<Nearness> {
        let all = (0..self.cells.values.n_rows()).collect();
        let profiles = Profiles::read(self.model, self.cells, all);
        let values = |at: usize| -> Vec<f32> {
            self.genes.iter().map(|&gene| profiles.row(at)[gene]).collect()
        };
        let (mut spearman, mut error) = (Vec::new(), Vec::new());
        for group in by_sample(&profiles.rows, samples).values() {
            for (n, &a) in group.iter().enumerate() {
                for &b in &group[n + 1..] {
                    let (a, b) = (values(a), values(b));
                    spearman.push(cic_trainer::metrics::spearman(&a, &b));
                    error.push(mse(&a, &b));
                }
            }
        }
        let n = spearman.len();
        let (median_spearman, median_mse) = (median(spearman), median(error));
        (n > 0).then_some(Nearness { n, median_spearman, median_mse })
    }
}

/// The sample that each row is a replicate of: all texts of its columns; none without columns.
fn samples(args: &ReproduceArgs, dataset: &Dataset) -> Result<Vec<Option<String>>, Failure> {
    let mut samples: Vec<Option<String>> = Vec::new();
    for key in &args.replicates {
        let split = SplitArgs::default();
        let read = Annotations::read(&dataset.matrix, &args.labels, &split, Some(key))?.groups;
        samples = match samples.is_empty() {
            true => read,
            false => {
                let pairs = samples.into_iter().zip(read);
                pairs.map(|(a, b)| a.zip(b).map(|(a, b)| format!("{a}\t{b}"))).collect()
            }
        };
    }
    Ok(samples)
}

fn method(
    name: &str,
    profiles: &Mat<f64>,
    reproduced: &Mat<f64>,
    mean: &[f32],
    samples: &Samples,
) -> Method {
    let all: Vec<usize> = (0..profiles.nrows()).collect();
    let ReconstructionScores { r2, mse, pearson, spearman, .. } =
        scores(profiles, reproduced, mean, &all);
    let ranks = own_ranks(profiles.as_ref(), reproduced.as_ref(), samples);
    let first = |ranks: &[usize]| {
        ranks.iter().filter(|&&rank| rank == 1).count() as f64 / ranks.len().max(1) as f64
    };
    let middle = |ranks: &[usize]| median(ranks.iter().map(|&rank| rank as f64).collect());
    Method {
        name: name.into(),
        pearson,
        spearman,
        mse,
        r2,
        nearest_by_spearman: first(&ranks.by_spearman),
        nearest_by_error: first(&ranks.by_error),
        median_rank_by_spearman: middle(&ranks.by_spearman),
        median_rank_by_error: middle(&ranks.by_error),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

impl Report {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} test profiles of {} genes, {} training rows, codes of {} numbers\n",
            self.n_test, self.n_genes, self.n_train, self.code_dim
        )?;
        let names = self.methods.iter().map(|method| method.name.len());
        let width = names.max().unwrap_or(0);
        writeln!(
            out,
            "{:width$}  {:>7}  {:>8}  {:>8}  {:>8}  {:>15}  {:>15}",
            "method", "Pearson", "Spearman", "MSE", "R2", "own by Spearman", "own by MSE"
        )?;
        for method in &self.methods {
            let first = |share: f64, rank: f64| format!("{:.1} % ({rank})", 100.0 * share);
            writeln!(
                out,
                "{:width$}  {:>7.4}  {:>8.4}  {:>8.5}  {:>8.4}  {:>15}  {:>15}",
                method.name,
                method.pearson,
                method.spearman,
                method.mse,
                method.r2,
                first(method.nearest_by_spearman, method.median_rank_by_spearman),
                first(method.nearest_by_error, method.median_rank_by_error),
            )?;
        }
        writeln!(
            out,
            "\nR2 is against the training mean. Own: share of reproductions that are nearer to their \
             own profile than to\nany other test profile, and the median rank of the own one."
        )?;
        if self.replicates.is_some() {
            writeln!(out, "Replicates of the own sample are no others here.")?;
        }
        let near = |what: &str, near: &Nearness| {
            format!(
                "{what}: median Spearman {:.4}, median MSE {:.5}",
                near.median_spearman, near.median_mse
            )
        };
        writeln!(out, "\n{}", near("nearest other test profile", &self.nearest_other))?;
        if let Some(replicates) = &self.replicates {
            let what = format!("{} pairs of technical replicates", replicates.n);
            writeln!(out, "{}", near(&what, replicates))?;
        }
        if let Some(denoised) = &self.denoised {
            denoised.write(out)?;
        }
        for note in &self.skipped {
            writeln!(out, "note: {note}")?;
        }
        if self.types.is_empty() {
            return Ok(());
        }
        let labels = self.types.iter().map(|one| one.label.chars().count());
        let width = labels.max().unwrap_or(0).max(9);
        writeln!(
            out,
            "\n{:width$}  {:>6}  {:>7}  {:>8}  {:>8}  {:>7}",
            "this model", "n", "Pearson", "Spearman", "MSE", "R2"
        )?;
        for one in &self.types {
            writeln!(
                out,
                "{:width$}  {:>6}  {:>7.4}  {:>8.4}  {:>8.5}  {:>7.4}",
                cic_data::sanitise_for_terminal(&one.label),
                one.n,
                one.pearson,
                one.spearman,
                one.mse,
                one.r2
            )?;
        }
        Ok(())
    }
}
