//! The table of sessions.

use cic_bench::{Trial, best_time};
use cic_model::Model;
use cic_runtime::kernels::Kernels;
use cic_runtime::{Pages, S8Session};

use crate::{Lines, Shape};

/// Prints a line for each kind of cells and size of tiles, of sessions with packed weights.
pub fn print(shape: &Shape, columns: &[Kernels], lines: &Lines) {
    let network: Vec<_> = shape.dims.iter().map(usize::to_string).collect();
    let name = |cells: &str, tile| format!("{}, {cells} × {tile}", network.join("-"));
    let wanted: Vec<_> = [SPARSE, DENSE]
        .iter()
        .flat_map(|&cells| TILES.map(|tile| (cells, tile)))
        .filter(|&(cells, tile)| lines.include(&name(cells, tile)))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let trial = Trial::new(shape.dims, shape.code_at, SHARE_OF_ZEROS, N_CELLS).expect("quantised");
    let model = Model::open(&trial.model).expect("a model");
    let (sparse, dense) = (trial.sparse(), trial.dense());
    let session = |kernels| S8Session::with_kernels(&model, 0, kernels).expect("int8");
    let mut memory: Vec<Pages> = columns
        .iter()
        .map(|&kernels| Pages::zeroed(session(kernels).packed_len()).expect("memory"))
        .collect();
    let sessions: Vec<_> = columns
        .iter()
        .zip(&mut memory)
        .map(|(&kernels, memory)| session(kernels).with_packed(memory.as_weights_mut()))
        .map(|session| session.expect("packed"))
        .collect();
    for (cells, tile) in wanted {
        let samples = if cells == SPARSE { &sparse } else { &dense };
        let times = sessions.iter().map(|session| best_time(session, samples, tile) * 1e6);
        let times: Vec<String> = times.map(|time| format!("{time:.2}")).collect();
        println!("| {} | {} |", name(cells, tile), times.join(" | "));
    }
}

const SPARSE: &str = "93 % zeros";
const SHARE_OF_ZEROS: f64 = 0.93;
const DENSE: &str = "dense";

const TILES: [usize; 4] = [1, 16, 32, 128];

/// As many as the largest tile, twice.
const N_CELLS: usize = 256;
