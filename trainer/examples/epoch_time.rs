//! Seconds per epoch on synthetic rows: 10,000 × 5,000 values, 5000→512→128→30 with a mirrored
//! decoder, head 30→64→16, Adam, batches of 256. Dense values and 7 % non-zeros, one thread and
//! two; medians over the epochs after the first.
//!
//! `cargo run --release -p cic-trainer --example epoch_time [dense|sparse|skip]`

use cic_trainer::{
    Architecture, EpochReport, Expression, FitControl, Optimizer, Schedule, TrainParams,
    TrainingData, fit,
};

const N_ROWS: usize = 10_000;
const N_GENES: usize = 5_000;
const N_CLASSES: usize = 16;
const EPOCHS: usize = 6;

fn main() {
    let only = std::env::args().nth(1);
    for case in ["dense", "sparse", "skip"] {
        if only.as_deref().is_none_or(|only| only == case) {
            measure(case);
        }
    }
}

fn measure(case: &str) {
    let density = if case == "dense" { 1.0 } else { 0.07 };
    let rows = Synthetic::new(density);
    let expression = match case {
        "dense" => Expression::Dense(&rows.values),
        _ => Expression::Csr { indptr: &rows.indptr, indices: &rows.indices, values: &rows.values },
    };
    let data = TrainingData {
        expression,
        n_genes: N_GENES,
        labels: Some(&rows.labels),
        n_classes: N_CLASSES,
        counts: None,
    };
    let mut architecture = Architecture::mirrored(N_GENES, vec![512, 128], 30, N_CLASSES);
    architecture.linear_skip = case == "skip";
    let mut params = TrainParams {
        batch_size: 256,
        max_epochs: EPOCHS,
        optimizer: Optimizer::ADAM,
        schedule: Schedule::Constant,
        warm_up_epochs: 0.0,
        ..TrainParams::for_rows(architecture, N_ROWS)
    };
    if case != "skip" {
        // The work of the other engines that were timed: no noise of any kind.
        (params.input_dropout, params.hidden_dropout, params.code_noise) = (0.0, 0.0, 0.0);
        (params.label_smoothing, params.weight_decay) = (0.0, 0.0);
    }
    let all: Vec<usize> = (0..N_ROWS).collect();
    for threads in [1, 2] {
        let cpu = cpu_seconds();
        let mut seconds = Vec::new();
        let mut report = |report: &EpochReport| {
            seconds.push(N_ROWS as f64 / report.rows_per_second);
            if report.epoch == EPOCHS {
                print!("{case} threads {threads} loss {:.4} ", report.train.loss);
            }
        };
        let mut control =
            FitControl { threads, on_epoch: Some(&mut report), ..FitControl::default() };
        fit(&params, &data, &all, &[], &mut control).expect("synthetic rows can be fitted");
        let mut timed = seconds.split_off(1);
        timed.sort_by(f64::total_cmp);
        println!(
            "median {:.3} s/epoch, fastest {:.3}; processor {:.3} s/epoch with the start",
            timed[timed.len() / 2],
            timed[0],
            (cpu_seconds() - cpu) / EPOCHS as f64,
        );
    }
}

/// Processor time of this process, which a busy machine does not change much; 0 where /proc is
/// not there.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // User and system time are fields 14 and 15 of the line, in hundredths of a second.
    let times = after_name.split_whitespace().skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

struct Synthetic {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
    labels: Vec<u32>,
}

impl Synthetic {
    /// Rows of 16 classes that differ in every sixteenth gene.
    fn new(density: f64) -> Self {
        let mut state = 1_u64;
        let mut unit = || {
            // Knuth's multiplicative congruential generator, high bits.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 24)
        };
        let mut rows = Self { indptr: vec![0], indices: vec![], values: vec![], labels: vec![] };
        for row in 0..N_ROWS {
            let class = row % N_CLASSES;
            for gene in 0..N_GENES {
                if density >= 1.0 || unit() < density {
                    let shift = if gene % N_CLASSES == class { 1.0 } else { 0.0 };
                    rows.indices.push(gene as u32);
                    rows.values.push((unit() + shift) as f32);
                }
            }
            rows.indptr.push(rows.values.len());
            rows.labels.push(class as u32);
        }
        rows
    }
}
