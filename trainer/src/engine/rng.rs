//! Counter-based random streams: every use of chance has its own generator, derived from the seed,
//! its purpose and its place (epoch, batch, row). The order in which threads draw therefore cannot
//! matter, and a checkpoint needs no generator state: the epoch number is the state.
//!
//! The generator is xoshiro256++ (Blackman, Vigna 2021) seeded by SplitMix64, as its authors
//! advise. Thirty lines of our own fix the sequence for good, where a crate may change it.

/// What a stream is for: two purposes never share a stream.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Initialise = 1,
    Shuffle,
    DropInputs,
    InputNoise,
    DropHidden,
    CodeNoise,
    Mixup,
    Subspace,
    Golden,
    DropGenes,
    Thin,
    Disturb,
    LoseGenes,
    DrawGenes,
    ThinInputs,
    NoCell,
    JudgeCalls,
    Impostor,
    Resplit,
}

/// xoshiro256++.
#[derive(Clone)]
pub(crate) struct Rng([u64; 4]);

impl Rng {
    /// The stream of `purpose` at the place `(a, b)`.
    pub(crate) fn stream(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut state = seed;
        for word in [purpose as u64, a, b] {
            state = split_mix(&mut state) ^ word;
        }
        Self(core::array::from_fn(|_| split_mix(&mut state)))
    }

    #[inline]
    pub(crate) fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    #[inline]
    pub(crate) fn unit(&mut self) -> f32 {
        // 24 bits are exact in f32.
        (self.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub(crate) fn normal(&mut self) -> f32 {
        // 1 − u lies in (0, 1]: its logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - f64::from(self.unit())));
        let angle = core::f64::consts::TAU * f64::from(self.unit());
        (radius * libm::cos(angle)) as f32
    }

    /// How many of `n` come up, each with probability `share`. Beyond [`MOST_DRAWS`] the normal distribution is close enough,
    /// and quicker.
    pub(crate) fn binomial(&mut self, n: f64, share: f64) -> f64 {
        if !n.is_finite() || share >= 1.0 {
            return n;
        }
        if n > MOST_DRAWS {
            let spread = libm::sqrt(n * share * (1.0 - share));
            return libm::round(n * share + spread * f64::from(self.normal())).clamp(0.0, n);
        }
        // At most `MOST_DRAWS`, and not below zero: values of profiles are not.
        let draws = n as u32;
        f64::from((0..draws).filter(|_| f64::from(self.unit()) < share).count() as u32)
    }

    /// Uniform in `0..n`; the bias of at most n/2⁶⁴ is of no consequence here.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // The high word of the product is below n, which is a usize.
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const MOST_DRAWS: f64 = 2_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_and_xoshiro_give_their_published_first_values() {
        // Reference outputs of the authors' C code: splitmix64 from state 1234567, xoshiro256++
        // from state 1, 2, 3, 4.
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
        let mut rng = Rng([1, 2, 3, 4]);
        assert_eq!(rng.next_u64(), 41_943_041);
        assert_eq!(rng.next_u64(), 58_720_359);
        assert_eq!(rng.next_u64(), 3_588_806_011_781_223);
    }

    #[test]
    fn streams_differ_by_purpose_and_place_and_have_the_right_moments() {
        let first = |p, a, b| Rng::stream(7, p, a, b).next_u64();
        assert_ne!(first(Purpose::Shuffle, 0, 0), first(Purpose::CodeNoise, 0, 0));
        assert_ne!(first(Purpose::Shuffle, 0, 1), first(Purpose::Shuffle, 1, 0));
        let mut rng = Rng::stream(7, Purpose::CodeNoise, 0, 0);
        let n = 200_000;
        let (mut mean, mut square) = (0.0, 0.0);
        for _ in 0..n {
            let x = f64::from(rng.normal());
            mean += x / f64::from(n);
            square += x * x / f64::from(n);
        }
        assert!(mean.abs() < 0.01 && (square - 1.0).abs() < 0.02, "{mean} {square}");
    }
}
