//! What `classify` prints about an int8 model: integers only, line by line.
//!
//! The host's side of the comparison includes this very file and those that it uses, so that the two
//! consoles differ only if the arithmetic of the two machines does.

use core::fmt::{self, Write};

use cic_model::{Model, ModelError};
use cic_runtime::{Outcome, RunError, S8Numbers, S8Session, Sample};

use crate::profiles::RandomProfiles;
use crate::tally::Tally;

/// Profiles made from random numbers, besides the model's golden cells.
const RANDOM_PROFILES: u32 = 10_000;

/// Random profiles that share one line of the console.
const PROFILES_A_LINE: u32 = 1_000;

/// Memory of the caller.
pub struct Memory<'a> {
    /// Scratch of the session.
    pub scratch: &'a mut [u32],
    /// Two words for each gene of the panel.
    pub sample: &'a mut [u32],
}

/// What a measuring program wraps around each run of a cell that is counted.
pub trait Meter {
    /// Calls `work` once and returns its result. `name` is the region's.
    fn around<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T;

    /// Counts one region of many, of which the program says afterwards how many there were.
    fn among<T>(&mut self, work: impl FnOnce() -> T) -> T;
}

/// What came out.
pub struct Report {
    /// Whether every golden cell gave the code and the logits that the model states.
    pub golden_equal: bool,
    /// Of the random profiles.
    pub tally: Tally,
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

/// Runs all golden cells and the random profiles through `model`.
///
/// # Errors
/// See [`ReportError`]; what was printed until then stays printed.
pub fn report(
    model: &Model<'_>,
    memory: Memory<'_>,
    meter: &mut impl Meter,
    console: &mut impl Write,
) -> Result<Report, ReportError> {
    let golden = model.golden();
    let session = S8Session::new(model, golden.profile() as usize)?;
    let Memory { scratch, sample: entries } = memory;
    let (scratch_len, sample_len) = (session.scratch_len(), 8 * model.n_genes());
    if scratch_len > 4 * scratch.len() || sample_len > 4 * entries.len() {
        return Err(ReportError::TooLittleMemory { scratch: scratch_len, sample: sample_len });
    }
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
        let outcome = meter.around("cell", || session.run(&sample, None, scratch))?;
        write_outcome(console, number, &outcome)?;
        equal += usize::from(outcome.numbers.is_some_and(|numbers| numbers.agree_with(&cell)));
    }
    writeln!(console, "golden cells {} equal {equal}", golden.len())?;

    let mut profiles = RandomProfiles::new();
    let mut tally = Tally::new();
    for number in 1..=RANDOM_PROFILES {
        let sample = profiles.next(genes, entries);
        tally.add(&sample, &session.run(&sample, None, scratch)?);
        if number.is_multiple_of(PROFILES_A_LINE) {
            tally.write_digests(console)?;
        }
    }
    tally.write_decisions(console)?;

    let touched = scratch.iter().rposition(|&word| word != PAINT).map_or(0, |last| last + 1);
    writeln!(console, "scratch stated {scratch_len} used {}", 4 * touched)?;
    Ok(Report { golden_equal: equal == golden.len(), tally })
}

/// Three lines: the decision, the code, the logits.
pub fn write_outcome(
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
