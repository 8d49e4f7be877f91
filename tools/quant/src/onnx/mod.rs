//! Networks from ONNX files, whoever wrote them: chains of dense layers, with everything between them folded into weights and
//! biases in double precision.

mod error;
mod graph;
mod layers;
mod reference;
mod scalar;
mod tensor;
mod walk;

use std::fs;
use std::path::Path;

use cic_model::{Activation, DenseLayer, Network};
use tract_onnx::pb::ModelProto;

pub use error::OnnxError;
pub use reference::OnnxReference;

use graph::{Graph, decode};
use layers::WideLayer;
use walk::{Walked, walk};

/// A network from an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxNetwork {
    /// Encoder and classifier; of an encoder alone no classifier.
    pub network: Network,
    /// Names of the inputs, from the property `genes` (one a line), or empty.
    pub genes: Vec<String>,
    /// Names of the classes: from the property `labels` (one a line), or from a node of the graph, or empty.
    pub labels: Vec<String>,
    /// What the inputs are made of, from the property `preprocessing`, or empty.
    pub preprocessing: String,
    /// Program and version that wrote the file.
    pub producer: String,
    /// What is not as the file has it.
    pub notes: Vec<String>,
    /// The tensor that the code was taken from.
    pub code: String,
}

/// What is made of the outputs of an ONNX graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnnxOptions<'a> {
    /// The tensor that is the code. Left out: the output called `code`, or the sums of the narrowest hidden layer (the last
    /// of equals), or of a network without hidden layers its scores.
    pub code: Option<&'a str>,
    /// Whether the outputs are the code: there are no classes.
    pub is_encoder: bool,
}

/// Reads an ONNX file. Weights in files of their own are looked for in its folder only.
///
/// # Errors
/// What the file has that is no chain of dense layers, by the name of the node; constants that are broken or lie elsewhere.
pub fn read_onnx(path: &Path, options: OnnxOptions<'_>) -> Result<OnnxNetwork, OnnxError> {
    let io = |error: std::io::Error| OnnxError::Io { path: path.into(), reason: error.to_string() };
    let bytes = fs::read(path).map_err(io)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    read_onnx_bytes(&bytes, folder.unwrap_or(Path::new(".")), options)
}

/// The same, for a file in memory. `folder` is where weights in files of their own are looked for.
///
/// # Errors
/// Those of [`read_onnx`].
pub fn read_onnx_bytes(
    bytes: &[u8],
    folder: &Path,
    options: OnnxOptions<'_>,
) -> Result<OnnxNetwork, OnnxError> {
    let model = decode(bytes)?;
    let graph = Graph::new(&model, folder)?;
    let walked = walk(&graph).map_err(|error| match &*model.producer_name {
        OWN => OnnxError::Own { reason: error.to_string() },
        _ => error,
    });
    let Walked { layers, labels, notes, .. } = walked?;
    if let Some(layer) = layers.iter().find(|layer| !layer.fits_single()) {
        return Err(OnnxError::Tensor {
            name: layer.sums.last().cloned().unwrap_or_default(),
            reason: "the weights that give it, with all that is folded into them, are not finite in single precision"
                .into(),
        });
    }
    let (network, code) = match options.is_encoder {
        true => {
            let code = layers.last().and_then(|layer| layer.sums.last()).cloned();
            let encoder = layers.iter().map(WideLayer::rounded).collect();
            let network = Network { encoder, classifier: Vec::new(), decoder: Vec::new() };
            (network, code.unwrap_or_default())
        }
        false => divided(&layers, &graph, options.code)?,
    };
    let named = lines(&model, "labels");
    Ok(OnnxNetwork {
        network,
        genes: lines(&model, "genes"),
        preprocessing: lines(&model, "preprocessing").join(" ").trim().into(),
        labels: if named.is_empty() { labels } else { named },
        producer: format!("{} {}", model.producer_name, model.producer_version).trim().into(),
        notes,
        code,
    })
}

/// Who `cic train --onnx` and `cic-quantize --emit onnx` say has written a file.
const OWN: &str = "cic";

/// A property with one name a line.
fn lines(model: &ModelProto, key: &str) -> Vec<String> {
    let property = model.metadata_props.iter().find(|property| property.key == key);
    property.map_or(Vec::new(), |property| property.value.lines().map(String::from).collect())
}

/// Encoder and classifier. The code is linear: an activation of the layer that it is taken from begins the classifier.
fn divided(
    layers: &[WideLayer],
    graph: &Graph<'_>,
    asked: Option<&str>,
) -> Result<(Network, String), OnnxError> {
    let has = |layer: &WideLayer, name: &str| {
        layer.sums.iter().chain(&layer.outputs).any(|tensor| tensor == name)
    };
    let of_name = |name: &str| layers.iter().rposition(|layer| has(layer, name));
    let n_hidden = layers.len() - 1;
    let at = match asked {
        Some(name) => of_name(name).ok_or_else(|| {
            let names = layers.iter().filter_map(|layer| layer.sums.last());
            let known = names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            OnnxError::NoCode { name: name.into(), known }
        })?,
        None => {
            match graph.outputs.iter().find(|name| **name == "code").and_then(|name| of_name(name))
            {
                Some(at) => at,
                None => {
                    (0..n_hidden).rev().min_by_key(|&at| layers[at].out_dim()).unwrap_or(n_hidden)
                }
            }
        }
    };
    let code = layers[at].sums.last().cloned().unwrap_or_default();
    let mut encoder: Vec<DenseLayer> = layers[..=at].iter().map(WideLayer::rounded).collect();
    let mut classifier = Vec::new();
    let activation = layers[at].activation;
    if let Some(last) = encoder.last_mut() {
        last.segments.iter_mut().for_each(|segment| segment.activation = Activation::Identity);
    }
    if activation != Activation::Identity || at == n_hidden {
        classifier.push(WideLayer::unit(layers[at].out_dim(), activation).rounded());
    }
    classifier.extend(layers[at + 1..].iter().map(WideLayer::rounded));
    Ok((Network { encoder, classifier, decoder: Vec::new() }, code))
}
