//! NumPy's arrays, from what their pickles record of them.

use super::error::CellTypistError;
use super::pickle::{Global, Id, Tree, Value};

/// An array in the order of its indices, the last one fastest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) items: Items,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Items {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

/// What the items of an array are.
#[derive(Clone, Copy, Debug)]
struct Dtype {
    kind: Kind,
    /// Bytes of an item.
    size: usize,
    is_big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Int,
    /// UCS-4, padded with zeros.
    Text,
    Object,
}

/// The array that `value` records. `part` is what it is called in messages.
pub(super) fn array(
    tree: &Tree<'_>,
    value: &Value<'_>,
    part: &str,
) -> Result<Array, CellTypistError> {
    let bad = |reason: &str| CellTypistError::part(part, reason);
    let Value::Object { made_by, arguments, state } = value else {
        return Err(bad("it is no array"));
    };
    let parts = |id: Id| match tree.get(id) {
        Value::Tuple(items) => Some(items.as_slice()),
        _ => None,
    };
    // Shape, dtype, whether the first index is fastest, and the items.
    let (shape, dtype, is_fortran, data) = match (made_by, parts(*arguments), state) {
        (Global::Reconstruct, Some(_), Some(state)) => match parts(*state) {
            Some(&[_, shape, dtype, order, data]) => {
                (shape, dtype, tree.get(order) == &Value::Bool(true), data)
            }
            _ => return Err(bad("the state of its array is none of NumPy's")),
        },
        (Global::FromBuffer, Some(&[data, dtype, shape, order]), None) => {
            (shape, dtype, tree.get(order) == &Value::Text("F"), data)
        }
        _ => return Err(bad("it is no array of NumPy's")),
    };
    let shape = parts(shape).map(|dims| {
        dims.iter().map(|&dim| match tree.get(dim) {
            Value::Int(dim) => usize::try_from(*dim).ok(),
            _ => None,
        })
    });
    let shape: Option<Vec<usize>> = shape.and_then(Iterator::collect);
    let shape = shape.filter(|shape| (1..=2).contains(&shape.len()));
    let shape = shape.ok_or_else(|| bad("its array has not one or two dimensions"))?;
    let n_items = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
    let n_items = n_items.ok_or_else(|| bad("its array is too large"))?;
    let dtype = dtype_of(tree, tree.get(dtype)).map_err(|reason| bad(&reason))?;
    let mut items = match (dtype.kind, tree.get(data)) {
        (Kind::Object, Value::List(items)) if items.len() == n_items => {
            let mut texts = Vec::with_capacity(items.len());
            let mut room = MOST_LETTERS;
            for &item in items {
                let text = object_text(tree, tree.get(item));
                let text = text.ok_or_else(|| bad("an item is neither text nor a number"))?;
                // One text of the file may stand in many places.
                let left = room.checked_sub(text.len());
                room = left.ok_or_else(|| bad("its texts are too long for names"))?;
                texts.push(text);
            }
            Items::Texts(texts)
        }
        (Kind::Float | Kind::Int | Kind::Text, Value::Bytes(bytes))
            if n_items.checked_mul(dtype.size) == Some(bytes.len()) =>
        {
            plain_items(bytes, dtype).ok_or_else(|| bad("a text is no Unicode"))?
        }
        _ => {
            return Err(bad(&format!(
                "its array holds not the {n_items} items of its shape {shape:?}"
            )));
        }
    };
    if let ([n_rows, n_columns], true) = (shape.as_slice(), is_fortran && n_items > 0) {
        items = match items {
            Items::Numbers(numbers) => Items::Numbers(transposed(&numbers, *n_rows, *n_columns)),
            Items::Texts(texts) => Items::Texts(transposed(&texts, *n_rows, *n_columns)),
        };
    }
    Ok(Array { shape, items })
}

/// `dtype('f8')` and what its state says of the order of bytes.
fn dtype_of(tree: &Tree<'_>, value: &Value<'_>) -> Result<Dtype, String> {
    let none = || "the type of its items is none of NumPy's".to_string();
    let Value::Object { made_by: Global::Dtype, arguments, state } = value else {
        return Err(none());
    };
    let Value::Tuple(arguments) = tree.get(*arguments) else { return Err(none()) };
    let Some(Value::Text(name)) = arguments.first().map(|&name| tree.get(name)) else {
        return Err(none());
    };
    let is_big_endian = match state.map(|state| tree.get(state)) {
        Some(Value::Tuple(items)) => {
            items.get(1).is_some_and(|&order| tree.get(order) == &Value::Text(">"))
        }
        _ => false,
    };
    let (kind, size) = match *name {
        "f8" => (Kind::Float, 8),
        "f4" => (Kind::Float, 4),
        "i8" => (Kind::Int, 8),
        "i4" => (Kind::Int, 4),
        "O" | "O8" | "O4" => (Kind::Object, 0),
        name => {
            let len = name.strip_prefix('U').and_then(|len| len.parse::<usize>().ok());
            let size = len.and_then(|len| len.checked_mul(4)).filter(|&size| size > 0);
            let size = size.ok_or_else(|| {
                let name: String = name.chars().take(20).collect();
                format!("items of type {name:?} are not read, but floats, integers and texts")
            })?;
            (Kind::Text, size)
        }
    };
    Ok(Dtype { kind, size, is_big_endian })
}

/// As many as the bytes hold; `None` for a text that is none.
fn plain_items(bytes: &[u8], dtype: Dtype) -> Option<Items> {
    let items = bytes.chunks_exact(dtype.size.max(1));
    if dtype.kind == Kind::Text {
        let texts = items.map(|item| text(item, dtype.is_big_endian)).collect::<Option<_>>()?;
        return Some(Items::Texts(texts));
    }
    let number = |item: &[u8]| {
        let mut bytes = [0; 8];
        let places = bytes.get_mut(..item.len())?;
        places.copy_from_slice(item);
        if dtype.is_big_endian {
            places.reverse();
        }
        let [a, b, c, d, ..] = bytes;
        Some(match (dtype.kind, dtype.size) {
            (Kind::Float, 8) => f64::from_le_bytes(bytes),
            (Kind::Float, _) => f32::from_le_bytes([a, b, c, d]).into(),
            // Counts and numbers of clusters, far below 2⁵³.
            (_, 8) => i64::from_le_bytes(bytes) as f64,
            _ => i32::from_le_bytes([a, b, c, d]).into(),
        })
    };
    Some(Items::Numbers(items.map(number).collect::<Option<_>>()?))
}

/// Letters of four bytes each, up to the zeros at the end.
fn text(item: &[u8], is_big_endian: bool) -> Option<String> {
    let (words, _) = item.as_chunks::<4>();
    let words = words.iter().map(|&word| match is_big_endian {
        true => u32::from_be_bytes(word),
        false => u32::from_le_bytes(word),
    });
    let text: String = words.map(char::from_u32).collect::<Option<_>>()?;
    Some(text.trim_end_matches('\0').into())
}

/// The text of an item of an array of objects.
fn object_text(tree: &Tree<'_>, value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some((*text).into()),
        Value::Int(number) => Some(number.to_string()),
        Value::Object { made_by: Global::Scalar, arguments, .. } => {
            let Value::Tuple(arguments) = tree.get(*arguments) else { return None };
            let &[dtype, data] = arguments.as_slice() else { return None };
            let dtype = dtype_of(tree, tree.get(dtype)).ok()?;
            match tree.get(data) {
                Value::Bytes(bytes) if dtype.kind == Kind::Text && bytes.len() == dtype.size => {
                    text(bytes, dtype.is_big_endian)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Bytes of all names of a list.
const MOST_LETTERS: usize = 1 << 24;

/// Rows one after another, from columns one after another.
fn transposed<T: Clone>(items: &[T], n_rows: usize, n_columns: usize) -> Vec<T> {
    (0..n_rows)
        .flat_map(|row| items.iter().skip(row).step_by(n_rows.max(1)).take(n_columns).cloned())
        .collect()
}
