//! What was found, as JSON. `docs/check.md` describes every key; keys are added and never change.

use std::collections::BTreeMap;

use cic_data::{Found, NameKind};
use serde_json::{Value, json};

use super::fit::{Fit, share};
use super::{Checked, plan};
use crate::failure::Failure;
use crate::model_file;

/// The whole document.
pub(super) fn json(checked: &Checked<'_>) -> Value {
    let (head, survey) = (&checked.head, &checked.survey);
    let (n_obs, n_vars) = (head.obs_names.len(), head.genes.len());
    let n_ensembl = head.genes.iter().filter(|gene| gene.ensembl.is_some()).count();
    let verdict = checked.verdict.as_ref().ok();
    json!({
        "schema_version": 1,
        "format": head.source.format,
        "matrix": head.source.matrix,
        "n_obs": n_obs,
        "n_vars": n_vars,
        "n_values": survey.n_values,
        "value_kind": verdict.map(|verdict| verdict.kind.name()),
        "evidence": verdict.map(|verdict| &verdict.evidence),
        "value_refusal": checked.verdict.as_ref().err(),
        "integers": survey.n_fractional == 0,
        "n_fractional": survey.n_fractional,
        "max": survey.max,
        "zeros": 1.0 - survey.n_values as f64 / (n_obs as f64 * n_vars as f64),
        "sum_per_cell": survey.sums().json(),
        "genes_per_cell": survey.genes().json(),
        "n_empty_cells": survey.n_empty(),
        "n_ensembl_ids": n_ensembl,
        "genes": genes(checked),
        "obs_columns": head.obs.names().collect::<Vec<_>>(),
        "notes": plan::notes(checked),
        "refusal": checked.refusal.as_ref().map(ToString::to_string),
        "model": checked.fit.as_ref().map(|fit| model(checked, fit)),
    })
}

/// Of a file that was not read to its end.
pub(super) fn unread(refusal: &Failure) -> Value {
    json!({"schema_version": 1, "refusal": refusal.to_string()})
}

fn genes(checked: &Checked<'_>) -> Value {
    let naming = &checked.naming;
    let ids: BTreeMap<&str, usize> = naming.ids.iter().map(|(kind, n)| (kind.name(), *n)).collect();
    let controls: BTreeMap<&str, Value> =
        naming.controls.iter().map(|(what, names)| (*what, found(names))).collect();
    json!({
        "id_kind": naming.id_kind().map_or("mixed", NameKind::name),
        "ids": ids,
        "examples": naming.examples,
        "n_symbols_beside": naming.n_symbols_beside,
        "n_ensembl_beside": naming.n_ensembl_beside,
        "species": {
            "candidates": naming.species.species,
            "mixed": naming.species.is_mixed,
            "evidence": naming.species.evidence,
        },
        "genomes": naming.genomes,
        "repeated": found(&naming.repeated),
        "repeated_symbols": found(&naming.repeated_symbols),
        "mangled": found(&naming.mangled),
        "controls": controls,
    })
}

fn found(found: &Found) -> Value {
    json!({ "n": found.n, "examples": found.examples })
}

fn model(checked: &Checked<'_>, fit: &Fit<'_>) -> Value {
    let overlap = fit.alignment.as_ref().map(|alignment| alignment.overlap);
    let n_by_name =
        overlap.map(|overlap| overlap.n_present - overlap.n_by_ensembl - overlap.n_by_alias);
    let missing = fit.missing();
    let heaviest = missing.iter().take(MISSING);
    let heaviest =
        heaviest.map(|gene| json!({"id": gene.id, "name": gene.name, "share": gene.share}));
    // Of a file that is refused no cell is typed or rejected.
    let is_taken = checked.refusal.is_none();
    let rules = fit.model.rules();
    json!({
        "path": fit.path.display().to_string(),
        "model_id": fit.model.id().to_string(),
        "model_sha256": model_file::sha256(fit.model),
        "value_kind": fit.expected.name(),
        "accepts_values": checked.verdict.as_ref().ok().map(|verdict| fit.accepts(verdict.kind)),
        "n_genes": fit.model.n_genes(),
        "n_present": overlap.map(|overlap| overlap.n_present),
        "share_present": overlap.map(|overlap| share(overlap.share_q30)),
        "n_by_ensembl": overlap.map(|overlap| overlap.n_by_ensembl),
        "n_by_name": n_by_name,
        "n_by_alias": overlap.map(|overlap| overlap.n_by_alias),
        "n_duplicates": overlap.map(|overlap| overlap.n_duplicates),
        "duplicates": fit.model.genes().duplicates().name(),
        "heaviest_missing": heaviest.collect::<Vec<_>>(),
        "min_counts": rules.min_counts,
        "min_genes": rules.min_genes,
        "n_rejected": is_taken.then(|| fit.n_rejected()),
        "rejected": is_taken.then_some(&fit.rejected),
        "steps": plan::steps(checked, fit),
        "refusal": checked.refusal.as_ref().map(ToString::to_string),
    })
}

/// So many missing genes are named.
const MISSING: usize = 20;
