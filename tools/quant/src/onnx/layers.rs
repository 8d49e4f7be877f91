//! A chain of dense layers in double precision, grown from what nodes do to a row of numbers.

use cic_model::{Activation, DenseLayer, Segment};

/// `y = f(W x + b)`, and what its tensors are called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WideLayer {
    pub(super) in_dim: usize,
    /// `[out_dim × in_dim]`
    pub(super) weights: Vec<f64>,
    /// `[out_dim]`
    pub(super) bias: Vec<f64>,
    pub(super) activation: Activation,
    /// Tensors that hold `W x + b`.
    pub(super) sums: Vec<String>,
    /// Tensors that hold `y`, where it has an activation.
    pub(super) outputs: Vec<String>,
}

/// `factor · x + offset`, number by number; a single one stands for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Diagonal {
    pub(super) factor: Vec<f64>,
    pub(super) offset: Vec<f64>,
}

impl Diagonal {
    pub(super) fn factor(factor: Vec<f64>) -> Self {
        Self { factor, offset: vec![0.0] }
    }

    pub(super) fn offset(offset: Vec<f64>) -> Self {
        Self { factor: vec![1.0], offset }
    }

    /// How many numbers it is for; `None` for any.
    fn dim(&self) -> Option<usize> {
        let longest = self.factor.len().max(self.offset.len());
        (longest > 1).then_some(longest)
    }

    fn at(&self, index: usize) -> (f64, f64) {
        let of = |list: &[f64]| if list.len() == 1 { list[0] } else { list[index] };
        (of(&self.factor), of(&self.offset))
    }

    /// This after another one.
    fn after(&self, first: &Self) -> Self {
        let n = self.dim().or(first.dim()).unwrap_or(1);
        let both = (0..n).map(|index| {
            let ((factor, offset), (inner, shift)) = (self.at(index), first.at(index));
            (factor * inner, factor * shift + offset)
        });
        let (factor, offset) = both.unzip();
        Self { factor, offset }
    }
}

/// Layers so far.
#[derive(Debug, Default)]
pub(super) struct Chain {
    layers: Vec<WideLayer>,
    /// What happened to the last layer's outputs, or to the input, and waits for the next layer.
    waiting: Option<Diagonal>,
    /// Numbers of the input, where they are known.
    n_inputs: Option<usize>,
}

/// Two sizes that should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) found: usize,
    pub(super) expected: usize,
}

impl Chain {
    pub(super) fn new(n_inputs: Option<usize>) -> Self {
        Self { layers: Vec::new(), waiting: None, n_inputs }
    }

    /// How many numbers a row has here, where that is known.
    pub(super) fn width(&self) -> Option<usize> {
        let waiting = self.waiting.as_ref().and_then(Diagonal::dim);
        self.layers.last().map(|layer| layer.bias.len()).or(self.n_inputs).or(waiting)
    }

    /// A layer `[out_dim × in_dim]` follows.
    pub(super) fn affine(
        &mut self,
        in_dim: usize,
        mut weights: Vec<f64>,
        mut bias: Vec<f64>,
    ) -> Result<(), Mismatch> {
        self.expect(in_dim)?;
        if let Some(waiting) = self.waiting.take() {
            for (row, bias) in weights.chunks_exact_mut(in_dim.max(1)).zip(&mut bias) {
                for (index, weight) in row.iter_mut().enumerate() {
                    let (factor, offset) = waiting.at(index);
                    *bias += *weight * offset;
                    *weight *= factor;
                }
            }
        }
        let activation = Activation::Identity;
        let (sums, outputs) = (Vec::new(), Vec::new());
        self.layers.push(WideLayer { in_dim, weights, bias, activation, sums, outputs });
        Ok(())
    }

    /// Every number is scaled and shifted: in the layer before, unless that has an activation already.
    pub(super) fn diagonal(&mut self, map: Diagonal) -> Result<(), Mismatch> {
        if let Some(dim) = map.dim() {
            self.expect(dim)?;
        }
        match self.layers.last_mut() {
            Some(layer) if layer.activation == Activation::Identity && self.waiting.is_none() => {
                let rows = layer.weights.chunks_exact_mut(layer.in_dim.max(1));
                for ((index, row), bias) in rows.enumerate().zip(&mut layer.bias) {
                    let (factor, offset) = map.at(index);
                    row.iter_mut().for_each(|weight| *weight *= factor);
                    *bias = *bias * factor + offset;
                }
                // What they were called is something else now.
                layer.sums.clear();
            }
            _ => {
                let before = self.waiting.take();
                self.waiting = Some(before.map_or(map.clone(), |before| map.after(&before)));
            }
        }
        Ok(())
    }

    /// An activation follows; `false` where it would want a layer of its own of unknown width, or of more than [`WIDEST`].
    pub(super) fn activation(&mut self, activation: Activation) -> bool {
        let is_free = |layer: &WideLayer| layer.activation == Activation::Identity;
        if self.waiting.is_some() || !self.layers.last().is_some_and(is_free) {
            let Some(width) = self.width().filter(|&width| width <= WIDEST) else { return false };
            self.unit_layer(width);
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.activation = activation;
        }
        true
    }

    pub(super) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// The activation that the chain ends in, where it ends in one.
    pub(super) fn last_activation(&self) -> Option<Activation> {
        self.layers.last().filter(|_| self.waiting.is_none()).map(|layer| layer.activation)
    }

    /// The tensor that holds what the chain gives so far.
    pub(super) fn name(&mut self, tensor: &str) {
        let (Some(layer), None) = (self.layers.last_mut(), &self.waiting) else { return };
        let names = match layer.activation {
            Activation::Identity => &mut layer.sums,
            _ => &mut layer.outputs,
        };
        names.push(tensor.into());
    }

    /// The layers; none where no node had weights, or where what follows the last activation is too wide.
    pub(super) fn finish(mut self) -> Vec<WideLayer> {
        match self.width() {
            _ if self.waiting.is_none() => self.layers,
            Some(width) if width <= WIDEST => {
                self.unit_layer(width);
                self.layers
            }
            _ => Vec::new(),
        }
    }

    /// A layer that changes nothing but by what waits.
    fn unit_layer(&mut self, width: usize) {
        let unit = WideLayer::unit(width, Activation::Identity);
        // Its width is that of the chain.
        let _ = self.affine(width, unit.weights, unit.bias);
    }

    fn expect(&self, found: usize) -> Result<(), Mismatch> {
        match self.width() {
            Some(expected) if expected != found => Err(Mismatch { found, expected }),
            _ => Ok(()),
        }
    }
}

impl WideLayer {
    /// `f(x)`
    pub(super) fn unit(width: usize, activation: Activation) -> Self {
        let mut weights = vec![0.0; width * width];
        weights.iter_mut().step_by(width + 1).for_each(|weight| *weight = 1.0);
        let (sums, outputs) = (Vec::new(), Vec::new());
        Self { in_dim: width, weights, bias: vec![0.0; width], activation, sums, outputs }
    }

    pub(super) fn out_dim(&self) -> usize {
        self.bias.len()
    }

    /// Whether no number is infinite once it is rounded, or none at all.
    pub(super) fn fits_single(&self) -> bool {
        self.weights.iter().chain(&self.bias).all(|&number| (number as f32).is_finite())
    }

    /// Rounded once.
    pub(super) fn rounded(&self) -> DenseLayer {
        DenseLayer {
            in_dim: self.in_dim,
            segments: vec![Segment { len: self.out_dim(), activation: self.activation }],
            carry: 0,
            weights: self.weights.iter().map(|&weight| weight as f32).collect(),
            bias: self.bias.iter().map(|&bias| bias as f32).collect(),
        }
    }
}

/// Widest layer that only changes number by number: its weights are a square.
pub(super) const WIDEST: usize = 1024;
/// Layers of a chain. Each may be such a square, and a file of a few kilobytes could ask for any number of them.
pub(super) const MOST_LAYERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(layers: &[WideLayer], input: &[f64]) -> Vec<f64> {
        layers.iter().fold(input.to_vec(), |input, layer| {
            let rows = layer.weights.chunks_exact(layer.in_dim).zip(&layer.bias);
            rows.map(|(row, bias)| {
                let sum: f64 = row.iter().zip(&input).map(|(w, x)| w * x).sum::<f64>() + bias;
                f64::from(layer.activation.apply(sum as f32))
            })
            .collect()
        })
    }

    /// (x − 1)·2, W, +3, ·0.5, ReLU, ·[10, 100], V.
    #[test]
    fn what_stands_between_layers_is_folded_into_them() {
        let mut chain = Chain::new(None);
        chain.diagonal(Diagonal::offset(vec![-1.0])).unwrap();
        chain.diagonal(Diagonal::factor(vec![2.0])).unwrap();
        chain.affine(2, vec![1.0, 2.0, -1.0, 1.0], vec![0.0, 1.0]).unwrap();
        chain.diagonal(Diagonal::offset(vec![3.0])).unwrap();
        chain.diagonal(Diagonal::factor(vec![0.5])).unwrap();
        assert!(chain.activation(Activation::Relu));
        chain.diagonal(Diagonal::factor(vec![10.0, 100.0])).unwrap();
        chain.affine(2, vec![1.0, 1.0], vec![0.25]).unwrap();
        let layers = chain.finish();
        assert_eq!(layers.len(), 2);
        let x = [4.0, 2.0];
        let scaled = [(x[0] - 1.0) * 2.0, (x[1] - 1.0) * 2.0];
        let hidden = [scaled[0] + 2.0 * scaled[1], -scaled[0] + scaled[1] + 1.0];
        let hidden = hidden.map(|sum: f64| (0.5 * (sum + 3.0)).max(0.0));
        assert_eq!(run(&layers, &x), [10.0 * hidden[0] + 100.0 * hidden[1] + 0.25]);
    }

    #[test]
    fn what_follows_the_last_activation_gets_a_layer() {
        let mut chain = Chain::new(Some(1));
        assert!(chain.activation(Activation::Relu));
        chain.diagonal(Diagonal::factor(vec![3.0])).unwrap();
        assert!(chain.activation(Activation::Tanh));
        let layers = chain.finish();
        assert_eq!(layers.len(), 2);
        assert_eq!(run(&layers, &[0.1]), [f64::from(((3.0 * 0.1_f32 as f64) as f32).tanh())]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_told() {
        let mut chain = Chain::new(Some(3));
        let fault = chain.affine(2, vec![0.0; 2], vec![0.0]).unwrap_err();
        assert_eq!(fault, Mismatch { found: 2, expected: 3 });
        assert!(chain.diagonal(Diagonal::factor(vec![1.0; 4])).is_err());
        assert!(!Chain::new(None).activation(Activation::Relu));
    }
}
