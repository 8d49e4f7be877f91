//! Every parameter of training by its name, for the command line and for sweeps.

use core::str::FromStr;

use cic_model::Activation;

use crate::TrainError;
use crate::train_params::{ClassWeights, EarlyStopping, Optimizer, Schedule, TrainParams, Watch};

/// A parameter and what it becomes, written `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, one of [`Setting::NAMES`].
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        if !Self::NAMES.contains(&name) {
            return Err(format!("{name}: expected one of {}", Self::NAMES.join(", ")));
        }
        Ok(Self { name: name.into(), value: value.into() })
    }
}

impl core::fmt::Display for Setting {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Setting {
    /// What can be set. Widths of layers are written `128,64`, or `none`.
    pub const NAMES: [&str; 35] = [
        "hidden",
        "decoder_hidden",
        "head_hidden",
        "code",
        "activation",
        "batch_norm",
        "linear_skip",
        "ranks",
        "lambda_recon",
        "lambda_class",
        "recon_genes",
        "class_weights",
        "label_smoothing",
        "weight_decay",
        "input_dropout",
        "input_noise",
        "gene_dropout",
        "thinning",
        "hidden_dropout",
        "code_noise",
        "mixup",
        "optimizer",
        "learning_rate",
        "schedule",
        "warm_up_epochs",
        "skip_rate",
        "encoder_rate",
        "skip_frozen_epochs",
        "clip_norm",
        "batch_size",
        "max_epochs",
        "watch",
        "patience",
        "refit",
        "refit_decoder",
    ];

    /// Applies the setting. Ranges are checked by [`fit`](crate::fit()).
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a value that cannot be read.
    pub fn apply(&self, params: &mut TrainParams) -> Result<(), TrainError> {
        let architecture = &mut params.architecture;
        let watch = params.early_stopping.map_or(Watch::Loss, |rule| rule.watch);
        match self.name.as_str() {
            "hidden" => {
                architecture.encoder_hidden = self.widths()?;
                architecture.decoder_hidden =
                    architecture.encoder_hidden.iter().rev().copied().collect();
            }
            "decoder_hidden" => architecture.decoder_hidden = self.widths()?,
            "head_hidden" => architecture.head_hidden = self.widths()?,
            "code" => architecture.code = self.number()?,
            "activation" => {
                architecture.activation = Activation::from_name(&self.value)
                    .ok_or_else(|| self.wrong("an activation"))?;
            }
            "batch_norm" => architecture.batch_norm = self.number()?,
            "linear_skip" => architecture.linear_skip = self.number()?,
            "ranks" => params.ranks = self.number()?,
            "lambda_recon" => params.lambda_recon = self.number()?,
            "lambda_class" => params.lambda_class = self.number()?,
            "recon_genes" => {
                params.recon_genes = if self.value == "all" { None } else { Some(self.number()?) };
            }
            "class_weights" => {
                params.class_weights = self.one_of(&[
                    ("none", ClassWeights::None),
                    ("balanced", ClassWeights::Balanced),
                ])?;
            }
            "label_smoothing" => params.label_smoothing = self.number()?,
            "weight_decay" => params.weight_decay = self.number()?,
            "input_dropout" => params.input_dropout = self.number()?,
            "input_noise" => params.input_noise = self.number()?,
            "gene_dropout" => params.gene_dropout = self.number()?,
            "thinning" => params.thinning = self.number()?,
            "hidden_dropout" => params.hidden_dropout = self.number()?,
            "code_noise" => params.code_noise = self.number()?,
            "mixup" => params.mixup = self.number()?,
            "optimizer" => {
                params.optimizer =
                    self.one_of(&[("sgd", Optimizer::Sgd), ("adam", Optimizer::ADAM)])?;
            }
            "learning_rate" => params.learning_rate = self.number()?,
            "schedule" => {
                params.schedule =
                    self.one_of(&[("constant", Schedule::Constant), ("cosine", Schedule::Cosine)])?;
            }
            "warm_up_epochs" => params.warm_up_epochs = self.number()?,
            "skip_rate" => params.skip_rate = self.number()?,
            "encoder_rate" => params.encoder_rate = self.number()?,
            "skip_frozen_epochs" => params.skip_frozen_epochs = self.number()?,
            "clip_norm" => {
                params.clip_norm = if self.value == "none" { None } else { Some(self.number()?) };
            }
            "batch_size" => params.batch_size = self.number()?,
            "max_epochs" => params.max_epochs = self.number()?,
            "watch" => {
                let watch = self.one_of(&[
                    ("loss", Watch::Loss),
                    ("accuracy", Watch::Accuracy),
                    ("macro_f1", Watch::MacroF1),
                ])?;
                let patience = params.early_stopping.map_or(PATIENCE, |rule| rule.patience);
                params.early_stopping = Some(EarlyStopping { watch, patience });
            }
            "patience" => {
                params.early_stopping = match self.value.as_str() {
                    "none" => None,
                    _ => Some(EarlyStopping { watch, patience: self.number()? }),
                };
            }
            "refit_decoder" => params.refit_decoder = self.number()?,
            "refit" => params.refit = self.number()?,
            _ => return Err(self.wrong("no such setting")),
        }
        Ok(())
    }

    fn number<T: FromStr>(&self) -> Result<T, TrainError> {
        self.value
            .parse()
            .map_err(|_| self.wrong("a number, or true or false where it is a choice"))
    }

    fn widths(&self) -> Result<Vec<usize>, TrainError> {
        if self.value == "none" {
            return Ok(Vec::new());
        }
        let widths = self.value.split(',').map(str::parse).collect::<Result<_, _>>();
        widths.map_err(|_| self.wrong("widths of layers as 128,64, or none"))
    }

    fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, TrainError> {
        let found = choices.iter().find(|(name, _)| *name == self.value).map(|(_, choice)| *choice);
        found.ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong(&names.join(" or "))
        })
    }

    fn wrong(&self, expected: &str) -> TrainError {
        TrainError::Setting {
            name: self.name.clone(),
            value: self.value.clone(),
            expected: format!("expected {expected}"),
        }
    }
}

/// Epochs without a better one, where early stopping is asked for by what it watches.
const PATIENCE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;

    #[test]
    fn every_name_can_be_set_and_shows_in_the_parameters() {
        let before = TrainParams::for_rows(Architecture::mirrored(10, vec![8], 3, 2), 100);
        for name in Setting::NAMES {
            let value = match name {
                "hidden" | "decoder_hidden" | "head_hidden" => "7,5",
                "activation" => "tanh",
                "batch_norm" | "linear_skip" | "refit" | "refit_decoder" => "false",
                "ranks" => "true",
                "class_weights" => "balanced",
                "optimizer" => "sgd",
                "schedule" => "constant",
                "watch" => "accuracy",
                "recon_genes" | "code" | "batch_size" | "max_epochs" | "patience"
                | "skip_frozen_epochs" => "9",
                _ => "0.375",
            };
            let mut params = before.clone();
            format!("{name}={value}").parse::<Setting>().unwrap().apply(&mut params).unwrap();
            assert_ne!(params, before, "{name}");
            params.check().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        assert!("no_such=1".parse::<Setting>().unwrap_err().contains("hidden"));
        assert!("hidden".parse::<Setting>().is_err());
        let mut params = TrainParams::for_rows(Architecture::mirrored(10, vec![8], 3, 2), 100);
        for text in
            ["hidden=12,x", "learning_rate=fast", "activation=step", "optimizer=rmsprop", "code=-1"]
        {
            let setting: Setting = text.parse().unwrap();
            let message = setting.apply(&mut params).unwrap_err().to_string();
            assert!(message.contains(text), "{message}");
        }
    }
}
