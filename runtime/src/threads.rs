//! Many cells on several threads.
//!
//! Cells are handed out in tiles, to whichever thread is free, the caller's among them: a thread whose core is
//! busy with other work, or that wakes late, holds up one tile at most. What a cell's result is does not
//! depend on who computed it.

use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use crate::error::RunError;
use crate::outcome::{Outcome, S8Numbers};
use crate::presence::Presence;
use crate::s8::{S8Session, TileError};
use crate::sample::Sample;

/// Threads with scratch of their own.
#[derive(Debug)]
pub struct Workers {
    /// Those besides the caller's.
    helpers: Option<rayon::ThreadPool>,
    /// One for each thread, the caller's first.
    scratch: Vec<Mutex<Vec<u32>>>,
    tile_len: usize,
}

impl Workers {
    /// `n_threads` threads (as many as there are processors for 0), the caller's being one of them, for
    /// sessions that need as much scratch as this one.
    pub fn new(
        n_threads: usize,
        session: &S8Session<'_>,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = if n_threads == 0 { available() } else { n_threads };
        let pool = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build();
        let helpers = if n_threads > 1 { Some(pool(n_threads - 1)?) } else { None };
        let tile_len = session.tile_len();
        let words = session.tile_scratch_len(tile_len) / 4;
        let scratch = (0..n_threads).map(|_| Mutex::new(std::vec![0; words])).collect();
        Ok(Self { helpers, scratch, tile_len })
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
    /// already. An `out` of another length is [`RunError::LengthMismatch`], and nothing is run.
    pub fn run<T: Send>(
        &self,
        session: &S8Session<'_>,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        out: &mut [T],
        width: usize,
        store: impl Fn(&Outcome<S8Numbers<'_>>, &mut [T]) + Sync,
    ) -> Result<(), TileError> {
        let needed = samples.len() * width;
        if width == 0 || out.len() != needed {
            let error = RunError::LengthMismatch { needed, found: out.len() };
            return Err(TileError { sample: 0, error });
        }
        // Shorter tiles where there would not be two for every thread: nobody waits long for the last.
        let share = samples.len().div_ceil(2 * self.len());
        let tile_len = if self.len() == 1 { self.tile_len } else { share.clamp(1, self.tile_len) };
        let tiles = samples.chunks(tile_len).zip(out.chunks_mut(tile_len * width)).enumerate();
        let tiles = Mutex::new(tiles);
        let fault: Mutex<Option<TileError>> = Mutex::new(None);
        let work = |thread: usize| {
            // A thread that panicked left numbers behind, which the next tile does not read.
            let mut scratch = lock(&self.scratch[thread]);
            loop {
                let next = lock(&tiles).next();
                let Some((n, (samples, out))) = next else { return };
                match session.run_tile(samples, presence, &mut scratch) {
                    Ok(tile) => {
                        for (cell, out) in out.chunks_mut(width).enumerate().take(samples.len()) {
                            store(&tile.outcome(cell), out);
                        }
                    }
                    Err(error) => {
                        let error = TileError { sample: n * tile_len + error.sample, ..error };
                        let mut fault = lock(&fault);
                        if fault.is_none_or(|first| error.sample < first.sample) {
                            *fault = Some(error);
                        }
                    }
                }
            }
        };
        match &self.helpers {
            None => work(0),
            Some(helpers) => helpers.in_place_scope(|scope| {
                let work = &work;
                for thread in 1..self.len() {
                    scope.spawn(move |_| work(thread));
                }
                work(0);
            }),
        }
        let fault = fault.into_inner().unwrap_or_else(PoisonError::into_inner);
        fault.map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
