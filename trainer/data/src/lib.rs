//! Readers and writers of gene expression files.
//!
//! [`read_expression`] turns a file of any format that is read into an [`ExpressionMatrix`]: names
//! of cells and genes, a sparse matrix of finite, non-negative values, and what the file says about
//! the cells. [`ExpressionReader`] gives the same values in blocks of cells, for files larger than
//! memory. [`check_scale`] tells whether the values are counts, normalised or logarithms;
//! [`ScaleEvidence`] tells it of blocks. Labels and splits come from the file's own [`ObsTable`] or
//! from a [`SampleTable`] beside it, gene sets from GMT files ([`read_gene_sets`]), other names of genes from
//! tables ([`read_alias_table`]). [`GeneNaming`] tells how the genes of a file are named. Results are written as AnnData ([`write_h5ad`],
//! [`AnnDataWriter`]) or as text ([`write_atomic`]), and appear under their name only when they are
//! complete.
//!
//! Files are not trusted: a header that lies does not allocate, links out of the file are not
//! followed, and every refusal names the place.
#![forbid(unsafe_code)]

mod alias_table;
mod align;
mod anndata;
mod anndata_frame;
mod anndata_store;
#[cfg(feature = "zarr")]
mod blosc;
#[cfg(feature = "zarr")]
mod blosclz;
mod cell_blocks;
mod cell_columns;
mod cellranger;
mod contradiction;
mod control_features;
mod csr_blocks;
mod delimited;
mod dense_blocks;
mod duplicates;
mod element;
mod error;
mod expression;
mod expression_reader;
mod gene_naming;
mod gene_sets;
mod geo_series;
mod h5_anndata;
mod h5_compound;
mod h5_element;
mod h5_heap;
mod h5_rows;
mod h5_source;
mod h5_vector;
mod h5ad_objects;
mod h5ad_results;
mod h5ad_writer;
mod hdf5;
mod library_panics;
mod mangled_symbols;
mod matrix;
mod matrix_market;
mod mex;
mod mtx_blocks;
mod nearest;
mod number_vector;
mod obs;
mod other_logarithm;
mod output_folder;
#[cfg(feature = "parquet")]
mod parquet_pages;
#[cfg(feature = "parquet")]
mod parquet_table;
#[cfg(feature = "parquet")]
mod parquet_thrift;
mod ranks;
mod sample_table;
mod scale;
pub mod simulate;
mod sniff;
mod species;
mod text_out;
mod text_source;
#[cfg(feature = "parquet")]
mod thrift;
#[cfg(feature = "zarr")]
mod zarr_anndata;
#[cfg(feature = "zarr")]
mod zarr_array;
#[cfg(feature = "zarr")]
mod zarr_codec;
#[cfg(feature = "zarr")]
mod zarr_metadata;
#[cfg(feature = "zarr")]
mod zarr_rows;
#[cfg(feature = "zarr")]
mod zarr_store;
#[cfg(feature = "zarr")]
mod zarr_vector;

pub use alias_table::{AliasTable, PanelAliases, read_alias_table};
pub use align::{AlignedMatrix, AlignedRows, PanelAlignment, align, gene_name};
pub use cell_blocks::BlockSize;
pub use duplicates::{add_up_repeated_genes, repeated_genes};
pub use error::DataError;
pub use expression::{
    ExpressionHead, ExpressionMatrix, Gene, MatrixChoice, Names, Orientation, ReadOptions, Source,
    is_ensembl_gene_id, read_expression,
};
pub use expression_reader::ExpressionReader;
pub use gene_naming::{Found, GeneNaming, NameKind};
pub use gene_sets::{GeneSet, GeneSets, read_gene_sets};
pub use h5ad_results::{read_obsm, read_uns};
pub use h5ad_writer::{AnnDataOut, AnnDataPlan, AnnDataWriter, UnsValue, write_h5ad};
pub use library_panics::hide_caught_panics;
pub use matrix::CsrMatrix;
pub use nearest::nearest_name;
pub use obs::{Column, ObsTable};
pub use ranks::rank_rows;
pub use sample_table::{SampleTable, SplitPart, read_labels_tsv, read_split, split_parts};
pub use scale::{Scale, ScaleEvidence, ScaleVerdict, check_scale};
pub use species::{SpeciesGuess, genome_prefix};
pub use text_out::{
    AtomicFile, ReadyFile, csv_field, csv_text, sanitise_for_terminal, write_atomic,
};
