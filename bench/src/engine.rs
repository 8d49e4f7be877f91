//! A model, its session and all memory that a run needs, in one value.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use cic_model::{Model, ModelError};
use cic_runtime::threads::Workers;
use cic_runtime::{Numbers, Outcome, Pages, RunError, S8Numbers, S8Session, Sample};

use crate::Chain;

/// An int8 model that is ready to run. Model and packed weights stay until the process ends, as the
/// session borrows them; a benchmark makes one per shape.
#[derive(Debug)]
pub struct Engine {
    bytes: &'static [u8],
    session: S8Session<'static>,
    scratch: Vec<u32>,
    /// Made when first asked for.
    workers: Option<Workers>,
}

/// Inputs of a batch, of the same genes as the model.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// `[n × genes]`
    Dense(&'a [f32]),
    /// Compressed rows.
    Csr {
        /// `[n + 1]`, from 0, not falling.
        indptr: &'a [u32],
        /// Genes, rising within a row.
        indices: &'a [u32],
        /// As many values.
        values: &'a [f32],
    },
}

/// Where results go.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// `[n × classes]`
    pub probabilities: &'a mut [f32],
    /// `[n × code]`, or empty where they are not wanted.
    pub codes: &'a mut [f32],
}

/// How a model is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Structure is checked.
    Plain,
    /// The digest too.
    Verified,
    /// Structure is checked, and all weights are packed for batches.
    Packed,
}

/// Why a batch was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Lengths do not fit each other or the model.
    Shape,
    /// The model could not be opened.
    Model(ModelError),
    /// The runtime refused a row.
    Run(RunError),
    /// Threads could not be started.
    Threads,
}

impl Engine {
    /// Quantises a chain on rows of log1p values, and opens it for batches.
    pub fn new(chain: &Chain, calibration: &[f32]) -> Result<Self, Box<dyn Error>> {
        let quantized = chain.quantize(calibration)?;
        let bytes: &'static mut Pages = Box::leak(Box::new(Pages::zeroed(quantized.len())?));
        bytes.copy_from_slice(&quantized);
        let bytes: &'static [u8] = bytes;
        let model: &'static Model<'static> = Box::leak(Box::new(Model::open(bytes)?));
        let session = S8Session::new(model, 0)?;
        let packed: &'static mut Pages = Box::leak(Box::new(Pages::zeroed(session.packed_len())?));
        let session = session.with_packed(packed.as_weights_mut())?;
        let scratch = vec![0; session.tile_scratch_len(session.tile_len()).div_ceil(4)];
        Ok(Self { bytes, session, scratch, workers: None })
    }

    /// Bytes of the model.
    pub fn model_len(&self) -> usize {
        self.bytes.len()
    }

    /// The session.
    pub fn session(&self) -> &S8Session<'static> {
        &self.session
    }

    /// Runs a batch.
    #[inline]
    pub fn run(
        &mut self,
        rows: Rows<'_>,
        threads: usize,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), BatchError> {
        if threads <= 1 {
            return run_rows(&self.session, rows, &mut self.scratch, outputs);
        }
        let mut workers = match self.workers.take().filter(|workers| workers.len() == threads) {
            Some(workers) => workers,
            None => Workers::new(threads, &self.session).map_err(|_| BatchError::Threads)?,
        };
        let result = run_on_threads(&self.session, rows, &mut workers, outputs);
        self.workers = Some(workers);
        result
    }

    /// Time from the bytes of the model to the result of the first row of a batch.
    pub fn time_to_first_result(
        &mut self,
        opening: Opening,
        rows: Rows<'_>,
        outputs: &mut Outputs<'_>,
    ) -> Result<Duration, BatchError> {
        let start = Instant::now();
        let model = match opening {
            Opening::Verified => Model::open_verified(self.bytes),
            Opening::Plain | Opening::Packed => Model::open(self.bytes),
        };
        let model = model.map_err(BatchError::Model)?;
        let mut session = S8Session::new(&model, 0).map_err(BatchError::Run)?;
        let mut packed = Vec::new();
        if opening == Opening::Packed {
            packed.resize(session.packed_len(), 0);
            session = session.with_packed(&mut packed).map_err(BatchError::Run)?;
        }
        let sample = rows.sample(0, model.n_genes()).ok_or(BatchError::Shape)?;
        let outcome = session.run(&sample, None, &mut self.scratch).map_err(BatchError::Run)?;
        outputs.put(0, &outcome, &session)?;
        Ok(start.elapsed())
    }
}

/// Runs rows on a session: a single one alone, more in tiles.
pub fn run_rows(
    session: &S8Session<'_>,
    rows: Rows<'_>,
    scratch: &mut [u32],
    outputs: &mut Outputs<'_>,
) -> Result<(), BatchError> {
    let n_genes = session.model().n_genes();
    let n_rows = rows.len(n_genes).ok_or(BatchError::Shape)?;
    if n_rows == 1 {
        let sample = rows.sample(0, n_genes).ok_or(BatchError::Shape)?;
        let outcome = session.run(&sample, None, scratch).map_err(BatchError::Run)?;
        return outputs.put(0, &outcome, session);
    }
    let tile_len = session.tile_len();
    let mut samples = Vec::with_capacity(tile_len.min(n_rows));
    for first in (0..n_rows).step_by(tile_len) {
        samples.clear();
        rows.samples(first..n_rows.min(first + tile_len), n_genes, &mut samples)?;
        let tile = session
            .run_tile(&samples, None, scratch)
            .map_err(|error| BatchError::Run(error.error))?;
        for cell in 0..samples.len() {
            outputs.put(first + cell, &tile.outcome(cell), session)?;
        }
    }
    Ok(())
}

/// Runs rows on several threads. Codes are not asked for.
fn run_on_threads(
    session: &S8Session<'_>,
    rows: Rows<'_>,
    workers: &mut Workers,
    outputs: &mut Outputs<'_>,
) -> Result<(), BatchError> {
    let n_genes = session.model().n_genes();
    let n_rows = rows.len(n_genes).ok_or(BatchError::Shape)?;
    let n_classes = session.model().n_leaves();
    if outputs.probabilities.len() != n_rows * n_classes || !outputs.codes.is_empty() {
        return Err(BatchError::Shape);
    }
    let sample = |row: usize| {
        let wrong = RunError::LengthMismatch { needed: row + 1, found: row };
        rows.sample(row, n_genes).ok_or(wrong)
    };
    let store = |outcome: &Outcome<S8Numbers<'_>>, out: &mut [f32]| put(outcome, out);
    workers
        .run(session, sample, None, outputs.probabilities, n_classes, store)
        .map_err(|error| BatchError::Run(error.error))
}

/// Writes the probabilities of one row; zeros for a cell without numbers, which is an empty one.
fn put(outcome: &Outcome<S8Numbers<'_>>, probabilities: &mut [f32]) {
    let Some(numbers) = &outcome.numbers else { return probabilities.fill(0.0) };
    for (to, &probability) in probabilities.iter_mut().zip(numbers.probabilities) {
        // At most 2¹⁶: signed numbers are converted several at a time.
        *to = probability as i32 as f32 / 65_536.0;
    }
}

impl<'a> Rows<'a> {
    /// Number of rows; `None` where lengths do not fit.
    #[inline]
    pub fn len(&self, n_genes: usize) -> Option<usize> {
        match *self {
            Self::Dense(values) => {
                values.len().is_multiple_of(n_genes).then(|| values.len() / n_genes)
            }
            Self::Csr { indptr, indices, values } => {
                let fits = indices.len() == values.len()
                    && indptr.last().is_some_and(|&end| end as usize == values.len());
                fits.then(|| indptr.len() - 1)
            }
        }
    }

    /// Adds some rows, which lie in the batch.
    fn samples(
        &self,
        rows: Range<usize>,
        n_genes: usize,
        samples: &mut Vec<Sample<'a>>,
    ) -> Result<(), BatchError> {
        for row in rows {
            samples.push(self.sample(row, n_genes).ok_or(BatchError::Shape)?);
        }
        Ok(())
    }

    #[inline]
    fn sample(&self, row: usize, n_genes: usize) -> Option<Sample<'a>> {
        Some(match *self {
            Self::Dense(values) => {
                let values = values.get(row * n_genes..(row + 1) * n_genes)?;
                Sample::DenseValues { values, total: None }
            }
            Self::Csr { indptr, indices, values } => {
                let range = *indptr.get(row)? as usize..*indptr.get(row + 1)? as usize;
                let genes = indices.get(range.clone())?;
                Sample::Values { genes, values: values.get(range)?, total: None }
            }
        })
    }
}

impl Outputs<'_> {
    /// Writes one row.
    #[inline]
    fn put(
        &mut self,
        row: usize,
        outcome: &Outcome<S8Numbers<'_>>,
        session: &S8Session<'_>,
    ) -> Result<(), BatchError> {
        let n_classes = session.model().n_leaves();
        let probabilities = self
            .probabilities
            .get_mut(row * n_classes..(row + 1) * n_classes)
            .ok_or(BatchError::Shape)?;
        put(outcome, probabilities);
        let Some(numbers) = &outcome.numbers else { return Ok(()) };
        if !self.codes.is_empty() {
            let width = session.model().code_dim();
            let code = self.codes.get_mut(row * width..(row + 1) * width);
            let numbers = Numbers::S8(*numbers);
            for (dim, to) in code.ok_or(BatchError::Shape)?.iter_mut().enumerate() {
                *to = numbers.code(dim);
            }
        }
        Ok(())
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => write!(f, "lengths of inputs or outputs do not fit the model"),
            Self::Model(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
            Self::Threads => write!(f, "threads could not be started"),
        }
    }
}

impl Error for BatchError {}
