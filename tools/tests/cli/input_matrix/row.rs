//! What a row of the input matrix says.

use std::ffi::OsString;

use super::models::Model;
use crate::sandbox::Sandbox;

/// Rows about one thing.
pub struct Group {
    pub title: &'static str,
    /// What stands above the rows on the page.
    pub about: &'static str,
    pub rows: Vec<Row>,
}

/// A file, and what must come of it.
pub struct Row {
    /// What is in the file; unique.
    pub name: &'static str,
    /// Makes the file and gives the arguments behind `cic type`.
    pub make: fn(&Sandbox) -> Args,
    pub model: Model,
    pub verdict: Verdict,
}

/// The four things that can come of a file.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Typed, and nothing to say.
    Accept(Calls),
    /// Typed, and this note says what was put right or left out.
    Normalise(Calls, &'static str),
    /// Typed, but for these cells, counted from 0, which are `Unassigned` with this reason.
    Reject(&'static str, Cells),
    /// Exit code 3, this message, nothing written.
    Refuse(&'static str),
}

/// Cells of a file.
#[derive(Clone, Copy)]
pub enum Cells {
    These(&'static [usize]),
    /// Every one; a note says more.
    All(&'static str),
}

/// What the calls are compared with.
#[derive(Clone, Copy)]
pub enum Calls {
    /// Every byte of the table is that of the sound file of [`Model::sound`].
    Same,
    /// At least this share of the labels is.
    Near(f64),
    /// Every cell has one of the model's labels.
    Any,
}

impl Verdict {
    /// As it is named on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Normalise(..) => "normalise",
            Self::Reject(..) => "reject the cell",
            Self::Refuse(_) => "refuse the file",
        }
    }

    pub fn exit_code(self) -> i32 {
        if let Self::Refuse(_) = self { 3 } else { 0 }
    }
}

/// A file that is accepted, as the first of the methods says otherwise.
pub fn row(name: &'static str, make: fn(&Sandbox) -> Args) -> Row {
    let verdict = Verdict::Accept(Calls::Same);
    Row { name, make, model: Model::Counts, verdict }
}

impl Row {
    pub fn model(self, model: Model) -> Self {
        Self { model, ..self }
    }

    pub fn accept(self, calls: Calls) -> Self {
        Self { verdict: Verdict::Accept(calls), ..self }
    }

    pub fn note(self, note: &'static str) -> Self {
        let calls = match self.verdict {
            Verdict::Accept(calls) => calls,
            _ => Calls::Same,
        };
        Self { verdict: Verdict::Normalise(calls, note), ..self }
    }

    pub fn reject(self, reason: &'static str, cells: &'static [usize]) -> Self {
        Self { verdict: Verdict::Reject(reason, Cells::These(cells)), ..self }
    }

    pub fn reject_all(self, reason: &'static str, note: &'static str) -> Self {
        Self { verdict: Verdict::Reject(reason, Cells::All(note)), ..self }
    }

    pub fn refuse(self, message: &'static str) -> Self {
        Self { verdict: Verdict::Refuse(message), ..self }
    }
}

/// Arguments of a program: they need not be text.
#[derive(Clone)]
pub struct Args(pub Vec<OsString>);

impl Args {
    /// More of them, separated by blanks.
    pub fn and(mut self, more: &str) -> Self {
        self.0.extend(more.split_whitespace().map(OsString::from));
        self
    }
}

impl From<&str> for Args {
    fn from(args: &str) -> Self {
        Self(Vec::new()).and(args)
    }
}
