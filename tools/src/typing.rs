//! Typing a file block by block: read, align and type, write.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use cic_data::{
    BlockSize, CsrMatrix, DataError, ExpressionHead, ExpressionReader, ScaleEvidence, rank_rows,
};
use cic_model::genes::Overlap;
use cic_model::{Model, ValueKind};

use crate::console::tell;
use crate::dataset::{DataArgs, admit, check_values, model_kind};
use crate::failure::Failure;
use crate::in_order::{self, Results};
use crate::notes;
use crate::progress::Progress;
use crate::results::{Calls, Prepared, Runner};
use crate::same_scale::GeneSums;
use crate::totals::{TotalArgs, Totals};

/// What is typed, and how.
pub(crate) struct Typing<'a> {
    pub(crate) model: &'a Model<'a>,
    pub(crate) data: &'a DataArgs,
    pub(crate) totals: &'a TotalArgs,
    /// Workers, 0 for one per processor.
    pub(crate) threads: usize,
    pub(crate) quiet: bool,
    /// Whether cells that cannot be reproduced are rejected too.
    pub(crate) is_thorough: bool,
    pub(crate) accepts_unjudged: bool,
}

/// What is known of a file before its values are read.
pub(crate) struct Opened<'a> {
    pub(crate) head: &'a Arc<ExpressionHead>,
    pub(crate) overlap: Overlap,
    /// About how many values the file has.
    pub(crate) expected_values: usize,
}

/// Where the calls go. Nothing may be seen of them before [`Self::finish`].
pub(crate) trait CallSink {
    /// What the calls have become.
    type Done: Send;

    /// Whether blocks must bring the values that were read.
    const TAKES_VALUES: bool;

    /// Takes the calls of the next cells.
    fn take(&mut self, calls: Calls, values: Option<CsrMatrix>) -> Result<(), Failure>;

    /// Publishes the calls: the whole file was read and is sound.
    fn finish(self, kind: ValueKind) -> Result<Self::Done, Failure>;
}

/// Time by stage, for `--verbose`.
#[derive(Default)]
pub(crate) struct Stages {
    read: AtomicU64,
    work: AtomicU64,
    write: AtomicU64,
}

impl Stages {
    fn measure<T>(stage: &AtomicU64, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        // Five hundred years fit.
        stage.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// The times in words.
    pub(crate) fn report(&self, cells: usize, elapsed: Duration) -> String {
        let seconds = |stage: &AtomicU64| stage.load(Ordering::Relaxed) as f64 / 1e9;
        format!(
            "{:.2} s, {:.0} cells/s; busy: read {:.2} s, align and type {:.2} s over all threads, \
             write {:.2} s",
            elapsed.as_secs_f64(),
            cells as f64 / elapsed.as_secs_f64().max(1e-9),
            seconds(&self.read),
            seconds(&self.work),
            seconds(&self.write),
        )
    }
}

impl Typing<'_> {
    /// Types every cell. `sink` makes the place where the calls go, once the file is open.
    pub(crate) fn run<S: CallSink>(
        &self,
        sink: impl Fn(Opened<'_>) -> Result<S, Failure> + Sync,
        stages: &Stages,
    ) -> Result<S::Done, Failure> {
        let (path, options, size) = (&self.data.data, self.data.options(), BlockSize::default());
        let reader = ExpressionReader::open(path, &options, size)?;
        match self.run_on(reader, &sink, stages) {
            Err(Failure::Input(error)) if is_unsorted(&error) => {
                let reader = ExpressionReader::open_unsorted(path, &options, size)?;
                self.run_on(reader, &sink, stages)
            }
            result => result,
        }
    }

    fn run_on<S: CallSink>(
        &self,
        mut reader: ExpressionReader,
        sink: &(impl Fn(Opened<'_>) -> Result<S, Failure> + Sync),
        stages: &Stages,
    ) -> Result<S::Done, Failure> {
        let head = reader.head().clone();
        let (names, declared) = (head.names(), self.data.values.kind);
        let expected = model_kind(self.model)?;
        let alignment = admit(names, declared, self.model, self.accepts_unjudged)?;
        let totals = self.totals.read(self.model, names, &head.obs)?;
        let mut memory = None;
        let prepared = Prepared::new(self.model, &mut memory, &alignment.present)?;

        let mut next_row = 0;
        let expected_values = reader.expected_values();
        let next = || {
            let block = Stages::measure(&stages.read, || reader.next_block())?;
            Ok(block.map(|values| {
                let first_row = next_row;
                next_row += values.n_rows();
                (first_row, values)
            }))
        };
        let worker = || {
            let mut runner = prepared.runner(self.is_thorough);
            let (alignment, totals) = (&alignment, totals.as_ref());
            move |(first_row, values): (usize, CsrMatrix)| -> Result<TypedBlock, Failure> {
                Stages::measure(&stages.work, || {
                    let n_rows = values.n_rows();
                    let evidence = ScaleEvidence::of(names, &values, first_row, declared)?;
                    let mut calls = Ok(Calls::default());
                    let mut gene_sums = GeneSums::default();
                    // A file that will be refused is read to its end, for the whole reason.
                    if evidence.allows(expected) {
                        let mut rows = alignment.align(&values);
                        let fault = totals.map_or(Ok(()), |totals| {
                            totals.replace(names, first_row, &mut rows.totals)
                        });
                        if expected == ValueKind::Ranks {
                            rank_rows(&mut rows.values, alignment.overlap.n_present as usize);
                        }
                        gene_sums = GeneSums::of(expected, &rows.values);
                        calls = fault.and_then(|()| {
                            type_block(self.model, &mut runner, &rows.values, &rows.totals)
                        });
                    }
                    let values = S::TAKES_VALUES.then_some(values);
                    Ok(TypedBlock { n_rows, values, evidence, gene_sums, calls })
                })
            }
        };
        let write = |results: &mut Results<'_, Result<TypedBlock, Failure>>| {
            let overlap = alignment.overlap;
            let opened = Opened { head: &head, overlap, expected_values };
            let mut sink = Stages::measure(&stages.write, || sink(opened))?;
            let progress = Progress::of_cells(head.obs_names.len(), self.quiet);
            let mut evidence = ScaleEvidence::default();
            let mut gene_sums = GeneSums::default();
            let (mut n_cells, mut fault) = (0, None);
            for block in results {
                let block = block.flatten()?;
                evidence.merge(&block.evidence);
                gene_sums.merge(&block.gene_sums);
                n_cells += block.n_rows;
                progress.tell(n_cells);
                match block.calls {
                    // Calls of values of the wrong kind are not worth writing.
                    _ if fault.is_some() || !evidence.allows(expected) => {}
                    Ok(calls) => {
                        Stages::measure(&stages.write, || sink.take(calls, block.values))?;
                    }
                    Err(failure) => fault = Some(failure),
                }
            }
            progress.finish();
            if n_cells != head.obs_names.len() {
                return Err(Failure::internal("a part of the file was lost"));
            }
            let mut said = notes::of_file(&head, self.model, &alignment);
            said.extend(totals.as_ref().and_then(Totals::note).map(String::from));
            let kind = if evidence.has_values() {
                let verdict = evidence.verdict(names, declared)?;
                check_values(names, &verdict, &gene_sums, &alignment.present, self.model)?;
                said.extend(notes::of_small_counts(&verdict));
                verdict.kind
            } else {
                // Zeros are zeros on every scale, and every cell is rejected for them.
                said.push(notes::of_nothing(&head.source));
                declared.unwrap_or(expected)
            };
            if let Some(failure) = fault {
                return Err(failure);
            }
            let done = Stages::measure(&stages.write, || sink.finish(kind))?;
            if !self.quiet {
                said.iter().for_each(|note| tell(format_args!("note: {note}")));
            }
            Ok(done)
        };
        in_order::run(self.n_threads(), next, worker, write)
    }

    fn n_threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.threads)
            .or_else(|| available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}

/// The calls of some cells.
struct TypedBlock {
    n_rows: usize,
    values: Option<CsrMatrix>,
    evidence: ScaleEvidence,
    gene_sums: GeneSums,
    /// Values of the wrong kind can be what no session runs; the verdict on the file comes first.
    calls: Result<Calls, Failure>,
}

/// Types aligned rows.
fn type_block(
    model: &Model<'_>,
    runner: &mut Result<Runner<'_>, Failure>,
    cells: &CsrMatrix,
    totals: &[f64],
) -> Result<Calls, Failure> {
    let mut calls = Calls::default();
    match runner {
        Ok(runner) => calls.append(model, runner, cells, totals)?,
        Err(failure) => return Err(Failure::internal(failure)),
    }
    Ok(calls)
}

fn is_unsorted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DataError::NotByCell { .. }))
}
