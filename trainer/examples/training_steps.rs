//! Our side of `bench/training.py`: `training_steps CASE THREADS` prepares a case, says `ready`, and for every line on
//! standard input answers with the milliseconds of a step, and of its parts where it has some.

use std::io::{BufRead, Write};

use cic_trainer::steps::{SparseLayer, Steps};
use cic_trainer::{Architecture, Expression, Schedule, TrainParams, TrainingData};

const BATCH: usize = 256;
const BATCHES: usize = 4;
const CLASSES: usize = 9;
const OUTPUTS: usize = 158;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (case, threads) = (arguments.next().ok_or(USAGE)?, arguments.next().ok_or(USAGE)?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    match case.as_str() {
        "dense" => steps(&pool, Rows::new(BATCH * BATCHES, 2_000, 1.0), None),
        "layer" => layer(&pool, Rows::new(BATCH, 20_000, 0.07)),
        "subset" => steps(&pool, Rows::new(BATCH * BATCHES, 20_000, 0.07), Some(2_000)),
        "whole" => steps(&pool, Rows::new(BATCH * BATCHES, 20_000, 0.07), None),
        _ => Err(USAGE.into()),
    }
}

const USAGE: &str = "usage: training_steps dense|layer|subset|whole THREADS";

fn steps(pool: &rayon::ThreadPool, rows: Rows, recon_genes: Option<usize>) -> Result<(), Failure> {
    let data = rows.data();
    let architecture = Architecture::mirrored(data.n_genes, vec![128], 30, CLASSES);
    // The same work as elsewhere: nothing disturbed, one learning rate, which moves the linear path too.
    let params = TrainParams {
        recon_genes,
        batch_size: BATCH,
        input_dropout: 0.0,
        hidden_dropout: 0.0,
        code_noise: 0.0,
        label_smoothing: 0.0,
        weight_decay: 0.0,
        learning_rate: 1e-4,
        schedule: Schedule::Constant,
        warm_up_epochs: 0.0,
        skip_rate: 1.0,
        encoder_rate: 1.0,
        ..TrainParams::for_rows(architecture, data.n_rows())
    };
    let mut steps = pool.install(|| Steps::new(&params, &data))?;
    answer(|| {
        let epoch = pool.install(|| steps.epoch())?;
        Ok(vec![epoch.as_secs_f64() * 1e3 / BATCHES as f64])
    })
}

fn layer(pool: &rayon::ThreadPool, rows: Rows) -> Result<(), Failure> {
    let data = rows.data();
    let mut layer = SparseLayer::new(&data, OUTPUTS);
    answer(|| {
        let parts = pool.install(|| layer.step()).map(|part| part.as_secs_f64() * 1e3);
        Ok([&[parts[1] + parts[2]][..], &parts].concat())
    })
}

fn answer(mut step: impl FnMut() -> Result<Vec<f64>, Failure>) -> Result<(), Failure> {
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        let times: Vec<String> = step()?.iter().map(|time| format!("{time:.4}")).collect();
        println!("{}", times.join(" "));
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct Rows {
    n_genes: usize,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
    labels: Vec<u32>,
    is_dense: bool,
}

impl Rows {
    fn new(n_rows: usize, n_genes: usize, density: f32) -> Self {
        let mut state = 7_u64;
        let mut unit = move || {
            // Knuth's multiplicative congruential generator, high bits.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let (indptr, indices, values) = (vec![0], Vec::new(), Vec::new());
        let labels = (0..n_rows).map(|row| (row % CLASSES) as u32).collect();
        let is_dense = density == 1.0;
        let mut rows = Self { n_genes, indptr, indices, values, labels, is_dense };
        for _ in 0..n_rows {
            for gene in 0..n_genes {
                if unit() < density {
                    rows.indices.push(gene as u32);
                    rows.values.push(0.5 + unit());
                }
            }
            rows.indptr.push(rows.values.len());
        }
        rows
    }

    fn data(&self) -> TrainingData<'_> {
        let Self { n_genes, indptr, indices, values, labels, is_dense } = self;
        let expression = match is_dense {
            true => Expression::Dense(values),
            false => Expression::Csr { indptr, indices, values },
        };
        let labels = Some(&labels[..]);
        TrainingData { expression, n_genes: *n_genes, labels, n_classes: CLASSES, counts: None }
    }
}
