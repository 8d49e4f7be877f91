//! Where everything comes from, so that the page can be made again.

use std::path::Path;

use cic_model::Model;
use maud::{Markup, html};

use super::findings::{Findings, Sources};
use crate::model_file;
use crate::sheet::Section;
use crate::sheet::words::{details, table, text};

/// Models, data and program.
pub(super) fn provenance(sources: &Sources<'_>, findings: &Findings) -> Section {
    let model = sources.model;
    let mut facts = vec![
        ("model", model.id().to_string()),
        ("model file, SHA-256", model_file::sha256(model)),
        ("number format", model.dtype().name().to_owned()),
    ];
    if let Some(quantized) = sources.quantized {
        facts.extend([
            ("quantized model", quantized.id().to_string()),
            ("quantized file, SHA-256", model_file::sha256(quantized)),
            ("its number format", quantized.dtype().name().to_owned()),
        ]);
    }
    let fact = |key: &str| model.provenance().value(key).unwrap_or("not told").to_owned();
    facts.extend([
        ("training rows", fact("rows.fit.n")),
        ("rows that ended training", fact("rows.early_stop.n")),
        ("calibration rows", fact("rows.calibrate.n")),
        ("trained on", fact("data.name")),
        ("training data, digest", fact("data.digest")),
        ("same data as here", if findings.is_training_file { "yes" } else { "no" }.to_owned()),
        ("data file, SHA-256", findings.file_sha256.clone().unwrap_or_else(|| "a folder".into())),
        ("written by", format!("cic {}", env!("CARGO_PKG_VERSION"))),
    ]);
    let pairs = |model: &Model<'_>| -> Markup {
        let rows = model
            .provenance()
            .iter()
            .map(|(key, value)| vec![text(key), html! { code { (value) } }]);
        table(&["fact", "value"], rows.collect())
    };
    let body = html! {
        p { "The same model, data and options give this page again, byte for byte, on the same kind of processor." }
        dl.facts.long { @for (name, value) in facts { div { dt { (name) } dd { code { (value) } } } } }
        (details("All that the model says about itself", pairs(model)))
        @if let Some(quantized) = sources.quantized {
            (details("All that the quantized model says about itself", pairs(quantized)))
        }
    };
    Section { id: "provenance", title: "Where this comes from", body }
}

/// What the user calls a file, without the folders of this machine.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
