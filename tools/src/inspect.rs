//! `cic inspect`: what is in a model file.

use std::io::{self, Write};
use std::path::PathBuf;

use cic_data::sanitise_for_terminal;
use cic_model::container::SectionEntry;
use cic_model::profile::Profile;
use cic_model::quant::ONE_Q30;
use cic_model::{Dtype, Model, StageKind};
use cic_runtime::Session;
use clap::Args;
use serde_json::{Value, json};

use crate::console::{print, print_json, wrap_list};
use crate::coverage::unknown_impostors;
use crate::failure::Failure;
use crate::model_file;

/// Options of `cic inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// The model
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const STAGES: [(StageKind, &str); 3] = [
    (StageKind::Encoder, "encoder"),
    (StageKind::Classifier, "classifier"),
    (StageKind::Decoder, "decoder"),
];

/// Opens, verifies and prints.
pub fn run(args: &InspectArgs) -> Result<(), Failure> {
    let bytes = model_file::read(&args.model)?;
    let model = model_file::open(&args.model, &bytes)?;
    let scratch = Session::new(&model, 0).map_err(Failure::internal)?.scratch_len();
    match args.json {
        true => print_json(&describe(&model, bytes.len(), scratch)),
        false => print(|out| write_summary(&model, bytes.len(), scratch, out)),
    }
}

fn describe(model: &Model<'_>, n_bytes: usize, scratch: usize) -> Value {
    let layers: Vec<Value> = STAGES
        .iter()
        .flat_map(|&(kind, stage)| model.stage(kind).iter().map(move |layer| (stage, layer)))
        .map(|(stage, layer)| {
            let segments: Vec<Value> = layer
                .segments()
                .map(|s| json!({"len": s.len, "activation": s.activation.name()}))
                .collect();
            json!({
                "stage": stage,
                "inputs": layer.in_dim(),
                "outputs": layer.out_dim(),
                "carry": layer.carry(),
                "segments": segments,
                "layout": {"block": layer.layout().block, "panel": layer.layout().panel},
            })
        })
        .collect();
    let profiles: Vec<Value> = model
        .profiles()
        .iter()
        .map(|p| {
            json!({
                "name": p.name(),
                "value_kind": p.kind().name(),
                "target_sum": p.target_sum(),
                "scale": p.scale(),
                "offset": p.offset(),
                // Of the finest and the coarsest gene, where every gene has a range of its own.
                "units_per_level": units_per_level(p).map(|(finest, coarsest)| [finest, coarsest]),
            })
        })
        .collect();
    let labels = model.labels();
    let leaves: Vec<&str> = (0..labels.n_leaves()).map(|leaf| labels.leaf_name(leaf)).collect();
    let provenance: serde_json::Map<String, Value> = model
        .provenance()
        .iter()
        .map(|(key, value)| (key.to_string(), Value::from(value)))
        .collect();
    let rules = model.rules();
    json!({
        "schema_version": 1,
        "format_version": cic_model::container::VERSION,
        "model_id": model.id().to_string(),
        "sha256": model_file::sha256(model),
        "dtype": model.dtype().name(),
        "bytes": n_bytes,
        "scratch_bytes": scratch,
        "n_genes": model.n_genes(),
        "id_kind": model.genes().id_kind().name(),
        "n_aliases": model.genes().aliases().count(),
        "duplicates": model.genes().duplicates().name(),
        "code_dim": model.code_dim(),
        "labels": leaves,
        "layers": layers,
        "profiles": profiles,
        "rules": {
            "min_counts": rules.min_counts,
            "min_genes": rules.min_genes,
            "min_coverage": f64::from(rules.min_coverage_q16) / 65_536.0,
            "min_confidence": f64::from(rules.min_confidence_q16) / 65_536.0,
            "temperature": 65_536.0 / f64::from(rules.inv_temperature_q16),
            // Share of the library that a file needs; null where no cell is rejected for its code.
            "min_library_for_novelty": model.novelty().map(|novelty| {
                f64::from(novelty.least_share_q30()) / f64::from(ONE_Q30)
            }),
        },
        "n_golden_cells": model.golden().len(),
        "provenance": provenance,
        "sections": model.container().sections().map(section).collect::<Vec<_>>(),
    })
}

fn section(entry: SectionEntry) -> Value {
    json!({"kind": entry.kind, "index": entry.index, "offset": entry.offset, "bytes": entry.len})
}

fn write_summary(
    model: &Model<'_>,
    n_bytes: usize,
    scratch: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "model id     {}", model.id())?;
    writeln!(out, "sha256       {}", model_file::sha256(model))?;
    writeln!(
        out,
        "precision    {}, format version {}",
        model.dtype().name(),
        cic_model::container::VERSION
    )?;
    writeln!(out, "size         {n_bytes} bytes, scratch {scratch} bytes")?;
    let genes = model.genes();
    let shown: Vec<&str> = (0..genes.len().min(5)).map(|gene| genes.display_name(gene)).collect();
    writeln!(
        out,
        "genes        {} ({} ids): {}, ...",
        genes.len(),
        genes.id_kind().name(),
        sanitise_for_terminal(&shown.join(", "))
    )?;
    let aliases = match genes.aliases().count() {
        0 => "none".into(),
        n => n.to_string(),
    };
    writeln!(out, "other names  {aliases}; genes that stand twice: {}", genes.duplicates().name())?;
    for profile in model.profiles() {
        write!(out, "input        {}", profile.kind().name())?;
        if profile.name() != profile.kind().name() {
            write!(out, " ({})", sanitise_for_terminal(profile.name()))?;
        }
        if profile.target_sum() > 0 {
            write!(out, ", scaled to {} per cell, ln(1 + x)", profile.target_sum())?;
        }
        if model.dtype() == Dtype::S8 {
            match units_per_level(profile) {
                Some((finest, coarsest)) => {
                    write!(out, ", {finest:.4} to {coarsest:.4} per level by gene")?;
                }
                None => write!(out, ", {:.4} per level", profile.scale())?,
            }
        }
        writeln!(out)?;
    }
    for (kind, name) in STAGES {
        let Some(first) = model.stage(kind).first() else { continue };
        let mut text = first.in_dim().to_string();
        for layer in model.stage(kind) {
            let parts: Vec<String> = layer
                .segments()
                .map(|segment| match segment.activation {
                    cic_model::Activation::Identity => segment.len.to_string(),
                    activation => format!("{} {}", segment.len, activation.name()),
                })
                .collect();
            text += &format!(" -> {}", parts.join(" | "));
            if layer.carry() > 0 {
                text += &format!(" (+ {} linear past the rest)", layer.carry());
            }
        }
        writeln!(out, "{name:12} {text}")?;
    }
    let labels = model.labels();
    let names: Vec<&str> = (0..labels.n_leaves()).map(|leaf| labels.leaf_name(leaf)).collect();
    writeln!(out, "labels       {}", names.len())?;
    writeln!(out, "             {}", wrap_list(names, 13))?;
    let rules = model.rules();
    writeln!(
        out,
        "rules        a cell needs {} counts and {} genes, a file {:.0} % of the panel",
        rules.min_counts,
        rules.min_genes,
        100.0 * f64::from(rules.min_coverage_q16) / 65_536.0
    )?;
    let temperature = 65_536.0 / f64::from(rules.inv_temperature_q16);
    writeln!(out, "temperature  {temperature:.3}")?;
    let unknown = unknown_impostors(model).map(|unknown| unknown.brief);
    if let Some(unknown) = unknown {
        writeln!(out, "novelty      {unknown}")?;
    }
    if let Some(novelty) = model.novelty().filter(|_| unknown.is_none()) {
        writeln!(
            out,
            "novelty      rejects noise, doublets and what is unlike training in files with {:.1} % of the library",
            100.0 * f64::from(novelty.least_share_q30()) / f64::from(ONE_Q30)
        )?;
    }
    writeln!(out, "golden       {} cells", model.golden().len())?;
    for (key, value) in model.provenance().iter() {
        // Digests are for machines, which read JSON.
        let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = if is_digest { format!("{}...", &value[..16]) } else { value.to_string() };
        writeln!(out, "{:28} {}", sanitise_for_terminal(key), sanitise_for_terminal(&value))?;
    }
    Ok(())
}

/// Network input units of one level, of the finest and the coarsest gene; `None` where all genes
/// share them.
fn units_per_level(profile: &Profile<'_>) -> Option<(f32, f32)> {
    let units = profile.gene_scales().map(|gene| profile.scale() / gene.gain);
    units.map(|units| (units, units)).reduce(|all, of| (all.0.min(of.0), all.1.max(of.1)))
}
