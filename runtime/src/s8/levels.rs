//! The network alone: from levels to logits.

use crate::error::RunError;
use crate::kernels::{LevelRows, SumRows};

use super::inputs::{self, Sums};
use super::memory::{Memory, row_mut};
use super::operand::Operand;
use super::{S8Numbers, S8Session, check_len};

impl<'m> S8Session<'m> {
    /// Runs the network alone: from the levels of all inputs to code and logits, without a library, thresholds,
    /// probabilities (which are empty) or a decision. For programs that find the levels themselves.
    ///
    /// `levels` has an entry for every gene, 0 to 127, and zeros after them up to a multiple of 4; `scratch` is as for
    /// [`S8Session::run`]. Where the first layer is not gene-major, as many instructions are executed
    /// for any levels on a processor whose kernels are those of `thumb`, `dsp` or `helium`, or portable.
    pub fn run_levels<'s>(
        &self,
        levels: &[u8],
        scratch: &'s mut [u32],
    ) -> Result<S8Numbers<'s>, RunError>
    where
        'm: 's,
    {
        check_len(levels.len(), self.model.n_genes().next_multiple_of(4))?;
        // A word at a time, where all are words.
        let all = match bytemuck::try_cast_slice::<u8, u32>(levels) {
            Ok(words) => words.iter().fold(0, |all, word| all | word),
            Err(_) => levels.iter().fold(0, |all, &level| all | u32::from(level)),
        };
        if all & 0x8080_8080 != 0 {
            let position = levels.iter().position(|&level| level > 127).unwrap_or(0);
            return Err(RunError::InvalidValue { position });
        }
        let padding = levels.get(self.model.n_genes()..).unwrap_or(&[]);
        if let Some(at) = padding.iter().position(|&level| level != 0) {
            return Err(RunError::InvalidValue { position: self.model.n_genes() + at });
        }
        let mut memory = self.divide(1, scratch).map_err(|error| error.error)?;
        self.sum_levels(levels, &mut memory);
        self.code_tile(1, &mut memory);
        self.logits_tile(1, &mut memory);
        Ok(S8Numbers { probabilities: &[], ..self.tile(memory).numbers(0) })
    }

    /// Sums of the first layer, for one cell.
    #[inline(never)]
    fn sum_levels(&self, levels: &[u8], memory: &mut Memory<'_>) {
        let layer = self.first.step.layer;
        let (width, stride) = (layer.in_dim(), self.shape.sum_stride);
        let sums = row_mut(memory.sums, 0, stride);
        match self.first_operand(width, 1) {
            Operand::Panels(panels) => {
                self.start(None, memory.bias);
                let levels = LevelRows::new_checked(levels, levels.len(), width, 1);
                let sums = SumRows::new_checked(sums, stride, 1);
                if let (Some(levels), Some(mut sums)) = (levels, sums) {
                    self.kernels.panels_s8(&panels, 0, &levels, Some(memory.bias), &mut sums);
                }
            }
            Operand::Rows(weights) => {
                let sums = sums.get_mut(..layer.out_dim()).unwrap_or(&mut []);
                self.start(None, sums);
                self.kernels.rows_s8(weights, levels.get(..width).unwrap_or(&[]), sums);
            }
            Operand::GeneMajor | Operand::Other => {
                let sums = sums.get_mut(..layer.out_dim()).unwrap_or(&mut []);
                let mut to = Sums {
                    layer,
                    bias: Some(self.first.step.epilogue.bias),
                    sums,
                    next: &[],
                    limits: &[],
                };
                inputs::add_levels(&self.kernels, levels.get(..width).unwrap_or(&[]), &mut to);
                to.finish();
            }
        }
    }
}
