//! Work on the parts of a file by several threads, with results in the order of the file.
//!
//! One thread reads, some work, one writes. Parts are handed out one by one to whichever worker is
//! free, and the writer puts the results back in order, so that what it sees does not depend on the
//! number of workers. How many parts are under way is bounded, and with it the memory.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

use crate::failure::Failure;

/// Results in the order of the file; the first failure of reading is the last of them.
pub(crate) type Results<'a, O> = dyn Iterator<Item = Result<O, Failure>> + 'a;

/// Reads with `next` on the calling thread until it gives nothing more, works on each part with a
/// worker of each of `threads` threads, and gives the results to `write`, on a thread of its own.
/// When `write` returns early, reading and working end. A worker that panics leaves its part out:
/// `write` must know how much is to come.
pub(crate) fn run<I, O, R, W>(
    threads: NonZeroUsize,
    mut next: impl FnMut() -> Result<Option<I>, Failure>,
    worker: impl Fn() -> W + Sync,
    write: impl FnOnce(&mut Results<'_, O>) -> Result<R, Failure> + Send,
) -> Result<R, Failure>
where
    I: Send,
    O: Send,
    R: Send,
    W: FnMut(I) -> O,
{
    let under_way = threads.get() + SPARE_PARTS;
    let (permits, returned) = sync_channel(under_way);
    let (parts, queue) = channel();
    let (done, results) = channel();
    let queue = Mutex::new(queue);
    scope(|scope| {
        let (queue, worker) = (&queue, &worker);
        for _ in 0..threads.get() {
            let done = done.clone();
            let work = move || work_through(queue, worker(), &done);
            Builder::new().spawn_scoped(scope, work).map_err(no_thread)?;
        }
        let writer = Builder::new()
            .spawn_scoped(scope, move || {
                write(&mut InOrder { results, returned, waiting: BTreeMap::new(), next: 0 })
            })
            .map_err(no_thread)?;
        hand_out(&mut next, &permits, &parts, &done);
        drop((parts, done));
        match writer.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn hand_out<I, O>(
    next: &mut impl FnMut() -> Result<Option<I>, Failure>,
    permits: &SyncSender<()>,
    parts: &Sender<(usize, I)>,
    done: &Sender<(usize, Result<O, Failure>)>,
) {
    for number in 0.. {
        // Nobody takes permits back: the writer has ended.
        if permits.send(()).is_err() {
            return;
        }
        match next() {
            Ok(Some(part)) => {
                if parts.send((number, part)).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(failure) => {
                // A writer that has ended has a failure of its own.
                let _ = done.send((number, Err(failure)));
                return;
            }
        }
    }
}

fn work_through<I, O>(
    queue: &Mutex<Receiver<(usize, I)>>,
    mut worker: impl FnMut(I) -> O,
    done: &Sender<(usize, Result<O, Failure>)>,
) {
    loop {
        let part = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, part)) = part else { return };
        if done.send((number, Ok(worker(part)))).is_err() {
            return;
        }
    }
}

struct InOrder<O> {
    results: Receiver<(usize, Result<O, Failure>)>,
    returned: Receiver<()>,
    waiting: BTreeMap<usize, Result<O, Failure>>,
    next: usize,
}

impl<O> Iterator for InOrder<O> {
    type Item = Result<O, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = loop {
            if let Some(result) = self.waiting.remove(&self.next) {
                break result;
            }
            match self.results.recv() {
                Ok((number, result)) => self.waiting.insert(number, result),
                // A worker ended without its result; the others' results must not pass for all.
                Err(_) if !self.waiting.is_empty() => {
                    return Some(Err(Failure::internal("a part of the file was lost")));
                }
                Err(_) => return None,
            };
        };
        self.next += 1;
        // The part's own permit is there, or the reader has ended.
        let _ = self.returned.try_recv();
        Some(result)
    }
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::Resources(anyhow::Error::new(error).context("no further thread; try --threads 1"))
}

/// Parts that are read or wait to be written while the workers are busy.
const SPARE_PARTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(threads: usize, n: u32, fail_at: Option<u32>) -> (Vec<u32>, Option<String>) {
        let mut number = 0;
        let next = || {
            if fail_at == Some(number) {
                return Err(Failure::input("broken"));
            }
            number += 1;
            Ok((number <= n).then_some(number - 1))
        };
        // Early parts take longer than later ones.
        let worker = || {
            |number: u32| {
                std::thread::sleep(std::time::Duration::from_micros(u64::from(400 - number)));
                number * 2
            }
        };
        let write = |results: &mut Results<'_, u32>| {
            let mut seen = Vec::new();
            for result in results {
                match result {
                    Ok(number) => seen.push(number),
                    Err(failure) => return Ok((seen, Some(failure.to_string()))),
                }
            }
            Ok((seen, None))
        };
        run(NonZeroUsize::new(threads).unwrap(), next, worker, write).unwrap()
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        let expected: Vec<u32> = (0..300).map(|number| number * 2).collect();
        for threads in [1, 2, 7] {
            assert_eq!(numbers(threads, 300, None), (expected.clone(), None));
        }
        assert_eq!(numbers(3, 0, None), (Vec::new(), None));
    }

    #[test]
    fn a_failure_of_reading_comes_after_all_that_was_read_before() {
        let (seen, failure) = numbers(3, 300, Some(100));
        assert_eq!((seen.len(), failure.as_deref()), (100, Some("broken")));
    }

    #[test]
    fn a_writer_that_gives_up_ends_the_reading() {
        let mut n_read = 0;
        let result = run(
            NonZeroUsize::MIN,
            || {
                n_read += 1;
                Ok(Some(n_read))
            },
            || |number: u32| number,
            |results: &mut Results<'_, u32>| {
                results.next();
                Err::<(), _>(Failure::input("disk full"))
            },
        );
        assert_eq!(result.unwrap_err().to_string(), "disk full");
        assert!(n_read < 20, "{n_read}");
    }
}
