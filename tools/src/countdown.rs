//! How much of some work is left, by what is done.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Equal pieces of work, done in any order by any thread.
pub(crate) struct Countdown {
    all: usize,
    started: Instant,
    done: Mutex<usize>,
}

impl Countdown {
    /// Nothing is done yet.
    pub(crate) fn new(all: usize) -> Self {
        Self { all, started: Instant::now(), done: Mutex::new(0) }
    }

    /// One more is done: calls `tell` with how many are, and the seconds to go. One call at a time.
    pub(crate) fn step(&self, tell: impl FnOnce(usize, u64)) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        let left = (self.all - *done) as f64 / *done as f64;
        tell(*done, self.started.elapsed().mul_f64(left).as_secs());
    }
}
