//! Tables about samples that come in files of their own: labels and splits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::delimited::{Records, text};
use crate::error::DataError;
use crate::nearest::listed;
use crate::obs::Column;

/// A text table whose first column is the sample id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleTable {
    path: PathBuf,
    ids: Vec<String>,
    columns: Vec<(String, Vec<String>)>,
    rows: HashMap<String, usize>,
}

/// Reads a tab- or comma-separated table of labels, compressed or not. The first row holds the
/// column names, the first column the sample ids.
///
/// # Errors
/// Anything that cannot be read, rows of another length than the header's, an id that stands
/// twice, a table without rows.
pub fn read_labels_tsv(path: &Path) -> Result<SampleTable, DataError> {
    let mut records = Records::open(path)?;
    let header = records.next_record()?.cloned().unwrap_or_default();
    let names = header.iter().map(|field| text(path, 1, field));
    let mut columns: Vec<(String, Vec<String>)> =
        names.skip(1).map(|name| Ok((name?, Vec::new()))).collect::<Result<_, DataError>>()?;
    let mut ids = Vec::new();
    let mut rows = HashMap::new();
    while let Some(record) = records.next_record()?.cloned() {
        let line = records.line();
        if record.len() != header.len() {
            return Err(records.wrong_length(header.len(), record.len()));
        }
        let id = text(path, line, &record[0])?;
        if let Some(first) = rows.insert(id.clone(), ids.len()) {
            return Err(DataError::DuplicateObsName {
                path: path.to_path_buf(),
                name: id,
                first,
                second: ids.len(),
            });
        }
        ids.push(id);
        for ((_, values), field) in columns.iter_mut().zip(record.iter().skip(1)) {
            values.push(text(path, line, field)?);
        }
    }
    if ids.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf(), expected: "a row per sample" });
    }
    Ok(SampleTable { path: path.to_path_buf(), ids, columns, rows })
}

/// Reads a split table, columns `id` and `split`, and gives each sample of the data its part;
/// `None` for samples that the table does not mention.
///
/// # Errors
/// Those of [`read_labels_tsv`] and [`SampleTable::join`], a missing column `split`, and values
/// other than `train` and `test`.
pub fn read_split(path: &Path, obs_names: &[String]) -> Result<Vec<Option<SplitPart>>, DataError> {
    let table = read_labels_tsv(path)?;
    let column = table.joined("split", obs_names)?;
    split_parts(&column, &path.display().to_string(), obs_names)
}

/// The parts that a column of texts assigns, `None` where it has no value. `place` names the
/// column in errors.
///
/// # Errors
/// [`DataError::BadSplit`] for a value other than `train` and `test`.
pub fn split_parts(
    column: &Column,
    place: &str,
    obs_names: &[String],
) -> Result<Vec<Option<SplitPart>>, DataError> {
    obs_names
        .iter()
        .enumerate()
        .map(|(row, id)| {
            let Some(value) = column.text(row) else { return Ok(None) };
            SplitPart::from_name(&value).map(Some).ok_or_else(|| DataError::BadSplit {
                place: place.into(),
                id: id.clone(),
                found: value.into_owned(),
            })
        })
        .collect()
}

/// The two parts of a stored split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SplitPart {
    /// Rows that a model may learn from.
    Train,
    /// Rows that it is measured on.
    Test,
}

impl SplitPart {
    /// The part with that name: `train` or `test`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

impl SampleTable {
    /// The sample ids, in the order of the file.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The names of the columns besides the id.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// One column, in the order of the file.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`], with the columns that exist.
    pub fn column(&self, name: &str) -> Result<&[String], DataError> {
        match self.columns.iter().find(|(known, _)| known == name) {
            Some((_, values)) => Ok(values),
            None => Err(DataError::UnknownColumn {
                place: self.path.display().to_string(),
                column: name.into(),
                available: listed(name, self.columns.iter().map(|(name, _)| name.as_str())),
            }),
        }
    }

    /// For each sample of the data the row of this table that has its id. Ids must be equal to the
    /// last character.
    ///
    /// # Errors
    /// [`DataError::NoJoin`], with an id of both sides, if no sample is found at all.
    pub fn join(&self, obs_names: &[String]) -> Result<Vec<Option<usize>>, DataError> {
        let rows: Vec<Option<usize>> =
            obs_names.iter().map(|name| self.rows.get(name).copied()).collect();
        if rows.iter().all(Option::is_none) {
            return Err(DataError::NoJoin {
                path: self.path.clone(),
                table_id: self.ids.first().cloned().unwrap_or_default(),
                data_id: obs_names.first().cloned().unwrap_or_default(),
            });
        }
        Ok(rows)
    }

    /// One column in the order of the data; samples that the table does not mention are missing.
    ///
    /// # Errors
    /// Those of [`Self::column`] and [`Self::join`].
    pub fn joined(&self, column: &str, obs_names: &[String]) -> Result<Column, DataError> {
        let values = self.column(column)?;
        let rows = self.join(obs_names)?;
        Ok(Column::categorical(rows.into_iter().map(|row| row.map(|row| values[row].as_str()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.tsv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_string()).collect()
    }

    #[test]
    fn labels_join_by_id_in_the_order_of_the_data() {
        let (_folder, path) = table("sample\ttype\tsplit\ns1\tB\ttrain\ns2\tT\ttest\n");
        let labels = read_labels_tsv(&path).unwrap();
        assert_eq!(labels.names().collect::<Vec<_>>(), ["type", "split"]);
        let data = names(&["s2", "s9", "s1"]);
        assert_eq!(labels.join(&data).unwrap(), [Some(1), None, Some(0)]);
        let column = labels.joined("type", &data).unwrap();
        assert_eq!(column.text(0).as_deref(), Some("T"));
        assert_eq!(column.text(1), None);
        assert_eq!(
            read_split(&path, &data).unwrap(),
            [Some(SplitPart::Test), None, Some(SplitPart::Train)]
        );
    }

    #[test]
    fn a_table_that_joins_nothing_shows_an_id_of_both_sides() {
        let (_folder, path) = table("barcode,split\nAAAC-1,train\n");
        let message = read_split(&path, &names(&["AAAC"])).unwrap_err().to_string();
        assert!(message.contains("\"AAAC-1\"") && message.contains("\"AAAC\""), "{message}");
    }

    #[test]
    fn faulty_tables_are_refused() {
        let (_folder, path) = table("id\tsplit\na\tvalidation\n");
        let error = read_split(&path, &names(&["a"])).unwrap_err();
        assert!(matches!(&error, DataError::BadSplit { found, .. } if found == "validation"));
        for text in ["id\tpart\na\ttrain\n", "id\tsplit\n", "id\tsplit\na\n", ""] {
            let (_folder, path) = table(text);
            assert!(read_split(&path, &names(&["a"])).is_err(), "{text:?}");
        }
        let (_folder, path) = table("id\tsplit\na\ttrain\na\ttest\n");
        let error = read_split(&path, &names(&["a"])).unwrap_err();
        assert!(matches!(error, DataError::DuplicateObsName { .. }), "{error}");
    }
}
