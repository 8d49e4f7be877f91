//! The meter of a board: every region is counted and its stack looked at.

use crate::count::{counted, say};
use crate::report::Meter;
use crate::stack;

/// The deepest stack of the regions so far, in bytes.
pub struct Deepest(pub u32);

impl Meter for Deepest {
    fn around<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let (result, used) = stack::measure(|| counted(work));
        say(name);
        self.0 = self.0.max(used);
        result
    }

    // Painting a large memory takes far longer than a cell.
    fn among<T>(&mut self, work: impl FnOnce() -> T) -> T {
        counted(work)
    }
}
