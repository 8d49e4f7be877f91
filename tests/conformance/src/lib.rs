//! Every kernel of every instruction set that a processor has, on random layers: shapes around the
//! widths of registers, any starting address, extreme weights, inputs and sums. Int8 operators give what
//! the reference gives, float operators what a sum in double precision gives, within its error bound. `cargo xtask conformance` runs it on this machine and on emulated ones.

mod check;
mod float;
mod layer;
mod random;

use cic_runtime::kernels::Isa;

pub use check::{Mismatch, check};
pub use float::{FloatLayer, check_float};
pub use layer::{LARGE, Layer};
pub use random::Random;

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Random layers, each with every operator.
    pub n_layers: u64,
    /// Of these, with at least 256 inputs and 64 outputs.
    pub n_large: u64,
    /// Layers on which an operator differed from the reference.
    pub n_mismatches: u64,
}

/// Layers of a seed on one instruction set; one in `large_every` is large. The first mismatch is told
/// to `report`.
pub fn run(
    isa: Isa,
    n_layers: u64,
    large_every: u64,
    seed: u64,
    report: impl FnMut(&Mismatch),
) -> Tally {
    let one = |random: &mut Random, is_large| check(isa, &Layer::new(random, is_large));
    tally(n_layers, large_every, seed, one, report)
}

/// The same with the float operators.
pub fn run_float(
    isa: Isa,
    n_layers: u64,
    large_every: u64,
    seed: u64,
    report: impl FnMut(&Mismatch),
) -> Tally {
    let one = |random: &mut Random, is_large| check_float(isa, &FloatLayer::new(random, is_large));
    tally(n_layers, large_every, seed, one, report)
}

fn tally(
    n_layers: u64,
    large_every: u64,
    seed: u64,
    check_one: impl Fn(&mut Random, bool) -> Result<(), Mismatch>,
    mut report: impl FnMut(&Mismatch),
) -> Tally {
    let mut tally = Tally::default();
    let mut random = Random::new(seed);
    for n in 0..n_layers {
        let is_large = n % large_every == large_every - 1;
        tally.n_layers += 1;
        tally.n_large += u64::from(is_large);
        if let Err(mismatch) = check_one(&mut random, is_large) {
            if tally.n_mismatches == 0 {
                report(&mismatch);
            }
            tally.n_mismatches += 1;
        }
    }
    tally
}

/// For hosts that call a library: mismatches over layers of a seed on the best instruction set.
#[unsafe(no_mangle)]
pub extern "C" fn cic_conformance(n_layers: u32, large_every: u32, seed: u32) -> u32 {
    let tally = run(Isa::best(), n_layers.into(), large_every.max(1).into(), seed.into(), |_| {});
    u32::try_from(tally.n_mismatches).unwrap_or(u32::MAX)
}

/// The same with the float operators.
#[unsafe(no_mangle)]
pub extern "C" fn cic_conformance_float(n_layers: u32, large_every: u32, seed: u32) -> u32 {
    let large_every = large_every.max(1).into();
    let tally = run_float(Isa::best(), n_layers.into(), large_every, seed.into(), |_| {});
    u32::try_from(tally.n_mismatches).unwrap_or(u32::MAX)
}

/// Position in [`Isa::ALL`] of the instruction set that [`cic_conformance`] runs.
#[unsafe(no_mangle)]
pub extern "C" fn cic_conformance_isa() -> u32 {
    Isa::ALL.iter().position(|&isa| isa == Isa::best()).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_for_webassembly_knows_the_position_of_its_instruction_set() {
        let script = include_str!("../run.mjs");
        let position = Isa::ALL.iter().position(|&isa| isa == Isa::Simd128).unwrap();
        assert!(script.contains(&format!("const SIMD128 = {position};")));
    }

    #[test]
    fn one_layer_in_so_many_is_large() {
        let tally = run(Isa::Scalar, 50, 20, 1, |_| {});
        assert_eq!((tally.n_layers, tally.n_large, tally.n_mismatches), (50, 2, 0));
    }
}
