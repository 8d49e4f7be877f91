//! Counts of instructions, as `bench/instructions.txt` records them.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// How much a count may be above the recorded one. Counts repeat on one compiler, so this is for
/// what a change elsewhere does to a kernel's code.
pub const TOLERANCE_PERCENT: u64 = 3;

/// Instructions of one call, by operator and instruction set.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    compiler: String,
    isas: Vec<String>,
    /// Of each operator, in the order of `isas`.
    rows: Vec<(String, Vec<u64>)>,
}

/// What differs, a line each.
#[derive(Debug, Default)]
pub struct Change {
    pub more: Vec<String>,
    pub less: Vec<String>,
    /// Operators that one of both lacks.
    pub unmatched: Vec<String>,
}

impl Counts {
    /// None yet.
    pub fn new(compiler: String) -> Self {
        Self { compiler, isas: Vec::new(), rows: Vec::new() }
    }

    /// Adds a count. One instruction set after another, each with the same operators.
    pub fn add(&mut self, operator: &str, isa: &str, count: u64) {
        if self.isas.last().is_none_or(|last| last != isa) {
            self.isas.push(isa.into());
        }
        match self.rows.iter_mut().find(|(name, _)| name == operator) {
            Some((_, counts)) => counts.push(count),
            None => self.rows.push((operator.into(), vec![count])),
        }
    }

    /// What was written with `to_string`.
    pub fn parse(text: &str) -> Result<Self> {
        let compiler = text.lines().find_map(|line| line.strip_prefix(COMPILER));
        let compiler = compiler.with_context(|| format!("no line {COMPILER:?}"))?;
        let mut table = text.lines().filter(|line| !line.starts_with('#'));
        let header = table.next().context("no table")?;
        let isas: Vec<String> = header.split('\t').skip(1).map(Into::into).collect();
        let mut rows = Vec::new();
        for line in table {
            let mut fields = line.split('\t');
            let operator = fields.next().unwrap_or_default();
            let counts: Result<Vec<u64>, _> = fields.map(str::parse).collect();
            let counts = counts.with_context(|| format!("{operator}: not a number"))?;
            ensure!(counts.len() == isas.len(), "{operator}: {} counts", counts.len());
            rows.push((operator.into(), counts));
        }
        Ok(Self { compiler: compiler.into(), isas, rows })
    }

    /// What compiled that which was counted.
    pub fn compiler(&self) -> &str {
        &self.compiler
    }

    /// How many counts there are.
    pub fn len(&self) -> usize {
        self.rows.iter().map(|(_, counts)| counts.len()).sum()
    }

    /// How these differ from the recorded ones.
    pub fn against(&self, recorded: &Self) -> Change {
        let mut change = Change::default();
        for (name, count) in self.named() {
            match recorded.named().find(|(known, _)| *known == name) {
                None => change.unmatched.push(format!("{name}: not recorded")),
                Some((_, expected)) => {
                    let percent = 100.0 * (count as f64 / expected as f64 - 1.0);
                    let line = format!("{name}: {count}, recorded {expected} ({percent:+.1} %)");
                    if 100 * count > (100 + TOLERANCE_PERCENT) * expected {
                        change.more.push(line);
                    } else if 100 * count < (100 - TOLERANCE_PERCENT) * expected {
                        change.less.push(line);
                    }
                }
            }
        }
        let gone = recorded.named().filter(|(name, _)| self.named().all(|(ours, _)| ours != *name));
        change.unmatched.extend(gone.map(|(name, _)| format!("{name}: not counted any more")));
        change
    }

    /// Every count with the name of its operator and instruction set.
    fn named(&self) -> impl Iterator<Item = (String, u64)> {
        self.rows.iter().flat_map(|(operator, counts)| {
            let counts = self.isas.iter().zip(counts);
            counts.map(move |(isa, &count)| (format!("{operator}, {isa}"), count))
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions of one call of each operator: 1024 inputs, 256 outputs, 7 % of"
        )?;
        writeln!(
            f,
            "# inputs listed; and of whole sessions. `cargo xtask kernel-count` compares,"
        )?;
        writeln!(
            f,
            "# `cargo xtask kernel-count --record` writes this file. Counts depend on the compiler."
        )?;
        writeln!(f, "{COMPILER}{}", self.compiler)?;
        writeln!(f, "operator\t{}", self.isas.join("\t"))?;
        for (operator, counts) in &self.rows {
            write!(f, "{operator}")?;
            counts.iter().try_for_each(|count| write!(f, "\t{count}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

const COMPILER: &str = "# Recorded with ";

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(operators: &[(&str, u64)]) -> Counts {
        let mut counts = Counts::new("rustc 1.0.0".into());
        for isa in ["scalar", "avx2"] {
            operators.iter().for_each(|(operator, count)| counts.add(operator, isa, *count));
        }
        counts
    }

    #[test]
    fn what_was_written_is_read_again() {
        let counts = counts(&[("rows × 1", 100), ("session, sparse", 7)]);
        assert_eq!(Counts::parse(&counts.to_string()).unwrap(), counts);
    }

    #[test]
    fn a_row_that_is_too_short_is_an_error() {
        let text = counts(&[("rows", 100)]).to_string();
        assert!(Counts::parse(&text.replace("\t100\t100", "\t100")).is_err());
        assert!(Counts::parse(&text.replace("\t100\t100", "\t100\tx")).is_err());
    }

    #[test]
    fn the_tolerance_itself_is_accepted_and_one_more_is_refused() {
        let recorded = counts(&[("rows", 100)]);
        let more = |count| counts(&[("rows", count)]).against(&recorded).more.len();
        assert_eq!((more(103), more(104)), (0, 2));
    }

    #[test]
    fn fewer_are_told_but_not_as_more() {
        let recorded = counts(&[("rows", 100)]);
        let less = |count| counts(&[("rows", count)]).against(&recorded).less.len();
        assert_eq!((less(97), less(96)), (0, 2));
        assert!(counts(&[("rows", 96)]).against(&recorded).more.is_empty());
    }

    #[test]
    fn operators_that_came_or_went_are_told() {
        let change = counts(&[("new", 1)]).against(&counts(&[("old", 1)]));
        assert_eq!(change.unmatched.len(), 4);
    }
}
