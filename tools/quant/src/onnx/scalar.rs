//! Activations, alone or as producers take them to pieces: whatever nodes a tensor goes through number by number is run over a
//! range of numbers, and compared with the activations that there are.

use std::collections::HashMap;

use cic_model::Activation;
use tract_onnx::pb::NodeProto;

use super::graph::{Graph, float, is_standard};

/// Nodes that together are an activation.
pub(super) struct Scalar {
    pub(super) activation: Activation,
    pub(super) nodes: Vec<usize>,
    /// The tensor that they give.
    pub(super) output: String,
}

/// Whether a node can be part of an activation, other than by a constant added or multiplied.
pub(super) fn is_scalar(node: &NodeProto) -> bool {
    let ones = vec![vec![1.0]; node.input.len().max(1)];
    is_standard(&node.domain) && apply(node, &ones).is_some()
}

/// The longest run of nodes after `tensor` that is an activation.
pub(super) fn identify(graph: &Graph<'_>, tensor: &str) -> Option<Scalar> {
    let mut values: HashMap<&str, Vec<f64>> = HashMap::from([(tensor, range())]);
    let mut nodes = Vec::new();
    let mut found = None;
    // Nodes stand in the order in which they can run.
    let first = graph.readers(tensor).first().copied()?;
    for (at, node) in graph.nodes.iter().enumerate().skip(first).take(MOST_NODES) {
        let Some(result) = result(graph, node, &values) else { continue };
        let Some(output) = node.output.first() else { continue };
        values.insert(output, result);
        nodes.push(at);
        let is_inside = |reader: &usize| nodes.contains(reader);
        let is_live = |name: &&str| {
            !graph.readers(name).iter().all(is_inside)
                || (graph.outputs.contains(name) && *name != tensor)
        };
        let mut live = values.keys().copied().filter(is_live);
        // A tensor that nothing reads is the end, if all others are read inside.
        let end = match (live.next(), live.next()) {
            (Some(end), None) => end,
            (None, _) => &**output,
            _ => continue,
        };
        let Some(activation) = values.get(end).and_then(|values| known(values)) else { continue };
        let output = end.to_string();
        if output != tensor {
            found = Some(Scalar { activation, nodes: nodes.clone(), output });
        }
    }
    found
}

/// What a node makes of numbers that are known.
fn result(
    graph: &Graph<'_>,
    node: &NodeProto,
    values: &HashMap<&str, Vec<f64>>,
) -> Option<Vec<f64>> {
    let is_known = |name: &String| values.contains_key(&**name);
    if !node.input.iter().any(is_known) || !is_standard(&node.domain) {
        return None;
    }
    let input = |name: &String| match values.get(&**name) {
        Some(values) => Some(values.clone()),
        // Limits of Clip may be left out.
        None if name.is_empty() => Some(Vec::new()),
        None => graph
            .constant(name)
            .filter(|tensor| tensor.values.len() == 1)
            .map(|tensor| tensor.values.clone()),
    };
    let inputs: Option<Vec<Vec<f64>>> = node.input.iter().map(input).collect();
    apply(node, &inputs?)
}

/// Number by number; lists of one number stand for as many as there are.
fn apply(node: &NodeProto, inputs: &[Vec<f64>]) -> Option<Vec<f64>> {
    let n = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let at = |input: usize, index: usize| {
        let list = inputs.get(input).filter(|list| !list.is_empty())?;
        Some(if list.len() == 1 { list[0] } else { list[index] })
    };
    let truth = |holds: bool| f64::from(u8::from(holds));
    let of = |index: usize| {
        let x = at(0, index)?;
        let y = || at(1, index);
        Some(match &*node.op_type {
            "Identity" | "Cast" => x,
            "Relu" => x.max(0.0),
            "Sigmoid" => 1.0 / (1.0 + (-x).exp()),
            "LogSigmoid" => -(-x).exp().ln_1p(),
            "Tanh" => x.tanh(),
            "Softplus" => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            "Shrink" => {
                let (lambda, bias) = (float(node, "lambd", 0.5), float(node, "bias", 0.0));
                if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            }
            "Abs" => x.abs(),
            "Sign" if x == 0.0 => 0.0,
            "Sign" => x.signum(),
            "Neg" => -x,
            "Exp" => x.exp(),
            "Log" => x.ln(),
            "Not" => truth(x == 0.0),
            "Add" => x + y()?,
            "Sub" => x - y()?,
            "Mul" => x * y()?,
            "Div" => x / y()?,
            "Max" => x.max(y()?),
            "Min" => x.min(y()?),
            "Greater" => truth(x > y()?),
            "GreaterOrEqual" => truth(x >= y()?),
            "Less" => truth(x < y()?),
            "LessOrEqual" => truth(x <= y()?),
            "And" => truth(x != 0.0 && y()? != 0.0),
            "Or" => truth(x != 0.0 || y()? != 0.0),
            "Where" => at(if x != 0.0 { 1 } else { 2 }, index)?,
            "Clip" => {
                let limit = |input: usize, name: &str, default: f64| {
                    at(input, index).unwrap_or_else(|| float(node, name, default))
                };
                let (lo, hi) = (limit(1, "min", f64::NEG_INFINITY), limit(2, "max", f64::INFINITY));
                x.max(lo).min(hi)
            }
            _ => return None,
        })
    };
    (0..n).map(of).collect()
}

/// The activation that gives these values over [`range`].
fn known(values: &[f64]) -> Option<Activation> {
    let is_it = |activation: &Activation| {
        *activation != Activation::Identity
            && range().iter().zip(values).all(|(&x, &value)| {
                // An exponential may end here in double precision, as another does long before in single.
                if x.abs() > DENSE && !value.is_finite() {
                    return true;
                }
                let expected = f64::from(activation.apply(x as f32));
                (value - expected).abs() <= TOLERANCE * (1.0 + expected.abs())
            })
    };
    Activation::ALL.into_iter().find(is_it)
}

/// Closely from −30 to 30, where no number is a bound of an activation that is not one in single precision too, and in steps
/// of a quarter far beyond, so that what cuts off large numbers shows.
fn range() -> Vec<f64> {
    let near = (-3_840..=3_840).map(|step| f64::from(step) / 128.0);
    let far = (0..=100).map(|step| DENSE * 1.25_f64.powi(step));
    near.chain(far.flat_map(|x| [x, -x])).collect()
}

/// Up to where numbers lie closely.
const DENSE: f64 = 30.0;

/// Single precision's rounding, some times.
const TOLERANCE: f64 = 1e-6;
/// Nodes that are looked at for one activation.
const MOST_NODES: usize = 64;
