//! A model around a network: panel, preprocessing, rules, novelty, golden cells, all from the cells that it is made with.

use std::collections::BTreeMap;

use cic_data::{CsrMatrix, ExpressionMatrix};
use cic_model::genes::{DuplicatePolicy, is_ensembl};
use cic_model::profile::Scaling;
use cic_model::quant::{ONE_Q16, ONE_Q30};
use cic_model::rules::Rules;
use cic_model::spec::{
    GeneSpec, LabelsSpec, ModelSpec, NetworkSpec, PanelSpec, ProfileSpec, library_shares_q30,
};
use cic_model::{IdKind, Network, ValueKind};

use crate::UNLABELLED;
use crate::codes::Coder;
use crate::error::TrainError;
use crate::golden::golden_cells;
use crate::input_rule::InputRule;
use crate::novelty::{Cells, fit_novelty};
use crate::parts::{Parts, row_digest};
use crate::temperature::{fit_temperature, inverse_q16};

/// What a model is made with, besides its network.
pub(crate) struct Assembly<'a> {
    pub(crate) panel: PanelSpec,
    /// In the order of the logits.
    pub(crate) classes: &'a [String],
    /// Class per row, or [`UNLABELLED`].
    pub(crate) labels: &'a [u32],
    pub(crate) parts: &'a Parts,
    /// Rows that everything but the confidence is taken from.
    pub(crate) seen: &'a [usize],
    /// Rows that the temperature is fitted on; with none it is one.
    pub(crate) judged: &'a [usize],
    /// Those of them that no weight was fitted to.
    pub(crate) held: &'a [usize],
    /// Values of the panel, before and after preprocessing.
    pub(crate) raw: &'a CsrMatrix,
    pub(crate) inputs: &'a CsrMatrix,
    /// Sums over all measured genes.
    pub(crate) totals: &'a [f64],
    pub(crate) rule: InputRule<'a>,
    /// What stands for missing genes, `[n_genes]`; without, the means of the inputs of the `seen` rows.
    pub(crate) fill_values: Option<&'a [f32]>,
    pub(crate) least: Least,
    pub(crate) seed: u64,
}

/// What a cell must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Least {
    /// Smallest share of the panel's genes that a file must have.
    pub(crate) coverage: f64,
    /// Smallest share of the counts and genes of shallow cells.
    pub(crate) depth: f64,
}

impl Assembly<'_> {
    /// The model. `names` are those of all rows.
    pub(crate) fn spec(
        self,
        names: &[String],
        network: Network,
        provenance: BTreeMap<String, String>,
    ) -> Result<ModelSpec, TrainError> {
        let Self { classes, labels, parts, seen, raw, inputs, totals, rule, .. } = self;
        let Scaling { kind, library, target_sum } = rule.scaling;
        let coder = Coder::new(&network);
        let coded = coder.code_rows(inputs);
        let labelled = self.judged.iter().filter(|&&row| labels[row] != UNLABELLED);
        let logits = labelled.map(|&row| (coded[row].logits.clone(), labels[row] as usize));
        let temperature = fit_temperature(logits).unwrap_or(1.0);
        let cells = Cells {
            raw,
            totals,
            rule,
            labels,
            n_classes: classes.len(),
            coded: &coded,
            are_counts: kind == ValueKind::Counts,
        };
        let novelty = fit_novelty(&cells, &coder, seen, self.held, self.seed)?;
        let golden = golden_cells(raw, seen, labels, classes.len(), rule, &network, self.seed);
        Ok(ModelSpec {
            panel: self.panel,
            profiles: vec![ProfileSpec {
                name: kind.name().into(),
                kind,
                library,
                target_sum,
                fill_values: match self.fill_values {
                    Some(values) => values.to_vec(),
                    None => column_means(inputs, seen),
                },
                limits: rule.limits.to_vec(),
                levels: None,
            }],
            labels: LabelsSpec::flat(classes),
            rules: rules(kind, raw, seen, temperature, self.least),
            confidence: None,
            novelty,
            provenance,
            rows: [&parts.fit, &parts.early_stop, &parts.calibrate, &parts.test]
                .map(|part| part.iter().map(|&row| row_digest(&names[row])).collect()),
            network: NetworkSpec::F32(network),
            golden,
        })
    }
}

/// Raw values of the panel's columns, in panel order.
pub(crate) fn panel_values(values: &CsrMatrix, columns: &[u32]) -> CsrMatrix {
    let mut place = vec![None; values.n_cols];
    for (gene, &column) in (0_u32..).zip(columns) {
        place[column as usize] = Some(gene);
    }
    let mut panel =
        CsrMatrix { n_cols: columns.len(), indptr: vec![0], indices: Vec::new(), data: Vec::new() };
    let mut entries: Vec<(u32, f32)> = Vec::new();
    for row in 0..values.n_rows() {
        let (columns, data) = values.row(row);
        entries.clear();
        entries.extend(
            columns.iter().zip(data).filter_map(|(&c, &v)| place[c as usize].map(|g| (g, v))),
        );
        entries.sort_unstable_by_key(|&(gene, _)| gene);
        panel.indices.extend(entries.iter().map(|&(gene, _)| gene));
        panel.data.extend(entries.iter().map(|&(_, value)| value));
        panel.indptr.push(panel.data.len());
    }
    panel
}

/// What the network reads. Rows that are empty over the panel stay empty. `totals` are sums over all
/// measured genes.
pub(crate) fn network_inputs(raw: &CsrMatrix, totals: &[f64], rule: InputRule<'_>) -> CsrMatrix {
    let mut inputs = raw.clone();
    for (row, &total) in totals.iter().enumerate() {
        let (genes, values) = raw.row(row);
        let factor = rule.scaling.factor(sum_of(values), total, ONE_Q30).unwrap_or(0.0);
        let places = &mut inputs.data[raw.indptr[row]..raw.indptr[row + 1]];
        for (&gene, value) in genes.iter().zip(places) {
            *value = rule.input(gene as usize, *value, factor);
        }
    }
    inputs
}

/// The sum of each row.
pub(crate) fn row_sums(values: &CsrMatrix) -> Vec<f64> {
    (0..values.n_rows()).map(|row| sum_of(values.row(row).1)).collect()
}

fn sum_of(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

fn column_means(values: &CsrMatrix, rows: &[usize]) -> Vec<f32> {
    column_sums(values, rows).iter().map(|sum| (sum / rows.len().max(1) as f64) as f32).collect()
}

fn column_sums(values: &CsrMatrix, rows: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.0; values.n_cols];
    for &row in rows {
        let (columns, data) = values.row(row);
        for (&column, &value) in columns.iter().zip(data) {
            sums[column as usize] += f64::from(value);
        }
    }
    sums
}

/// The genes in these columns.
pub(crate) fn panel_spec(
    matrix: &ExpressionMatrix,
    columns: &[u32],
    raw: &CsrMatrix,
    seen: &[usize],
) -> PanelSpec {
    let shares = library_shares_q30(&column_sums(raw, seen));
    let genes: Vec<GeneSpec> = columns
        .iter()
        .zip(shares)
        .map(|(&column, library_share_q30)| {
            let gene = &matrix.genes[column as usize];
            GeneSpec {
                id: gene.key().to_owned(),
                symbol: gene.symbol.clone().unwrap_or_default(),
                aliases: Vec::new(),
                library_share_q30,
            }
        })
        .collect();
    let n_ensembl = genes.iter().filter(|gene| is_ensembl(&gene.id)).count();
    let id_kind = if 2 * n_ensembl > genes.len() { IdKind::Ensembl } else { IdKind::Symbol };
    PanelSpec { id_kind, duplicates: DuplicatePolicy::KeepFirst, genes }
}

/// A cell is too shallow below a share of what 99 % of the `seen` cells have.
fn rules(
    kind: ValueKind,
    raw: &CsrMatrix,
    seen: &[usize],
    temperature: f64,
    least: Least,
) -> Rules {
    let low = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        let at = values.get(values.len() / 100).copied().unwrap_or(0.0);
        // Far below 2³²: counts of one cell.
        (at * least.depth).max(1.0) as u32
    };
    let sum = |row: &usize| sum_of(raw.row(*row).1);
    let detected = |row: &usize| raw.row(*row).1.len() as f64;
    Rules {
        min_counts: if kind == ValueKind::Counts { low(seen.iter().map(sum).collect()) } else { 0 },
        min_genes: low(seen.iter().map(detected).collect()),
        min_coverage_q16: (f64::from(ONE_Q16) * least.coverage) as u32,
        min_confidence_q16: 0,
        inv_temperature_q16: inverse_q16(temperature),
    }
}
