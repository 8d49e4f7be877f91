//! What `cic explain` prints.

use std::io::{self, Write};

use cic_data::sanitise_for_terminal;
use cic_trainer::gene_sets::PanelSet;
use cic_trainer::interpretation::{Against, RAISED_BY};
use serde::Serialize;

use super::cells::{Cell, TypeCalls};
use super::dimensions::{Dimension, SetTest};
use super::{Collection, Findings, Study};
use crate::console::wrap_list;

/// What was found, as printed with `--json`.
#[derive(Serialize)]
pub(super) struct Report {
    schema_version: u32,
    model_id: String,
    dtype: &'static str,
    n_genes: usize,
    code_dim: usize,
    /// Cells with a code.
    n_cells: usize,
    /// Genes of largest change that are looked at.
    top: usize,
    collections: Vec<CollectionReport>,
    /// Sets times dimensions: what p-values are adjusted for.
    n_tests: usize,
    dimensions: Vec<DimensionReport>,
    /// Means over cells that were called one type.
    types: Vec<TypeReport>,
    cells: Vec<CellReport>,
    /// Largest share of its difference of log-odds by which the contributions of a cell miss it.
    worst_completeness_error: Option<f64>,
}

#[derive(Serialize)]
struct CollectionReport {
    name: String,
    n_sets: usize,
    n_small: usize,
    n_large: usize,
    n_genes_named: usize,
    n_genes_in_panel: usize,
}

#[derive(Serialize)]
struct DimensionReport {
    dimension: usize,
    mean: f64,
    sd: f64,
    types: Vec<TypeMean>,
    /// Of the genes of largest change, those that rise, the most changed first.
    rising: Vec<GeneChange>,
    falling: Vec<GeneChange>,
    /// Sets with the smallest p-values of over-representation.
    over_represented: Vec<SetReport>,
    /// Sets whose genes rank highest, and lowest.
    by_rank: Vec<SetReport>,
}

#[derive(Serialize)]
struct TypeMean {
    label: String,
    mean: f64,
}

#[derive(Serialize)]
struct GeneChange {
    gene: String,
    change: f64,
    decoder_gradient: f64,
}

#[derive(Serialize)]
struct SetReport {
    collection: String,
    set: String,
    title: String,
    n_panel: usize,
    overlap: usize,
    rising: usize,
    p_value: f64,
    q_value: f64,
    bonferroni: f64,
    rank_z: f64,
    rank_p_value: f64,
    rank_q_value: f64,
    genes: Vec<String>,
}

#[derive(Serialize)]
struct TypeReport {
    #[serde(rename = "type")]
    name: String,
    n_cells: usize,
    against: String,
    /// The genes of largest mean contribution, either way.
    genes: Vec<GeneContribution>,
}

#[derive(Serialize)]
struct CellReport {
    cell: String,
    call: String,
    confidence: f32,
    /// Whether the model would name the cell.
    is_rejected: bool,
    label: Option<String>,
    against: String,
    log_odds: f64,
    log_odds_of_mean_profile: f64,
    sum_of_contributions: f64,
    completeness_error: f64,
    n_steps: usize,
    /// The genes of largest contribution, either way.
    genes: Vec<GeneContribution>,
}

#[derive(Serialize)]
struct GeneContribution {
    gene: String,
    /// What the network reads.
    value: f64,
    /// Training mean of it.
    baseline: f32,
    contribution: f64,
}

/// Sets that are shown for a dimension and a view; others are in the table.
const SHOWN_SETS: usize = 5;
/// Genes that are shown for a cell.
const SHOWN_GENES: usize = 20;

impl Report {
    pub(super) fn new(study: &Study<'_>, found: &Findings, top: usize) -> Self {
        let (model, collections) = (study.model, &found.collections);
        let dimension = |one: &Dimension| DimensionReport::new(study, one, collections, top);
        let of_types = found.types.iter().map(|one| one.worst_error);
        let errors = found.cells.iter().map(|cell| cell.contributions.error()).chain(of_types);
        Self {
            schema_version: 1,
            model_id: model.id().to_string(),
            dtype: model.dtype().name(),
            n_genes: model.n_genes(),
            code_dim: model.code_dim(),
            n_cells: study.rows.len(),
            top,
            collections: collections.iter().map(CollectionReport::new).collect(),
            n_tests: found.dimensions.iter().map(|one| one.sets.len()).sum(),
            dimensions: found.dimensions.iter().map(dimension).collect(),
            types: found.types.iter().map(|one| TypeReport::new(study, one)).collect(),
            worst_completeness_error: errors.max_by(f64::total_cmp),
            cells: found.cells.iter().map(|cell| CellReport::new(study, cell)).collect(),
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} cells, a panel of {} genes, codes of {} dimensions",
            self.n_cells, self.n_genes, self.code_dim
        )?;
        for one in &self.collections {
            one.write(out)?;
        }
        for one in &self.dimensions {
            one.write(out, self.top)?;
        }
        if !self.dimensions.is_empty() {
            self.write_summary(out)?;
        }
        for one in &self.types {
            writeln!(
                out,
                "\ncalls of {}, against {}, mean of {} cells",
                sanitise_for_terminal(&one.name),
                sanitise_for_terminal(&one.against),
                one.n_cells
            )?;
            write_genes(out, &one.genes)?;
        }
        for cell in &self.cells {
            cell.write(out)?;
        }
        if let Some(worst) = self.worst_completeness_error {
            writeln!(
                out,
                "\nContributions are integrated gradients from the mean training profile; they sum to the \
                 difference of the log-odds,\nhere within {:.2} %, of any cell. In brackets the value \
                 that the network reads, and its training mean.",
                100.0 * worst
            )?;
        }
        Ok(())
    }

    fn write_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "\nChange: the decoded mean code with the dimension raised by {RAISED_BY} SD, less the decoded mean \
             code, in units of\nthe network's input."
        )?;
        if self.n_tests == 0 {
            return Ok(());
        }
        let with = |test: fn(&DimensionReport) -> bool| {
            self.dimensions.iter().filter(|one| test(one)).count()
        };
        writeln!(
            out,
            "{} of {} dimensions have a set over-represented with q < 0.05, {} with Bonferroni < 0.05. p: \
             hypergeometric, among\nthe {} genes of the panel; q (Benjamini-Hochberg) and Bonferroni: over {} \
             tests, all sets and dimensions above.\nRanks: Mann-Whitney of the changes of all genes; it takes \
             genes for independent, so its q is too small.",
            with(|one| one.over_represented.iter().any(|set| set.q_value < 0.05)),
            self.dimensions.len(),
            with(|one| one.over_represented.iter().any(|set| set.bonferroni < 0.05)),
            self.n_genes,
            self.n_tests
        )
    }
}

impl CollectionReport {
    fn new(collection: &Collection) -> Self {
        let sets = &collection.sets;
        Self {
            name: collection.name.clone(),
            n_sets: sets.sets.len(),
            n_small: sets.n_small,
            n_large: sets.n_large,
            n_genes_named: sets.n_named,
            n_genes_in_panel: sets.n_matched,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{}: {} sets tested, {} have too few genes in the panel, {} too many; {} of its {} genes are \
             in the panel",
            sanitise_for_terminal(&self.name),
            self.n_sets,
            self.n_small,
            self.n_large,
            self.n_genes_in_panel,
            self.n_genes_named
        )
    }
}

impl DimensionReport {
    fn new(study: &Study<'_>, one: &Dimension, collections: &[Collection], top: usize) -> Self {
        let change = |&gene: &usize| GeneChange {
            gene: study.gene_name(gene).to_owned(),
            change: one.effect.change[gene],
            decoder_gradient: one.effect.decoder_gradient[gene],
        };
        let (rising, falling): (Vec<GeneChange>, Vec<GeneChange>) =
            one.order.iter().take(top).map(change).partition(|gene| gene.change > 0.0);
        let report = |test: &SetTest| SetReport::new(study, test, collections);
        let shown = |key: &dyn Fn(&SetTest) -> f64| -> Vec<SetReport> {
            let mut tests: Vec<&SetTest> = one.sets.iter().collect();
            tests.sort_by(|a, b| key(a).total_cmp(&key(b)));
            tests.into_iter().take(SHOWN_SETS).map(report).collect()
        };
        let mut over_represented = shown(&|test| test.p_value);
        over_represented.retain(|test| test.overlap > 0);
        Self {
            dimension: one.dimension,
            mean: one.mean,
            sd: one.sd,
            types: one
                .types
                .iter()
                .map(|(label, mean)| TypeMean { label: label.clone(), mean: *mean })
                .collect(),
            rising,
            falling,
            over_represented,
            by_rank: shown(&|test| -test.rank_sum.z.abs()),
        }
    }

    fn write(&self, out: &mut dyn Write, top: usize) -> io::Result<()> {
        // Adding zero makes −0 a 0.
        let mean = (100.0 * self.mean).round() / 100.0 + 0.0;
        write!(out, "\ndimension {}: mean {mean:.2}, SD {:.2}", self.dimension, self.sd)?;
        if let [highest, .., lowest] = &self.types[..] {
            write!(
                out,
                "; highest in {} ({:+.2}), lowest in {} ({:+.2})",
                sanitise_for_terminal(&highest.label),
                highest.mean,
                sanitise_for_terminal(&lowest.label),
                lowest.mean
            )?;
        }
        writeln!(out)?;
        for (what, genes) in [("rising", &self.rising), ("falling", &self.falling)] {
            let shown = |one: &GeneChange| format!("{} {:+.2}", one.gene, one.change);
            write_list(out, what, genes.iter().take(10).map(shown))?;
        }
        if !self.over_represented.is_empty() {
            writeln!(
                out,
                "  {:>8}  {:>8}  {:>10}  {:>20}  set, among the {top} genes that change most",
                "p", "q", "Bonferroni", "overlap"
            )?;
        }
        for set in &self.over_represented {
            let overlap = format!("{} of {} ({} rise)", set.overlap, set.n_panel, set.rising);
            writeln!(
                out,
                "  {:>8.1e}  {:>8.1e}  {:>10.1e}  {overlap:>20}  {}",
                set.p_value,
                set.q_value,
                set.bonferroni,
                sanitise_for_terminal(&set.title)
            )?;
        }
        if !self.by_rank.is_empty() {
            writeln!(
                out,
                "  {:>8}  {:>8}  {:>10}  {:>20}  set, by ranks of all genes",
                "z", "q", "", "genes"
            )?;
        }
        for set in &self.by_rank {
            writeln!(
                out,
                "  {:>+8.2}  {:>8.1e}  {:>10}  {:>20}  {}",
                set.rank_z,
                set.rank_q_value,
                "",
                set.n_panel,
                sanitise_for_terminal(&set.title)
            )?;
        }
        Ok(())
    }
}

impl SetReport {
    fn new(study: &Study<'_>, test: &SetTest, collections: &[Collection]) -> Self {
        let collection = &collections[test.collection];
        let set = &collection.sets.sets[test.set];
        Self {
            collection: collection.name.clone(),
            set: set.name.clone(),
            title: title(set),
            n_panel: set.genes.len(),
            overlap: test.overlap.len(),
            rising: test.n_rising,
            p_value: test.p_value,
            q_value: test.q_value,
            bonferroni: test.bonferroni,
            rank_z: test.rank_sum.z,
            rank_p_value: test.rank_sum.p_value,
            rank_q_value: test.rank_q_value,
            genes: test.overlap.iter().map(|&gene| study.gene_name(gene).to_owned()).collect(),
        }
    }
}

/// Name of a set, with its description where that is a title rather than an address.
fn title(set: &PanelSet) -> String {
    let description = &set.description;
    if description.is_empty() || *description == set.name || description.contains("://") {
        return set.name.clone();
    }
    let mut title: String = format!("{} {description}", set.name).chars().take(70).collect();
    if title.len() < set.name.len() + 1 + description.len() {
        title.push('…');
    }
    title
}

impl CellReport {
    fn new(study: &Study<'_>, cell: &Cell) -> Self {
        let (call, found) = (&study.calls.calls[cell.row], &cell.contributions);
        let contribution = |&gene: &usize| GeneContribution {
            gene: study.gene_name(gene).to_owned(),
            value: f64::from(cell.input[gene]),
            baseline: study.baseline()[gene],
            contribution: found.genes[gene],
        };
        Self {
            cell: study.dataset.matrix.obs_names[cell.row].clone(),
            call: study.model.labels().leaf_name(cell.target.leaf).to_owned(),
            confidence: call.confidence,
            is_rejected: call.reject.is_some(),
            label: study.annotations.label(cell.row),
            against: study.against(cell.target.against).to_owned(),
            log_odds: found.at_cell,
            log_odds_of_mean_profile: found.at_baseline,
            sum_of_contributions: found.sum(),
            completeness_error: found.error(),
            n_steps: found.n_steps,
            genes: cell.order.iter().take(SHOWN_GENES).map(contribution).collect(),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(
            out,
            "\ncell {}: {}, confidence {:.4}",
            sanitise_for_terminal(&self.cell),
            sanitise_for_terminal(&self.call),
            self.confidence
        )?;
        if self.is_rejected {
            write!(out, ", not named")?;
        }
        if let Some(label) = &self.label {
            write!(out, ", labelled {}", sanitise_for_terminal(label))?;
        }
        writeln!(
            out,
            "\n  log-odds against {} {:+.3}, of the mean profile {:+.3}: difference {:+.3};\n  \
             contributions sum to {:+.3}, in {} steps",
            sanitise_for_terminal(&self.against),
            self.log_odds,
            self.log_odds_of_mean_profile,
            self.log_odds - self.log_odds_of_mean_profile,
            self.sum_of_contributions,
            self.n_steps
        )?;
        write_genes(out, &self.genes)
    }
}

/// Genes for and against a call.
fn write_genes(out: &mut dyn Write, genes: &[GeneContribution]) -> io::Result<()> {
    for (what, sign) in [("for", 1.0), ("against", -1.0)] {
        let genes = genes.iter().filter(|one| sign * one.contribution > 0.0).take(8);
        let shown = |one: &GeneContribution| {
            let (value, baseline) = (one.value, one.baseline);
            format!("{} {:+.2} ({value:.1}, {baseline:.1})", one.gene, one.contribution)
        };
        write_list(out, what, genes.map(shown))?;
    }
    Ok(())
}

fn write_list(
    out: &mut dyn Write,
    what: &str,
    items: impl Iterator<Item = String>,
) -> io::Result<()> {
    let items: Vec<String> = items.collect();
    match items.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {what:8} {}", wrap_list(items.iter().map(String::as_str), 11)),
    }
}

impl TypeReport {
    fn new(study: &Study<'_>, one: &TypeCalls) -> Self {
        let contribution = |&gene: &usize| GeneContribution {
            gene: study.gene_name(gene).to_owned(),
            value: one.values[gene],
            baseline: study.baseline()[gene],
            contribution: one.contributions[gene],
        };
        Self {
            name: study.model.labels().leaf_name(one.leaf).to_owned(),
            n_cells: one.n_cells,
            against: study.against(one.against).to_owned(),
            genes: one.order.iter().take(SHOWN_GENES).map(contribution).collect(),
        }
    }
}

impl Study<'_> {
    /// What a call is told apart from.
    pub(super) fn against(&self, against: Against) -> &str {
        match against {
            Against::Others => "all others",
            Against::Leaf(leaf) => self.model.labels().leaf_name(leaf),
        }
    }
}
