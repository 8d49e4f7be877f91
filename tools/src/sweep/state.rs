//! Runs of a sweep that are finished, kept in a file so that an interrupted one goes on.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What one fold says of one configuration; a line of the state file.
#[derive(Serialize, Deserialize, Clone, Default)]
pub(super) struct Outcome {
    pub(super) settings: String,
    pub(super) fold: usize,
    /// Epoch in which the loss was no longer finite; there are no figures then.
    #[serde(default)]
    pub(super) diverged: Option<usize>,
    pub(super) n_weights: usize,
    pub(super) epochs: usize,
    pub(super) accuracy: f64,
    pub(super) macro_f1: f64,
    pub(super) r2: f64,
    pub(super) accuracy_int8: f64,
    pub(super) r2_int8: f64,
    pub(super) agreement: f64,
    pub(super) r2_pca: f64,
}

/// The first line of the state file.
#[derive(Serialize, Deserialize, PartialEq)]
pub(super) struct Head {
    pub(super) sweep: u32,
    pub(super) data: String,
    pub(super) rows: String,
    pub(super) genes: String,
    pub(super) folds: u16,
    pub(super) seed: u64,
}

/// Finished runs, kept line by line.
pub(super) struct State {
    known: HashMap<(String, usize), Outcome>,
    file: Option<(Mutex<std::fs::File>, PathBuf)>,
}

impl State {
    pub(super) fn open(path: Option<&Path>, head: &Head) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self { known: HashMap::new(), file: None }) };
        let failed = |error: io::Error| Failure::output(path, error);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut lines = text.lines();
        let mut known = HashMap::new();
        if let Some(first) = lines.next() {
            if serde_json::from_str::<Head>(first).ok().as_ref() != Some(head) {
                return Err(Failure::input(format!(
                    "{}: is not the state of this sweep: data, rows, genes, folds and seed must be \
                     the same; name another file with --state",
                    path.display()
                )));
            }
            // A run that was killed may have left half a line, which is done again.
            for outcome in lines.filter_map(|line| serde_json::from_str::<Outcome>(line).ok()) {
                known.insert((outcome.settings.clone(), outcome.fold), outcome);
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        if text.is_empty() {
            let line = serde_json::to_string(head).map_err(Failure::internal)?;
            writeln!(file, "{line}").map_err(failed)?;
        } else if !text.ends_with('\n') {
            writeln!(file).map_err(failed)?;
        }
        Ok(Self { known, file: Some((Mutex::new(file), path.to_owned())) })
    }

    pub(super) fn find(&self, settings: &str, fold: usize) -> Option<Outcome> {
        self.known.get(&(settings.to_owned(), fold)).cloned()
    }

    pub(super) fn keep(&self, outcome: &Outcome) -> Result<(), Failure> {
        let Some((file, path)) = &self.file else { return Ok(()) };
        let line = serde_json::to_string(outcome).map_err(Failure::internal)?;
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(file, "{line}").map_err(|error| Failure::output(path, error))
    }
}
