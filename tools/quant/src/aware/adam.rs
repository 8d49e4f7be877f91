//! Numbers that are moved against their gradients.

/// Parameters with the moments of Adam (D. Kingma and J. Ba, 2015).
pub(super) struct Adam {
    pub(super) values: Vec<f32>,
    /// What was added up since the last step.
    pub(super) gradients: Vec<f32>,
    moments: Vec<[f32; 2]>,
    n_steps: i32,
}

impl Adam {
    pub(super) fn new(values: Vec<f32>) -> Self {
        let n = values.len();
        Self { values, gradients: vec![0.0; n], moments: vec![[0.0; 2]; n], n_steps: 0 }
    }

    /// One step, and gradients of zero for the next.
    pub(super) fn step(&mut self, rate: f64) {
        self.n_steps += 1;
        let unbiased = [FIRST, SECOND].map(|decay| 1.0 - decay.powi(self.n_steps));
        let state = self.gradients.iter_mut().zip(&mut self.moments);
        for (value, (gradient, [mean, square])) in self.values.iter_mut().zip(state) {
            *mean = FIRST * *mean + (1.0 - FIRST) * *gradient;
            *square = SECOND * *square + (1.0 - SECOND) * *gradient * *gradient;
            *gradient = 0.0;
            if *square > 0.0 {
                let size = (*square / unbiased[1]).sqrt();
                *value -= rate as f32 * (*mean / unbiased[0]) / size;
            }
        }
    }
}

const FIRST: f32 = 0.9;
const SECOND: f32 = 0.999;
