//! Parts of a graph, made short.

use super::messages::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, Attribute, DATA_FLOAT, DATA_INT8, DATA_INT32, DATA_UINT8,
    Dimension, Graph, Node, Shape, Tensor, TensorType, Type, ValueInfo,
};

/// An operation named for its output.
pub(super) fn node(op_type: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: op_type.to_owned(),
        attribute: Vec::new(),
    }
}

/// Puts outputs of one layer side by side and returns the name of the value: `output`, or that of
/// the only part.
pub(super) fn add_concat(graph: &mut Graph, parts: Vec<String>, output: String) -> String {
    match <[String; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => {
            let inputs: Vec<&str> = parts.iter().map(String::as_str).collect();
            let concat = node("Concat", &inputs, &output);
            graph.node.push(Node { attribute: vec![int("axis", 1)], ..concat });
            output
        }
    }
}

/// Shares over the classes of each sample.
pub(super) fn add_softmax(graph: &mut Graph, input: &str, output: &str) {
    let softmax = node("Softmax", &[input], output);
    graph.node.push(Node { attribute: vec![int("axis", 1)], ..softmax });
}

pub(super) fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, kind: ATTRIBUTE_INT, ..Attribute::default() }
}

pub(super) fn float(name: &str, f: f32) -> Attribute {
    Attribute { name: name.into(), f, kind: ATTRIBUTE_FLOAT, ..Attribute::default() }
}

/// A constant; without dimensions a scalar.
pub(super) fn tensor<T: Element>(name: &str, dims: &[usize], values: &[T]) -> Tensor {
    Tensor {
        // Lengths of slices in memory are below 2⁶³.
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        data_type: T::DATA_TYPE,
        name: name.into(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// What tensors are made of.
pub(super) trait Element {
    /// `TensorProto.DataType`
    const DATA_TYPE: i32;

    fn to_le_bytes(&self) -> impl IntoIterator<Item = u8>;
}

impl Element for f32 {
    const DATA_TYPE: i32 = DATA_FLOAT;

    fn to_le_bytes(&self) -> impl IntoIterator<Item = u8> {
        f32::to_le_bytes(*self)
    }
}

impl Element for i32 {
    const DATA_TYPE: i32 = DATA_INT32;

    fn to_le_bytes(&self) -> impl IntoIterator<Item = u8> {
        i32::to_le_bytes(*self)
    }
}

impl Element for i8 {
    const DATA_TYPE: i32 = DATA_INT8;

    fn to_le_bytes(&self) -> impl IntoIterator<Item = u8> {
        i8::to_le_bytes(*self)
    }
}

impl Element for u8 {
    const DATA_TYPE: i32 = DATA_UINT8;

    fn to_le_bytes(&self) -> impl IntoIterator<Item = u8> {
        [*self]
    }
}

/// `[N, width]` numbers in single precision.
pub(super) fn value_info(name: &str, width: usize) -> ValueInfo {
    let batch = Dimension { value: None, name: Some("N".into()) };
    let width = Dimension { value: Some(width as i64), name: None };
    let shape = Shape { dim: vec![batch, width] };
    let tensor = TensorType { elem_type: DATA_FLOAT, shape: Some(shape) };
    ValueInfo { name: name.into(), kind: Some(Type { tensor: Some(tensor) }) }
}
