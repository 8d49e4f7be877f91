//! Many cells on several threads.
//!
//! Cells are handed out in tiles, shorter ones towards the end, to whichever thread is free, the caller's among
//! them: a thread whose core is busy with other work, or that wakes late, holds up one tile at most. What a cell's result is does not
//! depend on who computed it.

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

    /// Types all samples. `store` receives each outcome and the sample's `width` entries of `out`,
    /// `[samples × width]`. One of the samples at fault is told; outputs of others may then be stored
    /// already. An `out` of another length, or a width of 0, is [`RunError::LengthMismatch`], and nothing is
    /// run.
    pub fn run<T: Send>(
        &mut self,
        session: &S8Session<'_>,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        out: &mut [T],
        width: usize,
        store: impl Fn(&Outcome<S8Numbers<'_>>, &mut [T]) + Sync,
    ) -> Result<(), TileError> {
        let needed = samples.len().saturating_mul(width);
        if width == 0 || out.len() != needed {
            let error = RunError::LengthMismatch { needed, found: out.len() };
            return Err(TileError { sample: 0, error });
        }
        if samples.is_empty() {
            return Ok(());
        }
        let left = Mutex::new(Left { first: 0, samples, out });
        let fault: Mutex<Option<TileError>> = Mutex::new(None);
        let (most, n_threads) = (self.tile_len, self.len());
        let tile = |scratch: &mut Vec<u32>| {
            let next = lock(&left).tile(most, n_threads, width);
            let Some((first, samples, out)) = next else { return false };
            match session.run_tile(samples, presence, scratch) {
                Ok(tile) => {
                    for (cell, out) in out.chunks_mut(width).enumerate().take(samples.len()) {
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
        match &mut self.others {
            None => while tile(&mut lock(&self.scratch[0])) {},
            Some(others) => others.share(&self.scratch, &tile),
        }
        let fault = fault.into_inner().unwrap_or_else(PoisonError::into_inner);
        fault.map_or(Ok(()), Err)
    }
}

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

    /// Runs tiles on the caller's thread and these until `tile` finds no more. Scratch is the caller's first,
    /// then theirs.
    fn share(
        &mut self,
        scratch: &[Mutex<Vec<u32>>],
        tile: &(dyn Fn(&mut Vec<u32>) -> bool + Sync),
    ) {
        // A thread that panicked left numbers behind, which the next tile does not read.
        let work = |thread: usize| while tile(&mut lock(&scratch[thread])) {};
        let start = self.now();
        if start < self.late_until {
            // They would be waited for longer than a small batch takes.
            let alone = (ALONE << self.times_late.min(MOST_DOUBLINGS)).min(MOST_ALONE);
            while self.now() - start < alone {
                if !tile(&mut lock(&scratch[0])) {
                    return;
                }
            }
        }
        let n_done = AtomicUsize::new(0);
        let (work, n_done, others) = (&work, &n_done, &*self);
        let (batch, is_late) = others.pool.in_place_scope(|scope| {
            for thread in 1..=others.len {
                scope.spawn(move |_| {
                    work(thread);
                    n_done.fetch_add(1, Ordering::Release);
                });
            }
            let batch = others.batch.fetch_add(1, Ordering::Relaxed) + 1;
            work(0);
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

/// Samples that no thread has taken yet, and their outputs.
struct Left<'s, 'o, T> {
    first: usize,
    samples: &'s [Sample<'s>],
    out: &'o mut [T],
}

impl<'s, 'o, T> Left<'s, 'o, T> {
    /// The next tile: shorter towards the end, so that nobody waits long for the last one.
    fn tile(
        &mut self,
        most: usize,
        n_threads: usize,
        width: usize,
    ) -> Option<(usize, &'s [Sample<'s>], &'o mut [T])> {
        let share = match n_threads {
            1 => most,
            _ => self.samples.len().div_ceil(2 * n_threads).max(SHORTEST),
        };
        let len = share.min(most).min(self.samples.len());
        let first = self.first;
        let (samples, rest) = self.samples.split_at(len);
        let (out, rest_out) = std::mem::take(&mut self.out).split_at_mut(len * width);
        (self.first, self.samples, self.out) = (first + len, rest, rest_out);
        (len > 0).then_some((first, samples, out))
    }
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
