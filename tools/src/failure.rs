//! Failures and their exit codes.

use std::collections::TryReserveError;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use cic_data::DataError;
use cic_model::ModelError;
use cic_quant::QuantError;
use cic_trainer::TrainError;

use crate::console::tell;

/// The exit codes of [`Failure`], for the help of the programs.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done, 2 usage, 3 input refused, 4 model refused, 5 gate not met,
6 out of resources, 7 internal, 130 interrupted. Nothing opens the network.";

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
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let path = path.display();
        match is_full {
            true => Self::Resources(anyhow::anyhow!(
                "{path}: {error}; make room and run the command again"
            )),
            false => Self::Usage(anyhow::Error::new(error).context(format!("{path}"))),
        }
    }

    /// Memory that the system does not give.
    pub(crate) fn memory(error: TryReserveError) -> Self {
        Self::Resources(anyhow::anyhow!("the weights: {error}; end other programs and try again"))
    }

    /// What to do about an input that the system does not give.
    pub(crate) fn advice(error: &io::Error) -> &'static str {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "; is the path right?",
            io::ErrorKind::IsADirectory => "; name a file in it",
            io::ErrorKind::PermissionDenied => "; may you read it? (chmod +r, or ask its owner)",
            _ => "",
        }
    }

    /// The same failure, saying where it happened.
    pub fn context(self, place: impl Display) -> Self {
        let at = |error: anyhow::Error| error.context(place.to_string());
        match self {
            Self::Usage(error) => Self::Usage(at(error)),
            Self::Input(error) => Self::Input(at(error)),
            Self::Model(error) => Self::Model(at(error)),
            Self::Gate(error) => Self::Gate(at(error)),
            Self::Resources(error) => Self::Resources(at(error)),
            Self::Internal(error) => Self::Internal(at(error)),
            Self::Interrupted(error) => Self::Interrupted(at(error)),
        }
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
            DataError::Io { ref source, .. } => {
                Self::input(format!("{error}{}", Self::advice(source)))
            }
            DataError::UnknownColumn { .. } | DataError::NotWritable { .. } => {
                Self::Usage(error.into())
            }
            DataError::OrientationUnknown { .. } => {
                Self::input(format!("{error}, with --rows genes or --rows cells"))
            }
            DataError::ScaleUnknown { .. } => Self::input(format!("{error}, with --kind")),
            _ => Self::Input(error.into()),
        }
    }
}

impl From<QuantError> for Failure {
    fn from(error: QuantError) -> Self {
        match error {
            QuantError::NothingToDo | QuantError::NoSuchRange { .. } => Self::Usage(error.into()),
            QuantError::NoCalibration => Self::Input(error.into()),
            QuantError::Run(_) => Self::Internal(error.into()),
            _ => Self::Model(error.into()),
        }
    }
}

impl Failure {
    /// The epoch in which training came to a loss that is not finite, if that is what went wrong.
    pub(crate) fn diverged(&self) -> Option<usize> {
        match self.parts().1.downcast_ref() {
            Some(TrainError::Diverged { epoch }) => Some(*epoch),
            _ => None,
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Cancelled { .. } => Self::Interrupted(error.into()),
            TrainError::CheckpointIo { path, source } => Self::output(&path, source),
            TrainError::Parameter { .. } | TrainError::Setting { .. } => Self::Usage(error.into()),
            _ => Self::Input(error.into()),
        }
    }
}

impl Display for Failure {
    /// What went wrong and why, the outermost first. Some errors say their cause themselves: that
    /// is not said twice.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let causes = self.parts().1.chain().map(ToString::to_string);
        let join = |message: String, cause: String| match message.ends_with(&cause) {
            true => message,
            false => format!("{message}: {cause}"),
        };
        f.write_str(&causes.reduce(join).unwrap_or_default())
    }
}

/// Prints a failure to standard error and gives its exit code.
pub fn exit_with(program: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    tell(format_args!("{program}: {failure}"));
    ExitCode::from(failure.parts().0)
}
