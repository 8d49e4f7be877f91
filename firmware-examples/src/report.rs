//! What `classify` prints about an int8 model: integers only, line by line.
//!
//! The host's side of the comparison includes this very file, so that the two consoles differ only
//! if the arithmetic of the two machines does.

use core::fmt::{self, Write};

use cic_model::{Model, ModelError};
use cic_runtime::{Outcome, RunError, S8Numbers, S8Session, Sample};

/// Profiles made from random numbers, besides the model's golden cells.
const RANDOM_PROFILES: u32 = 1000;

/// Random profiles that share one line of the console.
const PROFILES_A_LINE: u32 = 100;

/// Memory of the caller.
pub struct Memory<'a> {
    /// Scratch of the session.
    pub scratch: &'a mut [u32],
    /// Two words for each gene of the panel.
    pub sample: &'a mut [u32],
}

/// What a measuring program wraps around each run of a golden cell.
pub trait Meter {
    /// Calls `work` once and returns its result.
    fn around<T>(&mut self, work: impl FnOnce() -> T) -> T;
}

/// Why there is no whole report.
#[derive(Debug)]
pub enum ReportError {
    /// The model was refused.
    Model(ModelError),
    /// A sample was refused.
    Run(RunError),
    /// The golden cells are not counts.
    NotCounts,
    /// The memory is too short for the model.
    TooLittleMemory {
        /// Bytes of scratch that the model needs.
        scratch: usize,
        /// Bytes that its samples need.
        sample: usize,
    },
    /// The console did not take the text.
    Console,
}

/// Runs all golden cells and the random profiles through `model`, and returns whether every golden
/// cell gave the code and the logits that the model states.
///
/// # Errors
/// See [`ReportError`]; what was printed until then stays printed.
pub fn report(
    model: &Model<'_>,
    memory: Memory<'_>,
    meter: &mut impl Meter,
    console: &mut impl Write,
) -> Result<bool, ReportError> {
    let golden = model.golden();
    let session = S8Session::new(model, golden.profile() as usize)?;
    let Memory { scratch, sample } = memory;
    let (scratch_len, sample_len) = (session.scratch_len(), 8 * model.n_genes());
    if scratch_len > 4 * scratch.len() || sample_len > 4 * sample.len() {
        return Err(ReportError::TooLittleMemory { scratch: scratch_len, sample: sample_len });
    }
    let (listed, counts) = sample.split_at_mut(model.n_genes());
    if !golden.is_integer() {
        return Err(ReportError::NotCounts);
    }
    write!(console, "model ")?;
    for byte in model.id().0 {
        write!(console, "{byte:02x}")?;
    }
    let (genes, code, leaves) = (model.n_genes(), model.code_dim(), model.n_leaves());
    writeln!(console, "\ngenes {genes} code {code} leaves {leaves}")?;

    const PAINT: u32 = 0xA5A5_A5A5;
    scratch.fill(PAINT);
    let mut equal = 0;
    for (number, cell) in golden.cells().enumerate() {
        let total = Some(cell.total).filter(|&total| total > 0);
        let sample = Sample::Counts { genes: cell.genes, counts: cell.values, total };
        let outcome = meter.around(|| session.run(&sample, None, scratch))?;
        print_outcome(console, number, &outcome)?;
        let numbers = outcome.numbers;
        let codes_agree = numbers.is_some_and(|numbers| {
            numbers.code.iter().map(|&code| i32::from(code).cast_unsigned()).eq(words(cell.code))
        });
        let logits_agree = numbers.is_some_and(|numbers| {
            numbers.logits.iter().map(|logit| logit.cast_unsigned()).eq(words(cell.logits))
        });
        equal += usize::from(codes_agree && logits_agree);
    }
    writeln!(console, "golden cells {} equal {equal}", golden.len())?;

    let mut random = Random(2_463_534_242);
    let mut digest = Digest::new();
    for number in 1..=RANDOM_PROFILES {
        let mut profile = RandomProfile { genes: &mut *listed, counts: &mut *counts, len: 0 };
        profile.fill(&mut random, model.n_genes(), number);
        digest.outcome(&session.run(&profile.sample(), None, scratch)?);
        if number.is_multiple_of(PROFILES_A_LINE) {
            writeln!(console, "random profiles {number} digest {:016x}", digest.0)?;
        }
    }

    let touched = scratch.iter().rposition(|&word| word != PAINT).map_or(0, |last| last + 1);
    writeln!(console, "scratch stated {scratch_len} used {}", 4 * touched)?;
    Ok(equal == golden.len())
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => write!(f, "model refused: {error}"),
            Self::Run(error) => write!(f, "sample refused: {error}"),
            Self::NotCounts => write!(f, "the golden cells are not counts"),
            Self::TooLittleMemory { scratch, sample } => {
                write!(f, "the model needs {scratch} bytes of scratch and {sample} for a sample")
            }
            Self::Console => write!(f, "the console took no text"),
        }
    }
}

impl From<ModelError> for ReportError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<RunError> for ReportError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<fmt::Error> for ReportError {
    fn from(_: fmt::Error) -> Self {
        Self::Console
    }
}

fn words(words: &[u32]) -> impl Iterator<Item = u32> + '_ {
    words.iter().copied()
}

fn print_outcome(
    console: &mut impl Write,
    number: usize,
    outcome: &Outcome<S8Numbers<'_>>,
) -> fmt::Result {
    let reject = outcome.reject.map_or("none", |reason| reason.name());
    let Some(numbers) = outcome.numbers else {
        return writeln!(console, "cell {number} reject {reject}");
    };
    let leaf = numbers.best().map_or(-1, |best| i64::from(best.leaf));
    writeln!(console, "cell {number} reject {reject} leaf {leaf}")?;
    write!(console, " code")?;
    for code in numbers.code {
        write!(console, " {code}")?;
    }
    write!(console, "\n logits")?;
    for logit in numbers.logits {
        write!(console, " {logit}")?;
    }
    writeln!(console)
}

/// Counts of one random profile, in memory for all genes.
struct RandomProfile<'a> {
    genes: &'a mut [u32],
    counts: &'a mut [u32],
    len: usize,
}

impl RandomProfile<'_> {
    /// About one gene in 16 is above zero; counts are geometric, and profile `number` is deeper
    /// than the first by a factor of up to 2¹¹, so that all input levels occur.
    fn fill(&mut self, random: &mut Random, n_genes: usize, number: u32) {
        for gene in (0_u32..).take(n_genes) {
            if !random.next().is_multiple_of(16) {
                continue;
            }
            let count = (1 + random.next().trailing_zeros()) << (number % 12);
            let (Some(to_gene), Some(to_count)) =
                (self.genes.get_mut(self.len), self.counts.get_mut(self.len))
            else {
                return;
            };
            (*to_gene, *to_count) = (gene, count);
            self.len += 1;
        }
    }

    fn sample(&self) -> Sample<'_> {
        let genes = self.genes.get(..self.len).unwrap_or(&[]);
        let counts = self.counts.get(..self.len).unwrap_or(&[]);
        // A panel has at most 2¹⁶ genes, one in 16 has a count, of 2¹² on average at the most.
        Sample::Counts { genes, counts, total: Some(counts.iter().sum()) }
    }
}

/// Marsaglia's xorshift with 32 bits of state.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// FNV-1a with 64 bits, over all outcomes so far.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn outcome(&mut self, outcome: &Outcome<S8Numbers<'_>>) {
        self.bytes(&[outcome.reject.map_or(0, |reason| reason as u8)]);
        if let Some(numbers) = outcome.numbers {
            numbers.code.iter().for_each(|code| self.bytes(&code.to_le_bytes()));
            numbers.logits.iter().for_each(|logit| self.bytes(&logit.to_le_bytes()));
            numbers.probabilities.iter().for_each(|p| self.bytes(&p.to_le_bytes()));
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}
