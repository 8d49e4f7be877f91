//! What carrying a linear path as 32-bit sums is worth: the int8 code error of a model whose stages
//! carry, and of the same network with the path as identity outputs of the first layer, which the
//! last layer adds up with weights of one.
//!
//! `cargo run --release -p cic-tests --example carry_error MODEL.cic DATA` takes a full-precision
//! model of one hidden layer per stage and the file that it was trained on.

use std::error::Error;
use std::path::PathBuf;

use cic_data::{AlignedMatrix, ReadOptions, align, read_expression};
use cic_model::provenance::{Part, row_digest};
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, DenseLayer, Dtype, Model, Segment};
use cic_quant::compare;
use cic_tests::fixture;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, data] = arguments.as_slice() else {
        return Err("usage: carry_error MODEL.cic DATA".into());
    };
    let bytes = AlignedBytes::new(&std::fs::read(model)?);
    let model = Model::open_verified(&bytes)?;
    let matrix = read_expression(data, &ReadOptions::default())?;
    let cells = align(&matrix, model.genes())?;
    let digests: Vec<_> = matrix.obs_names.iter().map(|name| row_digest(name)).collect();
    let is_test = |row: &usize| model.rows().contains(Part::Test, &digests[*row]);
    let test: Vec<usize> = (0..digests.len()).filter(is_test).collect();

    let mut spec = ModelSpec::from_model(&model);
    report("carried as 32-bit sums", &model, &spec, &cells, &matrix.obs_names, &test)?;
    if let NetworkSpec::F32(network) = &mut spec.network {
        for stage in [&mut network.encoder, &mut network.decoder] {
            if let [first, last] = stage.as_mut_slice()
                && first.carry > 0
            {
                make_ordinary(first, last);
            }
        }
    }
    report("identity outputs of 7 bits", &model, &spec, &cells, &matrix.obs_names, &test)
}

/// Carried rows become a segment; the last layer `W` becomes `[W | I]`.
fn make_ordinary(first: &mut DenseLayer, last: &mut DenseLayer) {
    let carry = std::mem::take(&mut first.carry);
    first.segments.push(Segment { len: carry, activation: Activation::Identity });
    let rows = last.weights.chunks_exact(last.in_dim).enumerate();
    last.weights = rows
        .flat_map(|(row, weights)| {
            let identity = (0..carry).map(move |column| f32::from(u8::from(column == row)));
            weights.iter().copied().chain(identity)
        })
        .collect();
    last.in_dim += carry;
}

fn report(
    name: &str,
    model: &Model<'_>,
    spec: &ModelSpec,
    cells: &AlignedMatrix,
    names: &[String],
    test: &[usize],
) -> Result<(), Box<dyn Error>> {
    let full = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default())?);
    let full = Model::open_verified(&full)?;
    let int8 = AlignedBytes::new(&fixture::quantised(&full, cells, names, Dtype::S8)?);
    let int8 = Model::open_verified(&int8)?;
    let unchanged = compare(model, &full, cells, test)?;
    let comparison = compare(model, &int8, cells, test)?;
    let largest = comparison.code_error.iter().copied().fold(0.0, f64::max);
    println!(
        "{name}: code error {:.4} (largest dimension {largest:.4}), {} of {} labels differ; in full \
         precision {:.1e}",
        comparison.pooled_code_error,
        comparison.flips.len(),
        comparison.n_cells,
        unchanged.pooled_code_error,
    );
    Ok(())
}
