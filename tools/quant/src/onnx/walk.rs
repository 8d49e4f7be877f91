//! From the input along the nodes to the last layer, each node by what it does to a row of numbers.

use cic_model::Activation;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::error::OnnxError;
use super::graph::{Graph, ML, attribute, float, int, is_standard};
use super::layers::{Chain, Diagonal, MOST_LAYERS, Mismatch, WIDEST, WideLayer};
use super::scalar::{identify, is_scalar};
use super::tensor::Tensor;

/// A chain of layers, and what the nodes after it say.
pub(super) struct Walked {
    pub(super) layers: Vec<WideLayer>,
    /// The tensor that the last layer writes, for a run of the untouched graph; `None` where the last node gives
    /// something else beside.
    pub(super) end: Option<String>,
    /// Classes that the last node names.
    pub(super) labels: Vec<String>,
    /// What is not as the file has it.
    pub(super) notes: Vec<String>,
}

/// Follows the graph.
pub(super) fn walk(graph: &Graph<'_>) -> Result<Walked, OnnxError> {
    let mut walk = Walk {
        graph,
        chain: Chain::new(graph.n_inputs),
        is_read: vec![false; graph.nodes.len()],
        tensor: graph.input.to_string(),
        end: Some(graph.input.to_string()),
        labels: Vec::new(),
        notes: Vec::new(),
    };
    while let Some(at) = walk.next()? {
        walk.take(at)?;
        if walk.chain.n_layers() > MOST_LAYERS {
            return Err(OnnxError::Shape {
                reason: format!("it has more than {MOST_LAYERS} layers"),
            });
        }
    }
    walk.finish()
}

struct Walk<'g, 'a> {
    graph: &'g Graph<'a>,
    chain: Chain,
    /// Nodes that were taken.
    is_read: Vec<bool>,
    /// Where the chain has come to.
    tensor: String,
    end: Option<String>,
    labels: Vec<String>,
    notes: Vec<String>,
}

/// Operators after the last layer, which name the class or make probabilities.
const TAIL: [&str; 7] =
    ["Softmax", "LogSoftmax", "ArgMax", "TopK", "ZipMap", "Normalizer", "ArrayFeatureExtractor"];

/// What changes nothing of what [`TAIL`] gives. Anything else could turn the order of the classes.
const AFTER_TAIL: [&str; 6] = ["Cast", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"];

impl Walk<'_, '_> {
    /// The node that goes on; `None` at the end of the chain.
    fn next(&self) -> Result<Option<usize>, OnnxError> {
        let readers = self.graph.readers(&self.tensor);
        let goes_on = |&at: &usize| !TAIL.contains(&&*self.graph.nodes[at].op_type);
        let on: Vec<usize> = readers.into_iter().filter(goes_on).collect();
        match on[..] {
            [] => Ok(None),
            [at] if self.is_read[at] => {
                let node = shown(at, &self.graph.nodes[at]);
                Err(OnnxError::Shape { reason: format!("{node} reads what follows from it") })
            }
            [..] if on.iter().all(|&at| self.is_end(at)) => Ok(None),
            [at] => Ok(Some(at)),
            // An activation that was taken to pieces.
            [at, ..] if on.iter().all(|&at| is_scalar(&self.graph.nodes[at])) => Ok(Some(at)),
            _ => Err(self.fork(&on)),
        }
    }

    /// The error for a tensor that goes on in several ways.
    fn fork(&self, readers: &[usize]) -> OnnxError {
        let nodes = readers.iter().map(|&at| shown(at, &self.graph.nodes[at]));
        let nodes = nodes.collect::<Vec<_>>().join(", ");
        let (tensor, n) = (&self.tensor, readers.len());
        OnnxError::Shape { reason: format!("{tensor:?} is read by {n} nodes: {nodes}") }
    }

    /// The probability of the first of two classes, or those of both, after that of the second: a sigmoid of one number that
    /// ends the chain.
    fn is_end(&self, at: usize) -> bool {
        let node = &self.graph.nodes[at];
        let is_one = self.chain.width() == Some(1);
        let is_probability = is_one && self.chain.last_activation() == Some(Activation::Sigmoid);
        is_probability
            && match (&*node.op_type, &node.input[..]) {
                ("Sub", [one, second]) => {
                    let one = self.graph.constant(one);
                    *second == self.tensor && one.is_some_and(|one| one.values == [1.0])
                }
                ("Concat", [_, second]) => *second == self.tensor,
                _ => false,
            }
    }

    fn take(&mut self, at: usize) -> Result<(), OnnxError> {
        let graph = self.graph;
        let node = &graph.nodes[at];
        self.is_read[at] = true;
        if !is_standard(&node.domain) {
            let reason = format!("it is an operator of {:?}", node.domain);
            return Err(fault(at, node, reason, ONLY_CHAINS));
        }
        let Some(output) = node.output.first() else {
            return Err(fault(at, node, "it has no output".into(), "export the network again"));
        };
        let mut output = output.clone();
        match (&*node.op_type, &*node.domain) {
            ("Gemm", _) => self.gemm(at)?,
            ("MatMul", _) => self.matmul(at)?,
            ("Add" | "Sub" | "Mul" | "Div", _) if self.is_alone(at) => self.arithmetic(at)?,
            ("Neg", _) if self.is_alone(at) => self.diagonal(at, Diagonal::factor(vec![-1.0]))?,
            ("BatchNormalization", _) => self.batch_normalization(at)?,
            ("Scaler", ML) => self.scaler(at)?,
            ("LinearClassifier", ML) => {
                self.linear_classifier(at)?;
                output = node.output.get(1).cloned().unwrap_or_default();
            }
            ("Identity", _) => {}
            ("Cast", _) => {
                let to = int(node, "to", 0);
                if !FLOATS.contains(&to) {
                    let reason = format!("it rounds to the type {to}");
                    return Err(fault(at, node, reason, "export a network of floating point"));
                }
            }
            ("Dropout", _) => self.dropout(at)?,
            ("Flatten", _) => {
                let axis = int(node, "axis", 1);
                if axis != 1 && axis != -1 {
                    let reason = format!("it flattens from axis {axis}");
                    return Err(fault(at, node, reason, "export a network of [batch, genes]"));
                }
            }
            ("Reshape", _) => self.reshape(at)?,
            _ => output = self.activation(at)?,
        }
        if self.end.is_some() {
            self.end = Some(output.clone());
        }
        self.chain.name(&output);
        self.tensor = output;
        Ok(())
    }

    /// Whether nothing else reads what the node reads.
    fn is_alone(&self, at: usize) -> bool {
        self.graph.readers(&self.tensor) == [at]
    }

    /// Constant `number` of a node, called `what` in messages.
    fn constant(&self, at: usize, number: usize, what: &str) -> Result<&Tensor, OnnxError> {
        let node = &self.graph.nodes[at];
        let name = node.input.get(number).map_or("", |name| name);
        self.graph.constant(name).ok_or_else(|| {
            let reason = format!("its {what} {name:?} is no constant of numbers");
            fault(at, node, reason, ONLY_CHAINS)
        })
    }

    /// The same, of what a floating-point sample is computed with.
    fn numbers(&self, at: usize, number: usize, what: &str) -> Result<&Tensor, OnnxError> {
        let tensor = self.constant(at, number, what)?;
        match tensor.is_float {
            true => Ok(tensor),
            false => {
                let reason = format!("its {what} holds integers, beside a floating-point sample");
                Err(fault(
                    at,
                    &self.graph.nodes[at],
                    reason,
                    "cast them in the network, or export it again",
                ))
            }
        }
    }

    fn vector(&self, at: usize, number: usize, what: &str) -> Result<Vec<f64>, OnnxError> {
        let tensor = self.numbers(at, number, what)?;
        let vector = tensor.vector().filter(|vector| !vector.is_empty()).map(<[f64]>::to_vec);
        vector.ok_or_else(|| {
            let reason = format!("its {what} has the shape {:?}", tensor.dims);
            fault(at, &self.graph.nodes[at], reason, "export a network of [batch, genes]")
        })
    }

    fn affine(
        &mut self,
        at: usize,
        weights: Tensor,
        bias: Option<Vec<f64>>,
    ) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        let Some((out_dim, in_dim)) =
            weights.matrix().filter(|&(rows, columns)| rows * columns > 0)
        else {
            let reason = format!("its weights have the shape {:?}", weights.dims);
            return Err(fault(at, node, reason, "export a network of [batch, genes]"));
        };
        let mut bias = bias.unwrap_or_else(|| vec![0.0]);
        if bias.len() == 1 {
            bias = vec![bias[0]; out_dim];
        }
        if bias.len() != out_dim {
            let reason = format!("{} numbers are added to {out_dim} sums", bias.len());
            return Err(fault(at, node, reason, "export the network again"));
        }
        let fits = self.chain.affine(in_dim, weights.values, bias);
        fits.map_err(|mismatch| misfit(at, node, mismatch))
    }

    fn gemm(&mut self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        if int(node, "transA", 0) != 0 || node.input.first() != Some(&self.tensor) {
            let reason = "its first matrix is not one sample a row".into();
            return Err(fault(at, node, reason, "export the network for [batch, genes]"));
        }
        let weights = self.numbers(at, 1, "matrix")?;
        let mut weights = match int(node, "transB", 0) {
            0 => weights.transposed().unwrap_or_else(|| weights.clone()),
            _ => weights.clone(),
        };
        let (alpha, beta) = (float(node, "alpha", 1.0), float(node, "beta", 1.0));
        weights.values.iter_mut().for_each(|weight| *weight *= alpha);
        let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
        let bias = has_bias.then(|| self.vector(at, 2, "bias")).transpose()?;
        let bias = bias.map(|bias| bias.iter().map(|bias| bias * beta).collect());
        self.affine(at, weights, bias)
    }

    fn matmul(&mut self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        if node.input.first() != Some(&self.tensor) {
            let reason = "its first matrix is not one sample a row".into();
            return Err(fault(at, node, reason, "export the network for [batch, genes]"));
        }
        let weights = self.numbers(at, 1, "matrix")?;
        let weights = weights.transposed().unwrap_or_else(|| weights.clone());
        self.affine(at, weights, None)
    }

    /// A constant added, subtracted, multiplied or divided by.
    fn arithmetic(&mut self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        let is_first = node.input.first() == Some(&self.tensor);
        let constant = self.vector(at, usize::from(is_first), "other operand")?;
        let negative = |values: &[f64]| values.iter().map(|value| -value).collect();
        let map = match (&*node.op_type, is_first) {
            ("Add", _) => Diagonal::offset(constant),
            ("Sub", true) => Diagonal::offset(negative(&constant)),
            ("Sub", false) => Diagonal { factor: vec![-1.0], offset: constant },
            ("Mul", _) => Diagonal::factor(constant),
            (_, true) if constant.iter().all(|&value| value != 0.0) => {
                Diagonal::factor(constant.iter().map(|value| 1.0 / value).collect())
            }
            _ => {
                let reason = "it divides by zero, or by the sample".into();
                return Err(fault(at, node, reason, ONLY_CHAINS));
            }
        };
        self.diagonal(at, map)
    }

    fn diagonal(&mut self, at: usize, map: Diagonal) -> Result<(), OnnxError> {
        let fits = self.chain.diagonal(map);
        fits.map_err(|mismatch| misfit(at, &self.graph.nodes[at], mismatch))
    }

    fn batch_normalization(&mut self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        if int(node, "training_mode", 0) != 0 {
            let reason = "it is in training mode".into();
            return Err(fault(at, node, reason, "export the network for inference (eval())"));
        }
        let [scale, shift, mean, variance] =
            [(1, "scale"), (2, "shift"), (3, "mean"), (4, "variance")]
                .map(|(number, what)| self.vector(at, number, what));
        let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
        let n = scale.len();
        if [&shift, &mean, &variance].iter().any(|list| list.len() != n) {
            let reason = "its constants differ in length".into();
            return Err(fault(at, node, reason, "export the network again"));
        }
        let epsilon = float(node, "epsilon", 1e-5);
        if variance.iter().any(|&variance| variance + epsilon <= 0.0) {
            let reason = "a variance is not above zero".into();
            return Err(fault(at, node, reason, "export the network again"));
        }
        let factor: Vec<f64> = (scale.iter().zip(&variance))
            .map(|(scale, variance)| scale / (variance + epsilon).sqrt())
            .collect();
        let offset = shift.iter().zip(&mean).zip(&factor);
        let offset = offset.map(|((shift, mean), factor)| shift - mean * factor).collect();
        self.diagonal(at, Diagonal { factor, offset })
    }

    /// `(x − offset) · scale`
    fn scaler(&mut self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        let list = |name: &str, default: f64| {
            let found = attribute(node, name).map(|attribute| &attribute.floats);
            let found = found.filter(|floats| !floats.is_empty());
            found.map_or(vec![default], |floats| floats.iter().map(|&x| f64::from(x)).collect())
        };
        let (offset, factor) = (list("offset", 0.0), list("scale", 1.0));
        self.diagonal(at, Diagonal::offset(offset.iter().map(|offset| -offset).collect()))?;
        self.diagonal(at, Diagonal::factor(factor))
    }

    fn dropout(&self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        let training = node.input.get(2).filter(|name| !name.is_empty());
        let is_off = training.is_none_or(|name| {
            self.graph.constant(name).is_some_and(|tensor| tensor.values == [0.0])
        });
        match is_off {
            true => Ok(()),
            false => {
                let reason = "it is in training mode".into();
                Err(fault(at, node, reason, "export the network for inference (eval())"))
            }
        }
    }

    /// Rows stay rows: `[-1, n]` or `[0, n]`, or nothing that a row would notice.
    fn reshape(&self, at: usize) -> Result<(), OnnxError> {
        let shape = self.constant(at, 1, "shape")?;
        let width = self.chain.width().map(|width| width as f64);
        let keeps_rows = match shape.values[..] {
            [rows, columns] => {
                let is_free = rows == -1.0 || rows == 0.0;
                (is_free && (Some(columns) == width || columns == 0.0))
                    || (rows == 0.0 && columns == -1.0)
            }
            _ => false,
        };
        if keeps_rows {
            return Ok(());
        }
        let reason = format!("it makes the shape {:?}", shape.values);
        Err(fault(at, &self.graph.nodes[at], reason, "export a network of [batch, genes]"))
    }

    /// The nodes from this one that are an activation; the tensor that they give.
    fn activation(&mut self, at: usize) -> Result<String, OnnxError> {
        let node = &self.graph.nodes[at];
        let Some(scalar) = identify(self.graph, &self.tensor) else {
            if !self.is_alone(at) {
                return Err(self.fork(&self.graph.readers(&self.tensor)));
            }
            return Err(fault(at, node, "no part of a chain of dense layers".into(), ONLY_CHAINS));
        };
        if !self.chain.activation(scalar.activation) {
            let reason =
                format!("an activation of its own for an unknown width, or above {WIDEST}");
            return Err(fault(at, node, reason, ONLY_CHAINS));
        }
        scalar.nodes.iter().for_each(|&at| self.is_read[at] = true);
        Ok(scalar.output)
    }

    fn linear_classifier(&mut self, at: usize) -> Result<(), OnnxError> {
        let node = &self.graph.nodes[at];
        let again = "export the network again";
        let floats = |name: &str| -> Vec<f64> {
            let list = attribute(node, name).map(|attribute| &attribute.floats);
            list.into_iter().flatten().map(|&value| f64::from(value)).collect()
        };
        let text = |name: &str| {
            let text = attribute(node, name).map(|attribute| &*attribute.s).unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        };
        let (mut weights, mut bias) = (floats("coefficients"), floats("intercepts"));
        let strings = attribute(node, "classlabels_strings").map(|list| list.strings.clone());
        let ints = attribute(node, "classlabels_ints").map(|list| list.ints.clone());
        let strings = strings.unwrap_or_default();
        let labels: Vec<String> = match strings.is_empty() {
            true => ints.unwrap_or_default().iter().map(ToString::to_string).collect(),
            false => strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect(),
        };
        let n_rows = bias.len();
        if n_rows == 0 || weights.is_empty() || weights.len() % n_rows != 0 {
            let reason = format!("{} coefficients for {n_rows} intercepts", weights.len());
            return Err(fault(at, node, reason, again));
        }
        if weights.iter().chain(&bias).any(|value| !value.is_finite()) {
            return Err(fault(at, node, "a coefficient is not finite".into(), again));
        }
        let n_inputs = weights.len() / n_rows;
        let transform = text("post_transform");
        match (&*transform, n_rows) {
            ("" | "NONE" | "SOFTMAX", 2..) => {}
            // One score: its sigmoid is the probability of the second class.
            ("LOGISTIC" | "NONE" | "", 1) if labels.len() == 2 => {
                weights.splice(..0, vec![0.0; n_inputs]);
                bias.insert(0, 0.0);
            }
            // Two that are each other's negative: the softmax of their halves is the sigmoid.
            ("LOGISTIC", 2) if is_negative(&weights) && bias[0] == -bias[1] => {
                weights.iter_mut().chain(&mut bias).for_each(|value| *value /= 2.0);
            }
            ("LOGISTIC", 2..) => self.notes.push(
                "confidences are the softmax of the scores; the file divides the sigmoid of each by their sum"
                    .into(),
            ),
            _ => {
                let reason = format!("post_transform {transform:?} of {n_rows} scores");
                return Err(fault(at, node, reason, "NONE, SOFTMAX and LOGISTIC are read"));
            }
        }
        self.labels = labels;
        self.end = None;
        let weights = Tensor { dims: vec![bias.len(), n_inputs], values: weights, is_float: true };
        self.affine(at, weights, Some(bias))
    }

    /// Checks what follows the chain, and makes scores of activations that end it.
    fn finish(mut self) -> Result<Walked, OnnxError> {
        let graph = self.graph;
        let mut tensors = vec![self.tensor.clone()];
        // What a classifier says beside its scores.
        let ended = graph.nodes.iter().enumerate().filter(|(at, _)| self.is_read[*at]);
        tensors.extend(ended.flat_map(|(_, node)| node.output.iter().cloned()));
        while let Some(tensor) = tensors.pop() {
            for at in graph.readers(&tensor) {
                let node = &graph.nodes[at];
                if std::mem::replace(&mut self.is_read[at], true) {
                    continue;
                }
                let op = &*node.op_type;
                if !(TAIL.contains(&op) || AFTER_TAIL.contains(&op) || self.is_end(at)) {
                    let reason = "it stands after the last layer".into();
                    return Err(fault(at, node, reason, ONLY_CHAINS));
                }
                if matches!(op, "Softmax" | "LogSoftmax") && !self.is_last_axis(node) {
                    let reason = format!("its axis is {}", int(node, "axis", -1));
                    return Err(fault(at, node, reason, "the last axis holds the classes"));
                }
                if self.labels.is_empty() {
                    self.labels = match op {
                        "ZipMap" => zip_labels(node),
                        "ArrayFeatureExtractor" => self.listed_labels(node),
                        _ => Vec::new(),
                    };
                }
                tensors.extend(node.output.iter().cloned());
            }
        }
        let is_idle = |(at, node): &(usize, &NodeProto)| {
            !self.is_read[*at]
                && node.output.first().is_none_or(|name| graph.constant(name).is_none())
        };
        if let Some((at, node)) = graph.nodes.iter().enumerate().find(is_idle) {
            let reason = format!("{} does not follow from the input", shown(at, node));
            return Err(OnnxError::Shape { reason });
        }
        let mut layers = self.chain.finish();
        let Some(last) = layers.last_mut() else {
            return Err(OnnxError::Shape { reason: "it has no layer with weights".into() });
        };
        match last.activation {
            Activation::Identity => {}
            Activation::Sigmoid if last.out_dim() == 1 => {
                last.weights.splice(..0, vec![0.0; last.in_dim]);
                last.bias.insert(0, 0.0);
                last.activation = Activation::Identity;
                self.end = None;
            }
            Activation::Relu | Activation::SoftShrink => {
                let reason = format!("the last layer ends in {}", last.activation.name());
                return Err(OnnxError::Shape { reason });
            }
            activation => {
                self.notes.push(format!(
                    "confidences are the softmax of the scores before the last {}",
                    activation.name()
                ));
                self.end = last.sums.last().cloned();
                last.activation = Activation::Identity;
            }
        }
        Ok(Walked { layers, end: self.end, labels: self.labels, notes: self.notes })
    }

    /// The list that the best class is looked up in.
    fn listed_labels(&self, node: &NodeProto) -> Vec<String> {
        let name = node.input.first().map_or("", |name| name);
        if let Some(texts) = self.graph.texts(name) {
            return texts.to_vec();
        }
        let numbers = self.graph.constant(name).map(|tensor| &tensor.values);
        numbers.into_iter().flatten().map(ToString::to_string).collect()
    }

    fn is_last_axis(&self, node: &NodeProto) -> bool {
        // Left out, it was the second of two axes before operator set 13, and is the last one since.
        matches!(int(node, "axis", -1), -1 | 1)
    }
}

/// Whether the first half of the numbers is the negative of the second.
fn is_negative(weights: &[f64]) -> bool {
    let (first, second) = weights.split_at(weights.len() / 2);
    first.iter().zip(second).all(|(a, b)| *a == -*b)
}

fn zip_labels(node: &NodeProto) -> Vec<String> {
    let strings = attribute(node, "classlabels_strings").map(|list| &list.strings);
    let ints = attribute(node, "classlabels_int64s").map(|list| &list.ints);
    let strings = strings.into_iter().flatten().map(|s| String::from_utf8_lossy(s).into_owned());
    strings.chain(ints.into_iter().flatten().map(ToString::to_string)).collect()
}

/// Single, half, double, brain.
const FLOATS: [i64; 4] = [
    DataType::Float as i64,
    DataType::Float16 as i64,
    DataType::Double as i64,
    DataType::Bfloat16 as i64,
];

const ONLY_CHAINS: &str = "what is read is a chain of Gemm, MatMul, constants added or multiplied, BatchNormalization, Scaler, \
     LinearClassifier, and ReLU, sigmoid, log-sigmoid, tanh, softplus or softshrink (0.5), with Softmax or ArgMax at its end";

fn fault(at: usize, node: &NodeProto, reason: String, advice: &'static str) -> OnnxError {
    OnnxError::Node { node: shown(at, node), reason, advice }
}

fn misfit(at: usize, node: &NodeProto, mismatch: Mismatch) -> OnnxError {
    let Mismatch { found, expected } = mismatch;
    let reason = format!("it is for {found} numbers, and {expected} come to it");
    fault(at, node, reason, "export the network again")
}

fn shown(at: usize, node: &NodeProto) -> String {
    match node.name.is_empty() {
        true => format!("node {at} ({})", node.op_type),
        false => format!("node {:?} ({})", node.name, node.op_type),
    }
}
