//! Why a model was not quantised.

use cic_model::{Dtype, ModelError};
use cic_runtime::RunError;
use thiserror::Error;

/// Why a model was not quantised or a cell was not run.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum QuantError {
    /// Only f32 models are quantised.
    #[error("the model is {found} already; quantise the f32 model that it was made from", found = found.name())]
    NotFullPrecision {
        /// What it is.
        found: Dtype,
    },
    /// Nothing is done for f32.
    #[error("an f32 model is not quantised to f32; choose int8, mixed or f16")]
    NothingToDo,
    /// There are no calibration rows.
    #[error("there is no cell to calibrate with")]
    NoCalibration,
    /// Ranges are taken from cells of one input profile.
    #[error("the model has {found} input profiles; int8 needs a model with one")]
    SeveralProfiles {
        /// How many it has.
        found: usize,
    },
    /// A weight does not fit half precision.
    #[error(
        "a weight of layer {layer} does not fit f16: {value}; train with weight decay, or use int8"
    )]
    NotHalf {
        /// Layer, counted through encoder, classifier and decoder.
        layer: usize,
        /// The weight.
        value: f32,
    },
    /// The input range leaves no thresholds.
    #[error("the input profile {profile:?} has no usable range: its largest value is {max}")]
    InputRange {
        /// Name of the profile.
        profile: String,
        /// Largest network input among the calibration cells.
        max: f64,
    },
    /// A scale of a layer cannot be expressed.
    #[error(
        "layer {layer} has a scale that cannot be expressed ({ratio}); its weights are extreme"
    )]
    Scale {
        /// Layer, counted through encoder, classifier and decoder.
        layer: usize,
        /// The ratio that was needed.
        ratio: f64,
    },
    /// No way to choose a range is called so.
    #[error(
        "{text:?} is no way to choose a range; expected minmax, percentile:P with P above 50 and at most 100, entropy or mse"
    )]
    RangeMethod {
        /// What was given.
        text: String,
    },
    /// A range is to be chosen for something that the model has not.
    #[error("the model has no range {name:?} to choose; it has {known}")]
    NoSuchRange {
        /// What was named.
        name: String,
        /// What could be, with commas.
        known: String,
    },
    /// A range is to be chosen twice.
    #[error("{part:?}: a method for this is given already; give one")]
    RangeTwice {
        /// The second one.
        part: String,
    },
    /// Only int8 models are fine-tuned.
    #[error("fine-tuning is for int8, not for {to}", to = to.name())]
    NotFineTuned {
        /// What was asked for.
        to: Dtype,
    },
    /// Layers of other shapes were given.
    #[error(
        "the fine-tuned {stage} has not the layers of the model's; fine-tune the model that is quantised"
    )]
    OtherLayers {
        /// Classifier or decoder.
        stage: &'static str,
    },
    /// The second rounding gives other codes than the first.
    #[error(
        "the encoder was rounded in another way than for fine-tuning; calibrate with the same cells both times"
    )]
    OtherCodes,
    /// The result is not a model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A cell could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
}
