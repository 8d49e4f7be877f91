//! `kernel-count ISA`: calls every operator of an instruction set, and the whole session, each once
//! through [`counted`], and prints what it called, a line each. `cargo xtask kernel-count` runs it
//! under callgrind, which counts what happens within that function.

use std::error::Error;
use std::hint::black_box;

use cic_bench::{Case, Operands, Trial};
use cic_model::Model;
use cic_runtime::kernels::{Isa, Kernels};
use cic_runtime::{Pages, S8Session, Sample};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let isa = Isa::from_name(&name).ok_or("not an instruction set")?;
    let Some(kernels) = Kernels::of(isa) else {
        println!("SKIPPED: {}: not on this processor", isa.name());
        return Ok(());
    };

    let operands = Operands::new(1024, 256);
    let cases = [
        operands.sparse_cases(kernels),
        operands.dense_cases(kernels, 1),
        operands.dense_cases(kernels, Operands::N_CELLS),
        operands.row_cases(kernels),
        operands.epilogue_cases(kernels),
        operands.reading_cases(kernels),
    ];
    for Case { name, mut call, .. } in cases.into_iter().flatten() {
        counted(&mut call);
        println!("{name}");
    }

    let trial = Trial::new(&[1024, 256, 30, 64, 16], 2, 0.93, TILE)?;
    let model = Model::open(&trial.model)?;
    let session = S8Session::with_kernels(&model, 0, kernels)?;
    let mut memory = Pages::zeroed(session.packed_len())?;
    let session = session.with_packed(memory.as_weights_mut())?;
    let mut scratch = vec![0; session.tile_scratch_len(TILE) / 4];
    let mut run = |samples: &[Sample<'_>]| {
        counted(&mut || {
            black_box(session.run_tile(samples, None, &mut scratch).is_ok());
        });
    };
    run(&trial.sparse()[..1]);
    println!("session, sparse × 1");
    run(&trial.sparse());
    println!("session, sparse × {TILE}");
    run(&trial.dense());
    println!("session, dense × {TILE}");
    Ok(())
}

/// The one place whose instructions count. Never inlined, so that callgrind finds it by its name.
#[inline(never)]
fn counted(call: &mut dyn FnMut()) {
    call();
    // Not a tail call, which would leave this function before what it calls.
    black_box(());
}

const TILE: usize = Operands::N_CELLS;
