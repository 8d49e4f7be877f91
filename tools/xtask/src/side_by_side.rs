//! Independent pieces of work, as many at a time as there are processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// What `work` makes of each item, in their order; the longest ones come first in `items`. After a failure no new
/// piece is begun.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let share = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    thread::scope(|scope| (0..n_threads).for_each(|_| drop(scope.spawn(share))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..40).collect();
        assert_eq!(map(&items, |&n| Ok(n * n)).unwrap()[39], 39 * 39);
        assert!(map(&[0_u64; 0], |&n| Ok(n)).unwrap().is_empty());
    }

    #[test]
    fn the_first_failure_is_told() {
        let failed = map(&[1, 2, 3], |&n| if n == 2 { Err(anyhow::anyhow!("two")) } else { Ok(n) });
        assert_eq!(failed.unwrap_err().to_string(), "two");
    }
}
