//! The vocabulary that the shared loops are written in: one vector register of an instruction set.

/// A register of [`Vector::WIDTH`] bytes, seen as levels, as weights or as 32-bit sums.
///
/// # Safety
/// Every function needs a processor with the instruction set that the implementation is for. They
/// are inlined into functions that enable it.
pub(super) trait Vector: Copy {
    /// Bytes of the register: 16, 32 or 64. A multiple of 16 divides into sums of 4 weights each.
    const WIDTH: usize;

    /// All zero.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn zero() -> Self;

    /// `WIDTH` bytes.
    ///
    /// # Safety
    /// See the trait; `WIDTH` bytes can be read at `from`.
    unsafe fn load(from: *const u8) -> Self;

    /// The first `len` bytes, then zeros.
    ///
    /// # Safety
    /// See the trait; `len < WIDTH` bytes can be read at `from`.
    unsafe fn load_partial(from: *const u8, len: usize) -> Self;

    /// Writes to `to` the sums in `start`, which may be the same place, plus these.
    ///
    /// # Safety
    /// See the trait; `WIDTH` bytes can be read at `start` and written at `to`.
    unsafe fn add_to(self, start: *const i32, to: *mut i32);

    /// Four bytes, repeated.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(bytes: u32) -> Self;

    /// `self[j] + Σ_b levels[4j + b] · weights[4j + b]`: levels are unsigned 7-bit, weights signed.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn dot(self, levels: Self, weights: Self) -> Self;

    /// Sums of both.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add(self, other: Self) -> Self;

    /// The sum of the sums.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn total(self) -> i32;

    /// Adds the products of four weights with four levels to each of `WIDTH` sums: `rows[b]` are the
    /// weights of input `b` for `WIDTH` outputs, byte `b` of `levels` its level. In what order the
    /// sums lie in `sums` is this function's own affair, see [`Vector::in_order`].
    ///
    /// # Safety
    /// See the trait.
    unsafe fn accumulate(sums: &mut [Self; 4], rows: [Self; 4], levels: u32);

    /// The sums of [`Vector::accumulate`] in the order of the outputs.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn in_order(sums: [Self; 4]) -> [Self; 4];

    /// Asks for the cache line at an address, which need not be readable.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn prefetch(at: *const u8);
}
