//! What is known about the samples: the columns of AnnData's `obs`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::error::DataError;
use crate::nearest::listed;

/// One column of a table, one value per row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Free text; `None` is missing.
    Text(Vec<Option<String>>),
    /// Few texts, many rows: `codes[row]` is a position in `categories`, negative is missing.
    Categorical {
        /// Position in `categories` per row, negative where missing.
        codes: Vec<i32>,
        /// The texts.
        categories: Vec<String>,
    },
    /// Yes or no; `None` is missing.
    Bool(Vec<Option<bool>>),
    /// Numbers as read; NaN is missing.
    F64(Vec<f64>),
    /// Numbers to be written in single precision; NaN is missing.
    F32(Vec<f32>),
    /// Integers that fit 32 bits.
    I32(Vec<i32>),
    /// Larger integers; columns that are read are never of this kind.
    I64(Vec<i64>),
}

impl Column {
    /// A categorical column; categories are sorted, as pandas does.
    pub fn categorical<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let values: Vec<Option<&str>> = values.into_iter().collect();
        let categories: BTreeSet<&str> = values.iter().flatten().copied().collect();
        let categories: Vec<&str> = categories.into_iter().collect();
        let code = |value: &str| {
            // Every value is in the list, and rows beyond i32 do not fit memory as texts.
            categories.binary_search(&value).map_or(-1, |position| position as i32)
        };
        let codes = values.iter().map(|value| value.map_or(-1, code)).collect();
        Self::Categorical { codes, categories: categories.into_iter().map(String::from).collect() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Categorical { codes, .. } => codes.len(),
            Self::Bool(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of one row as text; `None` where it is missing or there is no such row. Whole
    /// numbers have no decimal point.
    pub fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(values) => values.get(row)?.as_deref().map(Cow::Borrowed),
            Self::Categorical { codes, categories } => {
                let code = usize::try_from(*codes.get(row)?).ok()?;
                categories.get(code).map(|text| Cow::Borrowed(text.as_str()))
            }
            Self::Bool(values) => {
                values.get(row)?.map(|value| Cow::Borrowed(if value { "true" } else { "false" }))
            }
            Self::F64(values) => {
                values.get(row).filter(|v| !v.is_nan()).map(|v| Cow::Owned(v.to_string()))
            }
            Self::F32(values) => {
                values.get(row).filter(|v| !v.is_nan()).map(|v| Cow::Owned(v.to_string()))
            }
            Self::I32(values) => values.get(row).map(|v| Cow::Owned(v.to_string())),
            Self::I64(values) => values.get(row).map(|v| Cow::Owned(v.to_string())),
        }
    }

    /// The value of one row as a number; texts are parsed. `None` where it is missing, no number,
    /// or there is no such row.
    pub fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::F64(values) => values.get(row).copied().filter(|v| !v.is_nan()),
            Self::F32(values) => values.get(row).map(|&v| f64::from(v)).filter(|v| !v.is_nan()),
            Self::I32(values) => values.get(row).map(|&v| f64::from(v)),
            Self::I64(values) => values.get(row).map(|&v| v as f64),
            Self::Bool(values) => values.get(row)?.map(|value| f64::from(u8::from(value))),
            Self::Text(_) | Self::Categorical { .. } => {
                self.text(row)?.trim().parse().ok().filter(|v: &f64| !v.is_nan())
            }
        }
    }
}

/// Named columns over the rows of an expression matrix. A column that the file has but that could
/// not be read is kept by name with the reason, and refused when it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObsTable {
    columns: Vec<(String, Column)>,
    unreadable: Vec<(String, String)>,
}

impl ObsTable {
    /// Adds a column, replacing one of the same name. The caller keeps all columns equally long.
    pub fn insert(&mut self, name: impl Into<String>, column: Column) {
        let name = name.into();
        match self.columns.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = column,
            None => self.columns.push((name, column)),
        }
    }

    /// Remembers why a column could not be read.
    pub(crate) fn insert_unreadable(&mut self, name: String, reason: String) {
        self.unreadable.push((name, reason));
    }

    /// The names of the readable columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// The readable columns.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// Columns that the file has but that were not read, with the reason.
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.unreadable
    }

    /// One column.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`] lists the columns that exist;
    /// [`DataError::UnreadableColumn`] says why a column could not be read.
    pub fn column(&self, name: &str) -> Result<&Column, DataError> {
        if let Some((_, column)) = self.columns.iter().find(|(known, _)| known == name) {
            return Ok(column);
        }
        if let Some((_, reason)) = self.unreadable.iter().find(|(known, _)| known == name) {
            return Err(DataError::UnreadableColumn {
                column: name.into(),
                reason: reason.clone(),
            });
        }
        Err(DataError::UnknownColumn {
            place: "obs".into(),
            column: name.into(),
            available: listed(name, self.columns.iter().map(|(name, _)| name.as_str())),
        })
    }

    /// One value as text; `None` where column, row or value is missing.
    pub fn value(&self, column: &str, row: usize) -> Option<Cow<'_, str>> {
        self.column(column).ok()?.text(row)
    }

    /// One value as a number; `None` where column, row or value is missing, or it is no number.
    pub fn number(&self, column: &str, row: usize) -> Option<f64> {
        self.column(column).ok()?.number(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_have_neither_text_nor_number() {
        for column in [
            Column::Text(vec![None]),
            Column::Categorical { codes: vec![-1], categories: vec!["a".into()] },
            Column::Categorical { codes: vec![7], categories: vec!["a".into()] },
            Column::Bool(vec![None]),
            Column::F64(vec![f64::NAN]),
            Column::F32(vec![f32::NAN]),
            Column::I32(vec![]),
        ] {
            assert_eq!(column.text(0), None, "{column:?}");
            assert_eq!(column.number(0), None, "{column:?}");
        }
    }

    #[test]
    fn whole_numbers_print_without_a_decimal_point() {
        assert_eq!(Column::F64(vec![1234.0]).text(0).unwrap(), "1234");
        assert_eq!(Column::Text(vec![Some(" 12.5 ".into())]).number(0), Some(12.5));
    }

    #[test]
    fn categories_are_sorted_and_codes_follow() {
        let column = Column::categorical([Some("b"), None, Some("a"), Some("b")]);
        assert_eq!(
            column,
            Column::Categorical {
                codes: vec![1, -1, 0, 1],
                categories: vec!["a".into(), "b".into()]
            }
        );
    }

    #[test]
    fn an_unknown_column_is_refused_with_the_columns_that_exist() {
        let mut table = ObsTable::default();
        table.insert("cell_type", Column::I32(vec![1]));
        table.insert_unreadable("odd".into(), "encoding \"x\"".into());
        let message = table.column("label").unwrap_err().to_string();
        assert!(message.contains("\"label\"") && message.contains("cell_type"), "{message}");
        assert!(matches!(table.column("odd"), Err(DataError::UnreadableColumn { .. })));
    }
}
