//! The vocabulary that the shared loops are written in: one register of single-precision numbers.

/// A register of [`FloatVector::LANES`] numbers.
///
/// # Safety
/// Every function needs a processor with the instruction set that the implementation is for. They
/// are inlined into functions that enable it.
pub(super) trait FloatVector: Copy {
    /// Numbers of the register.
    const LANES: usize;

    /// One number, repeated.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: f32) -> Self;

    /// `LANES` numbers.
    ///
    /// # Safety
    /// See the trait; `LANES` numbers can be read at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// The first `len` numbers, then zeros.
    ///
    /// # Safety
    /// See the trait; `len < LANES` numbers can be read at `from`.
    unsafe fn load_partial(from: *const f32, len: usize) -> Self;

    /// `LANES` numbers in half precision.
    ///
    /// # Safety
    /// See the trait; `LANES` numbers can be read at `from`.
    unsafe fn load_f16(from: *const u16) -> Self;

    /// The first `len` numbers in half precision, then zeros.
    ///
    /// # Safety
    /// See the trait; `len < LANES` numbers can be read at `from`.
    unsafe fn load_f16_partial(from: *const u16, len: usize) -> Self;

    /// `LANES` integers as numbers.
    ///
    /// # Safety
    /// See the trait; `LANES` integers can be read at `from`.
    unsafe fn load_i8(from: *const i8) -> Self;

    /// The first `len` integers as numbers, then zeros.
    ///
    /// # Safety
    /// See the trait; `len < LANES` integers can be read at `from`.
    unsafe fn load_i8_partial(from: *const i8, len: usize) -> Self;

    /// Writes all.
    ///
    /// # Safety
    /// See the trait; `LANES` numbers can be written at `to`.
    unsafe fn store(self, to: *mut f32);

    /// Writes the first `len`.
    ///
    /// # Safety
    /// See the trait; `len < LANES` numbers can be written at `to`.
    unsafe fn store_partial(self, to: *mut f32, len: usize);

    /// `self + a · b`, rounded once.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn fma(self, a: Self, b: Self) -> Self;

    /// `self + other`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add(self, other: Self) -> Self;

    /// `self − other`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sub(self, other: Self) -> Self;

    /// `self · other`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul(self, other: Self) -> Self;

    /// `self / other`
    ///
    /// # Safety
    /// See the trait.
    unsafe fn div(self, other: Self) -> Self;

    /// The sum of each of four registers.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn totals(of: [Self; 4]) -> [f32; 4];

    /// `(k, m)` with `self = 2^k · m` and `m` from √½ to √2, for positive normal numbers.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn split(self) -> (Self, Self);

    /// Where `self < limit`, `below`; `other` elsewhere.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn if_less(self, limit: Self, below: Self, other: Self) -> Self;

    /// Whether all are at least 0 and finite.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn is_finite_and_not_negative(self) -> bool;

    /// Asks for the cache line at an address, which need not be readable.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn prefetch(at: *const u8);
}

/// Bits that [`FloatVector::split`] adds, so that the exponent changes at √2: those of 1 less those
/// of √½.
pub(super) const TO_SPLIT: i32 = 0x3f80_0000 - SQRT_HALF;

/// Bits of √½.
pub(super) const SQRT_HALF: i32 = 0x3f35_04f3;

/// A weight as it is stored.
pub(super) trait Weight: Copy {
    /// A register of weights; of the first `len`, then zeros, where that is less.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`; as many weights can be read at `from`.
    unsafe fn load<V: FloatVector>(from: *const Self, len: usize) -> V;
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn load<V: FloatVector>(from: *const Self, len: usize) -> V {
        // SAFETY: the caller's.
        unsafe { if len < V::LANES { V::load_partial(from, len) } else { V::load(from) } }
    }
}

/// Half precision.
impl Weight for u16 {
    #[inline(always)]
    unsafe fn load<V: FloatVector>(from: *const Self, len: usize) -> V {
        // SAFETY: the caller's.
        unsafe { if len < V::LANES { V::load_f16_partial(from, len) } else { V::load_f16(from) } }
    }
}

/// Integers, whose scale the caller multiplies sums by.
impl Weight for i8 {
    #[inline(always)]
    unsafe fn load<V: FloatVector>(from: *const Self, len: usize) -> V {
        // SAFETY: the caller's.
        unsafe { if len < V::LANES { V::load_i8_partial(from, len) } else { V::load_i8(from) } }
    }
}

/// Gathers `len < 8` bytes at `from` in a word, the first lowest: four, two and one as the bits of `len` say.
///
/// # Safety
/// `len` bytes can be read.
#[inline(always)]
pub(super) unsafe fn few_bytes(from: *const i8, len: usize) -> u64 {
    // SAFETY: what is read adds up to `len`.
    unsafe {
        let from = from.cast::<u8>();
        let four = if len & 4 == 0 { 0 } else { from.cast::<u32>().read_unaligned() };
        let pair = if len & 2 == 0 { 0 } else { from.add(len & 4).cast::<u16>().read_unaligned() };
        let last = if len & 1 == 0 { 0 } else { from.add(len & 6).read() };
        u64::from(four) | u64::from(pair) << (8 * (len & 4)) | u64::from(last) << (8 * (len & 6))
    }
}

/// Adds a register to the sums at `to`; its first `len` numbers where that is less.
///
/// # Safety
/// The processor has the instruction set of `V`; as many numbers can be read and written at `to`.
#[inline(always)]
pub(super) unsafe fn add_to<V: FloatVector>(sum: V, to: *mut f32, len: usize) {
    // SAFETY: the caller's.
    unsafe {
        if len < V::LANES {
            V::load_partial(to, len).add(sum).store_partial(to, len);
        } else {
            V::load(to).add(sum).store(to);
        }
    }
}
