//! Activations over slices, and their derivatives from the activated value.
//!
//! The values are those of [`Activation::apply`] to about 1e-6; the exponential is a polynomial
//! without branches, because a library call per element would cost as much as the matrix product.

use cic_model::Activation;

use super::simd::vectorised;

/// Replaces each `x` by its activation.
pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => map(values, |x| x.max(0.0)),
        Activation::Sigmoid => map(values, sigmoid),
        Activation::LogSigmoid => map(values, |x| -soft_plus(-x)),
        Activation::Tanh => map(values, |x| 2.0 * sigmoid(2.0 * x) - 1.0),
        Activation::SoftPlus => map(values, soft_plus),
        Activation::SoftShrink => {
            map(values, |x| x - x.clamp(-SHRINK, SHRINK));
        }
    }
}

/// Multiplies each gradient by the derivative at the input whose activation was `y`.
pub(crate) fn activate_backward(activation: Activation, y: &[f32], gradient: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => zip(y, gradient, |y| if y > 0.0 { 1.0 } else { 0.0 }),
        Activation::Sigmoid => zip(y, gradient, |y| y * (1.0 - y)),
        Activation::LogSigmoid => zip(y, gradient, |y| 1.0 - exp(y)),
        Activation::Tanh => zip(y, gradient, |y| 1.0 - y * y),
        Activation::SoftPlus => zip(y, gradient, |y| 1.0 - exp(-y)),
        Activation::SoftShrink => zip(y, gradient, |y| if y == 0.0 { 0.0 } else { 1.0 }),
    }
}

#[inline(always)]
fn map(values: &mut [f32], f: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for value in values {
                *value = f(*value);
            }
        },
    );
}

#[inline(always)]
fn zip(y: &[f32], gradient: &mut [f32], derivative: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for (gradient, &y) in gradient.iter_mut().zip(y) {
                *gradient *= derivative(y);
            }
        },
    );
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    // exp(-|x|) never overflows; the two signs share it.
    let e = exp(-x.abs());
    let positive = 1.0 / (1.0 + e);
    if x >= 0.0 { positive } else { e * positive }
}

#[inline(always)]
fn soft_plus(x: f32) -> f32 {
    x.max(0.0) + ln_1p_of_unit(exp(-x.abs()))
}

/// `exp(x)` for x ≤ 0; what would be subnormal is zero.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, then the Taylor polynomial of degree 6 (error below 2e-7
/// relative) and the exponent added to the bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.max(-87.0);
    // Adding 1.5·2²³ leaves the nearest integer in the low bits of the mantissa.
    let shifted = x.mul_add(core::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    // ln 2 in two parts, the first exact in products with small integers.
    let r = n.mul_add(-LN_2_HIGH, x);
    let r = n.mul_add(-LN_2_LOW, r);
    let mut p = 1.0 / 720.0;
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, coefficient);
    }
    let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

/// `ln(1 + e)` for e in [0, 1], as 2·artanh(s) with s = e / (2 + e) ≤ 1/3.
#[inline(always)]
fn ln_1p_of_unit(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let square = s * s;
    let mut p = 1.0 / 15.0;
    for coefficient in [1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0] {
        p = square.mul_add(p, coefficient);
    }
    2.0 * s * p
}

const SHRINK: f32 = 0.5;
const MAGIC: f32 = 12_582_912.0;
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_agree_with_the_models_definition() {
        for activation in Activation::ALL {
            for step in -4000..=4000 {
                let x = step as f32 * 0.02;
                let mut y = [x];
                activate(activation, &mut y);
                let expected = activation.apply(x);
                let error = (y[0] - expected).abs();
                assert!(error <= 1e-6 * expected.abs().max(1.0), "{activation:?} {x}: {}", y[0]);
            }
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for activation in Activation::ALL {
            for x in [-1e30_f32, -1000.0, 0.0, 1000.0, 1e30] {
                let mut y = [x];
                activate(activation, &mut y);
                let mut gradient = [1.0];
                activate_backward(activation, &y, &mut gradient);
                assert!(y[0].is_finite() && gradient[0].is_finite(), "{activation:?} {x}");
            }
        }
    }

    #[test]
    fn derivatives_agree_with_differences() {
        for activation in Activation::ALL {
            for step in -40..40 {
                // Between the kinks of the piecewise linear ones.
                let x = f64::from(step) * 0.1 + 0.033;
                let value = |x: f64| {
                    let mut y = [x as f32];
                    activate(activation, &mut y);
                    f64::from(y[0])
                };
                let numeric = (value(x + 1e-2) - value(x - 1e-2)) / 2e-2;
                let mut gradient = [1.0];
                activate_backward(activation, &[value(x) as f32], &mut gradient);
                let analytic = f64::from(gradient[0]);
                assert!(
                    (analytic - numeric).abs() < 2e-4,
                    "{activation:?} {x} {analytic} {numeric}"
                );
            }
        }
    }
}
