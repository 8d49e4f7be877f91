//! The file around a graph: versions, and what it says about the network.

use prost::Message;

use super::messages::{Graph, Model, OperatorSet, Property};
use super::{OnnxDescription, OnnxError};

/// The bytes of a file with one graph.
pub(super) fn file(graph: Graph, properties: Vec<Property>) -> Result<Vec<u8>, OnnxError> {
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "cic".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET_VERSION }],
        metadata_props: properties,
    };
    let bytes = model.encoded_len();
    if i32::try_from(bytes).is_err() {
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(model.encode_to_vec())
}

/// The description of a network with so many inputs and classes.
pub(super) fn properties(
    description: &OnnxDescription<'_>,
    n_genes: usize,
    n_classes: usize,
) -> Result<Vec<Property>, OnnxError> {
    Ok(vec![
        lines("genes", description.genes, n_genes)?,
        lines("labels", description.labels, n_classes)?,
        Property { key: "preprocessing".into(), value: description.preprocessing.into() },
    ])
}

fn lines(what: &'static str, names: &[String], expected: usize) -> Result<Property, OnnxError> {
    if names.len() != expected {
        return Err(OnnxError::NameCount { what, found: names.len(), expected });
    }
    if let Some(name) = names.iter().find(|name| name.contains(['\n', '\r'])) {
        return Err(OnnxError::LineBreak { what, name: name.clone() });
    }
    Ok(Property { key: what.into(), value: names.join("\n") })
}

/// What onnx 1.13 and later read; the operators in use have not changed since set 16.
const IR_VERSION: i64 = 8;
const OPSET_VERSION: i64 = 17;
