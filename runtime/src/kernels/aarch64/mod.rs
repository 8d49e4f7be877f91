//! Kernels for 64-bit Arm.

/// Asked of the processor with `std`, of the compiler without.
macro_rules! has {
    ($feature:tt) => {{
        #[cfg(feature = "std")]
        let has = std::arch::is_aarch64_feature_detected!($feature);
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = $feature);
        has
    }};
}

mod dotprod;
mod i8mm;
mod neon;
mod requantize128;

use super::{Isa, Table};

/// Whether this processor has an instruction set of this family. Bytes of a word are in little-endian
/// order in all of them.
pub(super) fn has(isa: Isa) -> bool {
    match isa {
        Isa::Neon => cfg!(target_endian = "little") && has!("neon"),
        Isa::Dotprod => has(Isa::Neon) && has!("dotprod"),
        Isa::I8mm => has(Isa::Dotprod) && has!("i8mm"),
        _ => false,
    }
}

/// The kernels of an instruction set of this family.
pub(super) fn table(isa: Isa) -> Option<&'static Table> {
    Some(match isa {
        Isa::Neon => &neon::TABLE,
        Isa::Dotprod => &dotprod::TABLE,
        Isa::I8mm => &i8mm::TABLE,
        _ => return None,
    })
}
