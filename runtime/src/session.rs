//! Sessions for models of any number format.

use cic_model::profile::Profile;
use cic_model::{Dtype, Model};

use crate::error::RunError;
use crate::float::FloatSession;
use crate::outcome::{Numbers, Outcome};
use crate::presence::Presence;
use crate::s8::S8Session;
use crate::sample::Sample;

/// A session whose number format is known only at run time. Firmware that carries int8 models
/// uses [`S8Session`] itself, so that no floating-point code is linked.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "one for a model, and nothing here allocates")]
pub enum Session<'m> {
    /// For int8 models.
    S8(S8Session<'m>),
    /// For f16 and f32 models.
    Float(FloatSession<'m>),
}

impl<'m> Session<'m> {
    /// A session for one input profile of a model.
    pub fn new(model: &'m Model<'m>, profile: usize) -> Result<Self, RunError> {
        match model.dtype() {
            Dtype::S8 => S8Session::new(model, profile).map(Self::S8),
            Dtype::F16 | Dtype::F32 | Dtype::Mixed => {
                FloatSession::new(model, profile).map(Self::Float)
            }
        }
    }

    /// The model.
    pub fn model(&self) -> &'m Model<'m> {
        match self {
            Self::S8(session) => session.model(),
            Self::Float(session) => session.model(),
        }
    }

    /// The input profile.
    pub fn profile(&self) -> &Profile<'m> {
        match self {
            Self::S8(session) => session.profile(),
            Self::Float(session) => session.profile(),
        }
    }

    /// Bytes of scratch needed.
    pub fn scratch_len(&self) -> usize {
        match self {
            Self::S8(session) => session.scratch_len(),
            Self::Float(session) => session.scratch_len(),
        }
    }

    /// Entries of the `correction` of [`Session::presence`].
    pub fn correction_len(&self) -> usize {
        match self {
            Self::S8(session) => session.correction_len(),
            Self::Float(session) => session.correction_len(),
        }
    }

    /// Prepares a file that lacks genes of the panel.
    pub fn presence<'p>(
        &self,
        mask: &'p [bool],
        correction: &'p mut [u32],
    ) -> Result<Presence<'p>, RunError> {
        match self {
            Self::S8(session) => session.presence(mask, correction),
            Self::Float(session) => session.presence(mask, correction),
        }
    }

    /// The presence of a file whose `correction` was filled before, for the same mask.
    pub fn known_presence<'p>(
        &self,
        mask: &'p [bool],
        correction: &'p [u32],
    ) -> Result<Presence<'p>, RunError> {
        match self {
            Self::S8(session) => session.known_presence(mask, correction),
            Self::Float(session) => session.known_presence(mask, correction),
        }
    }

    /// Types one cell.
    pub fn run<'s>(
        &self,
        sample: &Sample<'_>,
        presence: Option<&Presence<'_>>,
        scratch: &'s mut [u32],
    ) -> Result<Outcome<Numbers<'s>>, RunError>
    where
        'm: 's,
    {
        match self {
            Self::S8(session) => {
                session.run(sample, presence, scratch).map(|outcome| outcome.map(Numbers::S8))
            }
            Self::Float(session) => {
                session.run(sample, presence, scratch).map(|outcome| outcome.map(Numbers::Float))
            }
        }
    }
}
