//! A full-precision model with another first layer, as another quantizer rounded it, so that the programs here measure it.
//!
//! `cargo run --release -p cic-bench --bin with-first-layer MODEL.cic LAYER.npy OUT.cic`: the array is `[outputs × (inputs + 1)]` in
//! single precision, a row of weights and its bias, as `bench/quantizers.py --save` writes it.
//! Printed are the numbers of outputs and inputs.

use std::error::Error;

use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, layer, out] = arguments.as_slice() else {
        return Err("usage: with-first-layer MODEL.cic LAYER.npy OUT.cic".into());
    };
    let bytes = AlignedBytes::new(&std::fs::read(model)?);
    let mut spec = ModelSpec::from_model(&Model::open_verified(&bytes)?);
    let NetworkSpec::F32(network) = &mut spec.network else {
        return Err(format!("{model}: it is not in full precision").into());
    };
    let first = network.encoder.first_mut().ok_or("no encoder")?;
    let array = std::fs::read(layer)?;
    let numbers =
        numbers(&array).ok_or_else(|| format!("{layer}: no array of NumPy's format 1.0"))?;
    if numbers.len() != first.out_dim() * (first.in_dim + 1) {
        let (rows, columns) = (first.out_dim(), first.in_dim + 1);
        return Err(format!("{layer}: {} numbers, not {rows} × {columns}", numbers.len()).into());
    }
    first.weights.clear();
    first.bias.clear();
    for row in numbers.chunks_exact(first.in_dim + 1) {
        let (bias, weights) = row.split_last().ok_or("a row of nothing")?;
        first.weights.extend(weights);
        first.bias.push(*bias);
    }
    println!("{} {}", first.out_dim(), first.in_dim);
    // What golden cells give is no longer theirs.
    spec.golden.cells.clear();
    std::fs::write(out, spec.to_bytes(LayoutPlan::default())?)?;
    Ok(())
}

/// What follows the head of a little-endian array in single precision.
fn numbers(array: &[u8]) -> Option<Vec<f32>> {
    let (magic, rest) = array.split_at_checked(8)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (head, body) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let head = str::from_utf8(head).ok()?;
    let is_known = magic == b"\x93NUMPY\x01\x00"
        && head.contains("'descr': '<f4'")
        && head.contains("'fortran_order': False");
    let (numbers, _) = body.as_chunks::<4>();
    is_known.then(|| numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}
