//! Why an ONNX file was not read.

use std::path::PathBuf;

use thiserror::Error;

/// Why an ONNX file was not read.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum OnnxError {
    /// The bytes are no ONNX model.
    #[error("it is no ONNX model: {reason}; export the network again")]
    NotOnnx {
        /// What is missing or broken.
        reason: String,
    },
    /// An operator, or a way of using one, that a chain of dense layers has no place for.
    #[error("{node}: {reason}; {advice}")]
    Node {
        /// Name and operator of the node.
        node: String,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// A constant that cannot be read.
    #[error("tensor {name:?}: {reason}; export the network again")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Weights that lie in a file of their own.
    #[error(
        "tensor {name:?} lies in {location:?}: {reason}; keep the weights in the folder of the model"
    )]
    External {
        /// Name of the tensor.
        name: String,
        /// Where the model says that it is.
        location: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The nodes are no chain from one input.
    #[error("the graph is no chain of dense layers: {reason}")]
    Shape {
        /// What it has instead.
        reason: String,
    },
    /// What this project wrote itself.
    #[error(
        "it is the ONNX form of a model of cic train or cic-quantize, whose layers go around one another ({reason}); give the .cic \
         file that it was written with"
    )]
    Own {
        /// What no chain has.
        reason: String,
    },
    /// There is no tensor to take the code from.
    #[error("no layer gives {name:?}; known: {known}")]
    NoCode {
        /// The tensor that was asked for.
        name: String,
        /// Tensors that can be the code.
        known: String,
    },
}
