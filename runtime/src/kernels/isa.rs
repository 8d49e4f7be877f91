//! Instruction sets, and which of them this processor has.

/// An instruction set with kernels of its own, from the plainest to the most capable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// None: loops for any processor.
    Scalar,
    /// x86 with SSE4.1.
    Sse41,
    /// x86 with AVX2, FMA and F16C.
    Avx2,
    /// x86 with AVX2 and its byte dot product.
    AvxVnni,
    /// x86 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// x86 with AVX-512 VNNI and the byte tiles of AMX.
    Amx,
    /// 64-bit Arm.
    Neon,
    /// 64-bit Arm with the byte dot product.
    Dotprod,
    /// 64-bit Arm with the byte matrix product.
    I8mm,
    /// WebAssembly with 128-bit vectors.
    Simd128,
    /// Any Cortex-M. In builds with the feature `thumb`.
    Thumb,
    /// Cortex-M with the DSP extension: M4, M7, most of M33. In builds with the feature `dsp`.
    Dsp,
    /// Cortex-M with the vector extension: M55, M85. In builds with the feature `helium`.
    Helium,
}

impl Isa {
    /// All of them, plain to capable within each family.
    pub const ALL: [Self; 13] = [
        Self::Scalar,
        Self::Sse41,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::Amx,
        Self::Neon,
        Self::Dotprod,
        Self::I8mm,
        Self::Simd128,
        Self::Thumb,
        Self::Dsp,
        Self::Helium,
    ];

    /// The name used by `CIC_ISA` and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Sse41 => "sse4.1",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512Vnni => "avx512vnni",
            Self::Amx => "amx",
            Self::Neon => "neon",
            Self::Dotprod => "dotprod",
            Self::I8mm => "i8mm",
            Self::Simd128 => "simd128",
            Self::Thumb => "thumb",
            Self::Dsp => "dsp",
            Self::Helium => "helium",
        }
    }

    /// The instruction set of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Whether kernels for it are in this build and this processor runs them. Without the feature
    /// `std` only what the build itself was told of (`-C target-feature`) is known.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Sse41 | Self::Avx2 | Self::AvxVnni | Self::Avx512Vnni | Self::Amx => {
                super::x86::has(self)
            }
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Self::Neon | Self::Dotprod | Self::I8mm => super::aarch64::has(self),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
            #[cfg(all(target_arch = "arm", feature = "thumb"))]
            Self::Thumb => true,
            #[cfg(all(target_arch = "arm", feature = "dsp"))]
            Self::Dsp => true,
            #[cfg(all(target_arch = "arm", feature = "helium"))]
            Self::Helium => true,
            _ => false,
        }
    }

    /// The most capable one that this processor runs. With the feature `std` the environment
    /// variable `CIC_ISA` lowers it; a name that is unknown, foreign or above what the
    /// processor has changes nothing.
    pub fn best() -> Self {
        let available = |isa: &Self| isa.is_available();
        let best = Self::ALL.into_iter().rfind(available).unwrap_or(Self::Scalar);
        #[cfg(feature = "std")]
        if let Some(asked) = std::env::var("CIC_ISA").ok().and_then(|name| Self::from_name(&name)) {
            return if asked <= best && asked.is_available() { asked } else { best };
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for isa in Isa::ALL {
            assert_eq!(Isa::from_name(isa.name()), Some(isa));
        }
        assert_eq!(Isa::from_name("mmx"), None);
    }

    #[test]
    fn the_best_one_is_available() {
        assert!(Isa::best().is_available());
        assert!(Isa::Scalar.is_available());
    }
}
