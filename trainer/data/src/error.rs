//! What can be wrong with a file, a table or a matrix.

use std::io;
use std::path::PathBuf;

use cic_model::ValueKind;
use thiserror::Error;

/// Why a file was refused, or could not be written. Messages name the place (line, cell, gene or
/// object inside the file), what was found and, where it helps, what to do next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe or a device.
    #[error(
        "{path} is a pipe or a device: what it is and where its parts are shows in places that have to be read again; write it to a file \
         first",
        path = path.display()
    )]
    NoFile {
        /// Its name.
        path: PathBuf,
    },
    /// The file has no bytes, or no rows.
    #[error(
        "{path} is empty: expected {expected}; is it the right file, and whole?",
        path = path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// What should have been there.
        expected: &'static str,
    },
    /// The file is of a kind that is known and not read.
    #[error("{path} is {format}, which is not read; {advice}", path = path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The format, as its users call it.
        format: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// The file or folder lacks something that its format requires.
    #[error("{path} has no {part}; {advice}", path = path.display())]
    MissingPart {
        /// The file or folder.
        path: PathBuf,
        /// What is missing.
        part: String,
        /// What the format requires, or what to do.
        advice: String,
    },
    /// A table inside the file does not say which of its columns holds the names.
    #[error(
        "{path}: the table {frame:?} has no usable `_index`; expected an attribute `_index` that \
         names a column of unique strings; write the file again with anndata",
        path = path.display()
    )]
    MissingIndex {
        /// The file.
        path: PathBuf,
        /// The table: `obs` or `var`.
        frame: String,
    },
    /// An object of the file is encoded in a way that this reader does not know.
    #[error(
        "{path}: {object:?} has the encoding {encoding:?}, which is not known here; \
         write it again as {expected}",
        path = path.display()
    )]
    UnknownEncoding {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// The encoding found.
        encoding: String,
        /// What would be read.
        expected: &'static str,
    },
    /// A data set is compressed with a filter that this reader does not have.
    #[error(
        "{path}: {object:?} is compressed with {filter}; \
         write it again with gzip, LZF or no compression",
        path = path.display()
    )]
    UnsupportedFilter {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// The filter, by name where it is known.
        filter: String,
    },
    /// An object is reached through a link, or its bytes lie in another file.
    #[error(
        "{path}: {object:?} is {kind}, which is never followed; copy the data into the file",
        path = path.display()
    )]
    LinkRefused {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// Which kind of link, and where it points.
        kind: String,
    },
    /// The file ends before its own header says it should.
    #[error(
        "{path} is truncated: its header says {expected} bytes, it has {found}; copy it again",
        path = path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes according to the header.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A compressed stream is damaged or ends too early.
    #[error("{path}: damaged gzip stream ({reason}); copy the file again", path = path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A compressed file unpacks to more than an expression file ever does.
    #[error(
        "{path} unpacks to more than {ratio} times its size; if it is genuine, unpack it yourself",
        path = path.display()
    )]
    GzipRatio {
        /// The file.
        path: PathBuf,
        /// The largest accepted ratio.
        ratio: u64,
    },
    /// The HDF5 structure is damaged or uses something that the reader lacks.
    #[error(
        "{path}: cannot read {object:?}: {reason}; copy the file again, or write it again with \
         anndata or h5py",
        path = path.display()
    )]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// The object inside the file, `/` for the file as a whole.
        object: String,
        /// What the HDF5 reader said.
        reason: String,
    },
    /// A Parquet file is damaged or uses something that the reader lacks.
    #[cfg(feature = "parquet")]
    #[error(
        "{path}: cannot read column {column:?}: {reason}; copy the file again, or write it again",
        path = path.display()
    )]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The column, `/` for the file as a whole.
        column: String,
        /// What the Parquet reader said.
        reason: String,
    },
    /// A Zarr store is damaged or uses something that the reader lacks.
    #[cfg(feature = "zarr")]
    #[error(
        "{path}: cannot read {object:?}: {reason}; copy the store again, or write it again with \
         anndata",
        path = path.display()
    )]
    Zarr {
        /// The store.
        path: PathBuf,
        /// The object inside the store, `/` for its root.
        object: String,
        /// What is wrong, and where: metadata, or a chunk by its name.
        reason: String,
    },
    /// A header claims more than the file can hold.
    #[error(
        "{path}: {object:?} claims {claimed} bytes, but the file can hold at most {limit}; copy the \
         file again, or write it again",
        path = path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The object inside the file.
        object: String,
        /// What the header claims.
        claimed: u128,
        /// What the file can hold.
        limit: u64,
    },
    /// Two parts of a file do not fit each other.
    #[error(
        "{path}: {what}: expected {expected}, found {found}; the parts of the file do not belong \
         together, write it again",
        path = path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// What was compared.
        what: String,
        /// The length or shape that it should have.
        expected: String,
        /// The length or shape that it has.
        found: String,
    },
    /// The row pointers of a sparse matrix decrease, or do not cover its entries.
    #[error(
        "{path}: the row pointers are not valid at position {at}: {reason}; write the file again",
        path = path.display()
    )]
    Pointers {
        /// The file.
        path: PathBuf,
        /// Position in the pointer array.
        at: usize,
        /// What is wrong there.
        reason: String,
    },
    /// An entry of a sparse matrix points outside it.
    #[error(
        "{path}: {row} has an entry at {index}, but there are only {len}, counted from 0; \
         write the file again",
        path = path.display(),
        index = match index {
            // What no index of 32 bits without a sign can be.
            &u32::MAX => "a negative or huge index".to_string(),
            index => format!("index {index}"),
        }
    )]
    IndexOutOfRange {
        /// The file.
        path: PathBuf,
        /// The cell (or the gene, for a matrix that is stored by gene).
        row: String,
        /// The index found.
        index: u32,
        /// Number of columns.
        len: usize,
    },
    /// The same cell and gene occur twice.
    #[error(
        "{path}: cell {cell:?} has two entries for gene {gene:?}; add them up, or remove one \
         (SciPy: sum_duplicates)",
        path = path.display()
    )]
    DuplicateEntry {
        /// The file.
        path: PathBuf,
        /// The cell.
        cell: String,
        /// The gene.
        gene: String,
    },
    /// A value is NaN or infinite.
    #[error(
        "{path}: cell {cell:?}, gene {gene:?}: the value is {value}; expected a finite number; \
         replace or remove it",
        path = path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The cell.
        cell: String,
        /// The gene.
        gene: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// A value is below zero: the matrix was centred or scaled.
    #[error(
        "{path}: cell {cell:?}, gene {gene:?}: the value is {value}; expected zero or more; \
         centred or z-scored values are not read, use the matrix from before scaling \
         (raw, a layer, or the counts)",
        path = path.display()
    )]
    Negative {
        /// The file.
        path: PathBuf,
        /// The cell.
        cell: String,
        /// The gene.
        gene: String,
        /// The value.
        value: f32,
    },
    /// A count cannot be held exactly.
    #[error(
        "{path}: cell {cell:?}, gene {gene:?}: the count {value} is above 16777216 (2^24), \
         the largest that is held exactly; correct it, or give normalised values as fractions",
        path = path.display()
    )]
    CountTooLarge {
        /// The file.
        path: PathBuf,
        /// The cell.
        cell: String,
        /// The gene.
        gene: String,
        /// The count.
        value: f64,
    },
    /// Two cells or samples have one name.
    #[error(
        "{path}: the name {name:?} stands at rows {first} and {second}; names must be unique \
         (AnnData: obs_names_make_unique)",
        path = path.display()
    )]
    DuplicateObsName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// First row, counted from 0.
        first: usize,
        /// Second row, counted from 0.
        second: usize,
    },
    /// Two genes of the file are the same gene of a panel that refuses that.
    #[error(
        "{path}: {first:?} and {second:?} are both the model's gene {gene:?}, and the model refuses \
         genes that stand twice; remove one of the two, or add them up, before typing",
        path = path.display()
    )]
    DuplicateGene {
        /// The file.
        path: PathBuf,
        /// The gene of the panel.
        gene: String,
        /// The first of the two.
        first: String,
        /// The second of the two.
        second: String,
    },
    /// Text is not UTF-8.
    #[error("{path}: {place} is not UTF-8; save the file as UTF-8", path = path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line or object.
        place: String,
    },
    /// A MatrixMarket file breaks its rules.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    MatrixMarket {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A MatrixMarket file returns to a cell that it had left, so that it cannot be read cell by
    /// cell.
    #[error(
        "{path}, line {line}: an entry of cell {cell} after entries of later cells; the file is \
         not sorted by cell and must be read whole",
        path = path.display()
    )]
    NotByCell {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// The cell, counted from 1.
        cell: usize,
    },
    /// A text table breaks its rules.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// Rows and columns both could be genes.
    #[error(
        "{path}: cannot tell whether rows ({row:?}, ...) or columns ({column:?}, ...) are genes; \
         declare the orientation",
        path = path.display()
    )]
    OrientationUnknown {
        /// The file.
        path: PathBuf,
        /// First row name.
        row: String,
        /// First column name.
        column: String,
    },
    /// Nothing of a label or split table names a sample of the data.
    #[error(
        "{path} joins no sample: its first id is {table_id:?}, the data's first is {data_id:?}; \
         make the ids the same",
        path = path.display()
    )]
    NoJoin {
        /// The table.
        path: PathBuf,
        /// An id of the table.
        table_id: String,
        /// An id of the data.
        data_id: String,
    },
    /// A column that was asked for does not exist.
    #[error("{place}: no column {column:?}; there are: {available}")]
    UnknownColumn {
        /// File or table.
        place: String,
        /// The column asked for.
        column: String,
        /// The columns that exist, comma-separated, and which may be meant.
        available: String,
    },
    /// A column exists but cannot be read.
    #[error("column {column:?} cannot be read: {reason}")]
    UnreadableColumn {
        /// The column asked for.
        column: String,
        /// Why.
        reason: String,
    },
    /// A split column holds something else than `train` and `test`.
    #[error("{place}: sample {id:?} has the split {found:?}; expected train or test")]
    BadSplit {
        /// File or column.
        place: String,
        /// The sample.
        id: String,
        /// The value found.
        found: String,
    },
    /// Values are not of the declared kind.
    #[error(
        "{path}: declared {declared}, but cell {cell:?}{gene} {reason}; \
         declare the kind that the values have, or choose another matrix of the file",
        path = path.display(), declared = declared.name(),
        gene = gene.as_ref().map(|gene| format!(", gene {gene:?},")).unwrap_or_default()
    )]
    ScaleMismatch {
        /// The file.
        path: PathBuf,
        /// The kind that was declared.
        declared: ValueKind,
        /// The cell that contradicts it.
        cell: String,
        /// The gene, where one value contradicts it.
        gene: Option<String>,
        /// What was found.
        reason: String,
    },
    /// The values fit no kind clearly enough.
    #[error(
        "{path}: cannot tell what the values are: {reason}; declare one of counts, \
         linear_normalised, log1p, log2_intensity",
        path = path.display()
    )]
    ScaleUnknown {
        /// The file.
        path: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// The values are logarithms that no kind stands for.
    #[error("{path}: the values are {what}; {advice}", path = path.display())]
    OtherLogarithm {
        /// The file.
        path: PathBuf,
        /// Which logarithms, and what shows it.
        what: String,
        /// How they become values of a kind.
        advice: &'static str,
    },
    /// What should be written does not fit together.
    #[error("cannot write {path}: {reason}", path = path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl DataError {
    /// An [`DataError::Io`] for `path`, as a closure for `map_err`.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}
