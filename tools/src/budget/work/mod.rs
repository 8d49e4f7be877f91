//! What a processor has to do for a model, in units whose cost in instructions is the same for every model.

mod cell;
mod opening;
mod requantised;

use cic_model::Model;

use super::costs::Core;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `Model::open`.
    Open,
    /// `Model::open_verified`.
    Verify,
    /// A cell whose counts are all large and all given: the most that one can take.
    Dense,
    /// A cell that lists a fourteenth of the genes, with small counts.
    Sparse,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Verify, Self::Dense, Self::Sparse];

    /// The name in the table of costs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Verify => "verify",
            Self::Dense => "dense",
            Self::Sparse => "sparse",
        }
    }

    /// Tasks with the same name here share their costs.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Open | Self::Verify => "opening",
            Self::Dense | Self::Sparse => "cell",
        }
    }
}

/// Genes that a sparse cell lists, of so many.
pub const fn n_listed(n_genes: usize) -> usize {
    n_genes.div_ceil(14)
}

/// Amounts of work by name, zeros left out.
pub fn amounts(model: &Model<'_>, task: Task, core: &Core) -> Vec<(&'static str, f64)> {
    let mut work = Work(Vec::new());
    work.add("call", 1);
    match task {
        Task::Open | Task::Verify => opening::add(model, task, &mut work),
        Task::Dense | Task::Sparse => cell::add(model, task, core, &mut work),
    }
    work.0
}

struct Work(Vec<(&'static str, f64)>);

impl Work {
    fn add(&mut self, name: &'static str, amount: usize) {
        if amount == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += amount as f64,
            None => self.0.push((name, amount as f64)),
        }
    }
}
