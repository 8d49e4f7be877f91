//! Libraries assert of damaged files what they should check. Here that becomes an error.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// How many calls of `caught` this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// What `call` gives, or what was said when it panicked. What it had in its hands then must not be used again.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get() + 1);
    let outcome = panic::catch_unwind(AssertUnwindSafe(call));
    DEPTH.set(DEPTH.get() - 1);
    outcome.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("it is damaged ({})", said.unwrap_or("nothing more is known"))
    })
}

/// Keeps panics off the standard error stream that the readers make errors of; for programs, since the hook for
/// panics is one for the whole process. All others are reported as before.
pub fn hide_caught_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if DEPTH.get() == 0 {
            report(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_says_becomes_the_error() {
        assert_eq!(caught(|| 7), Ok(7));
        let at = 3;
        let said = caught(|| panic!("byte {at}")).map(|()| 0);
        assert_eq!(said, Err("it is damaged (byte 3)".into()));
        assert_eq!(
            caught(|| caught(|| panic!("inner"))),
            Ok(Err::<(), _>("it is damaged (inner)".into()))
        );
        assert_eq!(DEPTH.get(), 0);
    }
}
