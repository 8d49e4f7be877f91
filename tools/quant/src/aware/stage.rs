//! A chain of int8 layers whose weights move: forward in the runtime's integers, backward through rounding as if there were none.

use cic_model::quant::{Ratio, WEIGHT_MAX, requantize_i32, table_index};
use cic_model::spec::QuantLayer;

use super::adam::Adam;

/// Inputs whose level is not zero.
pub(super) type Active = Vec<(u32, u8)>;

pub(super) fn active(levels: &[u8]) -> Active {
    // Inputs of a layer are at most `MAX_INPUTS`.
    let numbered = levels.iter().enumerate().map(|(input, &level)| (input as u32, level));
    numbered.filter(|&(_, level)| level > 0).collect()
}

/// The layers; without any, nothing is given.
pub(super) struct Stage {
    layers: Vec<Layer>,
}

/// What a cell did to a stage.
#[derive(Default)]
pub(super) struct Trace {
    /// By layer.
    inputs: Vec<Active>,
    /// Table entries of the activated outputs, by hidden layer.
    entries: Vec<Vec<u8>>,
    /// Of the last layer, with what was carried.
    pub(super) sums: Vec<i32>,
}

struct Layer {
    /// With the integers in use.
    quant: QuantLayer,
    weights: Adam,
    bias: Adam,
    /// Levels per table entry at each entry, by segment.
    slopes: Vec<Vec<f32>>,
}

impl Stage {
    pub(super) fn new(layers: &[QuantLayer]) -> Self {
        Self { layers: layers.iter().map(Layer::new).collect() }
    }

    pub(super) fn layers(&self) -> Vec<QuantLayer> {
        self.layers.iter().map(|layer| layer.quant.clone()).collect()
    }

    /// Of the last layer.
    pub(super) fn ratios(&self) -> &[Ratio] {
        self.layers.last().map_or(&[], |layer| &layer.quant.epilogue.ratios)
    }

    pub(super) fn run(&self, levels: &Active) -> Trace {
        let mut trace = Trace::default();
        let mut carried = Vec::new();
        let mut inputs = levels.clone();
        for (number, layer) in self.layers.iter().enumerate() {
            let mut sums = layer.sums(&inputs);
            trace.inputs.push(inputs);
            if number + 1 == self.layers.len() {
                for (sum, carried) in sums.iter_mut().zip(&carried) {
                    *sum = sum.wrapping_add(*carried);
                }
                trace.sums = sums;
                break;
            }
            let ratios = &layer.quant.epilogue.ratios;
            let activated = layer.activated_dim();
            if number == 0 {
                let pairs = sums.iter().zip(ratios).skip(activated);
                carried = pairs.map(|(&sum, &ratio)| requantize_i32(sum, ratio)).collect();
            }
            let pairs = sums.iter().zip(ratios).take(activated);
            let entries: Vec<u8> = pairs.map(|(&sum, &ratio)| table_index(sum, ratio)).collect();
            let outputs: Vec<u8> = layer
                .by_row()
                .zip(&entries)
                .map(|(segment, &entry)| layer.quant.segments[segment].table[usize::from(entry)])
                .collect();
            trace.entries.push(entries);
            inputs = active(&outputs);
        }
        trace
    }

    /// Adds the gradients of a cell, from those of its sums; returns those of the input levels, `[in_dim]`.
    pub(super) fn back(&mut self, trace: &Trace, of_sums: &[f64]) -> Vec<f64> {
        let mut gradients = of_sums.to_vec();
        let mut of_inputs = Vec::new();
        let n_layers = self.layers.len();
        for (number, layer) in self.layers.iter_mut().enumerate().rev() {
            if number + 1 < n_layers {
                let ratios = &layer.quant.epilogue.ratios;
                let entries =
                    layer.by_row().zip(&trace.entries[number]).zip(ratios).zip(&of_inputs);
                gradients = entries
                    .map(|(((segment, &entry), ratio), of_level)| {
                        of_level
                            * f64::from(layer.slopes[segment][usize::from(entry)])
                            * ratio.to_f64()
                    })
                    .collect();
                if number == 0 {
                    let carried = ratios.iter().skip(layer.activated_dim()).zip(of_sums);
                    gradients.extend(carried.map(|(ratio, of_sum)| of_sum * ratio.to_f64()));
                }
            }
            of_inputs = layer.back(&trace.inputs[number], &gradients, number > 0 || n_layers == 1);
        }
        of_inputs
    }

    pub(super) fn step(&mut self, rate: f64) {
        for layer in &mut self.layers {
            layer.step(rate);
        }
    }
}

impl Layer {
    fn new(quant: &QuantLayer) -> Self {
        let weights = quant.weights.iter().map(|&weight| f32::from(weight)).collect();
        // In steps of a weight at half a level: as far as a weight moves a sum.
        let bias = quant.epilogue.bias.iter().map(|&bias| (f64::from(bias) / BIAS_UNIT) as f32);
        let slopes = quant.segments.iter().map(|segment| slopes(&segment.table)).collect();
        Self {
            weights: Adam::new(weights),
            bias: Adam::new(bias.collect()),
            slopes,
            quant: quant.clone(),
        }
    }

    fn activated_dim(&self) -> usize {
        self.quant.segments.iter().map(|segment| segment.len).sum()
    }

    /// The segment of every activated output.
    fn by_row(&self) -> impl Iterator<Item = usize> + '_ {
        let segments = self.quant.segments.iter().enumerate();
        segments.flat_map(|(number, segment)| std::iter::repeat_n(number, segment.len))
    }

    fn sums(&self, inputs: &Active) -> Vec<i32> {
        let rows = self.quant.weights.chunks_exact(self.quant.in_dim.max(1));
        rows.zip(&self.quant.epilogue.bias)
            .map(|(weights, &bias)| {
                let products = inputs
                    .iter()
                    .map(|&(input, level)| i32::from(level) * i32::from(weights[input as usize]));
                products.fold(bias, i32::wrapping_add)
            })
            .collect()
    }

    /// Adds gradients; returns those of the input levels where they are wanted.
    fn back(&mut self, inputs: &Active, of_sums: &[f64], wants_inputs: bool) -> Vec<f64> {
        let in_dim = self.quant.in_dim.max(1);
        let mut of_inputs = vec![0.0; if wants_inputs { in_dim } else { 0 }];
        let rows = self.weights.gradients.chunks_exact_mut(in_dim);
        let integers = self.quant.weights.chunks_exact(in_dim);
        for (row, ((gradients, weights), &of_sum)) in rows.zip(integers).zip(of_sums).enumerate() {
            if of_sum == 0.0 {
                continue;
            }
            self.bias.gradients[row] += (of_sum * BIAS_UNIT) as f32;
            for &(input, level) in inputs {
                gradients[input as usize] += (of_sum * f64::from(level)) as f32;
            }
            for (of_input, &weight) in of_inputs.iter_mut().zip(weights) {
                *of_input += of_sum * f64::from(weight);
            }
        }
        of_inputs
    }

    fn step(&mut self, rate: f64) {
        self.weights.step(rate);
        self.bias.step(rate);
        let most = f32::from(WEIGHT_MAX);
        for (integer, value) in self.quant.weights.iter_mut().zip(&mut self.weights.values) {
            *value = value.clamp(-most, most);
            // In −127..=127 after the clamp.
            *integer = value.round() as i8;
        }
        for (integer, value) in self.quant.epilogue.bias.iter_mut().zip(&self.bias.values) {
            // Saturates; a bias is far from where it would.
            *integer = (f64::from(*value) * BIAS_UNIT).round() as i32;
        }
    }
}

/// Mean slope of a table about every entry.
fn slopes(table: &[u8]) -> Vec<f32> {
    let slope = |entry: usize| {
        let (below, above) = (entry.saturating_sub(REACH), (entry + REACH).min(table.len() - 1));
        (f32::from(table[above]) - f32::from(table[below])) / (above - below) as f32
    };
    (0..table.len()).map(slope).collect()
}

/// What a step of a bias is worth, in units of the sums.
const BIAS_UNIT: f64 = 64.0;
/// Entries on either side that a slope is taken over: levels are steps.
const REACH: usize = 2;
