//! `cic-quantize --auto`: the smallest model for a processor that changes labels and codes no more than it may.

use std::cmp::Ordering;
use std::io::{self, Write};

use cic_data::AlignedMatrix;
use cic_model::spec::LayoutPlan;
use cic_model::{AlignedBytes, Dtype, Model, StageKind};
use cic_quant::{
    Comparison, Int8Options, QuantizeOptions, RangeMethod, RangePlan, Rounding, compare, quantize,
};
use cic_runtime::Session;
use clap::Args;
use maud::html;
use serde_json::{Value, json};

use super::Calibration;
use crate::budget::{self, Core};
use crate::console::count;
use crate::diff::GateArgs;
use crate::failure::Failure;
use crate::plots::percent;
use crate::progress::Progress;
use crate::sheet::Section;
use crate::sheet::words::{decimal, table, text};

/// What a model is searched for.
#[derive(Args, Clone, Debug)]
pub struct SearchArgs {
    /// Try int8 with all ranges and roundings, and mixed
    /// and f16 where --target runs them, and write the
    /// smallest model that has room and passes
    /// --max-label-change
    /// and --max-code-error, without the decoder only
    /// where none passes with it; of equally large ones
    /// the one that changes least. Each is fitted to a
    /// half of the calibration cells and judged on the
    /// others; the chosen one is fitted to all, and must
    /// pass on these too. Exit with 5 where there is none
    #[arg(long, requires = "target", conflicts_with_all = ["to", "ranges", "rounding", "layout", "fine_tune"], verbatim_doc_comment)]
    pub(super) auto: bool,
    /// What the model is for, with --auto: cortex-m0,
    /// -m4, -m7, -m33, -m55, generic-rv32, or x86-64,
    /// aarch64 or host for a processor with an operating
    /// system
    #[arg(long, value_name = "CORE", value_parser = parse_target, verbatim_doc_comment)]
    target: Option<Target>,
    /// Bytes of flash for model and code, such as 256K;
    /// of a host those of the file
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, verbatim_doc_comment)]
    flash: Option<u64>,
    /// Bytes of memory for scratch, opened model and
    /// stack; of a host only for scratch
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, verbatim_doc_comment)]
    ram: Option<u64>,
    /// Instructions for a cell that lists all genes, as
    /// cic budget counts them; of microcontrollers
    #[arg(long, value_name = "N", verbatim_doc_comment)]
    instructions: Option<u64>,
}

/// Where a model is to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Microcontroller(Core),
    /// By the name that it was asked for with.
    Host(&'static str),
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Microcontroller(core) => core.name,
            Self::Host(name) => name,
        }
    }

    /// How its kernels read int8 weights.
    fn layouts(self) -> LayoutPlan {
        match self {
            Self::Microcontroller(core) if core.name == "cortex-m55" => LayoutPlan::Sparse,
            Self::Microcontroller(_) => LayoutPlan::Fours,
            Self::Host(_) => LayoutPlan::Panels,
        }
    }
}

/// A model, and what ways to quantise it are tried with.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) model: &'a Model<'a>,
    pub(super) calibration: &'a Calibration,
    /// Cells, and rows that are compared: others than were calibrated with.
    pub(super) cells: &'a AlignedMatrix,
    pub(super) rows: &'a [usize],
    pub(super) gate: GateArgs,
    pub(super) quiet: bool,
}

/// A way that was tried.
pub(super) struct Candidate {
    pub(super) options: QuantizeOptions,
    bytes: usize,
    /// The least of those with the same numbers in other places: what is written about how they were made takes bytes too.
    least_bytes: usize,
    need: Need,
    comparison: Comparison,
    /// What it is too large for, or does too much of; empty for none.
    missed: Vec<&'static str>,
}

/// What a model takes on its target.
struct Need {
    flash: u64,
    ram: u64,
    /// Of a microcontroller.
    instructions: Option<u64>,
}

/// All ways that were tried, the best first.
pub(super) struct Search {
    target: Target,
    pub(super) candidates: Vec<Candidate>,
}

impl SearchArgs {
    /// An option that is given and says what to search for.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            ("--target", self.target.is_some()),
            ("--flash", self.flash.is_some()),
            ("--ram", self.ram.is_some()),
            ("--instructions", self.instructions.is_some()),
        ];
        options.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    /// Tries all ways with the cells that are calibrated with.
    pub(super) fn run(
        &self,
        base: &QuantizeOptions,
        trial: &Trial<'_>,
        only_int8: bool,
    ) -> Result<Search, Failure> {
        let Trial { model, calibration, cells, rows, gate, quiet } = *trial;
        let target = self.target.ok_or_else(|| Failure::usage("--auto needs --target CORE"))?;
        if self.instructions.is_some() && matches!(target, Target::Host(_)) {
            return Err(Failure::usage(
                "--instructions is for microcontrollers; those of a host are not known beforehand",
            ));
        }
        let mut candidates = Vec::new();
        let has_decoder = !model.stage(StageKind::Decoder).is_empty();
        let mut ways = ways(target, base, has_decoder);
        ways.retain(|way| way.to == Dtype::S8 || !only_int8);
        let progress = Progress::of_steps(ways.len(), "ways", quiet);
        for options in ways {
            let bytes = quantize(model, &calibration.set(), &options)?;
            let aligned = AlignedBytes::new(&bytes);
            let quantised = Model::open(&aligned).map_err(Failure::internal)?;
            let comparison = compare(model, &quantised, cells, rows).map_err(Failure::internal)?;
            let need = need(target, &quantised, bytes.len())?;
            let mut missed = gate.missed(&comparison);
            let over = |found: Option<u64>, most: Option<u64>| matches!((found, most), (Some(found), Some(most)) if found > most);
            missed.extend(over(Some(need.flash), self.flash).then_some("flash"));
            missed.extend(over(Some(need.ram), self.ram).then_some("ram"));
            missed.extend(over(need.instructions, self.instructions).then_some("instructions"));
            let bytes = bytes.len();
            candidates.push(Candidate {
                options,
                bytes,
                least_bytes: bytes,
                need,
                comparison,
                missed,
            });
            progress.tell(candidates.len());
        }
        let sizes: Vec<_> = candidates.iter().map(|one| (one.shape(), one.bytes)).collect();
        for candidate in &mut candidates {
            let alike = sizes.iter().filter(|(shape, _)| *shape == candidate.shape());
            candidate.least_bytes = alike.map(|(_, bytes)| *bytes).min().unwrap_or(candidate.bytes);
        }
        candidates.sort_by(Candidate::order);
        Ok(Search { target, candidates })
    }
}

/// What is tried: a decoder stays if it is to, and is left out where that makes room.
fn ways(target: Target, base: &QuantizeOptions, has_decoder: bool) -> Vec<QuantizeOptions> {
    let plans = [
        RangePlan::default(),
        RangeMethod::MinMax.into(),
        RangeMethod::Percentile(99.99).into(),
        RangeMethod::Entropy.into(),
        RangeMethod::SquaredError.into(),
    ];
    let mut ways = Vec::new();
    for ranges in plans {
        for rounding in [Rounding::Nearest, Rounding::Fitted] {
            ways.push(QuantizeOptions {
                to: Dtype::S8,
                int8: Int8Options { ranges: ranges.clone(), rounding },
                layouts: target.layouts(),
                ..base.clone()
            });
        }
    }
    if matches!(target, Target::Host(_)) {
        let layouts = LayoutPlan::Sparse;
        for to in [Dtype::Mixed, Dtype::F16] {
            ways.push(QuantizeOptions { to, layouts, ..base.clone() });
        }
    }
    if base.with_decoder && has_decoder {
        let without =
            |way: &QuantizeOptions| QuantizeOptions { with_decoder: false, ..way.clone() };
        ways.extend(ways.iter().map(without).collect::<Vec<_>>());
    }
    ways
}

impl Candidate {
    /// What passes comes first, then what has a decoder, then the smallest, then what changes least.
    fn order(&self, other: &Self) -> Ordering {
        let flips = |one: &Self| one.comparison.flips.len();
        let error = |one: &Self| one.comparison.pooled_code_error;
        (self.missed.is_empty().cmp(&other.missed.is_empty()).reverse())
            .then(self.options.with_decoder.cmp(&other.options.with_decoder).reverse())
            .then(self.least_bytes.cmp(&other.least_bytes))
            .then(flips(self).cmp(&flips(other)))
            .then(error(self).total_cmp(&error(other)))
    }

    /// What its size depends on.
    fn shape(&self) -> (Dtype, bool) {
        (self.options.to, self.options.with_decoder)
    }

    fn name(&self) -> String {
        let Int8Options { ranges, rounding } = &self.options.int8;
        match self.options.to {
            Dtype::S8 => format!("int8 {ranges} {}", rounding.name()),
            other => other.name().into(),
        }
    }
}

impl Search {
    /// The best one that passes, also when it is made as `passes` makes it.
    pub(super) fn best(
        &self,
        passes: impl Fn(&QuantizeOptions) -> Result<bool, Failure>,
    ) -> Result<&Candidate, Failure> {
        let fits = self.candidates.iter().filter(|candidate| candidate.missed.is_empty());
        let mut n_fits = 0;
        for candidate in fits {
            n_fits += 1;
            if passes(&candidate.options)? {
                return Ok(candidate);
            }
        }
        if n_fits > 0 {
            return Err(Failure::Gate(anyhow::anyhow!(
                "{n_fits} ways pass where they were judged, and none does on all calibration cells: there are few, or \
                 labels that hardly differ; allow more by --max-label-change or --max-code-error"
            )));
        }
        let nearest = self.candidates.iter().min_by_key(|candidate| candidate.missed.len());
        let missed = nearest.map_or(&[][..], |nearest| &nearest.missed);
        let advice = match missed.iter().all(|missed| ["labels", "code"].contains(missed)) {
            true => {
                "Allow more by --max-label-change or --max-code-error, or calibrate with more cells like those that are typed"
            }
            false => "Ask for less, or train with fewer genes or a narrower network",
        };
        Err(Failure::Gate(anyhow::anyhow!(
            "no way to quantise meets all that was asked for on {}; the nearest misses: {}. {advice}",
            self.target.name(),
            missed.join(", ")
        )))
    }

    /// A line a way.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{:<30}{:>8}{:>11}{:>11}{:>10}{:>13}{:>9}{:>8}  misses",
            "way", "decoder", "bytes", "flash", "ram", "instructions", "changed", "error"
        )?;
        for candidate in &self.candidates {
            let Candidate { options, bytes, need, comparison, missed, .. } = candidate;
            let decoder = if options.with_decoder { "yes" } else { "no" };
            let instructions =
                need.instructions.map_or("-".into(), |instructions| count(instructions as usize));
            let [bytes, flash, ram] =
                [*bytes as u64, need.flash, need.ram].map(|n| count(n as usize));
            let changed = format!("{:.2} %", 100.0 * (1.0 - comparison.agreement()));
            let error = comparison.pooled_code_error;
            let missed = if missed.is_empty() { "-".into() } else { missed.join(", ") };
            writeln!(
                out,
                "{:<30}{decoder:>8}{bytes:>11}{flash:>11}{ram:>10}{instructions:>13}{changed:>9}{error:>8.4}  {missed}",
                candidate.name()
            )?;
        }
        Ok(())
    }

    /// The same, for the page.
    pub(super) fn section(&self) -> Section {
        let of_candidate = |candidate: &Candidate| {
            let Candidate { options, need, comparison, missed, .. } = candidate;
            let instructions = need.instructions.map_or("–".into(), |n| count(n as usize));
            vec![
                text(candidate.name()),
                text(if options.with_decoder { "yes" } else { "no" }),
                text(count(need.flash as usize)),
                text(count(need.ram as usize)),
                text(instructions),
                text(percent(1.0 - comparison.agreement())),
                text(decimal(comparison.pooled_code_error, 4)),
                text(if missed.is_empty() { "–".into() } else { missed.join(", ") }),
            ]
        };
        let columns = [
            "way",
            "decoder",
            "flash",
            "memory",
            "instructions",
            "labels changed",
            "code error",
            "misses",
        ];
        let body = html! {
            p { "For " (self.target.name()) ", the best first; each was judged on other cells than it was fitted to." }
            (table(&columns, self.candidates.iter().map(of_candidate).collect()))
        };
        Section { id: "search", title: "What was tried", body }
    }

    pub(super) fn json(&self) -> Value {
        let candidates = self.candidates.iter().map(|candidate| {
            json!({
                "way": candidate.name(),
                "with_decoder": candidate.options.with_decoder,
                "bytes": candidate.bytes,
                "flash": candidate.need.flash,
                "ram": candidate.need.ram,
                "instructions": candidate.need.instructions,
                "label_agreement": candidate.comparison.agreement(),
                "code_error_pooled": candidate.comparison.pooled_code_error,
                "misses": candidate.missed,
            })
        });
        json!({"target": self.target.name(), "candidates": candidates.collect::<Vec<_>>()})
    }
}

fn need(target: Target, model: &Model<'_>, n_bytes: usize) -> Result<Need, Failure> {
    Ok(match target {
        Target::Microcontroller(core) => {
            let budget::Need { flash, ram, instructions } = budget::need(model, n_bytes, core)?;
            Need { flash, ram, instructions: Some(instructions) }
        }
        Target::Host(_) => {
            let session = Session::new(model, 0).map_err(Failure::internal)?;
            let ram = session.scratch_len() as u64;
            Need { flash: n_bytes as u64, ram, instructions: None }
        }
    })
}

fn parse_target(name: &str) -> Result<Target, String> {
    if let Some(host) = HOSTS.into_iter().find(|&host| host == name) {
        return Ok(Target::Host(host));
    }
    budget::parse_core(name)
        .map(Target::Microcontroller)
        .map_err(|known| format!("{known}, {}", HOSTS.join(", ")))
}

/// A number of bytes, or of KiB or MiB with K or M.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "expected bytes, such as 262144, 256K or 1M".into())
}

const HOSTS: [&str; 3] = ["x86-64", "aarch64", "host"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoders_are_left_out_only_where_there_are_any() {
        let base = QuantizeOptions::new(Dtype::S8);
        let n = |target, base, has_decoder| ways(target, base, has_decoder).len();
        assert_eq!(n(Target::Host("host"), &base, true), 24);
        assert_eq!(n(Target::Host("host"), &base, false), 12);
        let without = QuantizeOptions { with_decoder: false, ..base.clone() };
        let core = Target::Microcontroller(Core::from_name("cortex-m4").unwrap());
        assert_eq!(n(core, &without, true), 10);
        assert!(ways(core, &without, true).iter().all(|way| !way.with_decoder));
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(parse_bytes("262144"), Ok(262_144));
        assert_eq!(parse_bytes("256K"), Ok(262_144));
        assert_eq!(parse_bytes("1M"), Ok(1_048_576));
        for wrong in ["", "K", "-1", "1.5M", "99999999999999999999", "18446744073709551615K"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
