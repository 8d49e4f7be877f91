//! The closed lists of the format: what values mean, how genes are named, which activations exist.

/// What the numbers of an expression matrix are. Declared by the caller or detected over every
/// cell; never guessed from a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ValueKind {
    /// Non-negative integers: UMI or read counts.
    Counts = 1,
    /// Non-negative, linear, already scaled: TPM, CPM, FPKM.
    LinearNormalised = 2,
    /// `ln(1 + x)` of counts scaled to a target sum per sample.
    Log1p = 3,
    /// `log2` of an intensity: microarrays.
    Log2Intensity = 4,
    /// [Ranks](crate::ranks) of a sample's genes among those of the panel that it has, above 0 and at most 1; 0 where a gene
    /// was not detected. No file holds them: whoever runs a model makes them of values of any other kind.
    Ranks = 5,
}

impl ValueKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Counts, Self::LinearNormalised, Self::Log1p, Self::Log2Intensity, Self::Ranks];

    /// Those that files hold.
    pub const OF_FILES: [Self; 4] =
        [Self::Counts, Self::LinearNormalised, Self::Log1p, Self::Log2Intensity];

    /// The name used on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::LinearNormalised => "linear_normalised",
            Self::Log1p => "log1p",
            Self::Log2Intensity => "log2_intensity",
            Self::Ranks => "ranks",
        }
    }

    /// The kind with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind with that code in a model file.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == code)
    }
}

/// How the weights of a model are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32 = 1,
    /// IEEE 754 half precision; sums are single precision.
    F16 = 2,
    /// Signed 8-bit weights, unsigned 7-bit activations, 32-bit sums.
    S8 = 3,
    /// Layers differ: signed 8-bit weights with a scale a row, or half precision; inputs and sums are single precision.
    Mixed = 4,
}

impl Dtype {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::S8, Self::Mixed];

    /// The name used on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::S8 => "int8",
            Self::Mixed => "mixed",
        }
    }

    /// The type with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The type with that code in a model file.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| *dtype as u32 == code)
    }
}

/// What the primary gene identifiers of a panel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IdKind {
    /// Ensembl gene ids without version.
    Ensembl = 1,
    /// Gene symbols.
    Symbol = 2,
    /// Names with no meaning outside their platform: probes, unnamed panels.
    Opaque = 3,
}

impl IdKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ensembl, Self::Symbol, Self::Opaque];

    /// The name used on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ensembl => "ensembl",
            Self::Symbol => "symbol",
            Self::Opaque => "opaque",
        }
    }

    /// The kind with that code in a model file.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == code)
    }
}

/// The activation of one segment of a layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Activation {
    /// `x`
    Identity = 0,
    /// `max(x, 0)`
    Relu = 1,
    /// `1 / (1 + exp(-x))`
    Sigmoid = 2,
    /// `-ln(1 + exp(-x))`
    LogSigmoid = 3,
    /// `tanh(x)`
    Tanh = 4,
    /// `ln(1 + exp(x))`
    SoftPlus = 5,
    /// `x - 0.5` above 0.5, `x + 0.5` below -0.5, zero between.
    SoftShrink = 6,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 7] = [
        Self::Identity,
        Self::Relu,
        Self::Sigmoid,
        Self::LogSigmoid,
        Self::Tanh,
        Self::SoftPlus,
        Self::SoftShrink,
    ];

    /// The name used on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Sigmoid => "sigmoid",
            Self::LogSigmoid => "log_sigmoid",
            Self::Tanh => "tanh",
            Self::SoftPlus => "soft_plus",
            Self::SoftShrink => "soft_shrink",
        }
    }

    /// The activation with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }

    /// The activation with that code in a model file.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|activation| *activation as u32 == code)
    }

    /// The value at `x`, in single precision. The two logarithmic ones use the form that neither
    /// overflows nor cancels: `max(x, 0) + ln(1 + exp(-|x|))`.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Relu => {
                if x > 0.0 {
                    x
                } else {
                    0.0
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + libm::expf(-x)),
            Self::LogSigmoid => -soft_plus(-x),
            Self::Tanh => libm::tanhf(x),
            Self::SoftPlus => soft_plus(x),
            Self::SoftShrink => {
                if x > SOFT_SHRINK_LAMBDA {
                    x - SOFT_SHRINK_LAMBDA
                } else if x < -SOFT_SHRINK_LAMBDA {
                    x + SOFT_SHRINK_LAMBDA
                } else {
                    0.0
                }
            }
        }
    }
}

fn soft_plus(x: f32) -> f32 {
    libm::fmaxf(x, 0.0) + libm::log1pf(libm::expf(-libm::fabsf(x)))
}

/// Threshold of [`Activation::SoftShrink`], the value that Torch uses by default.
pub const SOFT_SHRINK_LAMBDA: f32 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_round_trip() {
        for kind in ValueKind::ALL {
            assert_eq!(ValueKind::from_name(kind.name()), Some(kind));
            assert_eq!(ValueKind::from_code(kind as u32), Some(kind));
        }
        for activation in Activation::ALL {
            assert_eq!(Activation::from_name(activation.name()), Some(activation));
            assert_eq!(Activation::from_code(activation as u32), Some(activation));
        }
        assert_eq!(ValueKind::from_code(0), None);
        assert_eq!(Activation::from_code(7), None);
    }

    #[test]
    fn activations_stay_finite_at_extremes() {
        for activation in Activation::ALL {
            for x in [-1e30_f32, -100.0, -0.5, 0.0, 0.5, 100.0, 1e30] {
                assert!(activation.apply(x).is_finite(), "{activation:?} at {x}");
            }
        }
    }
}
