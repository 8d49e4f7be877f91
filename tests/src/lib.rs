//! What the whole-pipeline tests share: real data, models made of numbers, the committed fixture.
#![forbid(unsafe_code)]

pub mod fixture;
pub mod models;
pub mod real;
pub mod tolerance;
