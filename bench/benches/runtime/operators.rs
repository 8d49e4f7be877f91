//! The table of operators.

use std::time::Instant;

use cic_bench::{Case, Operands};
use cic_runtime::kernels::Kernels;

use crate::Lines;

/// Which operators a layer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    /// Those of a first layer, without what follows its sums.
    First,
    /// Those of a hidden layer, without what follows its sums.
    Hidden,
}

/// Prints a line for each operator.
///
/// Rounds go through all operators and instruction sets in turn, so that a slow moment of the machine
/// meets all alike; medians are printed.
pub fn print(operands: &Operands, part: Part, columns: &[Kernels], lines: &Lines) {
    let mut cells = Vec::new();
    for (column, &kernels) in columns.iter().enumerate() {
        for (row, case) in cases(operands, part, kernels).into_iter().enumerate() {
            let name = format!("{}→{} {}", operands.in_dim, operands.out_dim, case.name);
            if lines.include(&name) {
                cells.push(Cell { row, column, name, case, n_calls: 1, ns: Vec::new() });
            }
        }
    }
    cells.iter_mut().for_each(Cell::warm_up);
    for _ in 0..N_ROUNDS {
        cells.iter_mut().filter(|cell| cell.has_time()).for_each(Cell::time);
    }
    cells.sort_by_key(|cell| (cell.row, cell.column));
    for row in cells.chunk_by_mut(|a, b| a.row == b.row) {
        let times: Vec<f64> = row.iter_mut().map(Cell::median).collect();
        let shown: Vec<String> = times.iter().map(|ns| format!("{ns:.0}")).collect();
        let Case { weight_bytes, operations, .. } = row[0].case;
        let rate = |n: f64| if n > 0.0 { format!("{:.1}", n / times[0]) } else { String::new() };
        let (bytes, operations) = (rate(weight_bytes), rate(operations));
        println!("| {} | {} | {bytes} | {operations} |", row[0].name, shown.join(" | "));
    }
}

fn cases(operands: &Operands, part: Part, kernels: Kernels) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    if part != Part::Hidden {
        cases.extend(operands.sparse_cases(kernels));
        cases.extend(operands.reading_cases(kernels));
    }
    cases.extend(operands.dense_cases(kernels, 1));
    cases.extend(operands.dense_cases(kernels, Operands::N_CELLS));
    if part != Part::First {
        cases.extend(operands.row_cases(kernels));
    }
    if part == Part::All {
        cases.extend(operands.epilogue_cases(kernels));
    }
    cases
}

/// An operator on an instruction set.
struct Cell<'a> {
    row: usize,
    column: usize,
    name: String,
    case: Case<'a>,
    /// In one round.
    n_calls: usize,
    /// Of a call, by round.
    ns: Vec<f64>,
}

impl Cell<'_> {
    fn warm_up(&mut self) {
        // The first call fetches operands.
        (self.case.call)();
        let start = Instant::now();
        (self.case.call)();
        let ns = start.elapsed().as_nanos().max(1) as f64;
        self.n_calls = (NS_PER_ROUND / ns).clamp(1.0, 1e5) as usize;
    }

    fn has_time(&self) -> bool {
        let spent = self.ns.iter().sum::<f64>() * self.n_calls as f64;
        self.ns.len() < LEAST_ROUNDS || spent < NS_IN_ALL
    }

    fn time(&mut self) {
        let start = Instant::now();
        for _ in 0..self.n_calls {
            (self.case.call)();
        }
        self.ns.push(start.elapsed().as_nanos() as f64 / self.n_calls as f64);
    }

    fn median(&mut self) -> f64 {
        self.ns.sort_by(f64::total_cmp);
        self.ns[self.ns.len() / 2]
    }
}

const N_ROUNDS: usize = 31;

/// Of operators that take long.
const LEAST_ROUNDS: usize = 3;

/// Nanoseconds that an operator takes in one round, if a single call does not take longer.
const NS_PER_ROUND: f64 = 3e5;

/// After which no more than [`LEAST_ROUNDS`] are begun.
const NS_IN_ALL: f64 = 3e7;
