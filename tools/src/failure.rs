//! Failures and their exit codes.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use cic_data::{DataError, sanitise_for_terminal};
use cic_model::ModelError;
use cic_quant::QuantError;
use cic_trainer::TrainError;

/// Why a program ends without its result. The variant is the exit code.
#[derive(Debug)]
pub enum Failure {
    /// 2: the command line asks for something that is not possible.
    Usage(anyhow::Error),
    /// 3: the input is refused; nothing was written.
    Input(anyhow::Error),
    /// 4: the model is refused.
    Model(anyhow::Error),
    /// 5: the result does not meet what was asked for.
    Gate(anyhow::Error),
    /// 6: no space, no memory.
    Resources(anyhow::Error),
    /// 7: a fault of this program.
    Internal(anyhow::Error),
    /// 130: interrupted; what can be resumed is on disk.
    Interrupted(anyhow::Error),
}

impl Failure {
    /// A usage failure from a message.
    pub fn usage(message: impl Display) -> Self {
        Self::Usage(anyhow::anyhow!("{message}"))
    }

    /// An input failure from a message.
    pub fn input(message: impl Display) -> Self {
        Self::Input(anyhow::anyhow!("{message}"))
    }

    /// A model failure, naming the file.
    pub fn model(path: &Path, error: ModelError) -> Self {
        Self::Model(anyhow::Error::new(error).context(format!("{}", path.display())))
    }

    /// A fault of this program.
    pub fn internal(error: impl Display) -> Self {
        Self::Internal(anyhow::anyhow!("{error}; this is a fault of the program, please report it"))
    }

    /// A file that could not be written.
    pub fn output(path: &Path, error: io::Error) -> Self {
        let is_full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let error = anyhow::Error::new(error).context(format!("{}", path.display()));
        if is_full { Self::Resources(error) } else { Self::Usage(error) }
    }

    fn parts(&self) -> (u8, &anyhow::Error) {
        match self {
            Self::Usage(error) => (2, error),
            Self::Input(error) => (3, error),
            Self::Model(error) => (4, error),
            Self::Gate(error) => (5, error),
            Self::Resources(error) => (6, error),
            Self::Internal(error) => (7, error),
            Self::Interrupted(error) => (130, error),
        }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Io { ref source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Self::Resources(error.into())
            }
            DataError::UnknownColumn { .. } | DataError::NotWritable { .. } => {
                Self::Usage(error.into())
            }
            _ => Self::Input(error.into()),
        }
    }
}

impl From<QuantError> for Failure {
    fn from(error: QuantError) -> Self {
        match error {
            QuantError::NothingToDo => Self::Usage(error.into()),
            QuantError::NoCalibration => Self::Input(error.into()),
            QuantError::Run(_) => Self::Internal(error.into()),
            _ => Self::Model(error.into()),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Cancelled { .. } => Self::Interrupted(error.into()),
            TrainError::Parameter { .. } => Self::Usage(error.into()),
            _ => Self::Input(error.into()),
        }
    }
}

/// Prints a failure to standard error and gives its exit code.
pub fn exit_with(program: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    let (code, error) = failure.parts();
    // Names in messages come from files.
    eprintln!("{program}: {}", sanitise_for_terminal(&format!("{error:#}")));
    ExitCode::from(code)
}
