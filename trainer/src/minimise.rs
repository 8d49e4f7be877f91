//! The minimum of a smooth function by L-BFGS.

use std::sync::{Mutex, PoisonError};

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

/// A function of many numbers with its gradient.
pub(crate) trait Smooth {
    /// Both at a place.
    fn evaluate(&self, at: &[f64]) -> Evaluated;
}

/// A value, and how it changes with every number.
#[derive(Clone)]
pub(crate) struct Evaluated {
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
}

/// The best place that at most so many steps from `start` lead to; `None` where the line search fails, as it does for numbers
/// that are not finite.
pub(crate) fn minimise(
    function: &impl Smooth,
    start: Vec<f64>,
    most_steps: u64,
) -> Option<Vec<f64>> {
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
        .with_tolerance_grad(TOLERANCE)
        .and_then(|solver| solver.with_tolerance_cost(TOLERANCE * TOLERANCE))
        .ok()?;
    let mut found = Executor::new(Remembered { function, last: Mutex::new(None) }, solver)
        .configure(|state| state.param(start).max_iters(most_steps))
        .run()
        .ok()?;
    found.state.take_best_param()
}

/// The line search asks for value and gradient at the same place one after the other.
struct Remembered<'a, F> {
    function: &'a F,
    last: Mutex<Option<(Vec<f64>, Evaluated)>>,
}

impl<F: Smooth> Remembered<'_, F> {
    fn evaluate(&self, at: &[f64]) -> Evaluated {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = last.as_ref().filter(|(place, _)| place == at) {
            return known.clone();
        }
        let evaluated = self.function.evaluate(at);
        *last = Some((at.to_vec(), evaluated.clone()));
        evaluated
    }
}

impl<F: Smooth> CostFunction for Remembered<'_, F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.evaluate(at).value)
    }
}

impl<F: Smooth> Gradient for Remembered<'_, F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.evaluate(at).gradient)
    }
}

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;
/// Length of the gradient at which the minimum is reached.
const TOLERANCE: f64 = 1e-5;
