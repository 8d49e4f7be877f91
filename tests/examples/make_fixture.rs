//! Trains the committed fixture anew: `cargo run --release -p cic-tests --example make_fixture`.
//! Weights may differ between machines; the result is reviewed and committed.

use cic_model::profile::Library;
use cic_model::spec::{LayoutPlan, NetworkSpec};
use cic_model::{Activation, ValueKind};
use cic_tests::fixture;
use cic_trainer::FitControl;
use cic_trainer::panel::PanelSize;
use cic_trainer::parts::Assigned;
use cic_trainer::pipeline::{Request, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cells = fixture::cells();
    let name = |&label: &u32| cells.type_names.get(label as usize).cloned();
    let labels: Vec<Option<String>> = cells.labels.iter().map(name).collect();
    let assigned = vec![Assigned::Open; labels.len()];
    let request = Request {
        matrix: &cells.matrix,
        kind: ValueKind::Counts,
        library: Library::Panel,
        labels: &labels,
        groups: &[],
        assigned: &assigned,
        panel: PanelSize::Genes(1_000),
        hidden: Some(vec![32]),
        activation: Activation::Relu,
        code: 30,
        epochs: None,
        settings: &[],
        trains_on_calibration: false,
        seed: 1,
    };
    let mut spec = train(&request, &mut FitControl::default())?.spec;
    // Firmware does not reproduce profiles, and the repository stays small.
    if let NetworkSpec::F32(network) = &mut spec.network {
        network.decoder.clear();
    }
    let path = fixture::path();
    std::fs::create_dir_all(path.parent().ok_or("a path without a folder")?)?;
    std::fs::write(&path, spec.to_bytes(LayoutPlan::default())?)?;
    println!("{}", path.display());
    Ok(())
}
