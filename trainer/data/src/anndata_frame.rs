//! The tables `obs` and `var` of AnnData files, in the present encoding (a group of columns) and
//! in the one before version 0.7 (one compound data set, categories in `uns`).

use crate::anndata_store::{AnnDataStore, ColumnKind, Node};
use crate::error::DataError;
use crate::h5_compound::CompoundTable;
use crate::obs::Column;

/// One table of the file; columns are read when asked for.
pub(crate) struct Frame<'a> {
    store: &'a dyn AnnDataStore,
    path: String,
    layout: Layout,
}

enum Layout {
    /// A group with a data set or group per column.
    Group { index: String },
    /// One record per row.
    Compound(CompoundTable),
}

impl<'a> Frame<'a> {
    /// The table at `path`.
    pub(crate) fn open(store: &'a dyn AnnDataStore, path: &str) -> Result<Self, DataError> {
        let missing = || DataError::MissingIndex {
            path: store.path().to_path_buf(),
            frame: path.to_string(),
        };
        let layout = match store.node(path)? {
            None => {
                return Err(DataError::MissingPart {
                    path: store.path().to_path_buf(),
                    part: format!("table {path:?}"),
                    advice: "every AnnData matrix has one".into(),
                });
            }
            Some(Node::Group) => {
                let encoding = store.attribute(path, "encoding-type")?;
                if encoding.as_deref().is_some_and(|encoding| encoding != "dataframe") {
                    return Err(unknown(store, path, encoding, "a dataframe"));
                }
                let index = store.attribute(path, "_index")?.ok_or_else(missing)?;
                if store.node(&format!("{path}/{index}"))?.is_none() {
                    return Err(missing());
                }
                Layout::Group { index }
            }
            Some(Node::Dataset) => Layout::Compound(store.compound(path)?),
        };
        Ok(Self { store, path: path.into(), layout })
    }

    /// Whether the table is in the layout before version 0.7.
    pub(crate) fn is_legacy(&self) -> bool {
        matches!(self.layout, Layout::Compound(_))
    }

    /// The names of the rows.
    pub(crate) fn index(&self) -> Result<Vec<String>, DataError> {
        let column = match &self.layout {
            Layout::Group { index } => read_column(self.store, &self.join(index))?,
            Layout::Compound(table) => self.column(table.index())?,
        };
        let names: Option<Vec<String>> = match column {
            // Moved, not copied: there may be millions.
            Column::Text(names) => names.into_iter().collect(),
            column => (0..column.len())
                .map(|row| column.text(row).map(|text| text.into_owned()))
                .collect(),
        };
        names.ok_or_else(|| DataError::MissingIndex {
            path: self.store.path().to_path_buf(),
            frame: self.path.clone(),
        })
    }

    /// The names of the columns besides the index.
    pub(crate) fn column_names(&self) -> Result<Vec<String>, DataError> {
        Ok(match &self.layout {
            Layout::Group { index } => {
                let mut names = self.store.members(&self.path)?;
                names.retain(|name| name != index && name != OLD_CATEGORIES);
                names
            }
            Layout::Compound(table) => table.column_names(),
        })
    }

    /// One column.
    pub(crate) fn column(&self, name: &str) -> Result<Column, DataError> {
        let (column, categories) = match &self.layout {
            Layout::Group { .. } => (
                read_column(self.store, &self.join(name))?,
                self.join(&format!("{OLD_CATEGORIES}/{name}")),
            ),
            Layout::Compound(table) => {
                let column = table.column(name)?;
                let column = column
                    .ok_or_else(|| unknown(self.store, &self.join(name), None, "a column"))?;
                (column, format!("uns/{name}_categories"))
            }
        };
        let codes: Vec<f64> = match &column {
            Column::I32(codes) => codes.iter().map(|&code| f64::from(code)).collect(),
            Column::F64(codes) => codes.clone(),
            _ => return Ok(column),
        };
        match self.store.node(&categories)? {
            Some(_) => categorical(self.store, &self.join(name), &codes, &categories),
            None => Ok(column),
        }
    }

    fn join(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// A column in the present encoding.
fn read_column(store: &dyn AnnDataStore, object: &str) -> Result<Column, DataError> {
    let encoding = store.attribute(object, "encoding-type")?;
    if store.has_dataset(object)? {
        if !matches!(encoding.as_deref(), None | Some("array" | "string-array" | "string")) {
            return Err(unknown(store, object, encoding, "an array or string-array"));
        }
        return Ok(match store.kind(object)? {
            ColumnKind::Text => {
                Column::Text(store.strings(object)?.into_iter().map(Some).collect())
            }
            ColumnKind::Bool => booleans(&store.numbers(object)?),
            ColumnKind::Integer => integers(store.numbers(object)?),
            ColumnKind::Float => Column::F64(store.numbers(object)?),
        });
    }
    match encoding.as_deref() {
        Some("categorical") => {
            let codes = store.numbers(&format!("{object}/codes"))?;
            categorical(store, object, &codes, &format!("{object}/categories"))
        }
        Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
            let mut values = read_column(store, &format!("{object}/values"))?;
            let mask = store.numbers(&format!("{object}/mask"))?;
            let missing = |row: usize| mask.get(row).is_some_and(|&masked| masked != 0.0);
            if let (Column::I32(integers), true) = (&values, (0..values.len()).any(missing)) {
                values = Column::F64(integers.iter().map(|&value| f64::from(value)).collect());
            }
            match &mut values {
                Column::I32(_) => {}
                Column::F64(values) => set_where(values, missing, f64::NAN),
                Column::Bool(values) => set_where(values, missing, None),
                Column::Text(values) => set_where(values, missing, None),
                _ => return Err(unknown(store, object, encoding, "values and mask")),
            }
            Ok(values)
        }
        _ => Err(unknown(
            store,
            object,
            encoding,
            "an array, string-array, categorical or nullable array",
        )),
    }
}

fn categorical(
    store: &dyn AnnDataStore,
    object: &str,
    codes: &[f64],
    categories: &str,
) -> Result<Column, DataError> {
    let texts = read_column(store, categories)?;
    let categories: Vec<String> = (0..texts.len())
        .map(|row| texts.text(row).map_or_else(String::new, |text| text.into_owned()))
        .collect();
    let codes = codes
        .iter()
        .enumerate()
        .map(|(row, &code)| {
            if code >= -1.0 && code < categories.len() as f64 && code.fract() == 0.0 {
                // In range by the comparison; categories beyond i32 cannot be in memory as texts.
                return Ok(code as i32);
            }
            let n = categories.len();
            Err(store.broken(
                object,
                format!("row {row} has category {code}, but there are {n} categories"),
            ))
        })
        .collect::<Result<_, _>>()?;
    Ok(Column::Categorical { codes, categories })
}

/// A column of integers; larger ones than a column can hold become floating-point numbers.
pub(crate) fn integers(numbers: Vec<f64>) -> Column {
    // In range by the comparison.
    let integer = |&number: &f64| (number as i32 as f64 == number).then_some(number as i32);
    match numbers.iter().map(integer).collect() {
        Some(integers) => Column::I32(integers),
        None => Column::F64(numbers),
    }
}

/// A column of booleans, which are numbers other than 0.
pub(crate) fn booleans(numbers: &[f64]) -> Column {
    Column::Bool(numbers.iter().map(|&number| Some(number != 0.0)).collect())
}

fn set_where<T: Clone>(values: &mut [T], condition: impl Fn(usize) -> bool, missing: T) {
    for (row, value) in values.iter_mut().enumerate() {
        if condition(row) {
            *value = missing.clone();
        }
    }
}

fn unknown(
    store: &dyn AnnDataStore,
    object: &str,
    encoding: Option<String>,
    expected: &'static str,
) -> DataError {
    DataError::UnknownEncoding {
        path: store.path().to_path_buf(),
        object: object.into(),
        encoding: encoding.unwrap_or_else(|| "none".into()),
        expected,
    }
}

/// Where AnnData 0.7 kept the categories of a group's columns.
const OLD_CATEGORIES: &str = "__categories";
