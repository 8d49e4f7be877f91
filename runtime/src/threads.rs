//! Many cells on several threads.
//!
//! Cells are handed out in tiles, to whichever thread is free: a thread whose core is busy with other
//! work holds up one tile at most. What a cell's result is does not depend on who computed it.

use std::sync::Mutex;
use std::vec::Vec;

use rayon::prelude::*;

use crate::outcome::{Outcome, S8Numbers};
use crate::presence::Presence;
use crate::s8::{S8Session, TileError};
use crate::sample::Sample;

/// Threads with scratch of their own.
#[derive(Debug)]
pub struct Workers {
    pool: rayon::ThreadPool,
    scratch: Vec<Mutex<Vec<u32>>>,
    tile_len: usize,
}

impl Workers {
    /// `n_threads` threads (all processors' for 0) for sessions that need as much scratch as this one.
    pub fn new(
        n_threads: usize,
        session: &S8Session<'_>,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        let tile_len = session.tile_len();
        let words = session.tile_scratch_len(tile_len) / 4;
        let scratch =
            (0..pool.current_num_threads()).map(|_| Mutex::new(std::vec![0; words])).collect();
        Ok(Self { pool, scratch, tile_len })
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
    /// `[samples × width]`. Of several samples at fault the first is told; outputs of others may then
    /// be stored already.
    pub fn run<T: Send>(
        &self,
        session: &S8Session<'_>,
        samples: &[Sample<'_>],
        presence: Option<&Presence<'_>>,
        out: &mut [T],
        width: usize,
        store: impl Fn(&Outcome<S8Numbers<'_>>, &mut [T]) + Sync,
    ) -> Result<(), TileError> {
        let one_tile = |first: usize, samples: &[Sample<'_>], out: &mut [T]| {
            let thread = rayon::current_thread_index().unwrap_or(0);
            // A thread that panicked left numbers behind, which the next tile does not read.
            let mut scratch = match self.scratch[thread].lock() {
                Ok(scratch) => scratch,
                Err(poisoned) => poisoned.into_inner(),
            };
            let tile = session
                .run_tile(samples, presence, &mut scratch)
                .map_err(|error| TileError { sample: first + error.sample, ..error })?;
            for (cell, out) in out.chunks_mut(width.max(1)).enumerate().take(samples.len()) {
                store(&tile.outcome(cell), out);
            }
            Ok(())
        };
        // Shorter tiles where there would not be two for every thread: nobody waits long for the last.
        let share = samples.len().div_ceil(2 * self.len());
        let tile_len = if self.len() == 1 { self.tile_len } else { share.clamp(1, self.tile_len) };
        self.pool.install(|| {
            samples
                .par_chunks(tile_len)
                .zip(out.par_chunks_mut(tile_len * width.max(1)))
                .with_max_len(1)
                .enumerate()
                .map(|(n, (samples, out))| one_tile(n * tile_len, samples, out))
                .reduce(|| Ok(()), |a, b| a.and(b))
        })
    }
}
