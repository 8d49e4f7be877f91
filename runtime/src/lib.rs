//! `no_std` inference of cell identity codes and cell types.
#![no_std]
