//! Writing AnnData files (encoding `anndata` 0.1.0), at once or while the cells come.

use std::io;
use std::path::{Path, PathBuf};

use rust_hdf5::{H5Dataset, H5File, H5Group, H5Type, Hdf5Error};

use crate::error::DataError;
use crate::h5ad_objects::{INDEX, array, encode, group, write_dict, write_frame};
use crate::matrix::CsrMatrix;
use crate::obs::ObsTable;
use crate::text_out::PendingFile;

/// What to write. Every part but the names of the cells and genes may be empty.
#[derive(Clone, Debug, Default)]
pub struct AnnDataOut<'a> {
    /// Names of the cells, `obs.index`.
    pub obs_names: &'a [String],
    /// Columns of `obs`, as long as `obs_names`. Texts with missing values are written as
    /// categorical, booleans with missing values as text.
    pub obs: ObsTable,
    /// Names of the genes, `var.index`.
    pub var_names: &'a [String],
    /// Columns of `var`, as long as `var_names`.
    pub var: ObsTable,
    /// `X`, `obs_names.len()` × `var_names.len()`, written as CSR in single precision; left out
    /// when `None`.
    pub x: Option<&'a CsrMatrix>,
    /// `obsm`: name and row-major values `[n_obs × k]`, any `k` ≥ 1 per array.
    pub obsm: Vec<(String, Vec<f32>)>,
    /// `uns`: named values, nested.
    pub uns: Vec<(String, UnsValue)>,
}

/// A value of `uns`.
#[derive(Clone, Debug, PartialEq)]
pub enum UnsValue {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// An integer.
    Integer(i64),
    /// Texts in order.
    Texts(Vec<String>),
    /// Named values.
    Dict(Vec<(String, UnsValue)>),
}

/// Writes a new AnnData file, replacing an older one of that name only when it is complete.
///
/// # Errors
/// [`DataError::NotWritable`] if lengths do not fit each other or a name is empty, contains `/` or
/// stands twice; otherwise what the system or the HDF5 library reports.
pub fn write_h5ad(path: &Path, out: &AnnDataOut<'_>) -> Result<(), DataError> {
    check(path, out)?;
    let n_obs = out.obs_names.len();
    let widths = out.obsm.iter().map(|(name, values)| (name.clone(), values.len() / n_obs));
    let plan = AnnDataPlan {
        n_obs,
        n_vars: out.var_names.len(),
        expected_values: out.x.map(CsrMatrix::nnz),
        obsm: widths.collect(),
    };
    let mut writer = AnnDataWriter::create(path, plan)?;
    if let Some(x) = out.x {
        writer.append_x(x)?;
    }
    for (at, (_, values)) in out.obsm.iter().enumerate() {
        writer.write_obsm(at, 0, values)?;
    }
    writer.finish(out)
}

/// The size of a file that is written while its cells come.
#[derive(Clone, Debug, Default)]
pub struct AnnDataPlan {
    /// Number of cells.
    pub n_obs: usize,
    /// Number of genes.
    pub n_vars: usize,
    /// About how many values `X` will have; `None` for a file without `X`.
    pub expected_values: Option<usize>,
    /// Name and width of the arrays of `obsm`.
    pub obsm: Vec<(String, usize)>,
}

/// An AnnData file that is being written. `X` goes to the disk block by block; in memory stays a
/// row pointer per cell. Nothing stands under the file's name before [`Self::finish`].
pub struct AnnDataWriter {
    path: PathBuf,
    plan: AnnDataPlan,
    x: Option<CsrOut>,
    obsm: Vec<H5Dataset>,
    file: H5File,
    // After the file, which is closed before it is removed.
    pending: PendingFile,
}

/// The growing arrays of `X`.
struct CsrOut {
    group: H5Group,
    data: H5Dataset,
    indices: H5Dataset,
    indptr: Vec<i64>,
}

impl AnnDataWriter {
    /// Begins a file under a temporary name beside `path`.
    ///
    /// # Errors
    /// What the system or the HDF5 library reports; a plan with more than 2³¹ − 1 genes.
    pub fn create(path: &Path, plan: AnnDataPlan) -> Result<Self, DataError> {
        if i32::try_from(plan.n_vars).is_err() {
            let reason = format!("{} genes are more than 2147483647", plan.n_vars);
            return Err(DataError::NotWritable { path: path.to_path_buf(), reason });
        }
        let pending = PendingFile::create(path)?;
        let file = H5File::options().no_locking().create(pending.path());
        let file = file.map_err(not_written(path))?;
        let (x, obsm) = begin(&file, &plan).map_err(abandoned(path, &file))?;
        Ok(Self { path: path.to_path_buf(), plan, x, obsm, file, pending })
    }

    /// Adds rows to `X`.
    ///
    /// # Errors
    /// What the HDF5 library reports; a plan without `X`.
    pub fn append_x(&mut self, rows: &CsrMatrix) -> Result<(), DataError> {
        let Some(x) = &mut self.x else {
            return Err(self.refusal("no X was planned".into()));
        };
        x.append(rows).map_err(self.failed())
    }

    /// Writes rows of an array of `obsm` by its position in the plan, from `first_row` on.
    ///
    /// # Errors
    /// What the HDF5 library reports; values that are no whole rows.
    pub fn write_obsm(
        &mut self,
        array: usize,
        first_row: usize,
        values: &[f32],
    ) -> Result<(), DataError> {
        let planned = self.plan.obsm.get(array).zip(self.obsm.get(array));
        let Some(((_, width), dataset)) = planned.filter(|((_, width), _)| *width > 0) else {
            return Err(self.refusal(format!("obsm has no array {array}")));
        };
        let shape = [values.len() / width, *width];
        dataset.write_slice(&[first_row, 0], &shape, values).map_err(self.failed())
    }

    /// Writes the tables of `out` (its `x` and `obsm` are not looked at) and gives the file its
    /// name.
    ///
    /// # Errors
    /// [`DataError::NotWritable`] if lengths do not fit each other or a name is empty, contains
    /// `/` or stands twice, or not every row of `X` was written; otherwise what the system or the
    /// HDF5 library reports.
    pub fn finish(self, out: &AnnDataOut<'_>) -> Result<(), DataError> {
        check_tables(&self.path, out)?;
        let found = (out.obs_names.len(), out.var_names.len());
        if found != (self.plan.n_obs, self.plan.n_vars) {
            let planned = (self.plan.n_obs, self.plan.n_vars);
            return Err(self.refusal(format!("there are {found:?} names, planned {planned:?}")));
        }
        let n_rows = self.x.as_ref().map_or(found.0, |x| x.indptr.len() - 1);
        if n_rows != found.0 {
            return Err(self.refusal(format!("X has {n_rows} rows, expected {}", found.0)));
        }
        let Self { path, x, obsm, file, pending, .. } = self;
        let root = file.root_group();
        let written = (|| {
            if let Some(x) = x {
                array(&x.group, "indptr", &x.indptr)?;
            }
            write_frame(&root, "obs", out.obs_names, &out.obs)?;
            write_frame(&root, "var", out.var_names, &out.var)?;
            for name in ["layers", "obsp", "varm", "varp"] {
                group(&root, name, "dict", "0.1.0")?;
            }
            write_dict(&root, "uns", &out.uns)?;
            drop((root, obsm));
            // Once closed, a file that cannot be written speaks for itself.
            file.flush()
        })();
        written.map_err(abandoned(&path, &file))?;
        // The commit flushes the file to the disk.
        file.close_no_sync().map_err(not_written(&path))?;
        pending.commit()
    }

    fn failed(&self) -> impl Fn(Hdf5Error) -> DataError + '_ {
        abandoned(&self.path, &self.file)
    }

    fn refusal(&self, reason: String) -> DataError {
        DataError::NotWritable { path: self.path.clone(), reason }
    }
}

fn begin(file: &H5File, plan: &AnnDataPlan) -> Result<(Option<CsrOut>, Vec<H5Dataset>), Hdf5Error> {
    let root = file.root_group();
    file.set_attr_string("encoding-type", "anndata")?;
    file.set_attr_string("encoding-version", "0.1.0")?;
    let x = plan.expected_values.map(|expected| CsrOut::create(&root, plan, expected));
    let obsm = group(&root, "obsm", "dict", "0.1.0")?;
    let arrays = plan.obsm.iter().map(|(name, width)| {
        let dataset = obsm.new_dataset::<f32>().shape([plan.n_obs, *width]).create(name)?;
        encode(&dataset, "array", "0.2.0")?;
        Ok(dataset)
    });
    let arrays = arrays.collect::<Result<_, Hdf5Error>>()?;
    Ok((x.transpose()?, arrays))
}

impl CsrOut {
    fn create(root: &H5Group, plan: &AnnDataPlan, expected: usize) -> Result<Self, Hdf5Error> {
        let group = group(root, "X", "csr_matrix", "0.1.0")?;
        // Sizes that fit memory fit 63 bits.
        group.set_attr_array_numeric("shape", &[plan.n_obs as i64, plan.n_vars as i64])?;
        let data = growing::<f32>(&group, "data", expected)?;
        let indices = growing::<i32>(&group, "indices", expected)?;
        Ok(Self { group, data, indices, indptr: vec![0] })
    }

    fn append(&mut self, rows: &CsrMatrix) -> Result<(), Hdf5Error> {
        let start = self.indptr[self.indptr.len() - 1];
        self.indptr.extend(rows.indptr.iter().skip(1).map(|&at| start + at as i64));
        // The library refuses to append nothing.
        if rows.nnz() == 0 {
            return Ok(());
        }
        // Signed, as SciPy wants them; the number of genes fits.
        let indices: Vec<i32> = rows.indices.iter().map(|&column| column as i32).collect();
        self.indices.append(&indices)?;
        self.data.append(&rows.data)
    }
}

/// An empty vector that can grow.
fn growing<T: H5Type>(
    group: &H5Group,
    name: &str,
    expected: usize,
) -> Result<H5Dataset, Hdf5Error> {
    let chunk = [expected.clamp(SMALLEST_CHUNK, LARGEST_CHUNK)];
    let dataset =
        group.new_dataset::<T>().shape([0]).chunk(&chunk).max_shape(&[None]).create(name)?;
    encode(&dataset, "array", "0.2.0")?;
    Ok(dataset)
}

fn not_written(path: &Path) -> impl Fn(Hdf5Error) -> DataError + '_ {
    |error| {
        let (path, reason) = (path.to_path_buf(), error.to_string());
        // The library keeps what the system said to itself, except for its words.
        let code = reason.rsplit_once("(os error ").and_then(|(_, code)| code.split(')').next());
        match code.and_then(|code| code.parse().ok()) {
            Some(code) => DataError::Io { path, source: io::Error::from_raw_os_error(code) },
            None => DataError::NotWritable { path, reason },
        }
    }
}

/// The same for a file that will not be closed: the library would try to complete it when it is
/// dropped, fail again, and say so itself on standard error. A handle that is never dropped keeps
/// it from that.
fn abandoned<'a>(path: &'a Path, file: &'a H5File) -> impl Fn(Hdf5Error) -> DataError + 'a {
    |error| {
        std::mem::forget(file.root_group());
        not_written(path)(error)
    }
}

fn check(path: &Path, out: &AnnDataOut<'_>) -> Result<(), DataError> {
    let refuse = |reason: String| Err(DataError::NotWritable { path: path.to_path_buf(), reason });
    check_tables(path, out)?;
    if let Some(x) = out.x {
        let (found, expected) =
            ((x.n_rows(), x.n_cols), (out.obs_names.len(), out.var_names.len()));
        if found != expected {
            return refuse(format!("X is {found:?}, expected {expected:?}"));
        }
    }
    let n_obs = out.obs_names.len();
    for (name, values) in &out.obsm {
        if n_obs == 0 || values.is_empty() || values.len() % n_obs != 0 {
            let found = values.len();
            return refuse(format!("obsm[{name:?}] has {found} values for {n_obs} cells"));
        }
    }
    check_names(out.obsm.iter().map(|(name, _)| name.as_str()))
        .or_else(|name| refuse(format!("obsm cannot have the name {name:?}")))
}

fn check_tables(path: &Path, out: &AnnDataOut<'_>) -> Result<(), DataError> {
    let refuse = |reason: String| Err(DataError::NotWritable { path: path.to_path_buf(), reason });
    for (frame, table, len) in
        [("obs", &out.obs, out.obs_names.len()), ("var", &out.var, out.var_names.len())]
    {
        if let Some((name, column)) = table.columns().find(|(_, column)| column.len() != len) {
            let found = column.len();
            return refuse(format!("{frame}[{name:?}] has {found} rows, expected {len}"));
        }
        check_names(table.names().chain([INDEX]))
            .or_else(|name| refuse(format!("{frame} cannot have a column of the name {name:?}")))?;
    }
    check_dict(&out.uns).or_else(|name| refuse(format!("uns cannot have the name {name:?}")))
}

/// The name that cannot be a member of a group, if there is one.
fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let legal = !name.is_empty() && name != "." && !name.contains(['/', '\0']);
        if !legal || !seen.insert(name) {
            return Err(name.into());
        }
    }
    Ok(())
}

fn check_dict(entries: &[(String, UnsValue)]) -> Result<(), String> {
    check_names(entries.iter().map(|(name, _)| name.as_str()))?;
    entries.iter().try_for_each(|(_, value)| match value {
        UnsValue::Dict(entries) => check_dict(entries),
        _ => Ok(()),
    })
}

/// Chunks of growing arrays, in values. A file smaller than a chunk would be mostly padding.
const SMALLEST_CHUNK: usize = 1 << 10;
const LARGEST_CHUNK: usize = 1 << 18;
