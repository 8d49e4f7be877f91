//! Zarr stores as what AnnData is kept in.

use std::path::Path;

use crate::anndata;
use crate::anndata_store::{AnnDataStore, ColumnKind, Node};
use crate::cell_blocks::BlockSize;
use crate::dense_blocks::DenseRows;
use crate::error::DataError;
use crate::expression::MatrixChoice;
use crate::expression_reader::Opened;
use crate::h5_compound::CompoundTable;
use crate::number_vector::NumberVector;
use crate::zarr_metadata::Datatype;
use crate::zarr_rows::ZarrRows;
use crate::zarr_store::ZarrStore;
use crate::zarr_vector::ZarrVector;

/// Opens one matrix of the store in this folder.
pub(crate) fn open(
    path: &Path,
    choice: &MatrixChoice,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let store = ZarrStore::open(path)?;
    if anndata::is_anndata(&store)? {
        return anndata::open(&store, choice, size);
    }
    // SpatialData keeps its AnnData there.
    let tables = store.members("tables").unwrap_or_default();
    Err(DataError::MissingPart {
        path: path.to_path_buf(),
        part: "tables obs and var".into(),
        advice: match tables.is_empty() {
            true => "every AnnData store has them; is it the right one, and whole?".into(),
            false => format!("give one of its tables itself: tables/{}", tables.join(", tables/")),
        },
    })
}

impl AnnDataStore for ZarrStore {
    fn path(&self) -> &Path {
        self.path()
    }

    fn format(&self) -> &'static str {
        "AnnData Zarr store"
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
        Ok(self.array(object)?.metadata().shape.clone())
    }

    fn kind(&self, object: &str) -> Result<ColumnKind, DataError> {
        Ok(match self.array(object)?.metadata().datatype {
            Datatype::Bool => ColumnKind::Bool,
            Datatype::Number { element, .. } if element.is_integer() => ColumnKind::Integer,
            // Of other types the numbers are refused.
            Datatype::Number { .. } | Datatype::Other(_) => ColumnKind::Float,
            Datatype::Text | Datatype::FixedUtf32 { .. } | Datatype::FixedBytes { .. } => {
                ColumnKind::Text
            }
        })
    }

    fn strings(&self, object: &str) -> Result<Vec<String>, DataError> {
        self.array(object)?.strings()
    }

    fn numbers(&self, object: &str) -> Result<Vec<f64>, DataError> {
        let mut array = self.array(object)?;
        let element = array.element()?;
        array.converted(element, |_, number| number.as_f64())
    }

    fn pointers(&self, object: &str) -> Result<Vec<usize>, DataError> {
        let mut array = self.array(object)?;
        let element = array.integer_element()?;
        let mut wrong = None;
        let pointers = array.converted(element, |at, number| {
            let pointer = number.as_u64().and_then(|pointer| usize::try_from(pointer).ok());
            if pointer.is_none() {
                wrong.get_or_insert(at);
            }
            pointer.unwrap_or(0)
        })?;
        match wrong {
            None => Ok(pointers),
            Some(at) => Err(DataError::Pointers {
                path: self.path().to_path_buf(),
                at,
                reason: format!("a negative or huge number in {object:?}"),
            }),
        }
    }

    fn indices(&self, object: &str) -> Result<Box<dyn NumberVector<u32>>, DataError> {
        Ok(Box::new(ZarrVector::indices(self.array(object)?)?))
    }

    fn values(&self, object: &str) -> Result<Box<dyn NumberVector<f32>>, DataError> {
        Ok(Box::new(ZarrVector::<f32>::values(self.array(object)?)?))
    }

    fn dense(&self, object: &str) -> Result<Box<dyn DenseRows>, DataError> {
        Ok(Box::new(ZarrRows::open(self.array(object)?)?))
    }

    fn compound(&self, object: &str) -> Result<CompoundTable, DataError> {
        Err(DataError::UnknownEncoding {
            path: self.path().to_path_buf(),
            object: object.into(),
            encoding: "array".into(),
            expected: "a dataframe",
        })
    }

    fn broken(&self, object: &str, reason: String) -> DataError {
        self.broken(object, reason)
    }
}
