//! Export of a network as ONNX, for other runtimes and as an independent check of this one's:
//! [`export_onnx`] in single precision, [`export_qdq`] of an int8 model with its integers.
//!
//! Input `x` `[N, n_genes]` takes preprocessed values in single precision; outputs are `code`
//! `[N, code_dim]`, and where the network has them `logits` and `probabilities` `[N, n_classes]`
//! and `reconstruction` `[N, n_genes]`. Only operators that every runtime has are used: `Gemm`
//! (weights stored `[out, in]`, `transB = 1`), `Concat`, `Add`, `Softmax` and activations. Each
//! segment of a layer, and its carry, is a `Gemm` of its own.

mod file;
pub mod messages;
mod nodes;
mod qdq;

use cic_model::{Activation, DenseLayer, Dtype, Network, SOFT_SHRINK_LAMBDA};

pub use qdq::export_qdq;

use file::{file, properties};
use messages::{Graph, Node};
use nodes::{add_concat, add_softmax, float, int, node, tensor, value_info};

/// What an exported file says about the network, as metadata properties.
#[derive(Clone, Copy, Debug)]
pub struct OnnxDescription<'a> {
    /// Name of the graph.
    pub name: &'a str,
    /// The panel in input order; property `genes`, one a line.
    pub genes: &'a [String],
    /// The classes in output order; property `labels`, one a line. Empty without a classifier.
    pub labels: &'a [String],
    /// How the values of `x` are computed from an expression profile; property `preprocessing`.
    pub preprocessing: &'a str,
}

/// Why a network cannot be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A stage or layer breaks the rules of [`Network`].
    #[error("{stage} layer {layer}: {what} is {found}, expected {expected}; fix the network")]
    Shape {
        /// `encoder`, `classifier` or `decoder`.
        stage: &'static str,
        /// Number of the layer in its stage.
        layer: usize,
        /// Which quantity.
        what: &'static str,
        /// Its value.
        found: usize,
        /// What it must be.
        expected: usize,
    },
    /// The last layer of a stage must be linear.
    #[error("{stage}: the last layer has an activation, expected none; fix the network")]
    ActivatedOutput {
        /// Which stage.
        stage: &'static str,
    },
    /// A network without encoder.
    #[error("the encoder has no layers, expected at least one; train the network first")]
    NoEncoder,
    /// Names do not match the network.
    #[error("{found} {what} for {expected} of the network; give one name for each")]
    NameCount {
        /// `genes` or `labels`.
        what: &'static str,
        /// Names given.
        found: usize,
        /// Inputs or outputs of the network.
        expected: usize,
    },
    /// Names are stored one a line.
    #[error("{what} {name:?} has a line break; rename it")]
    LineBreak {
        /// `genes` or `labels`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Weights of another kind than the export writes.
    #[error("the model is {}, expected int8; quantise it first", .found.name())]
    NotInt8 {
        /// What they are.
        found: Dtype,
    },
    /// ONNX files end at 2 GiB.
    #[error(
        "the network takes {bytes} bytes, ONNX files hold at most 2147483647; choose fewer genes or a narrower network"
    )]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
}

/// The bytes of an ONNX file (IR version 8, operator set 17). The same network and description
/// give the same bytes.
///
/// # Errors
/// A network that breaks the rules stated at [`Network`], names that do not match it, or a file
/// beyond 2 GiB.
pub fn export_onnx(
    network: &Network,
    description: &OnnxDescription<'_>,
) -> Result<Vec<u8>, OnnxError> {
    let encoder = stage_dims("encoder", &network.encoder)?.ok_or(OnnxError::NoEncoder)?;
    let classifier = stage_dims("classifier", &network.classifier)?;
    let decoder = stage_dims("decoder", &network.decoder)?;
    for (stage, dims) in [("classifier", classifier), ("decoder", decoder)] {
        if let Some(dims) = dims {
            expect(stage, 0, "number of inputs", dims.inputs, encoder.outputs)?;
        }
    }
    if let Some(dims) = decoder {
        let last = network.decoder.len() - 1;
        expect("decoder", last, "number of outputs", dims.outputs, encoder.inputs)?;
    }
    let n_classes = classifier.map_or(0, |dims| dims.outputs);
    let properties = properties(description, encoder.inputs, n_classes)?;

    let mut graph = Graph { name: description.name.into(), ..Graph::default() };
    graph.input.push(value_info("x", encoder.inputs));
    add_stage(&mut graph, "encoder", &network.encoder, "x", "code");
    graph.output.push(value_info("code", encoder.outputs));
    if classifier.is_some() {
        add_stage(&mut graph, "classifier", &network.classifier, "code", "logits");
        add_softmax(&mut graph, "logits", "probabilities");
        graph.output.push(value_info("logits", n_classes));
        graph.output.push(value_info("probabilities", n_classes));
    }
    if let Some(dims) = decoder {
        add_stage(&mut graph, "decoder", &network.decoder, "code", "reconstruction");
        graph.output.push(value_info("reconstruction", dims.outputs));
    }

    file(graph, properties)
}

#[derive(Clone, Copy)]
struct StageDims {
    inputs: usize,
    outputs: usize,
}

/// Checks the layers of a stage against each other; `None` for an empty stage.
fn stage_dims(stage: &'static str, layers: &[DenseLayer]) -> Result<Option<StageDims>, OnnxError> {
    let (Some(first), Some(last)) = (layers.first(), layers.last()) else { return Ok(None) };
    let mut inputs = first.in_dim;
    for (index, layer) in layers.iter().enumerate() {
        expect(stage, index, "number of inputs", layer.in_dim, inputs)?;
        let n_weights = layer.out_dim().saturating_mul(layer.in_dim);
        expect(stage, index, "number of weights", layer.weights.len(), n_weights)?;
        expect(stage, index, "number of biases", layer.bias.len(), layer.out_dim())?;
        let carries = index == 0 && layers.len() > 1 && layer.carry > 0;
        let carry = if carries { last.activated_dim() } else { 0 };
        expect(stage, index, "carry", layer.carry, carry)?;
        inputs = layer.activated_dim();
    }
    if last.segments.iter().any(|segment| segment.activation != Activation::Identity) {
        return Err(OnnxError::ActivatedOutput { stage });
    }
    Ok(Some(StageDims { inputs: first.in_dim, outputs: last.activated_dim() }))
}

fn expect(
    stage: &'static str,
    layer: usize,
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), OnnxError> {
    if found == expected {
        Ok(())
    } else {
        Err(OnnxError::Shape { stage, layer, what, found, expected })
    }
}

/// The operations of a checked, non-empty stage, from value `input` to value `output`.
fn add_stage(graph: &mut Graph, stage: &str, layers: &[DenseLayer], input: &str, output: &str) {
    let mut value = input.to_owned();
    let mut carry = None;
    let Some((last, hidden)) = layers.split_last() else { return };
    for (index, layer) in hidden.iter().enumerate() {
        let name = format!("{stage}.{index}");
        let mut segments = Vec::new();
        let mut row = 0;
        for (number, segment) in layer.segments.iter().enumerate() {
            let name = format!("{name}.{number}");
            add_gemm(graph, layer, row..row + segment.len, &value, &name);
            segments.push(add_activation(graph, segment.activation, name));
            row += segment.len;
        }
        if layer.carry > 0 {
            let name = format!("{name}.carry");
            add_gemm(graph, layer, row..row + layer.carry, &value, &name);
            carry = Some(name);
        }
        value = add_concat(graph, segments, name);
    }
    let rows = 0..last.out_dim();
    match carry {
        None => add_gemm(graph, last, rows, &value, output),
        Some(carry) => {
            let name = format!("{stage}.{}", hidden.len());
            add_gemm(graph, last, rows, &value, &name);
            graph.node.push(node("Add", &[&name, &carry], output));
        }
    }
}

/// `output = input · Wᵀ + b` with some rows of a layer.
fn add_gemm(
    graph: &mut Graph,
    layer: &DenseLayer,
    rows: core::ops::Range<usize>,
    input: &str,
    output: &str,
) {
    let weights = &layer.weights[rows.start * layer.in_dim..rows.end * layer.in_dim];
    let (weight_name, bias_name) = (format!("{output}.weight"), format!("{output}.bias"));
    graph.initializer.push(tensor(&weight_name, &[rows.len(), layer.in_dim], weights));
    graph.initializer.push(tensor(&bias_name, &[rows.len()], &layer.bias[rows]));
    let gemm = node("Gemm", &[input, &weight_name, &bias_name], output);
    graph.node.push(Node { attribute: vec![int("transB", 1)], ..gemm });
}

/// Returns the name of the activated value.
fn add_activation(graph: &mut Graph, activation: Activation, input: String) -> String {
    let output = format!("{input}.{}", activation.name());
    match activation {
        Activation::Identity => return input,
        Activation::Relu => graph.node.push(node("Relu", &[&input], &output)),
        Activation::Sigmoid => graph.node.push(node("Sigmoid", &[&input], &output)),
        Activation::Tanh => graph.node.push(node("Tanh", &[&input], &output)),
        Activation::SoftPlus => add_soft_plus(graph, &input, &output),
        Activation::LogSigmoid => {
            let (negated, soft_plus) = (format!("{output}.neg"), format!("{output}.soft_plus"));
            graph.node.push(node("Neg", &[&input], &negated));
            add_soft_plus(graph, &negated, &soft_plus);
            graph.node.push(node("Neg", &[&soft_plus], &output));
        }
        Activation::SoftShrink => {
            let shrink = node("Shrink", &[&input], &output);
            let lambda = SOFT_SHRINK_LAMBDA;
            let attribute = vec![float("bias", lambda), float("lambd", lambda)];
            graph.node.push(Node { attribute, ..shrink });
        }
    }
    output
}

/// `max(x, 0) + ln(1 + exp(−|x|))`: the `Softplus` of some runtimes is `ln(1 + exp(x))`, which
/// overflows above 88.
fn add_soft_plus(graph: &mut Graph, input: &str, output: &str) {
    if graph.initializer.iter().all(|tensor| tensor.name != ONE) {
        graph.initializer.push(tensor(ONE, &[1], &[1.0]));
    }
    let name = |part: &str| format!("{output}.{part}");
    graph.node.extend([
        node("Abs", &[input], &name("abs")),
        node("Neg", &[&name("abs")], &name("below")),
        node("Exp", &[&name("below")], &name("exp")),
        node("Add", &[&name("exp"), ONE], &name("sum")),
        node("Log", &[&name("sum")], &name("log")),
        node("Relu", &[input], &name("relu")),
        node("Add", &[&name("relu"), &name("log")], output),
    ]);
}

/// Name of the constant of [`add_soft_plus`].
const ONE: &str = "one";
