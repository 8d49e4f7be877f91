//! Standard output for data, standard error for talk.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use cic_data::sanitise_for_terminal;
use cic_runtime::kernels::Isa;

use crate::failure::Failure;

/// Writes data to standard output. That its reader has seen enough (`| head`) is no failure.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is still in the buffer would be tried again when it is dropped.
            let _ = out.into_parts();
            Ok(())
        }
        result => result.map_err(|error| Failure::output(Path::new("standard output"), error)),
    }
}

/// Writes one line of data to standard output.
pub(crate) fn print_line(text: impl Display) -> Result<(), Failure> {
    print(|out| writeln!(out, "{text}"))
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::internal)?;
    print_line(text)
}

/// A list as text that fits a terminal of 80 columns, lines after the first being indented. What
/// steers a terminal is made visible.
pub(crate) fn wrap_list<'a>(items: impl IntoIterator<Item = &'a str>, indent: usize) -> String {
    let mut text = String::new();
    let mut width = indent;
    for item in items {
        let item = sanitise_for_terminal(item);
        let len = item.chars().count() + 2;
        if !text.is_empty() {
            text.push(',');
            if width + len > 80 {
                text = format!("{text}\n{:indent$}", "");
                width = indent;
            } else {
                text.push(' ');
            }
        }
        text.push_str(&item);
        width += len;
    }
    text
}

/// A number of things with separated thousands.
pub(crate) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Says so where `CIC_ISA` asks for kernels that this processor or this build lacks.
pub fn check_environment() {
    let Ok(asked) = std::env::var("CIC_ISA") else { return };
    let used = Isa::best();
    if asked != used.name() {
        let available = Isa::ALL.into_iter().filter(|isa| isa.is_available());
        let available: Vec<_> = available.map(Isa::name).collect();
        tell(format_args!(
            "note: CIC_ISA is {asked}, which this processor does not run: {} is used, of {}",
            used.name(),
            available.join(", ")
        ));
    }
}

/// The command line without its first words. Names of files need not be text.
pub(crate) fn command_line(skip: usize) -> String {
    let words = std::env::args_os().skip(skip);
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

/// Tells the user something. Names in it come from files: nothing in them steers the terminal.
pub(crate) fn tell(text: impl Display) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr(), "{}", sanitise_for_terminal(&text.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_broken_between_items() {
        let items = ["0123456789"; 20];
        let text = wrap_list(items, 13);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1..].iter().all(|line| line.starts_with("             0123456789")));
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches("0123456789").count(), 20);
        assert_eq!(wrap_list(["a", "b"], 13), "a, b");
    }
}
