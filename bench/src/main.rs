//! `cic-bench [DIMS [CODE_AT [ZEROS [WORDS]]]]`: time per cell of the runtime alone, by instruction
//! set; only of lines that hold all of the words, such as `amx,dense,32`.
//! `cic-bench --limits`: what the processor can do, as JSON.

use cic_bench::{Trial, best_time};
use cic_model::Model;
use cic_runtime::kernels::{Isa, Kernels};
use cic_runtime::{Pages, S8Session};

fn main() {
    let mut words = std::env::args().skip(1);
    let dims = words.next().unwrap_or("1024,256,30,64,16".into());
    if dims == "--limits" {
        print!("{}", cic_bench::limits::to_json());
        return;
    }
    let dims: Option<Vec<usize>> = dims.split(',').map(|n| n.parse().ok()).collect();
    let code_at = words.next().map_or(Some(2), |n| n.parse().ok());
    let zeros = words.next().map_or(Some(0.93), |n| n.parse().ok());
    let (Some(dims), Some(code_at), Some(zeros)) = (dims, code_at, zeros) else {
        eprintln!("usage: cic-bench [DIMS [CODE_AT [ZEROS [WORDS]]]], or cic-bench --limits");
        std::process::exit(2);
    };
    let only: Vec<String> =
        words.next().iter().flat_map(|words| words.split(',')).map(Into::into).collect();
    let trial = Trial::new(&dims, code_at, zeros, N_CELLS).expect("quantised");
    let model = Model::open(&trial.model).expect("a model");
    let (sparse, dense) = (trial.sparse(), trial.dense());
    for kernels in Isa::ALL.into_iter().filter_map(Kernels::of) {
        let session = S8Session::with_kernels(&model, 0, kernels).expect("int8");
        let mut memory = Pages::zeroed(session.packed_len()).expect("memory");
        let packed = session.with_packed(memory.as_weights_mut()).expect("packed");
        for (what, samples) in [("sparse", &sparse), ("dense", &dense)] {
            for tile in [1, 16, 32, 128] {
                for (how, session) in [("stored", &session), ("packed", &packed)] {
                    let name =
                        format!("{:12} {what:6} tiles of {tile:2} {how}", kernels.isa().name());
                    if only.iter().all(|word| name.contains(word.as_str())) {
                        let time = best_time(session, samples, tile);
                        println!("{name}: {:8.3} us/cell", time * 1e6);
                    }
                }
            }
        }
    }
}

/// More than the processor could learn by heart.
const N_CELLS: usize = 512;
