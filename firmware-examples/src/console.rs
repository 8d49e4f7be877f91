//! The console and the exit code, both by semihosting: the emulator or the debugger shows the text.

use core::fmt;

use semihosting::io::{Stdout, Write};
use semihosting::process::ExitCode;

/// Prints a line. Text that the console does not take is lost.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { $crate::console::print_line(format_args!($($argument)*)) };
}

/// What [`println!`] does; named only there.
pub fn print_line(text: fmt::Arguments<'_>) {
    if let Some(mut console) = Console::open() {
        let _ = fmt::Write::write_fmt(&mut console, format_args!("{text}\n"));
    }
}

/// The console for text that is written piece by piece.
pub struct Console(Stdout);

impl Console {
    /// `None` where no debugger listens.
    pub fn open() -> Option<Self> {
        semihosting::io::stdout().ok().map(Self)
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// How a program ended, as the emulator's exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0.
    Passed,
    /// Exit code 1.
    Failed,
}

/// Ends the emulator's run. On real hardware without a debugger it stays here.
pub fn exit(ending: Ending) -> ! {
    match ending {
        Ending::Passed => ExitCode::SUCCESS,
        Ending::Failed => ExitCode::FAILURE,
    }
    .exit_process()
}
