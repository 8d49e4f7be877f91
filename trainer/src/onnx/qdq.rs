//! Export of an int8 model with its integers, in the form that other quantisers write too (QDQ):
//! constants and levels are dequantised, and operators compute with the result.
//!
//! ```text
//! levels of x        Min, where they are limited → QuantizeLinear(u8) → Clip(≤ 127) → DequantizeLinear
//! hidden             Gemm → QuantizeLinear(u8, zero point 128) → Clip(≤ 127) or Gather → DequantizeLinear
//! carry              Gemm → Round → Mul, added to the last layer
//! code               Gemm → Round → Clip(i16) → Mul; reconstructions likewise
//! levels of the code Add → Mul → QuantizeLinear(u8) → Clip(≤ 127) → DequantizeLinear
//! logits             Gemm → Round → Mul
//! ```
//!
//! Weights (int8, a scale per row) and biases (int32) are those of the model. Their scales take a
//! sum straight to what it is rounded to, a table index or a unit of an output, so that every level
//! but those of `x` stands for itself: its scale is 1. A runtime that joins `Gemm` with what stands
//! around it has the sums of the model; one that does not has them in single precision.

use core::ops::Range;

use cic_model::Model;
use cic_model::quant::{LEVEL_MAX, ONE_Q16, Ratio};
use cic_model::spec::{CodeDimSpec, LevelsSpec, ModelSpec, NetworkSpec, QuantLayer, QuantSegment};

use super::file::{file, properties};
use super::messages::{DATA_INT32, Graph, Node};
use super::nodes::{add_concat, add_softmax, int, node, tensor, value_info};
use super::{OnnxDescription, OnnxError};

/// The bytes of an ONNX file of an int8 model, with the inputs, outputs and properties of
/// [`super::export_onnx`]; of several input profiles it has the first. The same model and description
/// give the same bytes.
///
/// # Errors
/// A model that is not int8, names that do not match it, or a file beyond 2 GiB.
pub fn export_qdq(
    model: &Model<'_>,
    description: &OnnxDescription<'_>,
) -> Result<Vec<u8>, OnnxError> {
    let spec = ModelSpec::from_model(model);
    let levels = spec.profiles.first().and_then(|profile| profile.levels.as_ref());
    let (NetworkSpec::S8(network), Some(levels)) = (&spec.network, levels) else {
        return Err(OnnxError::NotInt8 { found: model.dtype() });
    };
    let n_classes = network.classifier.last().map_or(0, QuantLayer::out_dim);
    let properties = properties(description, spec.n_genes(), n_classes)?;

    let mut graph = Graph { name: description.name.into(), ..Graph::default() };
    graph.initializer.extend([
        tensor(ONE, &[], &[1.0_f32]),
        tensor(ZERO_LEVEL, &[], &[0_u8]),
        tensor(LARGEST_LEVEL, &[], &[LEVEL_MAX]),
        tensor(ZERO_INDEX, &[], &[128_u8]),
        tensor(SMALLEST_FIXED, &[], &[f32::from(i16::MIN)]),
        tensor(LARGEST_FIXED, &[], &[f32::from(i16::MAX)]),
    ]);
    graph.input.push(value_info("x", spec.n_genes()));
    let inputs = add_input_levels(&mut graph, levels);
    add_stage(&mut graph, "encoder", &network.encoder, &inputs);
    let scales: Vec<f32> = network.code.iter().map(|dim| dim.scale).collect();
    let fixed = add_fixed(&mut graph, "encoder", &scales, "code");
    graph.output.push(value_info("code", scales.len()));
    let code = add_code_levels(&mut graph, &fixed, &network.code);
    if !network.classifier.is_empty() {
        add_stage(&mut graph, "classifier", &network.classifier, &code);
        graph.node.push(node("Round", &["classifier"], "classifier.rounded"));
        let unit = 1.0 / ONE_Q16 as f32;
        add_vector(&mut graph, "Mul", "classifier.rounded", &vec![unit; n_classes], "logits");
        add_softmax(&mut graph, "logits", "probabilities");
        graph.output.push(value_info("logits", n_classes));
        graph.output.push(value_info("probabilities", n_classes));
    }
    if !network.decoder.is_empty() {
        add_stage(&mut graph, "decoder", &network.decoder, &code);
        add_fixed(&mut graph, "decoder", &network.reconstruction_scales, "reconstruction");
        graph.output.push(value_info("reconstruction", network.reconstruction_scales.len()));
    }
    file(graph, properties)
}

/// A dequantised value: `unit · level`.
struct Dequantised {
    name: String,
    unit: f64,
}

/// Levels of `x`. That thresholds are what rounds is true of every model that the quantiser wrote.
fn add_input_levels(graph: &mut Graph, levels: &LevelsSpec) -> Dequantised {
    let unit = f64::from(levels.scale);
    if levels.gene_scales.is_empty() {
        graph.initializer.push(tensor("x.scale", &[], &[levels.scale]));
        if levels.level_limits.is_empty() {
            return add_levels(graph, "x", "x.scale", "x", unit);
        }
        // Not the limits themselves: the level nearest to one may be above it.
        let limits: Vec<f32> =
            levels.level_limits.iter().map(|&level| levels.scale * f32::from(level)).collect();
        add_vector(graph, "Min", "x", &limits, "x.limited");
        return add_levels(graph, "x.limited", "x.scale", "x", unit);
    }
    let of_gene = levels.gene_scales.iter().map(|gene| (f64::from(gene.offset), gene.gain.into()));
    let offset = f64::from(levels.offset);
    let offsets: Vec<f32> =
        of_gene.clone().map(|(begin, gain): (f64, f64)| (begin + offset / gain) as f32).collect();
    let gains: Vec<f32> = of_gene.map(|(_, gain)| (gain / unit) as f32).collect();
    add_vector(graph, "Sub", "x", &offsets, "x.above");
    add_vector(graph, "Mul", "x.above", &gains, "x.compared");
    // Values stand at thresholds often enough, and count as above them.
    add_vector(graph, "Add", "x.compared", &[0.5], "x.raised");
    graph.node.push(node("Floor", &["x.raised"], "x.floor"));
    add_levels(graph, "x.floor", ONE, "x", 1.0)
}

/// The 7-bit copy of the code, from its units.
fn add_code_levels(graph: &mut Graph, fixed: &str, dims: &[CodeDimSpec]) -> Dequantised {
    // Offsets are far below 2²⁴, or every level of the dimension is at an end of its range.
    let offsets: Vec<f32> = dims.iter().map(|dim| dim.level_offset as f32).collect();
    let ratios: Vec<f32> = dims.iter().map(|dim| dim.level_ratio.to_f64() as f32).collect();
    add_vector(graph, "Add", fixed, &offsets, "code.above");
    add_vector(graph, "Mul", "code.above", &ratios, "code.compared");
    add_levels(graph, "code.compared", ONE, "code", 1.0)
}

/// `0 ..= 127`, rounded from a value in units of `scale`.
fn add_levels(graph: &mut Graph, value: &str, scale: &str, name: &str, unit: f64) -> Dequantised {
    let (rounded, levels) = (format!("{name}.rounded"), format!("{name}.levels"));
    graph.node.push(node("QuantizeLinear", &[value, scale, ZERO_LEVEL], &rounded));
    graph.node.push(node("Clip", &[&rounded, "", LARGEST_LEVEL], &levels));
    dequantise(graph, &levels, scale, unit)
}

fn dequantise(graph: &mut Graph, levels: &str, scale: &str, unit: f64) -> Dequantised {
    let name = format!("{levels}.dequantized");
    graph.node.push(node("DequantizeLinear", &[levels, scale, ZERO_LEVEL], &name));
    Dequantised { name, unit }
}

/// The operations of a non-empty stage. The value of its name is what the last layer's sums are
/// rounded to, before that.
fn add_stage(graph: &mut Graph, stage: &str, layers: &[QuantLayer], input: &Dequantised) {
    let Some((last, hidden)) = layers.split_last() else { return };
    let mut carry = None;
    let mut next = None;
    for (index, layer) in hidden.iter().enumerate() {
        let value = next.as_ref().unwrap_or(input);
        let name = format!("{stage}.{index}");
        let mut segments = Vec::new();
        let mut row = 0;
        for (number, segment) in layer.segments.iter().enumerate() {
            let name = format!("{name}.{number}");
            add_sums(graph, layer, row..row + segment.len, value, &name);
            segments.push(add_activation(graph, segment, &name));
            row += segment.len;
        }
        if layer.carry > 0 {
            let name = format!("{name}.carry");
            add_sums(graph, layer, row..row + layer.carry, value, &name);
            carry = Some(name);
        }
        let levels = add_concat(graph, segments, format!("{name}.levels"));
        next = Some(dequantise(graph, &levels, ONE, 1.0));
    }
    let value = next.as_ref().unwrap_or(input);
    let rows = 0..last.out_dim();
    match carry {
        None => add_sums(graph, last, rows, value, stage),
        Some(carry) => {
            let name = format!("{stage}.{}", hidden.len());
            add_sums(graph, last, rows, value, &name);
            // Whole units of the last layer's sums, which then go where these go.
            let (rounded, scaled) = (format!("{carry}.rounded"), format!("{carry}.scaled"));
            graph.node.push(node("Round", &[&carry], &rounded));
            add_vector(graph, "Mul", &rounded, &scales(&last.epilogue.ratios, 1.0), &scaled);
            graph.node.push(node("Add", &[&name, &scaled], stage));
        }
    }
}

/// Some rows of a layer: their sums times their ratios, not yet rounded.
fn add_sums(
    graph: &mut Graph,
    layer: &QuantLayer,
    rows: Range<usize>,
    input: &Dequantised,
    output: &str,
) {
    let n = rows.len();
    let weights = &layer.weights[rows.start * layer.in_dim..rows.end * layer.in_dim];
    let bias = &layer.epilogue.bias[rows.clone()];
    let ratios = &layer.epilogue.ratios[rows];
    let name = |part: &str| format!("{output}.{part}");
    graph.initializer.extend([
        tensor(&name("weight"), &[n, layer.in_dim], weights),
        tensor(&name("weight.scale"), &[n], &scales(ratios, input.unit)),
        tensor(&name("weight.zero"), &[n], &vec![0_i8; n]),
        tensor(&name("bias"), &[n], bias),
        tensor(&name("bias.scale"), &[n], &scales(ratios, 1.0)),
    ]);
    let [weights, biases] = ["weight", "bias"].map(|part| name(&format!("{part}.dequantized")));
    let of_weights = [name("weight"), name("weight.scale"), name("weight.zero")];
    let of_biases = [name("bias"), name("bias.scale")];
    for (inputs, output) in [(&of_weights[..], &weights), (&of_biases, &biases)] {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let dequantised = node("DequantizeLinear", &inputs, output);
        graph.node.push(Node { attribute: vec![int("axis", 0)], ..dequantised });
    }
    let gemm = node("Gemm", &[&input.name, &weights, &biases], output);
    graph.node.push(Node { attribute: vec![int("transB", 1)], ..gemm });
}

/// Table entries of a segment to its levels; returns their name.
fn add_activation(graph: &mut Graph, segment: &QuantSegment, sums: &str) -> String {
    let name = |part: &str| format!("{sums}.{part}");
    let (index, levels) = (name("index"), name(segment.activation.name()));
    // Saturates as the index does.
    graph.node.push(node("QuantizeLinear", &[sums, ONE, ZERO_INDEX], &index));
    let entries = segment.table.iter().enumerate();
    if entries.clone().all(|(entry, &level)| usize::from(level) == entry.min(LEVEL_MAX.into())) {
        graph.node.push(node("Clip", &[&index, "", LARGEST_LEVEL], &levels));
        return levels;
    }
    graph.initializer.push(tensor(&name("table"), &[segment.table.len()], &segment.table));
    let cast = node("Cast", &[&index], &name("entry"));
    graph.node.push(Node { attribute: vec![int("to", DATA_INT32.into())], ..cast });
    graph.node.push(node("Gather", &[&name("table"), &name("entry")], &levels));
    levels
}

/// Units of a stage as `i16`, and `output`, what they stand for; returns the name of the units.
fn add_fixed(graph: &mut Graph, stage: &str, scales: &[f32], output: &str) -> String {
    let (rounded, fixed) = (format!("{stage}.rounded"), format!("{stage}.fixed"));
    graph.node.push(node("Round", &[stage], &rounded));
    graph.node.push(node("Clip", &[&rounded, SMALLEST_FIXED, LARGEST_FIXED], &fixed));
    add_vector(graph, "Mul", &fixed, scales, output);
    fixed
}

/// An operation with a number per column, or with one for all.
fn add_vector(graph: &mut Graph, op_type: &str, input: &str, numbers: &[f32], output: &str) {
    let name = format!("{output}.{}", op_type.to_lowercase());
    graph.initializer.push(tensor(&name, &[numbers.len()], numbers));
    graph.node.push(node(op_type, &[input, &name], output));
}

/// What a product of a weight with `unit` is multiplied by, per row.
fn scales(ratios: &[Ratio], unit: f64) -> Vec<f32> {
    ratios.iter().map(|ratio| (ratio.to_f64() / unit) as f32).collect()
}

/// Names of constants that are there once.
const ONE: &str = "one";
const ZERO_LEVEL: &str = "level.zero";
const LARGEST_LEVEL: &str = "level.largest";
const ZERO_INDEX: &str = "index.zero";
const SMALLEST_FIXED: &str = "fixed.smallest";
const LARGEST_FIXED: &str = "fixed.largest";
