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

/// The best place that at most so many steps from `start` lead to; `None` where a number is not finite, or the line search
/// comes to no end.
pub(crate) fn minimise(
    function: &impl Smooth,
    start: Vec<f64>,
    most_steps: u64,
) -> Option<Vec<f64>> {
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
        .with_tolerance_grad(TOLERANCE)
        .and_then(|solver| solver.with_tolerance_cost(TOLERANCE * TOLERANCE))
        .ok()?;
    let search = Mutex::new(Search { left: most_steps.saturating_mul(EVALUATIONS), last: None });
    let mut found = Executor::new(Remembered { function, search }, solver)
        .configure(|state| state.param(start).max_iters(most_steps))
        .run()
        .ok()?;
    found.state.take_best_param()
}

/// The line search asks for value and gradient at the same place one after the other.
struct Remembered<'a, F> {
    function: &'a F,
    search: Mutex<Search>,
}

struct Search {
    /// Evaluations left: argmin's line search has no limit of its own.
    left: u64,
    last: Option<(Vec<f64>, Evaluated)>,
}

impl<F: Smooth> Remembered<'_, F> {
    fn evaluate(&self, at: &[f64]) -> Result<Evaluated, Error> {
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = search.last.as_ref().filter(|(place, _)| place == at) {
            return Ok(known.clone());
        }
        let evaluated = self.function.evaluate(at);
        let is_finite =
            evaluated.value.is_finite() && evaluated.gradient.iter().all(|d| d.is_finite());
        search.left = search.left.checked_sub(1).filter(|_| is_finite).ok_or(GivenUp)?;
        search.last = Some((at.to_vec(), evaluated.clone()));
        Ok(evaluated)
    }
}

impl<F: Smooth> CostFunction for Remembered<'_, F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.evaluate(at)?.value)
    }
}

impl<F: Smooth> Gradient for Remembered<'_, F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.evaluate(at)?.gradient)
    }
}

/// Ends a search; whoever asked for it gets `None`.
#[derive(Debug, thiserror::Error)]
#[error("no minimum was found")]
struct GivenUp;

/// Evaluations that a step takes, at most on average; two are usual.
const EVALUATIONS: u64 = 20;
/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;
/// Length of the gradient at which the minimum is reached.
const TOLERANCE: f64 = 1e-5;

#[cfg(test)]
mod tests {
    use super::*;

    /// (x − 1)² + (y + 2)², its gradient times a factor.
    struct Bowl(f64);

    impl Smooth for Bowl {
        fn evaluate(&self, at: &[f64]) -> Evaluated {
            let [x, y] = [at[0] - 1.0, at[1] + 2.0];
            Evaluated { value: x * x + y * y, gradient: vec![self.0 * x, self.0 * y] }
        }
    }

    #[test]
    fn the_minimum_is_found() {
        let found = minimise(&Bowl(2.0), vec![5.0, 5.0], 50).unwrap();
        assert!((found[0] - 1.0).abs() < 1e-4 && (found[1] + 2.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn a_search_that_comes_to_no_end_is_given_up() {
        assert_eq!(minimise(&Bowl(f64::NAN), vec![5.0, 5.0], 50), None);
        assert_eq!(minimise(&Bowl(2.0), vec![f64::NAN, 5.0], 50), None);
        // No evaluation is allowed.
        assert_eq!(minimise(&Bowl(2.0), vec![5.0, 5.0], 0), None);
    }
}
