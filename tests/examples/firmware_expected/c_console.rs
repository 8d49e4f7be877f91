//! What the image of `firmware-examples/c/classify.c` must print, from the runtime without its C interface.

use std::error::Error;
use std::fmt::Write;

use cic_model::Model;
use cic_runtime::{S8Session, Sample};

use crate::profiles::Random;

/// As in classify.c.
const MAX_LISTED: usize = 128;
const N_CELLS: u32 = 1000;
const N_LINES: u32 = 4;

/// The console.
pub fn console(model: &Model<'_>) -> Result<String, Box<dyn Error>> {
    let session = S8Session::new(model, 0)?;
    let mut scratch = vec![0; session.scratch_len() / 4];
    let mut text = format!("self-test {} golden cells\n", model.golden().len());
    let mut random = Random::new();
    let (mut digest, mut n_named) = (0xCBF2_9CE4_8422_2325, 0);
    for number in 0..N_CELLS {
        let (genes, counts) = cell(model.n_genes(), &mut random);
        let sample = Sample::Counts16 { genes: &genes, counts: &counts, total: Some(20_000) };
        let outcome = session.run(&sample, None, &mut scratch)?;
        let reject = outcome.reject.map_or(0, |reason| reason.code());
        n_named += u32::from(reject == 0);
        let best = outcome.numbers.and_then(|numbers| numbers.best());
        if number < N_LINES {
            write!(text, "cell {number} reject {reject}")?;
            if let Some(best) = best {
                let name = model.labels().leaf_name(best.leaf as usize);
                let (leaf, probability) = (best.leaf, best.probability_q16);
                write!(text, " leaf {leaf} {name} probability {probability}")?;
            }
            writeln!(text)?;
        }
        add(&mut digest, reject);
        let Some(numbers) = outcome.numbers else { continue };
        numbers.code.iter().for_each(|&code| add(&mut digest, i32::from(code).cast_unsigned()));
        for (logit, &probability) in numbers.logits.iter().zip(numbers.probabilities) {
            add(&mut digest, logit.cast_unsigned());
            add(&mut digest, probability);
        }
    }
    writeln!(text, "cells {N_CELLS} named {n_named} digest {digest:016x}")?;
    Ok(text)
}

fn cell(n_genes: usize, random: &mut Random) -> (Vec<u32>, Vec<u16>) {
    let depth = random.next() % 12;
    let (mut genes, mut counts) = (Vec::new(), Vec::new());
    for gene in 0..n_genes as u32 {
        if genes.len() == MAX_LISTED {
            break;
        }
        if random.next().is_multiple_of(8) {
            genes.push(gene);
            counts.push((1 + ((random.next() % 15) << depth)) as u16);
        }
    }
    (genes, counts)
}

/// FNV-1a over the bytes of a word.
fn add(digest: &mut u64, word: u32) {
    for byte in word.to_le_bytes() {
        *digest = (*digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
}
