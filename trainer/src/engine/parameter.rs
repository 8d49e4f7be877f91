//! A trained matrix with its gradient and optimiser state, and the two update rules.

use rayon::prelude::*;

use super::drawn_genes::Draw;
use super::simd::vectorised;

/// `[rows × cols]`, row-major: inputs × outputs, so that a gene's weights are contiguous.
pub(crate) struct Parameter {
    pub(crate) cols: usize,
    pub(crate) value: Vec<f32>,
    pub(crate) gradient: Vec<f32>,
    pub(crate) first_moment: Vec<f32>,
    pub(crate) second_moment: Vec<f32>,
    /// The part that belongs to the linear skip and learns at its own rate.
    pub(crate) skip: SkipPart,
    /// Whether weight decay applies: to weights, not to biases and scales.
    pub(crate) decays: bool,
    /// The columns that the step is about, where it is not about all; the gradient is then `[rows × drawn columns]`.
    pub(crate) drawn: Option<Draw>,
}

/// Which part of a matrix is the linear skip.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum SkipPart {
    None,
    /// Columns from this one on (first encoder layer).
    Columns(usize),
    /// Rows from this one on (last decoder layer).
    Rows(usize),
}

/// One optimiser step's constants.
#[derive(Clone, Copy)]
pub(crate) struct Update {
    pub(crate) rule: Rule,
    pub(crate) learning_rate: f32,
    /// Learning rate of the linear skip as a share of the other.
    pub(crate) skip_rate: f32,
    pub(crate) weight_decay: f32,
    /// Factor on every gradient: below 1 where clipping applies.
    pub(crate) gradient_scale: f32,
    /// 1 for the first step.
    pub(crate) step: u64,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    Sgd,
    /// Kingma and Ba 2015, with the decay of Loshchilov and Hutter 2019 outside the moments.
    Adam {
        beta1: f32,
        beta2: f32,
        epsilon: f32,
    },
}

impl Parameter {
    pub(crate) fn new(rows: usize, cols: usize, decays: bool) -> Self {
        let zeros = || vec![0.0; rows * cols];
        Self {
            cols,
            value: zeros(),
            gradient: zeros(),
            first_moment: zeros(),
            second_moment: zeros(),
            skip: SkipPart::None,
            decays,
            drawn: None,
        }
    }

    /// Applies one step with the gradient.
    pub(crate) fn update(&mut self, update: &Update) {
        if let Some(drawn) = &self.drawn {
            let update = Update { step: drawn.count, ..*update };
            return self.update_drawn(&update);
        }
        let rows_per_chunk = CHUNK.div_ceil(self.cols).max(1);
        let len = rows_per_chunk * self.cols;
        let [plain, of_skip] =
            [false, true].map(|is_skip| Rates::new(update, is_skip, self.decays));
        let skip = if plain == of_skip { SkipPart::None } else { self.skip };
        let cols = self.cols;
        self.value
            .par_chunks_mut(len)
            .zip(self.gradient.par_chunks(len))
            .zip(self.first_moment.par_chunks_mut(len))
            .zip(self.second_moment.par_chunks_mut(len))
            .enumerate()
            .for_each(|(chunk, (((value, gradient), first), second))| {
                let first_row = chunk * rows_per_chunk;
                for_each_rate(first_row, value.len() / cols, cols, skip, |range, is_skip| {
                    let rates = if is_skip { of_skip } else { plain };
                    rates.apply(
                        &mut value[range.clone()],
                        &gradient[range.clone()],
                        &mut first[range.clone()],
                        &mut second[range],
                    );
                });
            });
    }

    fn update_drawn(&mut self, update: &Update) {
        let (cols, skip) = (self.cols, self.skip);
        let [plain, of_skip] =
            [false, true].map(|is_skip| Rates::new(update, is_skip, self.decays));
        let Some(drawn) = &self.drawn else { return };
        self.value
            .par_chunks_mut(cols)
            .zip(self.gradient.par_chunks(drawn.n_drawn))
            .zip(self.first_moment.par_chunks_mut(cols))
            .zip(self.second_moment.par_chunks_mut(cols))
            .enumerate()
            .for_each(|(row, (((value, gradient), first), second))| {
                let is_skip = matches!(skip, SkipPart::Rows(from) if row >= from);
                let rates = if is_skip { of_skip } else { plain };
                for (columns, at) in drawn.ranges() {
                    rates.apply(
                        &mut value[columns.clone()],
                        &gradient[at..at + columns.len()],
                        &mut first[columns.clone()],
                        &mut second[columns],
                    );
                }
            });
    }

    /// The gradient of the step.
    fn step_gradient(&self) -> &[f32] {
        let drawn = self.drawn.as_ref().map_or(self.cols, |drawn| drawn.n_drawn);
        &self.gradient[..self.value.len() / self.cols * drawn]
    }

    /// Sum of the squared gradient, summed in chunks of fixed bounds.
    pub(crate) fn gradient_square(&self, partial: &mut Vec<f64>) -> f64 {
        self.step_gradient().par_chunks(CHUNK).map(sum_of_squares).collect_into_vec(partial);
        partial.iter().sum()
    }
}

/// Calls `f` with the element ranges of a chunk that share a learning rate.
fn for_each_rate(
    first_row: usize,
    n_rows: usize,
    cols: usize,
    skip: SkipPart,
    mut f: impl FnMut(core::ops::Range<usize>, bool),
) {
    match skip {
        SkipPart::None => f(0..n_rows * cols, false),
        SkipPart::Rows(from) => {
            let split = from.saturating_sub(first_row).min(n_rows) * cols;
            f(0..split, false);
            f(split..n_rows * cols, true);
        }
        SkipPart::Columns(from) => {
            for start in (0..n_rows * cols).step_by(cols) {
                f(start..start + from, false);
                f(start + from..start + cols, true);
            }
        }
    }
}

/// The constants of an element's update.
#[derive(Clone, Copy, PartialEq)]
struct Rates {
    rule: Rule,
    gradient_scale: f32,
    step_size: f32,
    /// 1/√(1 − β₂ᵗ)
    second_scale: f32,
    /// 1 − rate × decay
    keep: f32,
}

impl Rates {
    fn new(update: &Update, is_skip: bool, decays: bool) -> Self {
        let rate = update.learning_rate * if is_skip { update.skip_rate } else { 1.0 };
        // The skip starts from the principal components: shrinking it would undo them.
        let decay = if decays && !is_skip { update.weight_decay } else { 0.0 };
        let (step_size, second_scale) = match update.rule {
            Rule::Sgd => (rate, 1.0),
            Rule::Adam { beta1, beta2, .. } => {
                let correction = |beta: f32| 1.0 - libm::pow(f64::from(beta), update.step as f64);
                let step_size = f64::from(rate) / correction(beta1);
                (step_size as f32, (1.0 / libm::sqrt(correction(beta2))) as f32)
            }
        };
        let keep = 1.0 - rate * decay;
        Self {
            rule: update.rule,
            gradient_scale: update.gradient_scale,
            step_size,
            second_scale,
            keep,
        }
    }

    fn apply(self, value: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Self { gradient_scale, step_size, second_scale, keep, .. } = self;
        let n = value.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        match self.rule {
            Rule::Sgd => vectorised(
                #[inline(always)]
                || {
                    for i in 0..n {
                        value[i] = keep * value[i] - step_size * gradient_scale * gradient[i];
                    }
                },
            ),
            Rule::Adam { beta1, beta2, epsilon } => vectorised(
                #[inline(always)]
                || {
                    for i in 0..n {
                        let g = gradient_scale * gradient[i];
                        let m = beta1 * first[i] + (1.0 - beta1) * g;
                        let v = beta2 * second[i] + (1.0 - beta2) * g * g;
                        first[i] = m;
                        second[i] = v;
                        let denominator = v.sqrt() * second_scale + epsilon;
                        value[i] = keep * value[i] - step_size * m / denominator;
                    }
                },
            ),
        }
    }
}

fn sum_of_squares(values: &[f32]) -> f64 {
    // Sixteen lanes, whatever the processor has: the order of the sum is fixed.
    let mut lanes = [0.0_f64; 16];
    vectorised(
        #[inline(always)]
        || {
            let chunks = values.chunks_exact(16);
            for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
                *lane += f64::from(x) * f64::from(x);
            }
            for chunk in chunks {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane += f64::from(x) * f64::from(x);
                }
            }
        },
    );
    lanes.iter().sum()
}

/// Elements that one task updates.
const CHUNK: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    const ADAM: Rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    fn update(rule: Rule) -> Update {
        Update {
            rule,
            learning_rate: 0.1,
            skip_rate: 0.5,
            weight_decay: 0.01,
            gradient_scale: 1.0,
            step: 1,
        }
    }

    #[test]
    fn the_first_adam_step_moves_by_the_learning_rate_against_the_gradient() {
        let mut parameter = Parameter::new(2, 3, true);
        parameter.value = vec![1.0; 6];
        parameter.gradient = vec![0.5, -2.0, 1e-3, 7.0, -7.0, 3.0];
        parameter.update(&update(ADAM));
        for (value, gradient) in parameter.value.iter().zip(&parameter.gradient) {
            let expected = 1.0 - 0.1 * 0.01 - 0.1 * gradient.signum();
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }

    #[test]
    fn three_adam_steps_equal_the_published_formulas() {
        let mut parameter = Parameter::new(1, 1, false);
        let (mut w, mut m, mut v) = (0.3_f64, 0.0, 0.0);
        parameter.value[0] = 0.3;
        for (step, gradient) in [(1, 0.4_f64), (2, -0.1), (3, 0.25)] {
            parameter.gradient[0] = gradient as f32;
            parameter.update(&Update { step, ..update(ADAM) });
            m = 0.9 * m + 0.1 * gradient;
            v = 0.999 * v + 0.001 * gradient * gradient;
            let (mh, vh) =
                (m / (1.0 - 0.9_f64.powi(step as i32)), v / (1.0 - 0.999_f64.powi(step as i32)));
            w -= 0.1 * mh / (vh.sqrt() + 1e-8);
        }
        assert!((f64::from(parameter.value[0]) - w).abs() < 1e-5, "{} {w}", parameter.value[0]);
    }

    #[test]
    fn the_skip_part_learns_at_its_own_rate_and_does_not_decay() {
        for (skip, is_skip) in [
            (SkipPart::Columns(2), [false, false, true, false, false, true]),
            (SkipPart::Rows(1), [false, false, false, true, true, true]),
        ] {
            let mut parameter = Parameter::new(2, 3, true);
            parameter.skip = skip;
            parameter.value = vec![1.0; 6];
            parameter.gradient = vec![1.0; 6];
            parameter.update(&update(Rule::Sgd));
            for (value, is_skip) in parameter.value.iter().zip(is_skip) {
                let expected = if is_skip { 0.95 } else { 0.999 - 0.1 };
                assert!((value - expected).abs() < 1e-6, "{value} {expected}");
            }
        }
    }

    #[test]
    fn the_squared_norm_counts_every_element_once() {
        let mut parameter = Parameter::new(1000, 37, false);
        parameter.gradient.fill(2.0);
        let square = parameter.gradient_square(&mut Vec::new());
        assert_eq!(square, 4.0 * 37_000.0);
    }
}
