//! What AnnData is kept in, as its reader needs it: objects by path with attributes, columns of tables, matrices.

use std::path::Path;

use crate::dense_blocks::DenseRows;
use crate::error::DataError;
use crate::h5_compound::CompoundTable;
use crate::number_vector::NumberVector;

/// An HDF5 file or a Zarr store. Paths have `/` between their parts, `""` is the root.
pub(crate) trait AnnDataStore {
    /// The file or folder.
    fn path(&self) -> &Path;

    /// What AnnData in it is called.
    fn format(&self) -> &'static str;

    /// What stands at `object`, if anything.
    fn node(&self, object: &str) -> Result<Option<Node>, DataError>;

    /// The names in a group.
    fn members(&self, group: &str) -> Result<Vec<String>, DataError>;

    /// A string attribute; `None` where there is none.
    fn attribute(&self, object: &str, name: &str) -> Result<Option<String>, DataError>;

    /// The shape of a data set.
    fn shape(&self, object: &str) -> Result<Vec<usize>, DataError>;

    /// What the elements of a data set are.
    fn kind(&self, object: &str) -> Result<ColumnKind, DataError>;

    /// A one-dimensional data set of strings, strictly UTF-8.
    fn strings(&self, object: &str) -> Result<Vec<String>, DataError>;

    /// A one-dimensional data set of numbers or booleans; booleans are 0 and 1.
    fn numbers(&self, object: &str) -> Result<Vec<f64>, DataError>;

    /// A one-dimensional data set of row pointers.
    fn pointers(&self, object: &str) -> Result<Vec<usize>, DataError>;

    /// A one-dimensional data set of column indices. What does not fit 32 bits becomes `u32::MAX`, which is outside
    /// every matrix.
    fn indices(&self, object: &str) -> Result<Box<dyn NumberVector<u32>>, DataError>;

    /// A one-dimensional data set of expression values.
    fn values(&self, object: &str) -> Result<Box<dyn NumberVector<f32>>, DataError>;

    /// A two-dimensional data set of expression values.
    fn dense(&self, object: &str) -> Result<Box<dyn DenseRows>, DataError>;

    /// A table that is one data set.
    fn compound(&self, object: &str) -> Result<CompoundTable, DataError>;

    /// The error for an object that contradicts itself.
    fn broken(&self, object: &str, reason: String) -> DataError;

    /// Whether `object` is a group.
    fn has_group(&self, object: &str) -> Result<bool, DataError> {
        Ok(self.node(object)? == Some(Node::Group))
    }

    /// Whether `object` is a data set.
    fn has_dataset(&self, object: &str) -> Result<bool, DataError> {
        Ok(self.node(object)? == Some(Node::Dataset))
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Group,
    Dataset,
}

/// What the elements of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Text,
    Bool,
    Integer,
    Float,
}
