//! Instructions that a unit of work takes on each core: `costs.tsv`, which `cargo xtask costs` measures.

use cic_model::Model;

use super::work::{Task, amounts};

/// A processor core, with its costs.
#[derive(Clone, Copy, Debug)]
pub struct Core {
    /// The name of `--target`.
    pub name: &'static str,
    /// The emulated board whose limits in `firmware-examples/size.toml` hold for it.
    pub(super) board: &'static str,
    /// The one with room for every model, on which the costs were measured, and the stack.
    pub(super) measured: &'static str,
    /// The layouts that its kernels read, as `cic-quantize --layout` calls them.
    pub(super) layouts: &'static str,
    /// Outputs that its kernels sum together where inputs are listed.
    pub(super) outputs: usize,
    /// Listed inputs that they take together.
    pub(super) listed: usize,
    /// Inputs that they take together where all are multiplied.
    pub(super) inputs: usize,
    /// Outputs that it requantises together.
    pub(super) lanes: usize,
}

/// All cores that were measured.
pub const CORES: [Core; 6] = [
    Core { outputs: 4, inputs: 1024, ..Core::dsp("cortex-m0", "microbit", "mps2-an385") },
    Core::dsp("cortex-m4", "netduinoplus2", "mps2-an386"),
    Core::dsp("cortex-m7", "mps2-an500", "mps2-an500"),
    Core::dsp("cortex-m33", "mps2-an505", "mps2-an505"),
    Core {
        layouts: "helium or helium-dense",
        outputs: 16,
        lanes: 4,
        ..Core::dsp("cortex-m55", "mps3-an547", "mps3-an547")
    },
    Core { listed: 1, inputs: 1024, ..Core::dsp("generic-rv32", "virt-imac", "virt-imac") },
];

impl Core {
    /// One with the DSP extension, which others differ from.
    const fn dsp(name: &'static str, board: &'static str, measured: &'static str) -> Self {
        let layouts = "microcontroller or microcontroller-dense";
        Self { name, board, measured, layouts, outputs: 8, listed: 2, inputs: 64, lanes: 1 }
    }

    /// The core of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        CORES.into_iter().find(|core| core.name == name)
    }

    /// Instructions that a task takes, rounded.
    pub fn instructions(&self, model: &Model<'_>, task: Task) -> u64 {
        let cost = |work: &str| {
            let is_it = |row: &[&str]| row.starts_with(&[self.name, task.group(), work]);
            let row = rows().find(|row| is_it(row))?;
            row.get(3)?.parse::<f64>().ok()
        };
        let sum = amounts(model, task, self).into_iter().map(|(work, amount)| {
            // What no measured model had to do is not known to cost anything.
            amount * cost(work).unwrap_or(0.0)
        });
        sum.sum::<f64>().round().max(0.0) as u64
    }
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    include_str!("costs.tsv").lines().skip(1).map(|line| line.split('\t').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_has_costs_of_every_group() {
        for core in CORES {
            for task in Task::ALL {
                let has = rows().any(|row| row.starts_with(&[core.name, task.group(), "call"]));
                assert!(has, "{} {}", core.name, task.name());
            }
        }
    }
}
