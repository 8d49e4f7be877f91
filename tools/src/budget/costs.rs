//! Instructions that a unit of work takes on each core: `costs.tsv`, which `cargo xtask costs` measures.

use cic_model::Model;

use super::work::{Task, amounts};

/// A processor core, with its costs.
#[derive(Clone, Copy, Debug)]
pub struct Core {
    /// The name of `--target`.
    pub name: &'static str,
    /// The emulated board whose limits in `firmware-examples/size.toml` hold for it.
    pub(crate) board: &'static str,
    /// The layouts that its kernels read, as `cic-quantize --layout` calls them.
    pub(crate) layouts: &'static str,
}

const FOURS: &str = "microcontroller or microcontroller-dense";

/// All cores that were measured.
pub const CORES: [Core; 6] = [
    Core { name: "cortex-m0", board: "microbit", layouts: FOURS },
    Core { name: "cortex-m4", board: "netduinoplus2", layouts: FOURS },
    Core { name: "cortex-m7", board: "mps2-an500", layouts: FOURS },
    Core { name: "cortex-m33", board: "mps2-an505", layouts: FOURS },
    Core { name: "cortex-m55", board: "mps3-an547", layouts: "helium or helium-dense" },
    Core { name: "generic-rv32", board: "virt-imac", layouts: FOURS },
];

impl Core {
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
        let sum = amounts(model, task).into_iter().map(|(work, amount)| {
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
