//! How far work is, on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar or a word on a terminal, nothing elsewhere.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Cells, how many a second and for how long.
    pub(crate) fn of_cells(n_cells: usize, quiet: bool) -> Self {
        let template = "[{bar:20}] {human_pos}/{human_len} cells, {per_sec}, {eta} to go";
        Self::bar(n_cells, template, quiet)
    }

    /// Steps that take long each.
    pub(crate) fn of_steps(n_steps: usize, unit: &str, quiet: bool) -> Self {
        let template = format!("[{{bar:20}}] {{human_pos}}/{{human_len}} {unit}, {{eta}} to go");
        Self::bar(n_steps, &template, quiet)
    }

    /// What is being done, by [`Self::say`].
    pub(crate) fn of_stages(quiet: bool) -> Self {
        if is_hidden(quiet) {
            return Self(None);
        }
        let spinner = ProgressBar::new_spinner();
        spinner.enable_steady_tick(TICK);
        Self(Some(spinner))
    }

    fn bar(n: usize, template: &str, quiet: bool) -> Self {
        if is_hidden(quiet) {
            return Self(None);
        }
        let bar = ProgressBar::new(n as u64);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(Some(bar))
    }

    /// So many are done.
    pub(crate) fn tell(&self, n_done: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(n_done as u64);
        }
    }

    /// What is done now.
    pub(crate) fn say(&self, what: &'static str) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(what);
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Also where a fault ends the work.
impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn is_hidden(quiet: bool) -> bool {
    quiet || !std::io::stderr().is_terminal()
}

const TICK: Duration = Duration::from_millis(100);
