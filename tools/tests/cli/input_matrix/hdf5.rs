//! Rows about AnnData and Cell Ranger files. The files are those that h5py and anndata wrote for
//! the tests of cic-data (`trainer/data/tests/fixtures/make.py`): five cells, six genes.

use super::models::Model;
use super::row::{Args, Calls, Group, Row, row};
use crate::sandbox::Sandbox;

pub fn group() -> Group {
    let mut rows = sound();
    rows.extend(faulty());
    for row in &mut rows {
        row.model = Model::Six;
    }
    Group {
        title: "HDF5: AnnData and Cell Ranger",
        about: "Five cells of six genes, written by anndata 0.12 and h5py. Links are never \
                followed, and nothing is allocated because a header says so.",
        rows,
    }
}

/// A committed file of cic-data, as `cells.h5ad` or `cells.h5`.
pub fn fixture(folder: &Sandbox, name: &str) -> Args {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../trainer/data/tests/fixtures");
    let bytes = std::fs::read(format!("{fixtures}/{name}")).unwrap();
    let (_, extension) = name.rsplit_once('.').unwrap();
    let name = format!("cells.{extension}");
    folder.write(&name, bytes);
    Args::from(name.as_str())
}

/// A row of the fixture of that name.
macro_rules! file {
    ($what:literal, $name:literal) => {
        row($what, |folder| fixture(folder, $name))
    };
}

fn sound() -> Vec<Row> {
    vec![
        file!(
            "CSR, 32-bit indices, gzip, anndata 0.12; categorical and string columns",
            "csr_gzip.h5ad"
        ),
        file!("CSC, LZF", "csc_lzf.h5ad"),
        file!("dense, f64", "dense_f64.h5ad"),
        file!("CSR, 64-bit indices, unsorted, with zeros", "int64_unsorted_zeros.h5ad"),
        file!("dense, u16, shuffle, checksums", "dense_u2.h5ad"),
        file!("dense, i64", "dense_i8.h5ad"),
        file!("dense, i32, big-endian", "dense_be_i4.h5ad"),
        file!("dense, f32, big-endian", "dense_be_f4.h5ad"),
        file!(
            "columns of every encoding, nullable and of anndata 0.7; one is a link",
            "columns.h5ad"
        ),
        row("counts in `raw`, `--layer raw`", |f| {
            fixture(f, "raw_and_layers.h5ad").and("--layer raw")
        }),
        row("anndata before 0.7, compound tables, `--layer raw`", |f| {
            fixture(f, "legacy_compound.h5ad").and("--layer raw")
        }),
        file!("Cell Ranger 3, with antibodies", "cellranger3.h5")
            .accept(Calls::Near(1.0))
            .note("2 features are not Gene Expression and left out: 2 Antibody Capture"),
        file!("Cell Ranger 2", "cellranger2.h5"),
    ]
}

fn faulty() -> Vec<Row> {
    vec![
        row("a layer that is not there", |f| {
            fixture(f, "raw_and_layers.h5ad").and("--layer spliced")
        })
        .refuse("cells.h5ad has no matrix \"layers/spliced\"; it has: X, raw/X, layers/counts"),
        row("`--rows cells` beside AnnData", |f| fixture(f, "csr_gzip.h5ad").and("--rows cells"))
            .refuse("cells.h5ad has no table whose rows may be genes or cells; the format says what they are; leave the choice (--rows) out"),
        file!("CSR of which a chunk was never written", "bad_missing_chunk.h5ad")
            .refuse("cells.h5ad: cannot read \"X/data\": values 8 to 15 are not in the file: their chunk was never written; copy the file again, or write it again with anndata or h5py"),
        file!("z-scores in `X`, counts in `raw`", "legacy_compound.h5ad").refuse("cells.h5ad: cell \"cell0\", gene \"TP53\": the value is -0.2; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)"),
        row("a `.h5ad` cut in half", |f| {
            let args = fixture(f, "csr_gzip.h5ad");
            let bytes = f.read("cells.h5ad");
            f.write("cells.h5ad", &bytes[..bytes.len() / 2]);
            args
        })
        .refuse("cells.h5ad is truncated: its header says 16420 bytes, it has 8210; copy it again"),
        file!("row pointers that decrease", "bad_pointers.h5ad").refuse("cells.h5ad: the row pointers are not valid at position 2: 0 follows 4; write the file again"),
        file!("a negative row pointer", "bad_pointer_negative.h5ad").refuse("cells.h5ad: the row pointers are not valid at position 1: a negative or huge number in \"X/indptr\"; write the file again"),
        file!("fewer values than indices", "bad_lengths.h5ad").refuse("cells.h5ad: the row pointers are not valid at position 5: it is 16, but there are 16 indices and 15 values; write the file again"),
        file!("an index beyond the last gene", "bad_index.h5ad").refuse("cells.h5ad: row 0 has an entry at index 6, but there are only 6, counted from 0; write the file again"),
        file!("a negative index", "bad_index_negative.h5ad").refuse("cells.h5ad: row 0 has an entry at a negative or huge index, but there are only 6, counted from 0; write the file again"),
        file!("a cell with two entries for a gene", "bad_duplicate.h5ad").refuse("cells.h5ad: cell \"cell0\" has two entries for gene \"ACTB\"; add them up, or remove one (SciPy: sum_duplicates)"),
        file!("more rows than names of cells", "bad_n_obs.h5ad").refuse("cells.h5ad: length of \"X\"/indptr: expected 5, found 6; the parts of the file do not belong together, write it again"),
        file!("a dense `X` with fewer columns than genes", "bad_dense_shape.h5ad").refuse("cells.h5ad: shape of \"X\": expected [5, 6], as obs and var have names, found [5, 5]; the parts of the file do not belong together, write it again"),
        file!("a length that the file cannot hold", "bad_claim.h5ad").refuse("cells.h5ad: \"X/data\" claims 40000000000000 bytes, but the file can hold at most 9007296; copy the file again, or write it again"),
        file!("a chunk that the file cannot hold", "bad_chunk_claim.h5ad").refuse("cells.h5ad: \"X/data\" claims 400000000 bytes, but the file can hold at most 9007296; copy the file again, or write it again"),
        file!("no genes", "bad_no_genes.h5ad").refuse("cells.h5ad is empty: expected at least one gene; is it the right file, and whole?"),
        file!("no `_index`", "bad_no_index.h5ad").refuse("cells.h5ad: the table \"obs\" has no usable `_index`; expected an attribute `_index` that names a column of unique strings; write the file again with anndata"),
        file!("an `_index` that names no column", "bad_dangling_index.h5ad").refuse("cells.h5ad: the table \"var\" has no usable `_index`; expected an attribute `_index` that names a column of unique strings; write the file again with anndata"),
        file!("an index of one string instead of a column", "bad_scalar_index.h5ad").refuse("cells.h5ad: dimensions of \"obs/_index\": expected 1, found 0; the parts of the file do not belong together, write it again"),
        file!("an unknown encoding of `X`", "bad_encoding.h5ad").refuse("cells.h5ad: \"X\" has the encoding \"coo_matrix\", which is not known here; write it again as a csr_matrix, a csc_matrix or a dense array"),
        file!("an unknown encoding of `obs`", "bad_frame_encoding.h5ad").refuse("cells.h5ad: \"obs\" has the encoding \"awkward-array\", which is not known here; write it again as a dataframe"),
        file!("half-precision values", "bad_half.h5ad").refuse("cells.h5ad: \"X/data\" has the encoding \"f16\", which is not known here; write it again as 32- or 64-bit floats, or integers"),
        file!("values that are texts", "bad_text_values.h5ad").refuse("cells.h5ad: \"X/data\" has the encoding \"string of 1 bytes\", which is not known here; write it again as 32- or 64-bit floats, or integers"),
        file!("a filter that is not read", "bad_filter.h5ad").refuse("cells.h5ad: \"X/data\" is compressed with scale-offset; write it again with gzip, LZF or no compression"),
        file!("`X` is an external link", "bad_external_link.h5ad").refuse("cells.h5ad: \"X\" is an external link to \"/X\" in \"csr_gzip.h5ad\", which is never followed; copy the data into the file"),
        file!("`X` is a soft link", "bad_soft_link.h5ad").refuse("cells.h5ad: \"X\" is a soft link to \"/Y\", which is never followed; copy the data into the file"),
        file!("`X` is a virtual data set", "bad_virtual.h5ad").refuse("cells.h5ad: \"X\" is a virtual data set made of other files, which is never followed; copy the data into the file"),
        file!("`X` lies in an external file", "bad_external_data.h5ad").refuse("cells.h5ad: \"X\" is stored in an external raw data file, which is never followed; copy the data into the file"),
        file!("names of genes that are not UTF-8", "bad_latin1.h5ad").refuse("cells.h5ad: element 5 of \"var/_index\" is not UTF-8; save the file as UTF-8"),
        file!("names of cells that stand twice", "bad_names.h5ad").refuse("cells.h5ad: the name \"a\" stands at rows 0 and 2; names must be unique (AnnData: obs_names_make_unique)"),
        file!("HDF5 that is neither AnnData nor Cell Ranger's", "bad_other.h5").refuse("cells.h5 is an HDF5 file that is neither AnnData nor Cell Ranger's, which is not read; expected obs and var, or matrix/features, or <genome>/barcodes"),
        file!("Cell Ranger 2 with two genomes", "bad_two_genomes.h5").refuse("cells.h5 is a Cell Ranger 2 file with several genomes (hg19, mm10), which is not read; write the genome that you need as a file of its own"),
        file!("Cell Ranger 3 with antibodies alone", "bad_only_antibodies.h5").refuse("cells.h5 has no feature of the type \"Gene Expression\"; its first feature is of the type \"Antibody Capture\"; give the file with the counts of genes"),
    ]
}
