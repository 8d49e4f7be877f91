//! The worked examples of `docs/numerics.md`.

use cic_model::ValueKind;
use cic_model::profile::{
    CountLevels, GeneScale, Library, Scaling, fit_count_thresholds, fit_value_thresholds,
    library_size, limited, limited_unit, value_level,
};
use cic_model::quant::{ONE_Q16, ONE_Q30, Ratio, requantize_i32, softmax_q16};

#[test]
fn section_1_network_inputs() {
    let scaling = Scaling { kind: ValueKind::Counts, library: Library::Panel, target_sum: 10_000 };
    let factor = scaling.factor(2_000.0, 0.0, ONE_Q30).unwrap();
    assert!((scaling.input(3.0, factor) - 2.772_589).abs() < 1e-6);
    assert_eq!(library_size(3_000, ONE_Q30 / 4 * 3), Some(4_000));
}

#[test]
fn section_2_levels_of_counts() {
    let (shift, thresholds) = fit_count_thresholds(10_000, 0.05).unwrap();
    assert_eq!((shift, thresholds[0], thresholds[126]), (18, 6_636, 146_108_007));
    let mut levels = CountLevels::with_thresholds(&thresholds, 10_000 << 18, 2_000);
    assert_eq!(levels.level(1), 36);
}

#[test]
fn section_2_levels_with_a_limit() {
    let scaling =
        Scaling { kind: ValueKind::Counts, library: Library::AllMeasured, target_sum: 10_000 };
    let factor = scaling.factor(0.0, 2_000.0, ONE_Q30).unwrap();
    assert_eq!(limited(&[1.0], 0, scaling.input(1.0, factor)), 1.0);
    assert_eq!(limited_unit(0.05, 1.0, 20) * 20.0, 1.0);
    assert_eq!(limited_unit(0.05, 9.0, 127), 0.05);
}

#[test]
fn section_2_levels_of_intensities() {
    let thresholds = fit_value_thresholds(ValueKind::Log2Intensity, 1.0, 0.0);
    let wide = GeneScale { offset: 4.5, gain: 16.0 };
    let narrow = GeneScale { offset: 6.0, gain: 40.0 };
    assert_eq!((wide.apply(6.25), narrow.apply(6.25)), (28.0, 10.0));
    let levels = |value| [wide, narrow].map(|gene| value_level(&thresholds, gene.apply(value)));
    assert_eq!(levels(6.25), [28, 10]);
    assert_eq!(levels(3.0), [0, 0]);
}

#[test]
fn section_4_requantisation() {
    let half = Ratio::from_f64(0.5).unwrap();
    assert_eq!(half, Ratio { multiplier: 1 << 30, shift: 31 });
    let rounded = [-5, -3, -1, 1, 3, 5].map(|value| requantize_i32(value, half));
    assert_eq!(rounded, [-2, -1, 0, 1, 2, 3]);
}

#[test]
fn section_6_probabilities() {
    let mut probabilities = [0; 3];
    softmax_q16(&[131_072, 65_536, -65_536], ONE_Q16, &mut probabilities);
    assert_eq!(probabilities, [46_228, 17_006, 2_301]);
}
