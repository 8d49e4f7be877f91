//! HDF5 files as what AnnData is kept in.

use std::path::Path;

use rust_hdf5::DatatypeMessage;

use crate::anndata_store::{AnnDataStore, ColumnKind, Node};
use crate::dense_blocks::DenseRows;
use crate::error::DataError;
use crate::h5_compound::CompoundTable;
use crate::h5_rows::H5Rows;
use crate::h5_source::H5Source;
use crate::h5_vector::H5Vector;
use crate::number_vector::NumberVector;

impl AnnDataStore for H5Source {
    fn path(&self) -> &Path {
        self.path()
    }

    fn format(&self) -> &'static str {
        "AnnData .h5ad"
    }

    fn node(&self, object: &str) -> Result<Option<Node>, DataError> {
        self.node(object)
    }

    fn members(&self, group: &str) -> Result<Vec<String>, DataError> {
        self.members(group)
    }

    fn attribute(&self, object: &str, name: &str) -> Result<Option<String>, DataError> {
        self.attribute(object, name)
    }

    fn shape(&self, object: &str) -> Result<Vec<usize>, DataError> {
        Ok(self.dataset(object)?.shape())
    }

    fn kind(&self, object: &str) -> Result<ColumnKind, DataError> {
        Ok(match self.datatype(object)? {
            DatatypeMessage::VarLenString { .. } | DatatypeMessage::FixedString { .. } => {
                ColumnKind::Text
            }
            DatatypeMessage::Enum { .. } => ColumnKind::Bool,
            DatatypeMessage::FixedPoint { .. } => ColumnKind::Integer,
            // Of other types the numbers are refused.
            _ => ColumnKind::Float,
        })
    }

    fn strings(&self, object: &str) -> Result<Vec<String>, DataError> {
        self.strings(object)
    }

    fn numbers(&self, object: &str) -> Result<Vec<f64>, DataError> {
        self.numbers(object)
    }

    fn pointers(&self, object: &str) -> Result<Vec<usize>, DataError> {
        self.pointers(object)
    }

    fn indices(&self, object: &str) -> Result<Box<dyn NumberVector<u32>>, DataError> {
        Ok(Box::new(H5Vector::indices(self, object)?))
    }

    fn values(&self, object: &str) -> Result<Box<dyn NumberVector<f32>>, DataError> {
        Ok(Box::new(H5Vector::values(self, object)?))
    }

    fn dense(&self, object: &str) -> Result<Box<dyn DenseRows>, DataError> {
        Ok(Box::new(H5Rows::open(self, object)?))
    }

    fn compound(&self, object: &str) -> Result<CompoundTable, DataError> {
        CompoundTable::open(self, object)
    }

    fn broken(&self, object: &str, reason: String) -> DataError {
        self.broken(object, reason)
    }
}
