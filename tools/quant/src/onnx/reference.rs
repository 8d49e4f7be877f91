//! The untouched graph, run by tract: what a network that was read from it is compared with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tract_onnx::prelude::*;

use super::graph::{Graph, decode};
use super::walk::walk;

/// A graph that runs.
pub struct OnnxReference {
    model: Arc<TypedRunnableModel>,
    n_inputs: usize,
    n_rows: usize,
}

impl OnnxReference {
    /// Prepares the graph of a file for `n_rows` samples of `n_inputs` numbers at a time.
    ///
    /// # Errors
    /// Why it cannot be run, in words: it has operators that tract lacks, or its last node gives no plain scores.
    pub fn open(path: &Path, n_inputs: usize, n_rows: usize) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let proto = decode(&bytes).map_err(|error| error.to_string())?;
        let graph = Graph::new(&proto, folder).map_err(|error| error.to_string())?;
        let end = walk(&graph).map_err(|error| error.to_string())?.end;
        let end = end.ok_or("its last node gives more than scores")?;
        // It stops at some graphs instead of refusing them.
        let model = catch_unwind(AssertUnwindSafe(|| {
            tract_onnx::onnx()
                .with_ignore_value_info(true)
                .with_ignore_output_shapes(true)
                .model_for_path(path)?
                .with_input_fact(0, f32::fact([n_rows, n_inputs]).into())?
                .with_outputs_by_name([end])?
                .into_optimized()?
                .into_runnable()
        }));
        let model = model.map_err(|_| "tract stopped at it".to_string())?;
        let model = model.map_err(|error| format!("tract: {error:#}"))?;
        Ok(Self { model, n_inputs, n_rows })
    }

    /// The scores of as many samples as it was prepared for, `[n_rows × n_inputs]`.
    ///
    /// # Errors
    /// What tract says.
    pub fn run(&self, inputs: &[f32]) -> Result<Vec<f32>, String> {
        let said = |error: TractError| format!("tract: {error:#}");
        let input = Tensor::from_shape(&[self.n_rows, self.n_inputs], inputs).map_err(said)?;
        let outputs = self.model.run(tvec!(input.into())).map_err(said)?;
        let scores = outputs[0].to_plain_array_view::<f32>().map_err(said)?;
        Ok(scores.iter().copied().collect())
    }
}
