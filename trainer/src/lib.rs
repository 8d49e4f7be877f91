//! Full-precision training of classifier autoencoders: encoder → cell identity code → decoder and
//! cell-type classifier.
//!
//! [`fit()`] trains the family of networks that [`Architecture`] describes on [`TrainingData`] as
//! [`TrainParams`] say; [`Trained::freeze`] folds everything into the [`cic_model::Network`] that
//! models are made of. [`Pca`] starts the linear path, [`forward()`] is the independent double
//! precision reference of a frozen network. [`interpretation`] tells what its numbers stand for,
//! [`enrichment`] which gene sets stand out.
#![forbid(unsafe_code)]

mod algebra;
mod assembly;
mod autoencoder;
pub mod baselines;
mod checkpoint;
mod codes;
mod decoder_ridge;
mod engine;
mod error;
mod fit;
mod forward;
mod freeze;
mod golden;
mod gradients;
mod input_rule;
mod minimise;
mod novelty;
mod pca;
mod ridge;
mod stage;
mod temperature;
mod train_params;

pub mod adoption;
pub mod calibration;
pub mod detection;
pub mod enrichment;
pub mod fine_tune;
pub mod gene_sets;
pub mod impostors;
pub mod interpretation;
pub mod interval;
pub mod linear_path;
pub mod metrics;
pub mod neighbour_map;
pub mod noise;
pub mod onnx;
pub mod panel;
pub mod parts;
pub mod pipeline;
pub mod reproduction;
pub mod resplits;
pub mod separation;
pub mod settings;
#[doc(hidden)]
pub mod steps;

pub use autoencoder::Architecture;
pub use engine::training_data::{Expression, FromCounts, TrainingData, UNLABELLED};
pub use error::TrainError;
pub use fit::{CheckpointPolicy, EpochReport, FitControl, FitPass, Trained, fit};
pub use forward::{Outputs, forward};
pub use pca::Pca;
pub use stage::Evaluation;
pub use train_params::{ClassWeights, EarlyStopping, Optimizer, Schedule, TrainParams, Watch};
