//! Many cells on several threads.
//!
//! Cells are handed out in tiles, shorter ones towards the end, to whichever thread is free, the caller's among
//! them: a thread whose core is busy with other work, or that wakes late, holds up one tile at most. What a cell's result is does not
//! depend on who computed it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Vec;

use crate::error::RunError;
use crate::outcome::{Outcome, S8Numbers};
use crate::presence::Presence;
use crate::s8::{S8Session, TileError};
use crate::sample::Sample;

/// Threads with scratch of their own. After a batch they stay awake for up to 0.2 ms, so that the next one finds
/// them at once; a batch that finds them busy with other work is begun without them.
#[derive(Debug)]
pub struct Workers {
    /// Those besides the caller's.
    others: Option<Others>,
    /// One for each thread, the caller's first.
    scratch: Vec<Mutex<Vec<u32>>>,
    tile_len: usize,
}

/// Threads that help the caller, and what is known of them.
#[derive(Debug)]
struct Others {
    pool: rayon::ThreadPool,
    len: usize,
    /// Counts the batches.
    batch: Arc<AtomicUsize>,
    created: Instant,
    /// Nanoseconds after that: until when they stay awake, and until when they are known to be late.
    awake_until: u64,
    late_until: u64,
    /// How often one after another they were.
    times_late: usize,
}

/// Nanoseconds that a thread stays awake for another. To wake one takes as long as a small batch does.
const LINGER: u64 = 200_000;

/// Nanoseconds for which others count as late after one kept the caller waiting; twice as many each time
/// that it happens again, because then its processor has other work.
const LATE: u64 = 1_000_000;
const MOST_DOUBLINGS: usize = 7;

/// Nanoseconds that the caller works alone while others are late, the first time and at most: a tile of another
/// may last as long as one's turn on a processor.
const ALONE: u64 = 300_000;
const MOST_ALONE: u64 = 2_400_000;

impl Workers {
    /// `n_threads` threads (as many as there are processors for 0), the caller's being one of them, for
    /// sessions that need as much scratch as this one.
    pub fn new(
        n_threads: usize,
        session: &S8Session<'_>,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = if n_threads == 0 { available() } else { n_threads };
        let others = if n_threads > 1 { Some(Others::new(n_threads - 1)?) } else { None };
        let tile_len = session.tile_len();
        let words = session.tile_scratch_len(tile_len) / 4;
        let scratch = (0..n_threads).map(|_| Mutex::new(std::vec![0; words])).collect();
        Ok(Self { others, scratch, tile_len })
    }

    /// Number of threads.
    pub fn len(&self) -> usize {
        self.scratch.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.scratch.is_empty()
    }

    /// Types as many samples as `out`, `[samples × width]`, has rows. `sample` makes each where it is needed, on
    /// any thread; `store` receives its outcome and its row. One of the samples at fault is told, also where
    /// `sample` refuses it; rows of others may then be stored already. An `out` that is not of whole rows, or
    /// a width of 0, is [`RunError::LengthMismatch`], and nothing is run.
    pub fn run<'s, T: Send>(
        &mut self,
        session: &S8Session<'_>,
        sample: impl Fn(usize) -> Result<Sample<'s>, RunError> + Sync,
        presence: Option<&Presence<'_>>,
        out: &mut [T],
        width: usize,
        store: impl Fn(&Outcome<S8Numbers<'_>>, &mut [T]) + Sync,
    ) -> Result<(), TileError> {
        let found = out.len();
        if width == 0 || !found.is_multiple_of(width) {
            let needed = found.checked_next_multiple_of(width.max(1)).unwrap_or(usize::MAX);
            return Err(TileError { sample: 0, error: RunError::LengthMismatch { needed, found } });
        }
        let left = Mutex::new(Left { first: 0, out, width });
        let fault: Mutex<Option<TileError>> = Mutex::new(None);
        let (most, n_threads) = (self.tile_len, self.len());
        let tile = |samples: &mut Vec<Sample<'s>>, scratch: &mut [u32]| {
            let Some((first, out)) = lock(&left).tile(most, n_threads) else { return false };
            let result = fill(samples, first..first + out.len() / width, &sample)
                .and_then(|()| session.run_tile(samples, presence, scratch));
            match result {
                Ok(tile) => {
                    for (cell, out) in out.chunks_mut(width).enumerate() {
                        store(&tile.outcome(cell), out);
                    }
                }
                Err(error) => {
                    let error = TileError { sample: first + error.sample, ..error };
                    let mut fault = lock(&fault);
                    if fault.is_none_or(|first| error.sample < first.sample) {
                        *fault = Some(error);
                    }
                }
            }
            true
        };
        // A thread that panicked left numbers behind, which the next tile does not read.
        let work = |thread: usize, is_time_left: &dyn Fn() -> bool| {
            let (mut samples, scratch) =
                (Vec::with_capacity(most), &mut *lock(&self.scratch[thread]));
            while is_time_left() {
                if !tile(&mut samples, scratch) {
                    return true;
                }
            }
            false
        };
        match &mut self.others {
            Some(others) if found > 0 => others.share(&work),
            _ => _ = work(0, &|| true),
        }
        let fault = fault.into_inner().unwrap_or_else(PoisonError::into_inner);
        fault.map_or(Ok(()), Err)
    }
}

/// What one thread does of a batch, the caller's being 0, for as long as there is time: whether nothing is left.
type Work<'w> = dyn Fn(usize, &dyn Fn() -> bool) -> bool + Sync + 'w;

impl Others {
    fn new(len: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        Ok(Self {
            pool: rayon::ThreadPoolBuilder::new().num_threads(len).build()?,
            len,
            batch: Arc::default(),
            created: Instant::now(),
            awake_until: 0,
            late_until: 0,
            times_late: 0,
        })
    }

    /// Works on the caller's thread and these until nothing is left.
    fn share(&mut self, work: &Work<'_>) {
        let start = self.now();
        if start < self.late_until {
            // They would be waited for longer than a small batch takes.
            let alone = (ALONE << self.times_late.min(MOST_DOUBLINGS)).min(MOST_ALONE);
            if work(0, &|| self.now() - start < alone) {
                return;
            }
        }
        let n_done = AtomicUsize::new(0);
        let (n_done, others) = (&n_done, &*self);
        let (batch, is_late) = others.pool.in_place_scope(|scope| {
            for thread in 1..=others.len {
                scope.spawn(move |_| {
                    work(thread, &|| true);
                    n_done.fetch_add(1, Ordering::Release);
                });
            }
            let batch = others.batch.fetch_add(1, Ordering::Relaxed) + 1;
            work(0, &|| true);
            // Most likely they are at their last tiles.
            let is_awake = start < others.awake_until;
            let most = if is_awake { (others.now() - start) / 4 } else { LINGER };
            let is_working = || n_done.load(Ordering::Acquire) < others.len;
            linger(most, is_working);
            (batch, is_working())
        });
        let end = self.now();
        if is_late {
            self.late_until = end + (LATE << self.times_late.min(MOST_DOUBLINGS));
            self.times_late += 1;
            return;
        }
        self.times_late = 0;
        self.awake_until = end + LINGER;
        for _ in 0..self.len {
            let latest = Arc::clone(&self.batch);
            self.pool.spawn(move || linger(LINGER, || latest.load(Ordering::Relaxed) == batch));
        }
    }

    /// Nanoseconds since these threads were made.
    fn now(&self) -> u64 {
        // 584 years.
        self.created.elapsed().as_nanos() as u64
    }
}

/// The output of samples that no thread has taken yet, `width` entries each, and which is the first of them.
struct Left<'o, T> {
    first: usize,
    out: &'o mut [T],
    width: usize,
}

impl<'o, T> Left<'o, T> {
    /// The next tile, shorter towards the end, so that nobody waits long for the last one: its first sample, and
    /// its output.
    fn tile(&mut self, most: usize, n_threads: usize) -> Option<(usize, &'o mut [T])> {
        let n_left = self.out.len() / self.width;
        let share = match n_threads {
            1 => most,
            _ => n_left.div_ceil(2 * n_threads).max(SHORTEST),
        };
        let len = share.min(most).min(n_left);
        let (out, rest) = std::mem::take(&mut self.out).split_at_mut(len * self.width);
        let first = self.first;
        (self.first, self.out) = (first + len, rest);
        (len > 0).then_some((first, out))
    }
}

/// Makes the samples of a tile.
fn fill<'s>(
    samples: &mut Vec<Sample<'s>>,
    numbers: Range<usize>,
    sample: impl Fn(usize) -> Result<Sample<'s>, RunError>,
) -> Result<(), TileError> {
    samples.clear();
    for (n, number) in numbers.enumerate() {
        samples.push(sample(number).map_err(|error| TileError { sample: n, error })?);
    }
    Ok(())
}

/// Cells of a tile below which weights are no longer shared well.
const SHORTEST: usize = 16;

/// Stays awake while something is expected, for so many nanoseconds at most.
fn linger(most: u64, is_expected: impl Fn() -> bool) {
    let start = Instant::now();
    while is_expected() && start.elapsed() < Duration::from_nanos(most) {
        std::hint::spin_loop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
