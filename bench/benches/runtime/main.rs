//! `cargo bench [-- WORDS]`: nanoseconds per call of every operator, and microseconds per cell of whole
//! sessions, on the best instruction sets of this processor.
//!
//! Words that name instruction sets choose these, `scalar` among them; the others keep the lines that
//! hold all of them, as `cargo bench -- avx2 panels_s8`. `CIC_ISA` lowers the best.

mod operators;
mod sessions;

use cic_bench::Operands;
use cic_runtime::kernels::{Isa, Kernels};

use operators::Part;

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (isas, words): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| Isa::from_name(word).is_some());
    let columns = columns(&isas);
    let lines = Lines { words };

    println!("Operators: ns per call; GB of weights and GFLOP per second of the first column.\n");
    let names: Vec<_> = columns.iter().map(|kernels| kernels.isa().name()).collect();
    println!("| operator | {} | GB/s | GFLOP/s |", names.join(" | "));
    println!("|---|{}---|---|", "---|".repeat(columns.len()));
    for (in_dim, out_dim, part) in LAYERS {
        operators::print(&Operands::new(in_dim, out_dim), part, &columns, &lines);
    }

    println!("\nSessions: µs per cell.\n");
    println!("| network, cells | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
    for shape in &SHAPES {
        sessions::print(shape, &columns, &lines);
    }
}

/// Instruction sets, the best first.
fn columns(isas: &[String]) -> Vec<Kernels> {
    let available = Isa::ALL.into_iter().rev();
    let chosen = available.filter(|isa| match isas {
        [] => *isa <= Isa::best(),
        _ => isas.iter().any(|name| name == isa.name()),
    });
    let len = if isas.is_empty() { N_ISAS } else { isas.len() };
    chosen.filter_map(Kernels::of).take(len).collect()
}

/// Which lines are wanted.
struct Lines {
    words: Vec<String>,
}

impl Lines {
    fn include(&self, name: &str) -> bool {
        self.words.iter().all(|word| name.contains(word.as_str()))
    }
}

/// A network.
struct Shape {
    dims: &'static [usize],
    code_at: usize,
}

/// The reference networks of `bench/peers.py`.
const SHAPES: [Shape; 2] = [
    Shape { dims: &[1024, 256, 30, 64, 16], code_at: 2 },
    Shape { dims: &[18_000, 512, 128, 30, 64, 40], code_at: 3 },
];

/// The first layer of both, and the hidden ones of the first.
const LAYERS: [(usize, usize, Part); 5] = [
    (1024, 256, Part::All),
    (18_000, 512, Part::First),
    (256, 30, Part::Hidden),
    (30, 64, Part::Hidden),
    (64, 16, Part::Hidden),
];

/// Without being asked: the best instruction set and three below.
const N_ISAS: usize = 4;
