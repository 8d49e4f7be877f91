//! Memory for operands.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use cic_runtime::Pages;

/// Numbers that begin at a whole cache line, and lie in huge pages where they are many, as those of a
/// session do. Where an allocator puts them would decide what kernels take.
#[derive(Debug)]
pub(crate) struct Array<T> {
    pages: Pages,
    numbers: PhantomData<T>,
}

impl<T: Pod> Array<T> {
    /// So many zeros.
    ///
    /// # Panics
    ///
    /// Where the system has no memory for them.
    pub fn zeros(len: usize) -> Self {
        let pages = Pages::zeroed(len * size_of::<T>()).expect("memory for the operands");
        Self { pages, numbers: PhantomData }
    }

    /// So many numbers, one after the other.
    pub fn with(len: usize, number: impl FnMut() -> T) -> Self {
        let mut array = Self::zeros(len);
        array.fill_with(number);
        array
    }
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.pages)
    }
}

impl<T: Pod> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.pages)
    }
}
