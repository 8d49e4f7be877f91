//! Int8 models whose classifier and decoder were fitted to the codes of the int8 encoder.

use cic_model::spec::{ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, DenseLayer, Dtype, Model};

use crate::calibration::CalibrationSet;
use crate::error::QuantError;
use crate::quantize::{QuantizeOptions, quantize_spec};

/// What fine-tuning made of a model, its encoder untouched.
#[derive(Clone, Copy, Debug)]
pub struct FineTunedHeads<'a> {
    /// Of the shapes of the model's.
    pub classifier: &'a [DenseLayer],
    /// Of the shapes of the model's.
    pub decoder: &'a [DenseLayer],
    /// For the rules of the result; not 0.
    pub inv_temperature_q16: u32,
    /// Provenance to be added.
    pub facts: &'a [(&'a str, String)],
}

/// Quantises an f32 model to int8 with other layers behind its code. `rounded` is what [`crate::quantize`] made of the
/// model with the same calibration cells, and where the codes come from that the layers were fitted to: the result gives
/// the same codes, bit for bit.
///
/// # Errors
/// Those of [`crate::quantize`]; layers of other shapes; [`QuantError::OtherCodes`] where the encoder becomes another than
/// that of `rounded`; `options` that ask for anything but int8.
pub fn quantize_fine_tuned(
    model: &Model<'_>,
    rounded: &Model<'_>,
    heads: &FineTunedHeads<'_>,
    calibration: &CalibrationSet<'_>,
    options: &QuantizeOptions,
) -> Result<Vec<u8>, QuantError> {
    if options.to != Dtype::S8 {
        return Err(QuantError::NotFineTuned { to: options.to });
    }
    let mut spec = ModelSpec::from_model(model);
    let NetworkSpec::F32(network) = &mut spec.network else {
        return Err(QuantError::NotFullPrecision { found: model.dtype() });
    };
    for (stage, own, given) in [
        ("classifier", &mut network.classifier, heads.classifier),
        ("decoder", &mut network.decoder, heads.decoder),
    ] {
        if own.len() != given.len()
            || !own.iter().zip(given).all(|(own, given)| is_like(own, given))
        {
            return Err(QuantError::OtherLayers { stage });
        }
        *own = given.to_vec();
    }
    spec.rules.inv_temperature_q16 = heads.inv_temperature_q16;
    let facts = heads.facts.iter().map(|(key, value)| (key.to_string(), value.clone()));
    spec.provenance.extend(facts);
    let (bytes, _) = quantize_spec(model, spec, calibration, options)?;
    let aligned = AlignedBytes::new(&bytes);
    match encodes_like(&Model::open(&aligned)?, rounded) {
        true => Ok(bytes),
        false => Err(QuantError::OtherCodes),
    }
}

fn is_like(own: &DenseLayer, given: &DenseLayer) -> bool {
    own.in_dim == given.in_dim
        && own.segments == given.segments
        && own.carry == given.carry
        && own.weights.len() == given.weights.len()
        && own.bias.len() == given.bias.len()
}

/// Whether two int8 models have the same input levels, encoder and scales of the code, and with them the same codes.
fn encodes_like(one: &Model<'_>, other: &Model<'_>) -> bool {
    let [one, other] = [one, other].map(ModelSpec::from_model);
    match (one.network, other.network) {
        (NetworkSpec::S8(a), NetworkSpec::S8(b)) => {
            one.profiles == other.profiles && a.encoder == b.encoder && a.code == b.code
        }
        _ => false,
    }
}
