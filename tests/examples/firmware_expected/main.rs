//! The host's side of the firmware comparison: `firmware_expected PROGRAM MODEL FILE` writes an int8
//! model to `FILE` and prints what an image of that program must print with it.

#[path = "../../../firmware-examples/src/bounds.rs"]
mod bounds;
mod c_console;
mod conversation;
mod made_up;
#[path = "../../../firmware-examples/src/profiles.rs"]
mod profiles;
#[path = "../../../firmware-examples/src/reference_net.rs"]
mod reference_net;
#[path = "../../../firmware-examples/src/report.rs"]
mod report;
#[path = "../../../firmware-examples/src/stream/mod.rs"]
mod stream;
#[path = "../../../firmware-examples/src/tally.rs"]
mod tally;

use std::error::Error;
use std::path::Path;

use cic_data::{ExpressionMatrix, ReadOptions, SplitPart, align, read_expression, read_split};
use cic_model::profile::Library;
use cic_model::rules::RejectReason::{Empty, TooFewGenes, TooShallow};
use cic_model::spec::{LayoutPlan, ModelSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model, ValueKind};
use cic_quant::{Language, emit};
use cic_tests::models::LAYOUTS;
use cic_tests::{fixture, real};
use cic_trainer::FitControl;
use cic_trainer::panel::PanelSize;
use cic_trainer::parts::Assigned;
use cic_trainer::pipeline::{Request, train};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, name, layout, path] = arguments.as_slice() else {
        let usage = "firmware_expected PROGRAM fixture|pbmc3k|tiny|net135k|INT8.cic LAYOUT FILE";
        return Err(format!("usage: {usage}").into());
    };
    let layout = LAYOUTS.iter().find(|(known, _)| known == layout);
    let (_, layout) = layout.ok_or("there is no such layout")?;
    let model = match name.as_str() {
        "fixture" => {
            let cells = fixture::cells();
            quantise(&fixture::bytes()?, &cells.matrix)?
        }
        "pbmc3k" => match pbmc3k()? {
            Some(model) => model,
            None => return Ok(()),
        },
        "tiny" => made_up::int8(&made_up::TINY)?,
        "net135k" => made_up::int8(&made_up::NET135K)?,
        path if path.ends_with(".cic") => std::fs::read(path)?,
        _ => return Err(format!("there is no model {name}").into()),
    };
    let model = AlignedBytes::new(&model);
    let model = ModelSpec::from_model(&Model::open_verified(&model)?).to_bytes(*layout)?;
    std::fs::write(path, &model)?;
    print_console(program, &model, Path::new(path), name.ends_with(".cic"))
}

fn quantise(bytes: &AlignedBytes, matrix: &ExpressionMatrix) -> Result<Vec<u8>, Box<dyn Error>> {
    let model = Model::open_verified(bytes)?;
    let cells = align(matrix, model.genes())?;
    Ok(fixture::quantised(&model, &cells, &matrix.obs_names, Dtype::S8)?)
}

/// Trained on the training rows of the stored split.
fn pbmc3k() -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    let Some(folder) = real::data_set("pbmc3k") else { return Ok(None) };
    let matrix = read_expression(&folder.join("pbmc3k.h5ad"), &ReadOptions::default())?;
    let labels = labels(&matrix, "cell_type")?;
    let assigned: Vec<Assigned> = split(&folder.join("split.tsv"), &matrix)?;
    let request = Request {
        matrix: &matrix,
        kind: ValueKind::Counts,
        library: Library::Panel,
        labels: &labels,
        groups: &[],
        assigned: &assigned,
        panel: PanelSize::Genes(1_800),
        hidden: None,
        activation: Activation::Relu,
        code: 30,
        // Bits are compared here, not calls.
        epochs: Some(20),
        settings: &[],
        trains_on_calibration: false,
        seed: 1,
    };
    let spec = train(&request, &mut FitControl::default())?.spec;
    let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default())?);
    quantise(&bytes, &matrix).map(Some)
}

fn labels(matrix: &ExpressionMatrix, key: &str) -> Result<Vec<Option<String>>, Box<dyn Error>> {
    let column = matrix.obs.column(key)?;
    Ok((0..matrix.n_obs()).map(|row| column.text(row).map(|text| text.into_owned())).collect())
}

fn split(path: &Path, matrix: &ExpressionMatrix) -> Result<Vec<Assigned>, Box<dyn Error>> {
    let parts = read_split(path, &matrix.obs_names)?;
    let assigned = parts.into_iter().map(|part| match part {
        Some(SplitPart::Train) => Assigned::Train,
        Some(SplitPart::Test) => Assigned::Test,
        None => Assigned::Excluded,
    });
    Ok(assigned.collect())
}

fn print_console(
    program: &str,
    bytes: &[u8],
    path: &Path,
    is_given: bool,
) -> Result<(), Box<dyn Error>> {
    let bytes = AlignedBytes::new(bytes);
    let model = Model::open_verified(&bytes)?;
    let memory =
        report::Memory { scratch: &mut [0; 2048], sample: &mut vec![0; 2 * model.n_genes()] };
    let mut console = String::new();
    match program {
        "bare" => {}
        "c_classify" => {
            let source = emit(Language::C, &bytes, &model, "model");
            std::fs::write(path.with_extension("c"), source)?;
            console = c_console::console(&model)?;
        }
        "selftest" => {
            let n = model.golden().len();
            console = format!("selftest {n} of {n} golden cells equal\n");
        }
        "stream_uart" => console = conversation::write(&model, path, is_given)?,
        "bounds" => {
            bounds::run(&model, memory, &mut Plain, &mut console)
                .map_err(|error| error.to_string())?;
        }
        "infer" => reference_net::run(&model, memory, &mut Plain, &mut console)
            .map_err(|error| error.to_string())?,
        "classify" => {
            let report = report::report(&model, memory, &mut Plain, &mut console)
                .map_err(|error| error.to_string())?;
            if !report.golden_equal {
                return Err("golden cells differ from what the model states".into());
            }
            for reason in [Empty, TooShallow, TooFewGenes] {
                if report.tally.rejected(reason) == 0 {
                    return Err(format!("no random profile is rejected: {}", reason.name()).into());
                }
            }
        }
        _ => return Err(format!("there is no program {program}").into()),
    }
    print!("{console}");
    Ok(())
}

/// Nothing is measured here.
struct Plain;

impl report::Meter for Plain {
    fn around<T>(&mut self, _name: &str, work: impl FnOnce() -> T) -> T {
        work()
    }

    fn among<T>(&mut self, work: impl FnOnce() -> T) -> T {
        work()
    }
}
