//! Kernels for x86-64.

/// Asked of the processor with `std`, of the compiler without.
macro_rules! has {
    ($feature:tt) => {{
        #[cfg(feature = "std")]
        let has = std::arch::is_x86_feature_detected!($feature);
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = $feature);
        has
    }};
}

mod amx;
mod avx2;
mod avx512vnni;
mod avxvnni;
mod requantize256;
mod requantize512;
mod softmax512;
mod sse41;
mod values512;

use super::{Isa, Table};

/// Whether this processor has an instruction set of this family.
#[cfg_attr(
    not(feature = "std"),
    allow(clippy::nonminimal_bool, clippy::eq_op, reason = "each is a constant in such a build")
)]
pub(super) fn has(isa: Isa) -> bool {
    match isa {
        Isa::Sse41 => has!("sse4.1"),
        Isa::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
        Isa::AvxVnni => has(Isa::Avx2) && has!("avxvnni"),
        Isa::Avx512Vnni => {
            has!("avx512f")
                && has!("avx512bw")
                && has!("avx512dq")
                && has!("avx512vl")
                && has!("avx512vnni")
        }
        Isa::Amx => has(Isa::Avx512Vnni) && amx::is_usable(),
        _ => false,
    }
}

/// The kernels of an instruction set of this family.
pub(super) fn table(isa: Isa) -> Option<&'static Table> {
    Some(match isa {
        Isa::Sse41 => &sse41::TABLE,
        Isa::Avx2 => &avx2::TABLE,
        Isa::AvxVnni => &avxvnni::TABLE,
        Isa::Avx512Vnni if has!("avx512vbmi") => &avx512vnni::TABLE_VBMI,
        Isa::Avx512Vnni => &avx512vnni::TABLE,
        Isa::Amx => &amx::TABLE,
        _ => return None,
    })
}
