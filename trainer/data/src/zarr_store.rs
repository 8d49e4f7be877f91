//! Zarr stores of version 2 and 3 in a folder: groups, arrays and their attributes, and no trust.
//!
//! - Every part of a path below the store is looked at before it is opened: symbolic links are refused, and names that
//!   lead elsewhere name nothing.
//! - Consolidated metadata are not used: what they repeat stands with each group and array.
//! - What metadata claim is compared with what the files of the store can unpack to before anything is allocated.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use crate::anndata_store::Node;
use crate::error::DataError;
use crate::zarr_array::ZarrArray;
use crate::zarr_metadata::{ArrayMetadata, MetadataFault};

/// An open store.
#[derive(Clone)]
pub(crate) struct ZarrStore {
    root: PathBuf,
    /// Folders of the store that are no links: most of what a network file system would be asked, once.
    folders: Rc<RefCell<HashSet<PathBuf>>>,
}

/// What lies at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Folder,
    /// With its length in bytes.
    File(u64),
    Other,
}

/// What the metadata of a group or an array say.
struct Described {
    node: Node,
    /// Of the node itself.
    json: Value,
    attributes: Value,
}

impl ZarrStore {
    /// Opens the store whose root group is in this folder.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        // The store itself is where its user says, by a link or not.
        if !fs::metadata(path).map_err(DataError::io(path))?.is_dir() {
            return Err(DataError::io(path)(ErrorKind::NotADirectory.into()));
        }
        let store = Self { root: path.to_path_buf(), folders: Rc::default() };
        match store.describe("")?.map(|root| root.node) {
            Some(Node::Group) => Ok(store),
            found => Err(DataError::MissingPart {
                path: store.root,
                part: "group at its root".into(),
                advice: match found {
                    None => "a store begins with .zgroup or zarr.json; copy it whole".into(),
                    Some(_) => "it is one array; give the store that it lies in".into(),
                },
            }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// What stands at `object`, if anything.
    pub(crate) fn node(&self, object: &str) -> Result<Option<Node>, DataError> {
        Ok(self.describe(object)?.map(|found| found.node))
    }

    /// The names of what stands in a group, `""` for the root, links included.
    pub(crate) fn members(&self, group: &str) -> Result<Vec<String>, DataError> {
        let Some(folder) = self.folder(group)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in folder.read_dir().map_err(DataError::io(&folder))? {
            let entry = entry.map_err(DataError::io(&folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let object = if group.is_empty() { name.clone() } else { format!("{group}/{name}") };
            // A link is refused when it is asked for.
            if !matches!(self.node(&object), Ok(None)) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A string attribute; `None` where there is none.
    pub(crate) fn attribute(&self, object: &str, name: &str) -> Result<Option<String>, DataError> {
        let found = self.describe(object)?;
        Ok(found.and_then(|found| found.attributes[name].as_str().map(String::from)))
    }

    /// An array.
    pub(crate) fn array(&self, object: &str) -> Result<ZarrArray, DataError> {
        let described = self.describe(object)?;
        let missing = |advice: &str| DataError::MissingPart {
            path: self.root.clone(),
            part: format!("data set {object:?}"),
            advice: advice.into(),
        };
        let json = match described {
            Some(Described { node: Node::Dataset, json, .. }) => json,
            Some(_) => return Err(missing("a group stands there")),
            None => return Err(missing("the store is incomplete")),
        };
        let metadata = ArrayMetadata::parse(&json).map_err(|fault| match fault {
            MetadataFault::Broken(reason) => self.broken(object, reason),
            MetadataFault::NotRead(what) => DataError::UnsupportedFormat {
                path: self.root.clone(),
                format: format!("a Zarr store whose {object:?} has {what}"),
                advice: "write it as .h5ad (anndata: read_zarr, then write_h5ad)",
            },
        })?;
        ZarrArray::open(self, object, metadata)
    }

    /// The error for an object that is damaged.
    pub(crate) fn broken(&self, object: &str, reason: String) -> DataError {
        DataError::Zarr { path: self.root.clone(), object: object.into(), reason }
    }

    /// Refuses more bytes of an object than its files, or if it leaves out chunks the files of the whole store, can
    /// unpack to.
    pub(crate) fn check_claim(&self, object: &str, claimed: u128) -> Result<(), DataError> {
        let mut limit = 0;
        for place in [object, ""] {
            let Some(folder) = self.folder(place)? else { continue };
            limit = 0;
            let mut folders = vec![folder];
            while let Some(folder) = folders.pop() {
                for entry in folder.read_dir().map_err(DataError::io(&folder))? {
                    let entry = entry.map_err(DataError::io(&folder))?;
                    // Of a link its own.
                    let about = entry.metadata().map_err(DataError::io(&folder))?;
                    if about.is_dir() {
                        folders.push(entry.path());
                        continue;
                    }
                    limit += u128::from(about.len()) * MOST_RATIO;
                    if limit >= claimed {
                        return Ok(());
                    }
                }
            }
        }
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let (path, object) = (self.root.clone(), object.to_string());
        Err(DataError::TooLarge { path, object, claimed, limit })
    }

    /// A file at a path below an object, of at most `most` bytes; `None` if there is none.
    pub(crate) fn read(
        &self,
        object: &str,
        path: &str,
        most: u64,
    ) -> Result<Option<Vec<u8>>, DataError> {
        let place = if object.is_empty() { path.into() } else { format!("{object}/{path}") };
        let Some((file, found)) = self.resolve(&place)? else { return Ok(None) };
        let Found::File(len) = found else {
            return Err(self.broken(object, format!("{path:?} is no file")));
        };
        if len > most {
            let claimed = u128::from(len);
            return Err(DataError::TooLarge {
                path: self.root.clone(),
                object: place,
                claimed,
                limit: most,
            });
        }
        let mut bytes = Vec::new();
        let opened = File::open(&file).map_err(DataError::io(&file))?;
        opened.take(most).read_to_end(&mut bytes).map_err(DataError::io(&file))?;
        Ok(Some(bytes))
    }

    fn describe(&self, object: &str) -> Result<Option<Described>, DataError> {
        if self.folder(object)?.is_none() {
            return Ok(None);
        }
        if let Some(mut json) = self.json(object, "zarr.json")? {
            let node = match json["node_type"].as_str() {
                Some("group") => Node::Group,
                Some("array") => Node::Dataset,
                _ => {
                    let reason = "its zarr.json names no node_type, group or array".to_string();
                    return Err(self.broken(object, reason));
                }
            };
            let attributes = json["attributes"].take();
            return Ok(Some(Described { node, json, attributes }));
        }
        let (node, json) = match self.json(object, ".zarray")? {
            Some(json) => (Node::Dataset, json),
            None => match self.json(object, ".zgroup")? {
                Some(json) => (Node::Group, json),
                None => return Ok(None),
            },
        };
        let attributes = self.json(object, ".zattrs")?.unwrap_or_default();
        Ok(Some(Described { node, json, attributes }))
    }

    fn json(&self, object: &str, name: &str) -> Result<Option<Value>, DataError> {
        let Some(bytes) = self.read(object, name, MOST_METADATA)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(json @ Value::Object(_)) => Ok(Some(json)),
            Ok(_) => Err(self.broken(object, format!("its {name} is no JSON object"))),
            Err(error) => Err(self.broken(object, format!("its {name} is no JSON: {error}"))),
        }
    }

    fn folder(&self, object: &str) -> Result<Option<PathBuf>, DataError> {
        let found = self.resolve(object)?;
        Ok(found.filter(|(_, found)| *found == Found::Folder).map(|(path, _)| path))
    }

    /// Where an object or a file below it lies, if it is there.
    fn resolve(&self, object: &str) -> Result<Option<(PathBuf, Found)>, DataError> {
        let mut path = self.root.clone();
        let mut found = Found::Folder;
        for part in object.split('/').filter(|_| !object.is_empty()) {
            let mut components = Path::new(part).components();
            let is_name =
                matches!(components.next(), Some(Component::Normal(name)) if name == part);
            if !is_name || components.next().is_some() {
                return Ok(None);
            }
            path.push(part);
            if self.folders.borrow().contains(&path) {
                found = Found::Folder;
                continue;
            }
            let about = match fs::symlink_metadata(&path) {
                Ok(about) => about,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(DataError::io(&path)(error)),
            };
            if about.is_symlink() {
                return Err(DataError::LinkRefused {
                    path: self.root.clone(),
                    object: object.into(),
                    kind: "a symbolic link".into(),
                });
            }
            found = if about.is_dir() {
                self.folders.borrow_mut().insert(path.clone());
                Found::Folder
            } else if about.is_file() {
                Found::File(about.len())
            } else {
                Found::Other
            };
        }
        Ok(Some((path, found)))
    }
}

/// Whether nothing can be there: no such name, a name below a file, a name that no file can have.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
    )
}

/// Of one file. Consolidated metadata of large stores have some hundred kilobytes.
const MOST_METADATA: u64 = 16 << 20;
/// Deflate's. Zstandard packs zeros tighter, but a store whose arrays are all zeros has nothing to read.
const MOST_RATIO: u128 = 1032;
