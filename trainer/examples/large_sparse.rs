//! Memory and time of training on 100,000 × 20,000 simulated values, about 5 % of them not zero, with the defaults but for
//! the number of epochs. Fails above 6 GB.
//!
//! `cargo run --release -p cic-trainer --example large_sparse [ROWS] [EPOCHS]`

use std::time::Instant;

use cic_trainer::{
    Architecture, EpochReport, Expression, FitControl, TrainParams, TrainingData, fit,
};

const N_GENES: usize = 20_000;
const N_CLASSES: usize = 10;
const HIGHEST_GB: f64 = 6.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let n_rows = numbers.first().copied().unwrap_or(100_000);
    let max_epochs = numbers.get(1).copied().unwrap_or(2);
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    let mut state = 7_u64;
    let mut unit = move || {
        // Knuth's multiplicative congruential generator, high bits.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    for row in 0..n_rows {
        // From one gene that is not zero to the next: 20 on average.
        let mut gene = (40.0 * unit()) as usize;
        while gene < N_GENES {
            let own = gene / 50 % N_CLASSES == row % N_CLASSES;
            indices.push(u32::try_from(gene)?);
            values.push(if own { 1.5 } else { 0.5 } + unit());
            gene += 1 + (38.0 * unit()) as usize;
        }
        indptr.push(values.len());
    }
    let labels: Vec<u32> = (0..n_rows).map(|row| (row % N_CLASSES) as u32).collect();
    let expression = Expression::Csr { indptr: &indptr, indices: &indices, values: &values };
    let data = TrainingData {
        expression,
        n_genes: N_GENES,
        labels: Some(&labels),
        n_classes: N_CLASSES,
        counts: None,
    };
    let share = values.len() as f64 / (n_rows * N_GENES) as f64;
    println!("{n_rows} × {N_GENES}, {:.1} % not zero, {:.2} GB so far", 100.0 * share, peak_gb()?);

    let architecture = Architecture::mirrored(N_GENES, vec![128], 30, N_CLASSES);
    let params = TrainParams { max_epochs, ..TrainParams::for_rows(architecture, n_rows) };
    let (early, fitted): (Vec<usize>, Vec<usize>) = (0..n_rows).partition(|row| row / 10 % 20 == 0);
    let started = Instant::now();
    let mut last = 0.0;
    let mut report = |epoch: &EpochReport| {
        last = started.elapsed().as_secs_f64();
        let (early, rate) = (epoch.early.unwrap_or_default(), epoch.rows_per_second);
        println!(
            "epoch {} ends at {last:.1} s: {rate:.0} rows/s; not explained {:.4}, accuracy {:.4}",
            epoch.epoch, early.recon, early.accuracy
        );
    };
    let mut control = FitControl { on_epoch: Some(&mut report), ..FitControl::default() };
    let trained = fit(&params, &data, &fitted, &early, &mut control)?;
    let total = started.elapsed().as_secs_f64();
    println!("refit of the decoder and codes {:.1} s, all {total:.1} s", total - last);
    println!("best epoch {}, peak {:.2} GB", trained.best_epoch, peak_gb()?);
    if peak_gb()? > HIGHEST_GB { Err(format!("more than {HIGHEST_GB} GB").into()) } else { Ok(()) }
}

/// Peak resident memory of this process.
fn peak_gb() -> Result<f64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0 / 1e9)
}
