//! What the metadata of a Zarr array say: `.zarray` of version 2, `zarr.json` of version 3.

use serde_json::Value;

use crate::element::Element;
use crate::zarr_codec::Codec;

/// How an array is stored.
#[derive(Debug)]
pub(crate) struct ArrayMetadata {
    pub(crate) shape: Vec<usize>,
    /// The shape of a chunk, of as many dimensions, none of them 0.
    pub(crate) chunk: Vec<usize>,
    pub(crate) datatype: Datatype,
    /// In the order in which a chunk is unpacked.
    pub(crate) codecs: Vec<Codec>,
    pub(crate) order: Order,
    pub(crate) keys: ChunkKeys,
    pub(crate) fill: Value,
}

/// What the elements are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datatype {
    Number {
        element: Element,
        endian: Endian,
    },
    /// Bytes of 0 and 1.
    Bool,
    /// UTF-8 of any length.
    Text,
    /// Code points of 32 bits, so many, padded with 0.
    FixedUtf32 {
        len: usize,
        endian: Endian,
    },
    /// So many bytes, padded with 0.
    FixedBytes {
        len: usize,
    },
    /// What is not read, by its name.
    Other(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

/// Which index of a matrix changes last within a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    RowMajor,
    ColumnMajor,
}

/// What the file of a chunk is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkKeys {
    /// Whether they begin with `c`.
    has_prefix: bool,
    separator: char,
}

/// Why metadata were refused.
#[derive(Debug, PartialEq)]
pub(crate) enum MetadataFault {
    /// What is known and not read.
    NotRead(String),
    Broken(String),
}

impl ArrayMetadata {
    /// Parses either version.
    pub(crate) fn parse(json: &Value) -> Result<Self, MetadataFault> {
        let parsed = match json["zarr_format"].as_u64() {
            Some(2) => Self::parse_v2(json),
            Some(3) => Self::parse_v3(json),
            _ => Err(broken(format!(
                "its zarr_format is {}, not 2 or 3",
                shown(&json["zarr_format"])
            ))),
        }?;
        if parsed.chunk.len() != parsed.shape.len() || parsed.chunk.contains(&0) {
            let reason = format!("chunks of {:?} in a shape of {:?}", parsed.chunk, parsed.shape);
            return Err(broken(reason));
        }
        Ok(parsed)
    }

    fn parse_v2(json: &Value) -> Result<Self, MetadataFault> {
        let mut datatype = datatype_v2(&json["dtype"]);
        let filters = json["filters"].as_array().map_or(&[][..], Vec::as_slice);
        let filters: Vec<&str> = filters.iter().map(|filter| name_in(filter, "id")).collect();
        match (&datatype, &filters[..]) {
            (Datatype::Other(name), ["vlen-utf8"]) if name == OBJECTS => datatype = Datatype::Text,
            (_, []) => {}
            (_, [filter, ..]) => {
                return Err(MetadataFault::NotRead(format!("the filter {filter}")));
            }
        }
        let codecs = match &json["compressor"] {
            Value::Null => Vec::new(),
            compressor => vec![codec(name_in(compressor, "id"))?],
        };
        let order = match json["order"].as_str() {
            Some("C") => Order::RowMajor,
            Some("F") => Order::ColumnMajor,
            _ => return Err(broken(format!("its order is {}, not C or F", shown(&json["order"])))),
        };
        let keys = ChunkKeys {
            has_prefix: false,
            separator: separator(&json["dimension_separator"], '.')?,
        };
        let (shape, chunk) = (lengths(json, "shape")?, lengths(json, "chunks")?);
        Ok(Self { shape, chunk, datatype, codecs, order, keys, fill: json["fill_value"].clone() })
    }

    fn parse_v3(json: &Value) -> Result<Self, MetadataFault> {
        let shape = lengths(json, "shape")?;
        let grid = &json["chunk_grid"];
        if name_in(grid, "name") != "regular" {
            let name = name_in(grid, "name");
            return Err(MetadataFault::NotRead(format!("a chunk grid of the kind {name:?}")));
        }
        let chunk = lengths(&grid["configuration"], "chunk_shape")?;
        if json["storage_transformers"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(MetadataFault::NotRead("storage transformers".into()));
        }
        let keys = &json["chunk_key_encoding"];
        let given = &keys["configuration"]["separator"];
        let keys = match name_in(keys, "name") {
            "default" => ChunkKeys { has_prefix: true, separator: separator(given, '/')? },
            "v2" => ChunkKeys { has_prefix: false, separator: separator(given, '.')? },
            name => return Err(MetadataFault::NotRead(format!("chunk keys of the kind {name:?}"))),
        };
        let mut datatype = datatype_v3(&json["data_type"]);
        let mut order = Order::RowMajor;
        let mut codecs = Vec::new();
        let mut is_bytes = false;
        for entry in json["codecs"].as_array().map_or(&[][..], Vec::as_slice) {
            let (name, about) = (name_in(entry, "name"), &entry["configuration"]);
            match name {
                "transpose" if !is_bytes => order = transposed(&about["order"], shape.len())?,
                "bytes" if !is_bytes => {
                    is_bytes = true;
                    if about["endian"] == "big" {
                        datatype = datatype.big_endian();
                    }
                }
                "vlen-utf8" if !is_bytes && datatype == Datatype::Text => is_bytes = true,
                name if is_bytes => codecs.push(codec(name)?),
                name => return Err(not_read_codec(name)),
            }
        }
        if !is_bytes {
            return Err(broken("its codecs make no bytes".into()));
        }
        codecs.reverse();
        Ok(Self { shape, chunk, datatype, codecs, order, keys, fill: json["fill_value"].clone() })
    }
}

impl Datatype {
    /// Bytes of an element; `None` where they vary or are not known.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::Number { element, .. } => Some(element.size()),
            Self::Bool => Some(1),
            Self::FixedUtf32 { len, .. } => Some(len.saturating_mul(4)),
            Self::FixedBytes { len } => Some(*len),
            Self::Text | Self::Other(_) => None,
        }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Number { element, .. } => format!("{element:?}").to_lowercase(),
            Self::Bool => "bool".into(),
            Self::Text | Self::FixedUtf32 { .. } | Self::FixedBytes { .. } => "string".into(),
            Self::Other(name) => name.clone(),
        }
    }

    fn big_endian(self) -> Self {
        let endian = Endian::Big;
        match self {
            Self::Number { element, .. } => Self::Number { element, endian },
            Self::FixedUtf32 { len, .. } => Self::FixedUtf32 { len, endian },
            other => other,
        }
    }
}

impl ChunkKeys {
    /// The path of a chunk below its array, by its place in each dimension.
    pub(crate) fn path(self, place: &[usize]) -> String {
        let mut parts: Vec<String> = place.iter().map(usize::to_string).collect();
        if self.has_prefix {
            parts.insert(0, "c".into());
        } else if parts.is_empty() {
            parts.push("0".into());
        }
        parts.join(&self.separator.to_string())
    }
}

/// An element as its little-endian bytes, from the JSON of a fill value; what is undefined is 0.
pub(crate) fn fill_bytes(fill: &Value, element: Element) -> Option<Vec<u8>> {
    let float = || match fill {
        Value::Null => Some(0.0),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    };
    match element {
        Element::F32 => return float().map(|number| (number as f32).to_le_bytes().to_vec()),
        Element::F64 => return float().map(|number| number.to_le_bytes().to_vec()),
        _ => {}
    }
    let integer = match fill {
        Value::Null => 0,
        Value::Bool(yes) => i128::from(*yes),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => i128::from(number),
            (None, Some(number)) => i128::from(number),
            (None, None) => number.as_f64().filter(|float| *float == 0.0).map(|_| 0)?,
        },
        _ => return None,
    };
    let bits = element.size() * 8;
    let fits = match element {
        Element::I8 | Element::I16 | Element::I32 | Element::I64 => {
            (-(1i128 << (bits - 1))..1 << (bits - 1)).contains(&integer)
        }
        _ => (0..1i128 << bits).contains(&integer),
    };
    fits.then(|| integer.to_le_bytes()[..element.size()].to_vec())
}

/// NumPy's array protocol: byte order, kind, bytes.
fn datatype_v2(dtype: &Value) -> Datatype {
    let Some(text) = dtype.as_str() else { return Datatype::Other("a structured type".into()) };
    let other = || Datatype::Other(text.into());
    let Some((order, rest)) = text.split_at_checked(1) else { return other() };
    let Some((kind, size)) = rest.split_at_checked(1) else { return other() };
    let endian = if order == ">" { Endian::Big } else { Endian::Little };
    let element = match (kind, size) {
        ("O", "") => return Datatype::Other(OBJECTS.into()),
        ("b", "1") => return Datatype::Bool,
        ("U", len) => match len.parse() {
            Ok(len) => return Datatype::FixedUtf32 { len, endian },
            Err(_) => return other(),
        },
        ("S", len) => match len.parse() {
            Ok(len) => return Datatype::FixedBytes { len },
            Err(_) => return other(),
        },
        ("f", "4") => Element::F32,
        ("f", "8") => Element::F64,
        ("i", "1") => Element::I8,
        ("i", "2") => Element::I16,
        ("i", "4") => Element::I32,
        ("i", "8") => Element::I64,
        ("u", "1") => Element::U8,
        ("u", "2") => Element::U16,
        ("u", "4") => Element::U32,
        ("u", "8") => Element::U64,
        _ => return other(),
    };
    Datatype::Number { element, endian }
}

fn datatype_v3(json: &Value) -> Datatype {
    let endian = Endian::Little;
    let name = name_in(json, "name");
    let len = json["configuration"]["length_bytes"].as_u64();
    let len = len.and_then(|len| usize::try_from(len).ok());
    let element = match (name, len) {
        ("bool", _) => return Datatype::Bool,
        ("string", _) => return Datatype::Text,
        ("fixed_length_utf32", Some(len)) => return Datatype::FixedUtf32 { len: len / 4, endian },
        ("null_terminated_bytes", Some(len)) => return Datatype::FixedBytes { len },
        ("float32", _) => Element::F32,
        ("float64", _) => Element::F64,
        ("int8", _) => Element::I8,
        ("int16", _) => Element::I16,
        ("int32", _) => Element::I32,
        ("int64", _) => Element::I64,
        ("uint8", _) => Element::U8,
        ("uint16", _) => Element::U16,
        ("uint32", _) => Element::U32,
        ("uint64", _) => Element::U64,
        (other, _) => return Datatype::Other(other.into()),
    };
    Datatype::Number { element, endian }
}

/// The name of something that is given by its name alone, or with more.
fn name_in<'a>(json: &'a Value, key: &str) -> &'a str {
    json.as_str().or_else(|| json[key].as_str()).unwrap_or("without a name")
}

/// A codec of metadata of version 2, or of version 3, where those of numcodecs have its name before theirs.
fn codec(name: &str) -> Result<Codec, MetadataFault> {
    let known = Codec::named(name.strip_prefix("numcodecs.").unwrap_or(name));
    known.ok_or_else(|| not_read_codec(name))
}

fn not_read_codec(name: &str) -> MetadataFault {
    MetadataFault::NotRead(format!("the codec {name}"))
}

fn transposed(order: &Value, n_dimensions: usize) -> Result<Order, MetadataFault> {
    let order: Option<Vec<u64>> =
        order.as_array().and_then(|order| order.iter().map(Value::as_u64).collect());
    match (order.as_deref(), n_dimensions) {
        (Some([0]), 1) | (Some([0, 1]), 2) => Ok(Order::RowMajor),
        (Some([1, 0]), 2) => Ok(Order::ColumnMajor),
        _ => Err(not_read_codec("transpose in this order")),
    }
}

fn separator(json: &Value, usual: char) -> Result<char, MetadataFault> {
    match json.as_str() {
        None if json.is_null() => Ok(usual),
        Some("/") => Ok('/'),
        Some(".") => Ok('.'),
        _ => Err(broken(format!("its separator is {}, not . or /", shown(json)))),
    }
}

fn lengths(json: &Value, key: &str) -> Result<Vec<usize>, MetadataFault> {
    let length = |json: &Value| json.as_u64().and_then(|length| usize::try_from(length).ok());
    let list = json[key].as_array().and_then(|list| list.iter().map(length).collect());
    list.ok_or_else(|| broken(format!("its {key} is {}, not a list of lengths", shown(&json[key]))))
}

/// The beginning of what stands there, for messages.
fn shown(json: &Value) -> String {
    json.to_string().chars().take(80).collect()
}

fn broken(reason: String) -> MetadataFault {
    MetadataFault::Broken(reason)
}

const OBJECTS: &str = "Python objects";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn v2() -> Value {
        json!({
            "zarr_format": 2, "shape": [40, 25], "chunks": [7, 6], "dtype": "<f4", "filters": null,
            "compressor": {"id": "blosc", "cname": "lz4"}, "order": "C", "fill_value": 0.0,
        })
    }

    fn v3() -> Value {
        json!({
            "zarr_format": 3, "node_type": "array", "shape": [40, 25], "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [7, 6]}},
            "chunk_key_encoding": {"name": "default"}, "fill_value": 0.0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
        })
    }

    fn with(mut json: Value, key: &str, value: Value) -> Result<ArrayMetadata, MetadataFault> {
        json[key] = value;
        ArrayMetadata::parse(&json)
    }

    #[test]
    fn both_versions_say_the_same_in_their_words() {
        let float = Datatype::Number { element: Element::F32, endian: Endian::Little };
        let (old, new) =
            (ArrayMetadata::parse(&v2()).unwrap(), ArrayMetadata::parse(&v3()).unwrap());
        for (found, codec, key) in [(&old, Codec::Blosc, "3.1"), (&new, Codec::Zstd, "c/3/1")] {
            assert_eq!((&found.shape[..], &found.chunk[..]), (&[40, 25][..], &[7, 6][..]));
            assert_eq!((&found.datatype, &found.codecs[..]), (&float, &[codec][..]));
            assert_eq!((found.order, found.keys.path(&[3, 1])), (Order::RowMajor, key.into()));
        }
        let nested = with(v2(), "dimension_separator", json!("/")).unwrap();
        assert_eq!(nested.keys.path(&[3, 1]), "3/1");
        let dots = json!({"name": "default", "configuration": {"separator": "."}});
        let dots = with(v3(), "chunk_key_encoding", dots).unwrap();
        assert_eq!(dots.keys.path(&[3, 1]), "c.3.1");
        let like_v2 = with(v3(), "chunk_key_encoding", json!({"name": "v2"})).unwrap();
        assert_eq!(like_v2.keys.path(&[3, 1]), "3.1");
        assert_eq!(with(v2(), "order", json!("F")).unwrap().order, Order::ColumnMajor);
        let codecs = json!([
            {"name": "transpose", "configuration": {"order": [1, 0]}},
            {"name": "bytes", "configuration": {"endian": "big"}},
            {"name": "numcodecs.zlib"}, "gzip",
        ]);
        let codecs = with(v3(), "codecs", codecs).unwrap();
        assert_eq!(codecs.order, Order::ColumnMajor);
        assert_eq!(codecs.codecs, [Codec::Gzip, Codec::Zlib]);
        let big = Datatype::Number { element: Element::F32, endian: Endian::Big };
        assert_eq!(codecs.datatype, big);
    }

    #[test]
    fn element_types_are_named() {
        let old = |dtype: &str| with(v2(), "dtype", json!(dtype)).unwrap().datatype;
        let number = |element, endian| Datatype::Number { element, endian };
        assert_eq!(old(">i8"), number(Element::I64, Endian::Big));
        assert_eq!(old("|u1"), number(Element::U8, Endian::Little));
        assert_eq!(old("|b1"), Datatype::Bool);
        assert_eq!(old(">U3"), Datatype::FixedUtf32 { len: 3, endian: Endian::Big });
        assert_eq!(old("|S9"), Datatype::FixedBytes { len: 9 });
        for other in ["<f2", "<c8", "<M8[ns]", "", "<", "é", "<U-1", "|O"] {
            assert!(matches!(old(other), Datatype::Other(_)), "{other}");
        }
        let structured = with(v2(), "dtype", json!([["a", "<i4"]])).unwrap().datatype;
        assert!(matches!(structured, Datatype::Other(_)));
        let new = |data_type: Value| with(v3(), "data_type", data_type).unwrap().datatype;
        assert_eq!(new(json!("uint16")), number(Element::U16, Endian::Little));
        let about = json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}});
        assert_eq!(new(about), Datatype::FixedUtf32 { len: 3, endian: Endian::Little });
        assert_eq!(new(json!("float16")), Datatype::Other("float16".into()));
    }

    #[test]
    fn what_is_not_read_is_named() {
        let codecs = |names: &[&str]| {
            let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            with(v3(), "codecs", json!(list))
        };
        for (found, named) in [
            (with(v2(), "compressor", json!({"id": "bz2"})), "the codec bz2"),
            (with(v2(), "filters", json!([{"id": "delta"}])), "the filter delta"),
            (codecs(&["sharding_indexed"]), "the codec sharding_indexed"),
            (codecs(&["bytes", "crc32c"]), "the codec crc32c"),
            (with(v3(), "chunk_grid", json!({"name": "rectilinear"})), "\"rectilinear\""),
            (with(v3(), "storage_transformers", json!([{"name": "x"}])), "storage transformers"),
            (with(v3(), "chunk_key_encoding", json!({"name": "x"})), "chunk keys of the kind"),
        ] {
            let Err(MetadataFault::NotRead(what)) = found else { panic!("{found:?}") };
            assert!(what.contains(named), "{what}");
        }
    }

    #[test]
    fn what_is_broken_is_shown() {
        for (found, shown) in [
            (with(v2(), "shape", json!([40, -1])), "[40,-1]"),
            (with(v2(), "chunks", json!([0, 6])), "[0, 6]"),
            (with(v2(), "chunks", json!([6])), "[6]"),
            (with(v2(), "order", json!("A")), "\"A\""),
            (with(v2(), "zarr_format", json!(4)), "4"),
            (with(v2(), "dimension_separator", json!(1)), "1"),
            (with(v3(), "codecs", json!([])), "no bytes"),
            (with(v3(), "shape", json!("x".repeat(1000))), "xxxx"),
        ] {
            let Err(MetadataFault::Broken(reason)) = found else { panic!("{found:?}") };
            assert!(reason.contains(shown) && reason.len() < 200, "{reason}");
        }
    }

    #[test]
    fn fill_values_become_bytes_of_the_element() {
        assert_eq!(fill_bytes(&json!(-2), Element::I16).unwrap(), [0xfe, 0xff]);
        assert_eq!(fill_bytes(&json!(200), Element::U8).unwrap(), [200]);
        assert_eq!(fill_bytes(&json!(true), Element::U8).unwrap(), [1]);
        assert_eq!(fill_bytes(&Value::Null, Element::U32).unwrap(), [0; 4]);
        assert_eq!(fill_bytes(&json!(0.0), Element::I64).unwrap(), [0; 8]);
        assert_eq!(fill_bytes(&json!(1.5), Element::F32).unwrap(), 1.5f32.to_le_bytes());
        let nan = fill_bytes(&json!("NaN"), Element::F64).unwrap();
        assert!(f64::from_le_bytes(nan.try_into().unwrap()).is_nan());
        for (value, element) in [
            (json!(256), Element::U8),
            (json!(-1), Element::U64),
            (json!(1.5), Element::I32),
            (json!("0x7fc00000"), Element::F32),
            (json!([0]), Element::F32),
        ] {
            assert_eq!(fill_bytes(&value, element), None, "{value}");
        }
    }
}
