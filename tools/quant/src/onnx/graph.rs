//! The graph of an ONNX file: constants, and which node reads which tensor.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Extent;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto};

use super::error::OnnxError;
use super::tensor::{Tensor, is_float};

pub(super) struct Graph<'a> {
    pub(super) nodes: &'a [NodeProto],
    constants: HashMap<&'a str, Tensor>,
    /// Constants that are text.
    texts: HashMap<&'a str, Vec<String>>,
    readers: HashMap<&'a str, Vec<usize>>,
    /// The tensor that samples are given in.
    pub(super) input: &'a str,
    /// Numbers of a sample, if the file says.
    pub(super) n_inputs: Option<usize>,
    pub(super) outputs: Vec<&'a str>,
}

/// The model of these bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto, OnnxError> {
    let not_onnx = |reason: &str| OnnxError::NotOnnx { reason: reason.into() };
    let model = ModelProto::decode(bytes).map_err(|error| not_onnx(&error.to_string()))?;
    if model.graph.as_ref().is_none_or(|graph| graph.node.is_empty()) {
        return Err(not_onnx("it has no graph, or one without nodes"));
    }
    let opset = model.opset_import.iter().find(|set| is_standard(&set.domain) && set.domain != ML);
    // Before, constants were matched with tensors by other rules.
    if let Some(set) = opset.filter(|set| set.version < OLDEST_OPSET) {
        return Err(not_onnx(&format!("operator set {}, older than {OLDEST_OPSET}", set.version)));
    }
    if let Some(set) = opset.filter(|set| set.version > NEWEST_OPSET) {
        return Err(not_onnx(&format!("operator set {}, newer than {NEWEST_OPSET}", set.version)));
    }
    Ok(model)
}

impl<'a> Graph<'a> {
    pub(super) fn new(model: &'a ModelProto, folder: &Path) -> Result<Self, OnnxError> {
        let shape = |reason: String| OnnxError::Shape { reason };
        let Some(proto) = &model.graph else { return Err(shape("there is no graph".into())) };
        if !proto.sparse_initializer.is_empty() {
            return Err(shape("its weights are sparse tensors".into()));
        }
        let (mut constants, mut texts) = (HashMap::new(), HashMap::new());
        let mut written: HashSet<&str> = HashSet::new();
        for tensor in &proto.initializer {
            if !written.insert(&tensor.name) {
                return Err(shape(format!("two tensors are called {:?}", tensor.name)));
            }
            if tensor.data_type == DataType::String as i32 {
                let list = tensor.string_data.iter();
                let list = list.map(|text| String::from_utf8_lossy(text).into_owned()).collect();
                texts.insert(&*tensor.name, list);
            } else {
                constants.insert(&*tensor.name, Tensor::read(tensor, folder)?);
            }
        }
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, node) in proto.node.iter().enumerate() {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                if !written.insert(output) {
                    return Err(shape(format!("two nodes write {output:?}")));
                }
            }
            for input in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(input).or_default().push(at);
            }
        }
        let is_initial = |name: &str| proto.initializer.iter().any(|tensor| tensor.name == name);
        let inputs: Vec<_> = proto.input.iter().filter(|input| !is_initial(&input.name)).collect();
        let [input] = inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|input| &*input.name).collect();
            return Err(shape(format!("it has {} inputs ({})", names.len(), names.join(", "))));
        };
        if written.contains(&*input.name) {
            return Err(shape(format!("a node writes its input {:?}", input.name)));
        }
        let kind = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
        let extents = kind.and_then(|Kind::TensorType(tensor)| tensor.shape.as_ref());
        let extent = extents.and_then(|shape| shape.dim.last()?.value.as_ref());
        let n_inputs = match extent {
            Some(Extent::DimValue(n)) => usize::try_from(*n).ok().filter(|&n| n > 0),
            _ => None,
        };
        let outputs = proto.output.iter().map(|output| &*output.name).collect();
        let input = &*input.name;
        let mut graph =
            Self { nodes: &proto.node, constants, texts, readers, input, n_inputs, outputs };
        graph.settle_constants(folder)?;
        Ok(graph)
    }

    /// Constants that nodes write: `Constant`, and what changes only the shape of one. Nodes of ONNX stand in the order in
    /// which they can run.
    fn settle_constants(&mut self, folder: &Path) -> Result<(), OnnxError> {
        for node in self.nodes {
            let Some(output) = node.output.first() else { continue };
            let constant = match &*node.op_type {
                "Constant" => match attribute(node, "value").and_then(|value| value.t.as_ref()) {
                    Some(tensor) => Tensor::read(tensor, folder)?,
                    None => match scalar_constant(node) {
                        Some(tensor) => tensor,
                        None => continue,
                    },
                },
                "Identity" | "Cast" | "Transpose" => {
                    let Some(tensor) = node.input.first().and_then(|name| self.constant(name))
                    else {
                        continue;
                    };
                    let to =
                        attribute(node, "to").and_then(|to| DataType::try_from(to.i as i32).ok());
                    match (&*node.op_type, to) {
                        ("Transpose", _) => match tensor.transposed() {
                            Some(tensor) => tensor,
                            None => continue,
                        },
                        ("Cast", Some(to)) => Tensor { is_float: is_float(to), ..tensor.clone() },
                        _ => tensor.clone(),
                    }
                }
                _ => continue,
            };
            self.constants.insert(output, constant);
        }
        Ok(())
    }

    pub(super) fn constant(&self, name: &str) -> Option<&Tensor> {
        self.constants.get(name)
    }

    pub(super) fn texts(&self, name: &str) -> Option<&[String]> {
        self.texts.get(name).map(Vec::as_slice)
    }

    /// Nodes that read a tensor, each once.
    pub(super) fn readers(&self, tensor: &str) -> Vec<usize> {
        let mut readers = self.readers.get(tensor).cloned().unwrap_or_default();
        readers.dedup();
        readers
    }
}

/// `Constant` with a number or a list of numbers.
fn scalar_constant(node: &NodeProto) -> Option<Tensor> {
    let list = |values: Vec<f64>, is_float| Tensor { dims: vec![values.len()], values, is_float };
    let one = |value: f64, is_float| Tensor { dims: Vec::new(), values: vec![value], is_float };
    let constant = node.attribute.iter().find_map(|attribute| match &*attribute.name {
        "value_float" => Some(one(f64::from(attribute.f), true)),
        "value_int" => Some(one(attribute.i as f64, false)),
        "value_floats" => {
            Some(list(attribute.floats.iter().map(|&x| f64::from(x)).collect(), true))
        }
        "value_ints" => Some(list(attribute.ints.iter().map(|&x| x as f64).collect(), false)),
        _ => None,
    });
    constant.filter(|tensor| tensor.values.iter().all(|value| value.is_finite()))
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A number, or what ONNX takes where it is left out.
pub(super) fn float(node: &NodeProto, name: &str, default: f64) -> f64 {
    attribute(node, name).map_or(default, |attribute| f64::from(attribute.f))
}

/// A whole number, or what ONNX takes where it is left out.
pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// Operators of ONNX itself and its classical machine learning.
pub(super) fn is_standard(domain: &str) -> bool {
    ["", "ai.onnx", ML].contains(&domain)
}

pub(super) const ML: &str = "ai.onnx.ml";

/// Since then constants are broadcast as in NumPy.
const OLDEST_OPSET: i64 = 7;
/// The newest that was known when this was written.
const NEWEST_OPSET: i64 = 26;
