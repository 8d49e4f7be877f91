//! Readers and writers of gene expression files.
#![forbid(unsafe_code)]
