//! `cic-bench [DIMS [CODE_AT [ZEROS [WORDS]]]]`: time per cell of the runtime alone, by instruction
//! set; only of lines that hold all of the words, such as `amx,dense,32`.
//! `cic-bench --limits`: what the processor can do, as JSON.

use std::hint::black_box;
use std::time::Instant;

use cic_bench::Chain;
use cic_model::Model;
use cic_runtime::kernels::{Isa, Kernels};
use cic_runtime::{Pages, S8Session, Sample};

fn main() {
    let mut words = std::env::args().skip(1);
    let dims = words.next().unwrap_or("1024,256,30,64,16".into());
    if dims == "--limits" {
        print!("{}", cic_bench::limits::to_json());
        return;
    }
    let dims: Vec<usize> = dims.split(',').map(|n| n.parse().expect("numbers")).collect();
    let code_at = words.next().map_or(2, |n| n.parse().expect("a number"));
    let zeros: f64 = words.next().map_or(0.93, |n| n.parse().expect("a number"));
    let only: Vec<String> =
        words.next().iter().flat_map(|words| words.split(',')).map(Into::into).collect();
    let mut random = Random(7);
    let parameters = (0..Chain::n_parameters(&dims)).map(|_| random.uniform() - 0.5).collect();
    let chain = Chain { dims: dims.clone(), code_at, parameters };
    let n_genes = dims[0];
    const ROWS: usize = 512;
    let rows = |zeros: f64, random: &mut Random| -> Vec<f32> {
        let value = |random: &mut Random| match f64::from(random.uniform()) < zeros {
            true => 0.0,
            false => 0.2 + 4.0 * random.uniform(),
        };
        (0..ROWS * n_genes).map(|_| value(random)).collect()
    };
    let (sparse, dense) = (rows(zeros, &mut random), rows(0.0, &mut random));
    let bytes = chain.quantize(&sparse[..64 * n_genes]).expect("quantised");
    let model = Model::open(&bytes).expect("a model");
    let listed: Vec<(Vec<u32>, Vec<f32>)> = sparse
        .chunks(n_genes)
        .map(|row| {
            let set = || row.iter().enumerate().filter(|(_, value)| **value != 0.0);
            (set().map(|(gene, _)| gene as u32).collect(), set().map(|(_, &v)| v).collect())
        })
        .collect();
    let sparse: Vec<Sample<'_>> = listed
        .iter()
        .map(|(genes, values)| Sample::Values { genes, values, total: None })
        .collect();
    let as_dense = |rows: &'static [f32]| -> Vec<Sample<'static>> {
        rows.chunks(n_genes).map(|values| Sample::DenseValues { values, total: None }).collect()
    };
    let dense = as_dense(dense.leak());
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

fn best_time(session: &S8Session<'_>, samples: &[Sample<'_>], tile: usize) -> f64 {
    let mut scratch = vec![0; session.tile_scratch_len(tile) / 4];
    let mut best = f64::MAX;
    let mut rounds = 0;
    let begin = Instant::now();
    while rounds < 3 || (begin.elapsed().as_secs_f64() < 0.15) {
        let start = Instant::now();
        for samples in samples.chunks_exact(tile) {
            let tile = session.run_tile(samples, None, &mut scratch).expect("samples that fit");
            black_box(tile.outcome(0).numbers.and_then(|n| n.best()));
        }
        best = best.min(start.elapsed().as_secs_f64() / samples.len() as f64);
        rounds += 1;
    }
    best
}

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / 16_777_216.0
    }
}
