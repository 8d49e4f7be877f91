//! Sums over the outcomes of many cells: digests of all numbers, and how many got which decision.

use core::fmt::{self, Write};

use cic_model::rules::RejectReason;
use cic_runtime::{Outcome, S8Numbers, Sample};

/// All outcomes so far.
pub struct Tally {
    cells: u32,
    dense: u32,
    codes: Digest,
    logits: Digest,
    probabilities: Digest,
    decisions: Digest,
    /// By the code of the reason; 0 stands for cells that were named.
    reasons: [u32; N_REASONS],
}

/// One more than the largest code of a reason.
const N_REASONS: usize = RejectReason::ALL.len() + 1;

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            cells: 0,
            dense: 0,
            codes: Digest::new(),
            logits: Digest::new(),
            probabilities: Digest::new(),
            decisions: Digest::new(),
            reasons: [0; N_REASONS],
        }
    }

    /// Adds a cell.
    pub fn add(&mut self, sample: &Sample<'_>, outcome: &Outcome<S8Numbers<'_>>) {
        self.cells += 1;
        self.dense += u32::from(matches!(sample, Sample::DenseCounts { .. }));
        let reason = outcome.reject.map_or(0, RejectReason::code);
        if let Some(number) = self.reasons.get_mut(reason as usize) {
            *number += 1;
        }
        self.decisions.bytes(&reason.to_le_bytes());
        let Some(numbers) = outcome.numbers else { return };
        numbers.code.iter().for_each(|code| self.codes.bytes(&code.to_le_bytes()));
        self.logits.numbers(numbers.logits);
        numbers.probabilities.iter().for_each(|p| self.probabilities.bytes(&p.to_le_bytes()));
        if let Some(best) = numbers.best() {
            self.decisions.bytes(&best.leaf.to_le_bytes());
            self.decisions.bytes(&best.probability_q16.to_le_bytes());
        }
    }

    /// How many cells were rejected for this reason.
    pub fn rejected(&self, reason: RejectReason) -> u32 {
        self.reasons.get(reason.code() as usize).copied().unwrap_or(0)
    }

    /// One line with the digests.
    pub fn write_digests(&self, console: &mut impl Write) -> fmt::Result {
        let Self { cells, codes, logits, probabilities, decisions, .. } = self;
        writeln!(
            console,
            "profiles {cells} codes {:016x} logits {:016x} probabilities {:016x} decisions {:016x}",
            codes.0, logits.0, probabilities.0, decisions.0
        )
    }

    /// One line with the numbers of decisions.
    pub fn write_decisions(&self, console: &mut impl Write) -> fmt::Result {
        let named = self.reasons.first().copied().unwrap_or(0);
        write!(console, "sparse {} dense {} named {named}", self.cells - self.dense, self.dense)?;
        for code in 1..N_REASONS as u32 {
            if let Some(reason) = RejectReason::from_code(code) {
                write!(console, " {} {}", reason.name(), self.rejected(reason))?;
            }
        }
        writeln!(console)
    }
}

/// FNV-1a with 64 bits.
pub struct Digest(pub u64);

impl Digest {
    /// Of nothing.
    pub fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    /// Adds numbers.
    pub fn numbers(&mut self, numbers: &[i32]) {
        numbers.iter().for_each(|number| self.bytes(&number.to_le_bytes()));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}
