//! Exported ONNX files against a forward pass in double precision: evaluated here operator by
//! operator, and in onnxruntime where there is one.

use std::collections::HashMap;
use std::process::Command;

use cic_model::{Activation, DenseLayer, Network, Segment};
use cic_trainer::onnx::messages::{Model, Node};
use cic_trainer::onnx::{OnnxDescription, OnnxError, export_onnx};
use prost::Message;

const N_GENES: usize = 40;
const N_CLASSES: usize = 5;
const N_ROWS: usize = 64;
/// Single precision of the runtime against double precision here.
const TOLERANCE: f64 = 1e-5;

#[test]
fn the_exported_graph_computes_the_network() {
    for network in [wide_network(), short_network()] {
        let model = Model::decode(export(&network).unwrap().as_slice()).unwrap();
        for x in profiles() {
            let found = evaluate(&model, &x);
            for (name, expected) in forward(&network, &x) {
                for (found, expected) in found[name].iter().zip(&expected) {
                    // The graph is evaluated in double precision, too.
                    assert!((found - expected).abs() < 1e-9, "{name}: {found} {expected}");
                }
                assert_eq!(found[name].len(), expected.len());
            }
        }
    }
}

#[test]
fn extreme_inputs_stay_finite() {
    let model = Model::decode(export(&wide_network()).unwrap().as_slice()).unwrap();
    for value in [-1e4, 1e4] {
        let outputs = evaluate(&model, &vec![value; N_GENES]);
        assert!(outputs["code"].iter().all(|value| value.is_finite()));
    }
}

#[test]
fn onnxruntime_agrees() {
    let Ok(python) = std::env::var("CIC_PYTHON") else {
        println!("SKIPPED: set CIC_PYTHON to a Python with onnx and onnxruntime to compare");
        return;
    };
    for network in [wide_network(), short_network()] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("network.onnx"), export(&network).unwrap()).unwrap();
        write_rows(&folder.path().join("x.tsv"), &profiles());
        let status = Command::new(&python)
            .arg("tests/fixtures/run_onnx.py")
            .arg(folder.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        let mut worst = 0.0_f64;
        for name in forward(&network, &profiles()[0]).into_keys() {
            let text = std::fs::read_to_string(folder.path().join(format!("{name}.tsv"))).unwrap();
            let rows: Vec<&str> = text.lines().collect();
            assert_eq!(rows.len(), N_ROWS);
            for (row, x) in rows.iter().zip(profiles()) {
                let expected = &forward(&network, &x)[name];
                let found: Vec<f64> = row.split('\t').map(|text| text.parse().unwrap()).collect();
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    worst = worst.max((found - expected).abs());
                }
            }
        }
        println!("largest difference to onnxruntime: {worst:e}");
        assert!(worst <= TOLERANCE, "{worst:e}");
    }
}

#[test]
fn the_file_names_genes_labels_and_preprocessing() {
    let model = Model::decode(export(&wide_network()).unwrap().as_slice()).unwrap();
    let property = |key: &str| {
        model.metadata_props.iter().find(|property| property.key == key).unwrap().value.clone()
    };
    assert_eq!(property("genes").lines().count(), N_GENES);
    assert_eq!(property("labels").lines().nth(2), Some("type 2"));
    assert_eq!(property("preprocessing"), "log1p");
    let graph = model.graph.unwrap();
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(outputs, ["code", "logits", "probabilities", "reconstruction"]);
}

#[test]
fn refuses_weights_that_do_not_fit_the_layer() {
    let mut network = wide_network();
    network.decoder[0].weights.pop();
    let error = export(&network).unwrap_err();
    assert!(matches!(error, OnnxError::Shape { stage: "decoder", layer: 0, .. }), "{error}");
}

#[test]
fn refuses_a_carry_that_does_not_reach_the_last_layer() {
    let mut network = wide_network();
    network.encoder.pop();
    let error = export(&network).unwrap_err();
    assert!(matches!(error, OnnxError::Shape { stage: "encoder", .. }), "{error}");
}

#[test]
fn refuses_an_activation_after_the_last_layer() {
    let mut network = wide_network();
    network.classifier[0].segments[0].activation = Activation::Relu;
    assert_eq!(export(&network).unwrap_err(), OnnxError::ActivatedOutput { stage: "classifier" });
}

#[test]
fn refuses_a_network_without_encoder() {
    let network = Network { encoder: Vec::new(), ..wide_network() };
    assert_eq!(export(&network).unwrap_err(), OnnxError::NoEncoder);
}

#[test]
fn refuses_names_that_do_not_match_the_network() {
    let genes: Vec<String> = (0..N_GENES).map(|gene| format!("gene {gene}")).collect();
    let description =
        OnnxDescription { name: "n", genes: &genes, labels: &[], preprocessing: "log1p" };
    let error = export_onnx(&wide_network(), &description).unwrap_err();
    assert_eq!(error, OnnxError::NameCount { what: "labels", found: 0, expected: N_CLASSES });

    let mut broken = genes.clone();
    broken[3] = "two\nlines".into();
    let description = OnnxDescription { genes: &broken, ..description };
    let error = export_onnx(&short_network(), &description).unwrap_err();
    assert_eq!(error, OnnxError::LineBreak { what: "genes", name: "two\nlines".into() });
}

/// Every activation, segments, carries and two hidden layers.
fn wide_network() -> Network {
    let mut random = Random(1);
    let all: Vec<(usize, Activation)> = Activation::ALL
        .into_iter()
        .zip([3, 9, 4, 5, 6, 7, 8])
        .map(|(activation, len)| (len, activation))
        .collect();
    let code = 6;
    Network {
        encoder: vec![
            random.layer(N_GENES, &all, code),
            random.layer(42, &[(20, Activation::Tanh), (4, Activation::SoftPlus)], 0),
            random.layer(24, &[(code, Activation::Identity)], 0),
        ],
        classifier: vec![random.layer(code, &[(N_CLASSES, Activation::Identity)], 0)],
        decoder: vec![
            random.layer(code, &[(16, Activation::LogSigmoid)], N_GENES),
            random.layer(16, &[(30, Activation::Identity), (10, Activation::Identity)], 0),
        ],
    }
}

/// One linear layer, nothing else.
fn short_network() -> Network {
    Network {
        encoder: vec![Random(2).layer(N_GENES, &[(4, Activation::Identity)], 0)],
        classifier: Vec::new(),
        decoder: Vec::new(),
    }
}

fn export(network: &Network) -> Result<Vec<u8>, OnnxError> {
    let genes: Vec<String> = (0..N_GENES).map(|gene| format!("gene {gene}")).collect();
    let n_labels = network.classifier.last().map_or(0, DenseLayer::out_dim);
    let labels: Vec<String> = (0..n_labels).map(|label| format!("type {label}")).collect();
    let description = OnnxDescription {
        name: "random network",
        genes: &genes,
        labels: &labels,
        preprocessing: "log1p",
    };
    export_onnx(network, &description)
}

fn profiles() -> Vec<Vec<f64>> {
    let mut random = Random(3);
    let mut value = || {
        let value = random.value();
        // Half of the values are zero, as in real profiles.
        if value > 0.0 { f64::from(4.0 * value) } else { 0.0 }
    };
    (0..N_ROWS).map(|_| (0..N_GENES).map(|_| value()).collect()).collect()
}

fn write_rows(path: &std::path::Path, rows: &[Vec<f64>]) {
    let line = |row: &Vec<f64>| row.iter().map(f64::to_string).collect::<Vec<_>>().join("\t");
    std::fs::write(path, rows.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
}

/// The definition of a network, in double precision.
fn forward(network: &Network, x: &[f64]) -> HashMap<&'static str, Vec<f64>> {
    let code = stage(&network.encoder, x);
    let mut outputs = HashMap::new();
    if !network.classifier.is_empty() {
        let logits = stage(&network.classifier, &code);
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        outputs.insert("probabilities", logits.iter().map(|logit| logit.exp() / sum).collect());
        outputs.insert("logits", logits);
    }
    if !network.decoder.is_empty() {
        outputs.insert("reconstruction", stage(&network.decoder, &code));
    }
    outputs.insert("code", code);
    outputs
}

fn stage(layers: &[DenseLayer], x: &[f64]) -> Vec<f64> {
    let mut value = x.to_vec();
    let mut carry = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let mut y: Vec<f64> = layer
            .weights
            .chunks(layer.in_dim)
            .zip(&layer.bias)
            .map(|(row, bias)| {
                let sum: f64 = row.iter().zip(&value).map(|(w, x)| f64::from(*w) * x).sum();
                sum + f64::from(*bias)
            })
            .collect();
        if index + 1 == layers.len() {
            y.iter_mut().zip(&carry).for_each(|(y, carry)| *y += carry);
        }
        if layer.carry > 0 {
            carry = y.split_off(layer.activated_dim());
        }
        let activations =
            layer.segments.iter().flat_map(|segment| vec![segment.activation; segment.len]);
        value = y.into_iter().zip(activations).map(|(y, kind)| activate(kind, y)).collect();
    }
    value
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::LogSigmoid => -(1.0 + (-x).exp()).ln(),
        Activation::Tanh => x.tanh(),
        Activation::SoftPlus => (1.0 + x.exp()).ln(),
        Activation::SoftShrink => x.signum() * (x.abs() - 0.5).max(0.0),
    }
}

/// Runs a graph on one profile by the operators' definitions, in double precision.
fn evaluate(model: &Model, x: &[f64]) -> HashMap<String, Vec<f64>> {
    let graph = model.graph.as_ref().unwrap();
    let mut values = HashMap::from([("x".to_owned(), x.to_vec())]);
    for tensor in &graph.initializer {
        let floats = tensor.raw_data.as_chunks::<4>().0.iter();
        let floats: Vec<f64> = floats.map(|bytes| f32::from_le_bytes(*bytes).into()).collect();
        assert_eq!(floats.len() as i64, tensor.dims.iter().product::<i64>());
        values.insert(tensor.name.clone(), floats);
    }
    for node in &graph.node {
        let inputs: Vec<&Vec<f64>> = node.input.iter().map(|name| &values[name]).collect();
        let output = run_operator(node, &inputs);
        assert!(values.insert(node.output[0].clone(), output).is_none(), "assigned once");
    }
    values
}

fn run_operator(node: &Node, inputs: &[&Vec<f64>]) -> Vec<f64> {
    let x = inputs[0];
    let map = |f: fn(f64) -> f64| x.iter().map(|x| f(*x)).collect();
    match node.op_type.as_str() {
        "Gemm" => {
            assert_eq!((node.attribute[0].name.as_str(), node.attribute[0].i), ("transB", 1));
            let rows = inputs[1].chunks(x.len()).zip(inputs[2]);
            rows.map(|(row, bias)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias)
                .collect()
        }
        "Concat" => inputs.iter().flat_map(|part| part.iter().copied()).collect(),
        "Add" => x.iter().zip(inputs[1].iter().cycle()).map(|(x, y)| x + y).collect(),
        "Softmax" => {
            let sum: f64 = x.iter().map(|x| x.exp()).sum();
            x.iter().map(|x| x.exp() / sum).collect()
        }
        "Shrink" => {
            let setting = |name: &str| {
                f64::from(node.attribute.iter().find(|setting| setting.name == name).unwrap().f)
            };
            let (bias, lambda) = (setting("bias"), setting("lambd"));
            let shrink = |x: &f64| match *x {
                x if x < -lambda => x + bias,
                x if x > lambda => x - bias,
                _ => 0.0,
            };
            x.iter().map(shrink).collect()
        }
        "Relu" => map(|x| x.max(0.0)),
        "Sigmoid" => map(|x| 1.0 / (1.0 + (-x).exp())),
        "Tanh" => map(f64::tanh),
        "Neg" => map(|x| -x),
        "Abs" => map(f64::abs),
        "Exp" => map(f64::exp),
        "Log" => map(f64::ln),
        other => panic!("operator {other} is not in the list of the documentation"),
    }
}

/// A linear congruential generator: enough to fill weights.
struct Random(u64);

impl Random {
    /// Even between -1 and 1.
    fn value(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn layer(
        &mut self,
        in_dim: usize,
        segments: &[(usize, Activation)],
        carry: usize,
    ) -> DenseLayer {
        let segments: Vec<Segment> =
            segments.iter().map(|&(len, activation)| Segment { len, activation }).collect();
        let out_dim = segments.iter().map(|segment| segment.len).sum::<usize>() + carry;
        let scale = 1.5 / (in_dim as f32).sqrt();
        DenseLayer {
            in_dim,
            segments,
            carry,
            weights: (0..out_dim * in_dim).map(|_| scale * self.value()).collect(),
            bias: (0..out_dim).map(|_| self.value()).collect(),
        }
    }
}
