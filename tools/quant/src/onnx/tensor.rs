//! Constants of an ONNX graph, in double precision.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use super::error::OnnxError;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f64>,
    /// Whether they are floating-point numbers in the graph, as samples are.
    pub(super) is_float: bool,
}

impl Tensor {
    /// Reads a constant. `folder` is that of the model: weights in files of their own lie in it or below.
    pub(super) fn read(proto: &TensorProto, folder: &Path) -> Result<Self, OnnxError> {
        let fault = |reason: String| OnnxError::Tensor { name: proto.name.clone(), reason };
        let dims: Option<Vec<usize>> =
            proto.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let dims = dims.ok_or_else(|| fault(format!("its shape is {:?}", proto.dims)))?;
        let n = dims.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        let n = n.ok_or_else(|| fault(format!("its shape is {dims:?}, more than any memory")))?;
        let kind = DataType::try_from(proto.data_type)
            .map_err(|_| fault(format!("its element type is number {}", proto.data_type)))?;
        let is_external = proto.data_location == Some(DataLocation::External as i32);
        let values = if is_external || !proto.raw_data.is_empty() {
            let width = width(kind).ok_or_else(|| fault(format!("its elements are {kind:?}")))?;
            let n_bytes = n.checked_mul(width);
            let n_bytes = n_bytes.ok_or_else(|| fault(format!("its shape is {dims:?}")))?;
            let outside;
            let bytes = if is_external {
                outside = external(proto, folder, n_bytes)?;
                &outside
            } else {
                &proto.raw_data
            };
            if bytes.len() != n_bytes {
                let found = bytes.len();
                return Err(fault(format!("{found} bytes, its shape {dims:?} wants {n_bytes}")));
            }
            bytes.chunks_exact(width).map(|bytes| number(kind, bytes)).collect()
        } else {
            listed(proto, kind).ok_or_else(|| fault(format!("its elements are {kind:?}")))?
        };
        if values.len() != n {
            return Err(fault(format!("{} elements, its shape is {dims:?}", values.len())));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(fault(format!("it holds {value}"))),
            None => Ok(Self { dims, values, is_float: is_float(kind) }),
        }
    }

    /// Numbers along the last axis where all other axes have one element: `[n]`, `[1, n]`, or a single number.
    pub(super) fn vector(&self) -> Option<&[f64]> {
        let n = self.dims.last().copied().unwrap_or(1);
        (self.values.len() == n).then_some(&self.values)
    }

    /// Rows and columns of a matrix.
    pub(super) fn matrix(&self) -> Option<(usize, usize)> {
        match self.dims[..] {
            [rows, columns] => Some((rows, columns)),
            _ => None,
        }
    }

    /// The matrix the other way round.
    pub(super) fn transposed(&self) -> Option<Self> {
        let (rows, columns) = self.matrix()?;
        let of_column = |column: usize| self.values.iter().skip(column).step_by(columns.max(1));
        let values = (0..columns).flat_map(of_column).copied().collect();
        Some(Self { dims: vec![columns, rows], values, is_float: self.is_float })
    }
}

/// Whether an element type is one that a network computes in.
pub(super) fn is_float(kind: DataType) -> bool {
    use DataType::{Bfloat16, Double, Float, Float16};
    matches!(kind, Float | Float16 | Bfloat16 | Double)
}

/// Numbers that stand in the list of their type.
fn listed(proto: &TensorProto, kind: DataType) -> Option<Vec<f64>> {
    Some(match kind {
        DataType::Float => proto.float_data.iter().map(|&value| f64::from(value)).collect(),
        DataType::Double => proto.double_data.clone(),
        DataType::Int64 => proto.int64_data.iter().map(|&value| value as f64).collect(),
        DataType::Int32 | DataType::Int8 | DataType::Uint8 | DataType::Bool => {
            proto.int32_data.iter().map(|&value| f64::from(value)).collect()
        }
        // Bits in the lower half.
        DataType::Float16 => proto
            .int32_data
            .iter()
            .map(|&bits| half::f16::from_bits(bits as u16).to_f64())
            .collect(),
        DataType::Bfloat16 => proto
            .int32_data
            .iter()
            .map(|&bits| half::bf16::from_bits(bits as u16).to_f64())
            .collect(),
        _ => return None,
    })
}

/// Bytes of one element.
fn width(kind: DataType) -> Option<usize> {
    Some(match kind {
        DataType::Double | DataType::Int64 => 8,
        DataType::Float | DataType::Int32 => 4,
        DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        _ => return None,
    })
}

fn number(kind: DataType, bytes: &[u8]) -> f64 {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().unwrap_or([0; N])
    }
    match kind {
        DataType::Double => f64::from_le_bytes(array(bytes)),
        DataType::Int64 => i64::from_le_bytes(array(bytes)) as f64,
        DataType::Float => f64::from(f32::from_le_bytes(array(bytes))),
        DataType::Int32 => f64::from(i32::from_le_bytes(array(bytes))),
        DataType::Float16 => half::f16::from_le_bytes(array(bytes)).to_f64(),
        DataType::Bfloat16 => half::bf16::from_le_bytes(array(bytes)).to_f64(),
        DataType::Int8 => f64::from(i8::from_le_bytes(array(bytes))),
        _ => f64::from(u8::from_le_bytes(array(bytes))),
    }
}

/// Bytes of a tensor in a file of its own: more than any layer that a model holds.
const MOST_EXTERNAL: usize = 1 << 30;

/// The bytes of a constant that lies beside the model. A path that leads out of the folder is refused, through links too.
fn external(proto: &TensorProto, folder: &Path, n_bytes: usize) -> Result<Vec<u8>, OnnxError> {
    let entry = |key: &str| {
        let entry = proto.external_data.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.as_str())
    };
    let location = entry("location").unwrap_or_default();
    let fault = |reason: String| OnnxError::External {
        name: proto.name.clone(),
        location: location.into(),
        reason,
    };
    let parts: Vec<Component<'_>> = Path::new(location).components().collect();
    let stays = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !parts.iter().all(stays) {
        return Err(fault("that is no place below the model's folder".into()));
    }
    let real = |path: &Path| path.canonicalize().map_err(|error| fault(error.to_string()));
    let (root, path) = (real(folder)?, real(&folder.join(location))?);
    if !path.starts_with(&root) {
        return Err(fault("a link leads out of the model's folder".into()));
    }
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| fault(format!("its {key} is {text:?}"))),
    };
    let (start, len): (u64, Option<u64>) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(len) = len.filter(|&len| len != n_bytes as u64) {
        return Err(fault(format!("{len} bytes are named, its shape wants {n_bytes}")));
    }
    if n_bytes > MOST_EXTERNAL {
        return Err(fault(format!(
            "{n_bytes} bytes are more than the {MOST_EXTERNAL} that are read of a tensor"
        )));
    }
    let io = |error: std::io::Error| fault(error.to_string());
    // Before it is opened: a pipe would wait for a writer.
    let about = std::fs::metadata(&path).map_err(io)?;
    let mut file = match about.is_file() {
        true => File::open(&path).map_err(io)?,
        false => return Err(fault("it is no file".into())),
    };
    if start.saturating_add(n_bytes as u64) > about.len() {
        return Err(fault(format!("{n_bytes} bytes from {start} are not in its {}", about.len())));
    }
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = vec![0; n_bytes];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}
