//! What was found, for a terminal of 100 columns.

use std::io::{self, Write};

use cic_data::{Found, NameKind, ScaleVerdict, sanitise_for_terminal};
use cic_model::ValueKind;

use super::fit::{Fit, share};
use super::spread::{Bin, QUANTILES, Spread};
use super::{Checked, plan};
use crate::console::count;
use crate::plots::number;

/// Prints everything.
pub(super) fn write(checked: &Checked<'_>, out: &mut dyn Write) -> io::Result<()> {
    file(checked).write("File", out)?;
    values(checked).write("Values", out)?;
    genes(checked).write("Genes", out)?;
    cells(checked).write("Cells", out)?;
    let [sums, genes] = [checked.survey.sums(), checked.survey.genes()];
    let what = match &checked.verdict {
        Ok(verdict) if verdict.kind == ValueKind::Counts => "counts per cell",
        _ => "sum per cell",
    };
    write_quantiles([(what, &sums), ("genes per cell", &genes)], out)?;
    write_histograms([(what, &sums), ("genes per cell", &genes)], out)?;
    let notes = Section(plan::notes(checked));
    if !notes.0.is_empty() {
        writeln!(out)?;
        notes.write("Notes", out)?;
    }
    if let Some(fit) = &checked.fit {
        writeln!(out)?;
        model(fit).write("Model", out)?;
        overlap(fit).write("Overlap", out)?;
        if checked.refusal.is_none() {
            Section(plan::steps(checked, fit)).write("Steps", out)?;
            depth(checked, fit).write("Depth", out)?;
        }
    }
    writeln!(out)?;
    verdict(checked).write("Verdict", out)
}

/// Lines under one word at their left.
struct Section(Vec<String>);

impl Section {
    fn write(&self, title: &str, out: &mut dyn Write) -> io::Result<()> {
        let mut title = title;
        for line in &self.0 {
            for part in wrapped(&sanitise_for_terminal(line), WIDTH - INDENT) {
                writeln!(out, "{title:INDENT$}{part}")?;
                title = "";
            }
        }
        Ok(())
    }
}

/// Of the terminal.
const WIDTH: usize = 100;
/// Of the words at the left.
const INDENT: usize = 10;

/// A line broken between words; lines after the first are set back.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let (mut lines, mut last, mut is_new) = (Vec::new(), indent.to_owned(), true);
    for word in text.split(' ') {
        if !is_new && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut last, format!("{indent}  ")));
            is_new = true;
        }
        if !is_new {
            last.push(' ');
        }
        last.push_str(word);
        is_new = false;
    }
    lines.push(last);
    lines
}

fn file(checked: &Checked<'_>) -> Section {
    let (head, survey) = (&checked.head, &checked.survey);
    let (n_obs, n_vars) = (head.obs_names.len(), head.genes.len());
    let source = &head.source;
    let zeros = 1.0 - survey.n_values as f64 / (n_obs as f64 * n_vars as f64);
    let columns: Vec<&str> = head.obs.names().collect();
    let mut lines = vec![
        source.path.display().to_string(),
        match source.matrix.as_str() {
            // Of formats that hold no other.
            "matrix" => source.format.clone(),
            matrix => format!("{}, matrix {matrix}", source.format),
        },
        format!(
            "{} cells × {} genes, {} values above zero, {:.1} % zeros",
            count(n_obs),
            count(n_vars),
            // Far below 2⁶⁴.
            count(survey.n_values as usize),
            100.0 * zeros
        ),
    ];
    if !columns.is_empty() {
        lines.push(format!("of the cells also {}", columns.join(", ")));
    }
    Section(lines)
}

fn values(checked: &Checked<'_>) -> Section {
    let survey = &checked.survey;
    // Far below 2⁶⁴.
    let (n, n_fractional) = (survey.n_values as usize, survey.n_fractional as usize);
    let fractions = match n_fractional {
        0 => "all of them are integers".into(),
        _ if n_fractional == n => "none of them is an integer".into(),
        _ => format!("{} of {} are no integers", count(n_fractional), count(n)),
    };
    Section(match &checked.verdict {
        // The evidence says it.
        Ok(verdict) if verdict.kind == ValueKind::Counts => vec![kind_and_evidence(verdict)],
        Ok(verdict) => vec![kind_and_evidence(verdict), fractions],
        Err(reason) => vec![
            without_path(checked, reason).to_owned(),
            format!("{fractions}; up to {}", short(survey.max.into())),
        ],
    })
}

fn kind_and_evidence(verdict: &ScaleVerdict) -> String {
    format!("{}: {}", verdict.kind.name(), verdict.evidence)
}

/// A message without the name of the file, which stands above it.
fn without_path<'m>(checked: &Checked<'_>, message: &'m str) -> &'m str {
    let path = checked.head.source.path.display().to_string();
    let rest = message.strip_prefix(&path).and_then(|rest| rest.strip_prefix(": "));
    rest.unwrap_or(message)
}

fn genes(checked: &Checked<'_>) -> Section {
    let naming = &checked.naming;
    let mut lines = Vec::new();
    let mut kinds: Vec<(&NameKind, &usize)> = naming.ids.iter().collect();
    kinds.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    let mut each: Vec<String> =
        kinds.iter().map(|(kind, n)| format!("{} ({})", kind.words(), count(**n))).collect();
    let beside = [(naming.n_symbols_beside, "symbols"), (naming.n_ensembl_beside, "Ensembl ids")];
    for (n, what) in beside.into_iter().filter(|(n, _)| *n > 0) {
        each.push(format!("{what} beside the names ({})", count(n)));
    }
    let examples_of_ids = naming.examples.iter().take(3).map(String::as_str);
    let ids = examples_of_ids.collect::<Vec<_>>().join(", ");
    lines.push(format!("{}, like {ids}", each.join(", ")));
    lines.push(format!("species: {} ({})", naming.species.name(), naming.species.evidence));
    let repeated = match naming.repeated.n {
        0 => "none".into(),
        n => format!("{} ({})", count(n), examples(&naming.repeated)),
    };
    lines.push(match naming.repeated_symbols.n {
        0 => format!("repeated: {repeated}"),
        n => format!(
            "repeated: {repeated}; other genes with the symbol of one before: {} ({})",
            count(n),
            examples(&naming.repeated_symbols)
        ),
    });
    for (what, found) in &naming.controls {
        lines.push(format!("{} {what} ({})", count(found.n), examples(found)));
    }
    Section(lines)
}

fn examples(found: &Found) -> String {
    let more = if found.n > found.examples.len() { ", ..." } else { "" };
    format!("{}{more}", found.examples.join(", "))
}

fn cells(checked: &Checked<'_>) -> Section {
    let head = &checked.head;
    let first = head.obs_names.first().map_or("", String::as_str);
    Section(vec![
        format!("names are unique, like {first}"),
        match checked.survey.n_empty() {
            0 => "none is empty".into(),
            1 => "1 is empty".into(),
            n => format!("{} are empty", count(n)),
        },
    ])
}

fn write_quantiles(rows: [(&str, &Spread); 2], out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\n{:16}", "")?;
    for (percent, _) in QUANTILES {
        write!(out, "{:>9}", format!("{percent} %"))?;
    }
    writeln!(out)?;
    for (name, spread) in rows {
        write!(out, "{name:16}")?;
        for (percent, _) in QUANTILES {
            write!(out, " {:>8}", short(spread.quantile(percent)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Two histograms side by side.
fn write_histograms(spreads: [(&str, &Spread); 2], out: &mut dyn Write) -> io::Result<()> {
    let columns = spreads.map(|(name, spread)| bars(name, &spread.histogram()));
    let n_lines = columns.iter().map(Vec::len).max().unwrap_or(0);
    if n_lines > 0 {
        writeln!(out)?;
    }
    for line in 0..n_lines {
        let [left, right] =
            columns.each_ref().map(|lines| lines.get(line).map_or("", String::as_str));
        writeln!(out, "{}", format!("{left:COLUMN$}  {right}").trim_end())?;
    }
    Ok(())
}

/// Of one histogram.
const COLUMN: usize = 48;
const BAR: usize = 24;

fn bars(name: &str, bins: &[Bin]) -> Vec<String> {
    let most = bins.iter().map(|bin| bin.n).max().unwrap_or(0).max(1);
    let label = |at: usize, bin: &Bin| match (bin.from.is_finite(), bins.get(at + 1)) {
        (false, Some(next)) => format!("below {}", short(next.from)),
        (_, None) => format!("from {}", short(bin.from)),
        _ => short(bin.from),
    };
    let row = |(at, bin): (usize, &Bin)| {
        format!("{:>14} {:BAR$} {:>7}", label(at, bin), bar(bin.n, most), count(bin.n))
    };
    let title = (!bins.is_empty()).then(|| format!("{name:>14}"));
    title.into_iter().chain(bins.iter().enumerate().map(row)).collect()
}

/// Whole blocks and eighths of one; what is above zero shows.
fn bar(n: usize, most: usize) -> String {
    let eighths = (n as f64 / most as f64 * (8 * BAR) as f64).round() as usize;
    let eighths = if n > 0 { eighths.max(1) } else { 0 };
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// A number in few characters: millions are told as such.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        _ => return number(value),
    };
    let decimals = 2 - (scaled.abs().log10().floor() as usize).min(2);
    let text = format!("{scaled:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn model(fit: &Fit<'_>) -> Section {
    let model = fit.model;
    Section(vec![format!(
        "{}: reads {} of {} genes, names {} cell types",
        fit.path.display(),
        fit.expected.name(),
        count(model.n_genes()),
        count(model.n_leaves())
    )])
}

fn overlap(fit: &Fit<'_>) -> Section {
    let Some(alignment) = &fit.alignment else {
        return Section(vec!["not told: a gene of the model stands there twice".into()]);
    };
    let overlap = &alignment.overlap;
    let mut lines = vec![format!(
        "{} of {} genes of the model, {:.1} % of the library in training",
        count(overlap.n_present as usize),
        count(fit.model.n_genes()),
        100.0 * share(overlap.share_q30)
    )];
    let by_name = overlap.n_present - overlap.n_by_ensembl - overlap.n_by_alias;
    let found = [
        (overlap.n_by_ensembl, "Ensembl id"),
        (by_name, "symbol or id"),
        (overlap.n_by_alias, "another name that the model knows"),
    ];
    let found = found.iter().filter(|(n, _)| *n > 0);
    let found: Vec<String> =
        found.map(|(n, by)| format!("{} by {by}", count(*n as usize))).collect();
    if !found.is_empty() {
        lines.push(format!("found: {}", found.join(", ")));
    }
    let missing = fit.missing();
    let heaviest: Vec<String> = (missing.iter().take(8))
        .map(|gene| format!("{} {:.2} %", gene.name, 100.0 * gene.share))
        .collect();
    if !heaviest.is_empty() {
        let more = if missing.len() > heaviest.len() { ", ..." } else { "" };
        lines.push(format!("missing, heaviest first: {}{more}", heaviest.join(", ")));
    }
    Section(lines)
}

/// Cells that are rejected before a network sees them.
fn depth(checked: &Checked<'_>, fit: &Fit<'_>) -> Section {
    let (n_cells, n_rejected) = (checked.head.obs_names.len(), fit.n_rejected());
    let rules = fit.model.rules();
    let mut lines = vec![format!(
        "{} of {} cells have enough in them to be typed, {} would be Unassigned",
        count(n_cells - n_rejected),
        count(n_cells),
        count(n_rejected)
    )];
    for (reason, n) in &fit.rejected {
        let why = match *reason {
            "empty" => "no gene of the model above zero".into(),
            "too_shallow" => {
                format!(
                    "fewer than {} counts of the model's genes",
                    count(rules.min_counts as usize)
                )
            }
            "too_few_genes" => {
                format!(
                    "fewer than {} of the model's genes above zero",
                    count(rules.min_genes as usize)
                )
            }
            "library_too_large" => "a sum that nothing can be divided by".into(),
            _ => String::new(),
        };
        lines.push(format!("  {} {reason}: {why}", count(*n)));
    }
    lines.push(
        "what calls are rejected for (low_confidence, noise_like, ...) only typing knows".into(),
    );
    Section(lines)
}

fn verdict(checked: &Checked<'_>) -> Section {
    let verdict = match (&checked.refusal, &checked.fit) {
        (Some(refusal), fit) => {
            let reason = refusal.to_string();
            let who =
                if fit.is_some() { "cic type refuses this file, exit code 3" } else { "refused" };
            format!("{who}: {}", without_path(checked, &reason))
        }
        (None, Some(_)) => "cic type takes this file".into(),
        (None, None) => "sound; --model MODEL tells whether a model takes it".into(),
    };
    Section(vec![verdict])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_set_back() {
        assert_eq!(wrapped("one two three", 7), ["one two", "  three"]);
        assert_eq!(wrapped("  one two", 6), ["  one", "    two"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcdefghij"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn large_numbers_stay_short() {
        for (value, text) in [
            (999_999.0, "999,999"),
            (1_234_567.0, "1.23 M"),
            (5e6, "5 M"),
            (32_968_249.0, "33 M"),
            (450e6, "450 M"),
            (1.5e9, "1.5 G"),
            (0.5, "0.500"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_bar_of_something_shows() {
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(1, 100_000), "▏");
        assert_eq!(bar(50, 100).chars().count(), BAR / 2);
        assert_eq!(bar(100, 100), "█".repeat(BAR));
    }
}
