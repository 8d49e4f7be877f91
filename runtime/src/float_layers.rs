//! Layers of f32, f16 and mixed models, by the kernel that their layout has.

use cic_model::layer::{Epilogue, Layer, Weights};
use cic_model::profile::limited;

use crate::kernels::float::{BLOCK, Columns, FloatKernels, FloatSumRows, InputRows};

/// Values that wait for their products with the first layer.
pub(crate) struct Listed<'a> {
    kernels: &'a FloatKernels,
    layer: &'a Layer<'a>,
    /// Of values that are scaled; the others are network inputs.
    factor: Option<f32>,
    /// What the inputs of all genes are at most; empty for no limits.
    limits: &'a [f32],
    sums: &'a mut [f32],
    genes: [u32; BLOCK],
    values: [f32; BLOCK],
    len: usize,
}

impl<'a> Listed<'a> {
    pub(crate) fn new(
        kernels: &'a FloatKernels,
        layer: &'a Layer<'a>,
        factor: Option<f32>,
        limits: &'a [f32],
        sums: &'a mut [f32],
    ) -> Self {
        let (genes, values) = ([0; BLOCK], [0.0; BLOCK]);
        Self { kernels, layer, factor, limits, sums, genes, values, len: 0 }
    }

    pub(crate) fn push(&mut self, gene: u32, value: f32) {
        if self.len == BLOCK {
            self.flush();
        }
        if let (Some(place), Some(input)) =
            (self.genes.get_mut(self.len), self.values.get_mut(self.len))
        {
            (*place, *input) = (gene, value);
            self.len += 1;
        }
    }

    /// Adds the products of what waits to the sums of all rows; those with integers are not scaled.
    pub(crate) fn flush(&mut self) {
        let len = core::mem::take(&mut self.len);
        let genes = self.genes.get(..len).unwrap_or(&[]);
        let values = self.values.get_mut(..len).unwrap_or(&mut []);
        if let Some(factor) = self.factor {
            self.kernels.log1p_f32(factor, values);
        }
        if !self.limits.is_empty() {
            for (&gene, value) in genes.iter().zip(&mut *values) {
                *value = limited(self.limits, gene as usize, *value);
            }
        }
        let layer = self.layer;
        let layout = layer.layout();
        let is_gene_major = layout.block == 1 && layout.panel as usize == self.sums.len();
        match layer.weights() {
            Weights::F32(weights) if is_gene_major => {
                self.kernels.sparse_f32(weights, genes, values, self.sums);
            }
            Weights::F16(weights) if is_gene_major => {
                self.kernels.sparse_f16(weights, genes, values, self.sums);
            }
            Weights::S8(weights) if is_gene_major => {
                self.kernels.sparse_i8(weights, genes, values, self.sums);
            }
            _ => {
                for (row, sum) in self.sums.iter_mut().enumerate() {
                    *sum += genes
                        .iter()
                        .zip(&*values)
                        .fold(0.0, |sum, (&gene, &x)| sum + x * layer.stored(row, gene as usize));
                }
            }
        }
    }
}

/// A stage whose input is dense; `out` receives its last layer's sums, carry included.
pub(crate) fn dense_stage(
    kernels: &FloatKernels,
    layers: &[Layer<'_>],
    first: &Layer<'_>,
    input: &[f32],
    a: &mut [f32],
    b: &mut [f32],
    out: &mut [f32],
) {
    out.fill(0.0);
    let Some((_, rest)) = layers.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        add_sums(kernels, first, 0, input, out);
        return;
    };
    activated_layer(kernels, first, input, a);
    hidden_layers(kernels, rest, first.activated_dim(), a, b, out);
    let n_carried = first.carry().min(out.len());
    if let Some(out) = out.get_mut(..n_carried) {
        add_sums(kernels, first, first.activated_dim(), input, out);
    }
}

/// The layers after the first, from the `in_dim` values in `a`, without what is carried.
pub(crate) fn hidden_layers(
    kernels: &FloatKernels,
    layers: &[Layer<'_>],
    in_dim: usize,
    a: &mut [f32],
    b: &mut [f32],
    out: &mut [f32],
) {
    let (mut from, mut to) = (a, b);
    let mut in_dim = in_dim;
    out.fill(0.0);
    for (number, layer) in layers.iter().enumerate() {
        let input = from.get(..in_dim).unwrap_or(&[]);
        if number + 1 == layers.len() {
            add_sums(kernels, layer, 0, input, out);
        } else {
            activated_layer(kernels, layer, input, to);
        }
        in_dim = layer.activated_dim();
        core::mem::swap(&mut from, &mut to);
    }
}

/// The activated outputs of a layer, at the beginning of `to`.
fn activated_layer(kernels: &FloatKernels, layer: &Layer<'_>, input: &[f32], to: &mut [f32]) {
    let sums = to.get_mut(..layer.activated_dim()).unwrap_or(&mut []);
    sums.fill(0.0);
    add_sums(kernels, layer, 0, input, sums);
    activate(layer, sums);
}

/// Puts the activations of a layer in the place of their sums.
pub(crate) fn activate(layer: &Layer<'_>, sums: &mut [f32]) {
    let mut places = sums.iter_mut();
    for segment in layer.segments() {
        for place in places.by_ref().take(segment.len) {
            *place = segment.activation.apply(*place);
        }
    }
}

/// Adds bias and products of the rows from `first` on to their sums.
fn add_sums(
    kernels: &FloatKernels,
    layer: &Layer<'_>,
    first: usize,
    input: &[f32],
    sums: &mut [f32],
) {
    if let Epilogue::Float { bias, .. } = layer.epilogue() {
        for (sum, &bias) in sums.iter_mut().zip(bias.get(first..).unwrap_or(&[])) {
            *sum += bias;
        }
    }
    match layer.weights() {
        Weights::F32(weights) => match Form::of(layer, weights, first, sums.len()) {
            Form::Rows(rows) => kernels.rows_f32(rows, input, sums),
            Form::Columns(columns) => {
                let sums = &mut FloatSumRows::single(sums);
                kernels.columns_f32(&columns, 0, InputRows::single(input), sums);
            }
            Form::Other => add_products(layer, first, input, sums),
        },
        Weights::F16(weights) => match Form::of(layer, weights, first, sums.len()) {
            Form::Rows(rows) => kernels.rows_f16(rows, input, sums),
            Form::Columns(columns) => {
                let sums = &mut FloatSumRows::single(sums);
                kernels.columns_f16(&columns, 0, InputRows::single(input), sums);
            }
            Form::Other => add_products(layer, first, input, sums),
        },
        Weights::S8(weights) => {
            // Products with integers are scaled before they join the sums.
            for (number, sums) in sums.chunks_mut(SCALED).enumerate() {
                let first = first + number * SCALED;
                let mut products = [0.0; SCALED];
                let products = products.get_mut(..sums.len()).unwrap_or(&mut []);
                match Form::of(layer, weights, first, sums.len()) {
                    Form::Rows(rows) => kernels.rows_i8(rows, input, products),
                    Form::Columns(columns) => {
                        let products = &mut FloatSumRows::single(products);
                        kernels.columns_i8(&columns, 0, InputRows::single(input), products);
                    }
                    Form::Other => add_products(layer, first, input, products),
                }
                let scales = layer.scales().get(first..).unwrap_or(&[]);
                for (sum, (&product, &scale)) in sums.iter_mut().zip(products.iter().zip(scales)) {
                    *sum += scale * product;
                }
            }
        }
    }
}

/// Rows whose products with integers are scaled together.
const SCALED: usize = 64;

/// Some rows of a layer, as its layout has them.
enum Form<'a, W> {
    Rows(&'a [W]),
    Columns(Columns<'a, W>),
    /// A layout that no kernel reads.
    Other,
}

impl<'a, W> Form<'a, W> {
    fn of(layer: &Layer<'_>, weights: &'a [W], first: usize, n_rows: usize) -> Self {
        let layout = layer.layout();
        let (in_dim, out_dim) = (layer.in_dim(), layer.out_dim());
        let rows = first..first + n_rows;
        if layout.panel == 1 && layout.block as usize == in_dim {
            let rows = weights.get(rows.start * in_dim..rows.end * in_dim);
            return rows.map_or(Self::Other, Self::Rows);
        }
        if layout.block == 1 && layout.panel as usize == out_dim {
            let columns = Columns::new_checked(weights, in_dim, out_dim);
            let columns = columns.and_then(|columns| columns.with_outputs(rows));
            return columns.map_or(Self::Other, Self::Columns);
        }
        Self::Other
    }
}

/// Adds the products of any layout; those with integers are not scaled.
fn add_products(layer: &Layer<'_>, first: usize, input: &[f32], sums: &mut [f32]) {
    for (row, sum) in (first..).zip(sums) {
        *sum += (0..).zip(input).fold(0.0, |sum, (column, &x)| sum + x * layer.stored(row, column));
    }
}
