//! What the operators over ranges of inputs read and write, checked once.

use core::ops::Range;

/// Gene-major weights `[in_dim × out_dim]`, and some consecutive outputs of them.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a, W> {
    weights: &'a [W],
    in_dim: usize,
    out_dim: usize,
    first_output: usize,
    n_outputs: usize,
}

impl<'a, W> Columns<'a, W> {
    /// With all outputs. `None` where the number of weights does not fit.
    pub fn new_checked(weights: &'a [W], in_dim: usize, out_dim: usize) -> Option<Self> {
        let fits = in_dim.checked_mul(out_dim) == Some(weights.len());
        fits.then_some(Self { weights, in_dim, out_dim, first_output: 0, n_outputs: out_dim })
    }

    /// With some of all outputs; `None` where there are fewer.
    pub fn with_outputs(self, outputs: Range<usize>) -> Option<Self> {
        let fits = outputs.start <= outputs.end && outputs.end <= self.out_dim;
        fits.then_some(Self { first_output: outputs.start, n_outputs: outputs.len(), ..self })
    }

    /// All weights, `[in_dim × out_dim]`.
    pub fn weights(&self) -> &'a [W] {
        self.weights
    }

    /// Number of inputs.
    pub fn in_dim(&self) -> usize {
        self.in_dim
    }

    /// Weights from one input to the next.
    pub fn out_dim(&self) -> usize {
        self.out_dim
    }

    /// The first of the outputs.
    pub fn first_output(&self) -> usize {
        self.first_output
    }

    /// Number of outputs, at most [`Columns::out_dim`].
    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    /// Weights of an input for the outputs.
    pub fn column(&self, input: usize) -> &'a [W] {
        let start = input.saturating_mul(self.out_dim).saturating_add(self.first_output);
        self.weights.get(start..start.saturating_add(self.n_outputs)).unwrap_or(&[])
    }
}

/// Rows of network inputs, one per cell.
#[derive(Clone, Copy, Debug)]
pub struct InputRows<'a> {
    data: &'a [f32],
    stride: usize,
    width: usize,
    n_rows: usize,
}

impl<'a> InputRows<'a> {
    /// `n_rows` rows of `width` inputs, `stride` from one to the next. `None` where they do not fit
    /// or there are none.
    pub fn new_checked(
        data: &'a [f32],
        stride: usize,
        width: usize,
        n_rows: usize,
    ) -> Option<Self> {
        let last = n_rows.checked_sub(1)?.checked_mul(stride)?;
        let fits = stride >= width && last.checked_add(width)? <= data.len();
        fits.then_some(Self { data, stride, width, n_rows })
    }

    /// A single row.
    pub fn single(data: &'a [f32]) -> Self {
        Self { data, stride: data.len(), width: data.len(), n_rows: 1 }
    }

    /// All inputs.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Inputs from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Inputs of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows, at least one.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The inputs of a row.
    pub fn row(&self, row: usize) -> &'a [f32] {
        self.data.get(row * self.stride..row * self.stride + self.width).unwrap_or(&[])
    }
}

/// Rows of sums, one per cell.
#[derive(Debug)]
pub struct FloatSumRows<'a> {
    data: &'a mut [f32],
    stride: usize,
    n_rows: usize,
}

impl<'a> FloatSumRows<'a> {
    /// `n_rows` rows of `stride` sums. `None` where they do not fit.
    pub fn new_checked(data: &'a mut [f32], stride: usize, n_rows: usize) -> Option<Self> {
        let fits = n_rows.checked_mul(stride)? <= data.len();
        fits.then_some(Self { data, stride, n_rows })
    }

    /// A single row.
    pub fn single(data: &'a mut [f32]) -> Self {
        Self { stride: data.len(), data, n_rows: 1 }
    }

    /// All sums.
    pub fn data(&mut self) -> &mut [f32] {
        self.data
    }

    /// Sums from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The sums of a row.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        self.data.get_mut(row * self.stride..(row + 1) * self.stride).unwrap_or(&mut [])
    }
}
