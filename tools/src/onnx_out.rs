//! Networks as ONNX, for other runtimes.

use cic_model::Model;
use cic_model::profile::Library;
use cic_model::spec::{ModelSpec, NetworkSpec, ProfileSpec};
use cic_trainer::onnx::{OnnxDescription, OnnxError, export_onnx, export_qdq};

use crate::failure::Failure;

/// The network of a full-precision model.
pub(crate) fn full_precision(spec: &ModelSpec) -> Result<Vec<u8>, Failure> {
    let NetworkSpec::F32(network) = &spec.network else {
        return Err(Failure::internal("only full-precision models are exported"));
    };
    described(spec, |description| export_onnx(network, description))
}

/// The network of an int8 model, with its integers.
pub(crate) fn int8(model: &Model<'_>) -> Result<Vec<u8>, Failure> {
    described(&ModelSpec::from_model(model), |description| export_qdq(model, description))
}

fn described(
    spec: &ModelSpec,
    export: impl FnOnce(&OnnxDescription<'_>) -> Result<Vec<u8>, OnnxError>,
) -> Result<Vec<u8>, Failure> {
    let genes: Vec<String> = spec.panel.genes.iter().map(|gene| gene.id.clone()).collect();
    let leaves = spec.labels.nodes.iter().filter(|node| node.is_leaf);
    let labels: Vec<String> = leaves.map(|node| node.name.clone()).collect();
    let preprocessing = spec.profiles.first().map_or(String::new(), preprocessing);
    let description = OnnxDescription {
        name: "cell_identity_code",
        genes: &genes,
        labels: &labels,
        preprocessing: &preprocessing,
    };
    export(&description).map_err(|error| Failure::Usage(error.into()))
}

/// What `x` is made of.
fn preprocessing(profile: &ProfileSpec) -> String {
    let kind = profile.kind.name();
    let sum = match profile.library {
        Library::None => return format!("{kind}: {AS_THEY_ARE}"),
        Library::Panel => OVER_PANEL,
        Library::AllMeasured => OVER_ALL,
    };
    format!("{kind}: {LOGARITHM}{} / {sum})", profile.target_sum)
}

/// Parts of what a file says, which are read again where a network is imported.
pub(crate) const AS_THEY_ARE: &str = "values as they are";
pub(crate) const LOGARITHM: &str = "ln(1 + value * ";
pub(crate) const OVER_PANEL: &str = "sum over the genes of the panel";
pub(crate) const OVER_ALL: &str = "sum over all measured genes";
