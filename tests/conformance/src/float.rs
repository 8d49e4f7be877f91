//! The float operators of one instruction set on random layers, against sums in double precision.

use cic_runtime::kernels::float::{Columns, FloatKernels, FloatSumRows, InputRows, reference};
use cic_runtime::kernels::{Isa, Kernels};

use crate::check::Mismatch;
use crate::layer::{LARGE, LENGTHS, Shifted};
use crate::random::Random;

/// Largest relative error of one operation in single precision, `u`. Sums of `n` products and one
/// number, in any order, with products rounded before they are added or not, differ from the exact sum
/// by at most `γ_k · (|s| + Σ |x · w|)` with `γ_k = k · u / (1 − k · u)` and `k = n + 1` (Higham, Accuracy
/// and Stability of Numerical Algorithms, section 3.1): each term goes through at most so many
/// operations. Weights in half precision and signed bytes are numbers in single precision, so theirs is the same. The
/// sums in double precision that stand for the exact ones are off by 2⁻²⁹ of that.
const UNIT_ROUNDOFF: f64 = 1.0 / 16_777_216.0;

/// What an operation may lose besides, where its result is subnormal.
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64 * UNIT_ROUNDOFF;

/// Weights, inputs and sums. Weights and inputs begin at any address.
#[derive(Debug)]
pub struct FloatLayer {
    in_dim: usize,
    out_dim: usize,
    n_rows: usize,
    /// `[in_dim × out_dim]`
    gene_major: Weights,
    /// `[out_dim × in_dim]`
    rows: Weights,
    /// `[n_rows × stride]`
    inputs: Shifted<f32>,
    stride: usize,
    genes: Vec<u32>,
    /// A value for each gene.
    values: Shifted<f32>,
    /// `[n_rows × sum_stride]`
    sums: Vec<f32>,
    sum_stride: usize,
    factor: f32,
}

#[derive(Debug, Default)]
struct Weights {
    f32: Shifted<f32>,
    f16: Shifted<u16>,
    i8: Shifted<i8>,
}

impl FloatLayer {
    /// The layer of a seed.
    pub fn new(random: &mut Random, is_large: bool) -> Self {
        let (in_dim, out_dim) = if is_large {
            (LARGE.0 + random.below(1200), LARGE.1 + random.below(500))
        } else {
            (random.choose(&LENGTHS), random.choose(&LENGTHS))
        };
        let n_rows = if random.below(8) == 0 { 1 + random.below(20) } else { 1 + random.below(3) };
        let stride = in_dim + random.below(9);
        let sum_stride = out_dim + random.below(5);
        let mut layer = Self {
            in_dim,
            out_dim,
            n_rows,
            gene_major: Weights::default(),
            rows: Weights::default(),
            inputs: Shifted::default(),
            stride,
            genes: Vec::new(),
            values: Shifted::default(),
            sums: Vec::new(),
            sum_stride,
            factor: random.choose(&[0.0, 1e-6, 0.37, 1.0, 250.0, 1e30]),
        };
        let numbers = Numbers::new(random);
        for weights in [&mut layer.gene_major, &mut layer.rows] {
            let (start, start_f16) = (random.below(16), random.below(32));
            weights.f32.resize(in_dim * out_dim, start).fill_with(|| numbers.single(random));
            weights.f16.resize(in_dim * out_dim, start_f16).fill_with(|| numbers.half(random));
            let start = random.below(64);
            weights.i8.resize(in_dim * out_dim, start).fill_with(|| numbers.byte(random));
        }
        let zeros = random.choose(&[0, 50, 95]);
        let input = |random: &mut Random| match random.below(100) {
            place if place < zeros => 0.0,
            _ => 8.0 * signed(random),
        };
        let start = random.below(16);
        let len = (n_rows - 1) * stride + in_dim;
        layer.inputs.resize(len, start).fill_with(|| input(random));
        let percent = random.choose(&[2, 10, 100]);
        layer.genes.extend((0..in_dim as u32).filter(|_| random.below(100) < percent));
        if random.below(8) == 0 {
            layer.genes.reverse();
        }
        let start = random.below(16);
        layer.values.resize(layer.genes.len(), start).fill_with(|| input(random));
        let scale = random.choose(&[0.0, 1.0, 1e4]);
        layer.sums.extend((0..n_rows * sum_stride).map(|_| scale * signed(random)));
        layer
    }
}

/// What the weights of a layer are.
#[derive(Clone, Copy)]
enum Numbers {
    Zero,
    /// Every finite one of half precision, with as many subnormals as its bits have.
    AnyBits,
    Subnormal,
    /// Up to 2^n.
    UpTo(i32),
}

impl Numbers {
    fn new(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Zero,
            1 => Self::AnyBits,
            2 => Self::Subnormal,
            _ => Self::UpTo(random.below(20) as i32 - 12),
        }
    }

    fn half(self, random: &mut Random) -> u16 {
        let bits = random.next_u64() as u16;
        let (sign, exponent, fraction) = (bits & 0x8000, bits >> 10 & 31, bits & 0x3ff);
        match self {
            Self::Zero => sign,
            Self::AnyBits => sign | exponent.min(30) << 10 | fraction,
            Self::Subnormal => sign | fraction,
            Self::UpTo(n) => {
                let largest = (14 + n).clamp(1, 30) as u16;
                sign | largest.saturating_sub(exponent & 3) << 10 | fraction
            }
        }
    }

    fn byte(self, random: &mut Random) -> i8 {
        let bits = random.next_u64() as i8;
        match self {
            Self::Zero => 0,
            Self::AnyBits => bits,
            Self::Subnormal => bits >> 6,
            Self::UpTo(n) => bits >> (n & 7),
        }
    }

    fn single(self, random: &mut Random) -> f32 {
        match self {
            Self::Zero => 0.0,
            Self::AnyBits => signed(random) * 2.0_f32.powi(random.below(60) as i32 - 30),
            Self::Subnormal => f32::MIN_POSITIVE * signed(random),
            Self::UpTo(n) => signed(random) * 2.0_f32.powi(n),
        }
    }
}

/// −1 .. 1
fn signed(random: &mut Random) -> f32 {
    (random.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0
}

/// A number of half precision by the definition of its bits.
fn widened(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2.0_f64.powi(-24),
        _ => sign * (1024.0 + fraction) * 2.0_f64.powi(exponent - 25),
    }
}

/// A sum in double precision and what it is made of.
#[derive(Clone, Copy)]
struct Sum {
    exact: f64,
    magnitude: f64,
    n_terms: f64,
}

impl Sum {
    fn of(number: f32) -> Self {
        let number = f64::from(number);
        Self { exact: number, magnitude: number.abs(), n_terms: 0.0 }
    }

    fn add(&mut self, x: f32, weight: f64) {
        let product = f64::from(x) * weight;
        self.exact += product;
        self.magnitude += product.abs();
        self.n_terms += 1.0;
    }

    fn is_near(&self, found: f32) -> bool {
        let k = self.n_terms + 1.0;
        let gamma = k * UNIT_ROUNDOFF / (1.0 - k * UNIT_ROUNDOFF);
        (f64::from(found) - self.exact).abs() <= gamma * self.magnitude + k * UNDERFLOW
    }
}

/// Runs every float operator on a layer.
pub fn check_float(isa: Isa, layer: &FloatLayer) -> Result<(), Mismatch> {
    let kernels = Kernels::of(isa).unwrap_or(Kernels::SCALAR).float();
    let check = Check { layer, kernels };
    check.sparse()?;
    check.rows()?;
    // All inputs and outputs, and parts of them.
    let (half, third) = (layer.in_dim / 2, layer.out_dim / 3);
    for (first, width) in [(0, layer.in_dim), (half, layer.in_dim - half), (0, half)] {
        check.columns(first, width, 0..layer.out_dim)?;
        check.columns(first, width, third..layer.out_dim)?;
        check.columns(first, width, 0..third)?;
    }
    check.log1p()
}

struct Check<'a> {
    layer: &'a FloatLayer,
    kernels: FloatKernels,
}

impl Check<'_> {
    fn sparse(&self) -> Result<(), Mismatch> {
        let FloatLayer { out_dim, ref gene_major, ref genes, .. } = *self.layer;
        let (values, before) = (self.layer.values.get(), &self.layer.sums[..out_dim]);
        let expected = |weight: &dyn Fn(usize) -> f64| {
            let mut sums: Vec<Sum> = before.iter().map(|&sum| Sum::of(sum)).collect();
            for (&gene, &value) in genes.iter().zip(values) {
                for (out, sum) in sums.iter_mut().enumerate() {
                    sum.add(value, weight(gene as usize * out_dim + out));
                }
            }
            sums
        };
        let mut found = before.to_vec();
        self.kernels.sparse_f32(gene_major.f32.get(), genes, values, &mut found);
        let weight = |at: usize| f64::from(gene_major.f32.get()[at]);
        self.compare("sparse_f32", &found, &expected(&weight))?;
        let mut found = before.to_vec();
        self.kernels.sparse_f16(gene_major.f16.get(), genes, values, &mut found);
        let weight = |at: usize| widened(gene_major.f16.get()[at]);
        self.compare("sparse_f16", &found, &expected(&weight))?;
        let mut found = before.to_vec();
        self.kernels.sparse_i8(gene_major.i8.get(), genes, values, &mut found);
        let weight = |at: usize| f64::from(gene_major.i8.get()[at]);
        self.compare("sparse_i8", &found, &expected(&weight))
    }

    fn rows(&self) -> Result<(), Mismatch> {
        let FloatLayer { in_dim, out_dim, ref rows, .. } = *self.layer;
        let inputs = &self.layer.inputs.get()[..in_dim];
        let before = &self.layer.sums[..out_dim];
        let expected = |weight: &dyn Fn(usize) -> f64| {
            let mut sums: Vec<Sum> = before.iter().map(|&sum| Sum::of(sum)).collect();
            for (out, sum) in sums.iter_mut().enumerate() {
                for (input, &x) in inputs.iter().enumerate() {
                    sum.add(x, weight(out * in_dim + input));
                }
            }
            sums
        };
        let mut found = before.to_vec();
        self.kernels.rows_f32(rows.f32.get(), inputs, &mut found);
        let weight = |at: usize| f64::from(rows.f32.get()[at]);
        self.compare("rows_f32", &found, &expected(&weight))?;
        let mut found = before.to_vec();
        self.kernels.rows_f16(rows.f16.get(), inputs, &mut found);
        let weight = |at: usize| widened(rows.f16.get()[at]);
        self.compare("rows_f16", &found, &expected(&weight))?;
        let mut found = before.to_vec();
        self.kernels.rows_i8(rows.i8.get(), inputs, &mut found);
        let weight = |at: usize| f64::from(rows.i8.get()[at]);
        self.compare("rows_i8", &found, &expected(&weight))
    }

    fn columns(
        &self,
        first: usize,
        width: usize,
        outputs: std::ops::Range<usize>,
    ) -> Result<(), Mismatch> {
        let FloatLayer { in_dim, out_dim, n_rows, stride, sum_stride, .. } = *self.layer;
        let gene_major = &self.layer.gene_major;
        let inputs = InputRows::new_checked(self.layer.inputs.get(), stride, width, n_rows)
            .expect("rows that are not longer fit");
        let expected = |weight: &dyn Fn(usize) -> f64| {
            // What lies between the rows stays as it is.
            let mut sums: Vec<Sum> = self.layer.sums.iter().map(|&sum| Sum::of(sum)).collect();
            for row in 0..n_rows {
                for (input, &x) in (first..).zip(inputs.row(row)) {
                    for (place, out) in outputs.clone().enumerate() {
                        sums[row * sum_stride + place].add(x, weight(input * out_dim + out));
                    }
                }
            }
            sums
        };
        let mut found = self.layer.sums.clone();
        let columns = Columns::new_checked(gene_major.f32.get(), in_dim, out_dim)
            .and_then(|columns| columns.with_outputs(outputs.clone()))
            .expect("fits");
        let mut rows = FloatSumRows::new_checked(&mut found, sum_stride, n_rows).expect("fits");
        self.kernels.columns_f32(&columns, first, inputs, &mut rows);
        let weight = |at: usize| f64::from(gene_major.f32.get()[at]);
        self.compare("columns_f32", &found, &expected(&weight))?;
        let mut found = self.layer.sums.clone();
        let columns = Columns::new_checked(gene_major.f16.get(), in_dim, out_dim)
            .and_then(|columns| columns.with_outputs(outputs.clone()))
            .expect("fits");
        let mut rows = FloatSumRows::new_checked(&mut found, sum_stride, n_rows).expect("fits");
        self.kernels.columns_f16(&columns, first, inputs, &mut rows);
        let weight = |at: usize| widened(gene_major.f16.get()[at]);
        self.compare("columns_f16", &found, &expected(&weight))?;
        let mut found = self.layer.sums.clone();
        let columns = Columns::new_checked(gene_major.i8.get(), in_dim, out_dim)
            .and_then(|columns| columns.with_outputs(outputs.clone()))
            .expect("fits");
        let mut rows = FloatSumRows::new_checked(&mut found, sum_stride, n_rows).expect("fits");
        self.kernels.columns_i8(&columns, first, inputs, &mut rows);
        let weight = |at: usize| f64::from(gene_major.i8.get()[at]);
        self.compare("columns_i8", &found, &expected(&weight))
    }

    /// To the bit, on values that are all small, or not all in the range of the quick way.
    fn log1p(&self) -> Result<(), Mismatch> {
        let whole = |values: &[f32]| values.iter().map(|value| value.abs().ceil()).collect();
        let absolute = |values: &[f32]| values.iter().map(|value| value.abs()).collect();
        let values = self.layer.values.get();
        let forms: [Vec<f32>; 3] = [whole(values), absolute(values), values.to_vec()];
        for mut found in forms {
            if let Some(value) = found.get_mut(3) {
                *value = [*value, f32::INFINITY, f32::NAN, -1.0][self.layer.n_rows % 4];
            }
            let mut expected = found.clone();
            self.kernels.log1p_f32(self.layer.factor, &mut found);
            reference::log1p_f32(self.layer.factor, &mut expected);
            let is_same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
            if let Some(at) = found.iter().zip(&expected).position(|pair| !is_same(pair)) {
                let found = format!("at {at}: {} for {}", found[at], expected[at]);
                return Err(self.mismatch("log1p_f32", found));
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        operator: &'static str,
        found: &[f32],
        expected: &[Sum],
    ) -> Result<(), Mismatch> {
        let pairs = || found.iter().zip(expected);
        let is_near = |(&found, sum): (&f32, &Sum)| match sum.n_terms {
            0.0 => f64::from(found) == sum.exact,
            _ => sum.is_near(found),
        };
        let Some(at) = pairs().position(|pair| !is_near(pair)) else { return Ok(()) };
        let Sum { exact, magnitude, .. } = expected[at];
        let found = format!("at {at}: {} for {exact}, terms sum to {magnitude}", found[at]);
        Err(self.mismatch(operator, found))
    }

    fn mismatch(&self, operator: &'static str, found: String) -> Mismatch {
        let FloatLayer { in_dim, out_dim, n_rows, .. } = *self.layer;
        Mismatch { isa: self.kernels.isa(), operator, shape: (in_dim, out_dim, n_rows), found }
    }
}
