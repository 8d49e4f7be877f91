//! Rows about what is no expression file, and about names that are dangerous to print.

use super::generators::{gzip, h5ad, some_cells, with_value};
use super::row::{Args, Calls, Group, row};
use crate::sandbox::Sandbox;

pub fn group() -> Group {
    Group {
        title: "Other files, and dangerous names",
        about: "Names come from files. On a terminal, and in tables, characters that steer a \
                terminal are written `\\u{..}`. In tables a name that a spreadsheet would run gets \
                an apostrophe before it, as OWASP advises, and a note says so: the names of a \
                `.h5ad` are never changed.",
        rows: vec![
            row("an empty file", |f| file(f, "cells.h5ad", b"")).refuse("cells.h5ad is empty: expected an expression matrix; is it the right file, and whole?"),
            row("a path that leads nowhere", |_| "absent.h5ad".into()).refuse("absent.h5ad: No such file or directory (os error 2); is the path right?"),
            row("an empty folder", |f| {
                std::fs::create_dir(f.path("folder")).unwrap();
                "folder".into()
            })
            .refuse("folder has no matrix.mtx or matrix.mtx.gz; a 10x folder holds matrix.mtx, features.tsv and barcodes.tsv; for another format give the file itself"),
            row("noise", |f| {
                let noise: Vec<u8> = (0..4_096_u32).map(|n| (n * 37 + 11) as u8).collect();
                file(f, "cells.h5ad", &noise)
            })
            .refuse("cells.h5ad is binary of an unknown kind, which is not read; expected .h5ad, Cell Ranger .h5, a 10x folder, a GEO series matrix, or a tab- or comma-separated table"),
            row("a packed `.h5ad.gz`", |f| {
                h5ad(f, &some_cells());
                let bytes = gzip(&f.read("cells.h5ad"));
                std::fs::remove_file(f.path("cells.h5ad")).unwrap();
                file(f, "cells.h5ad.gz", &bytes)
            })
            .refuse("cells.h5ad.gz is a packed HDF5 file, which is not read; unpack it (gunzip)"),
            row("a packed folder, `.tar.gz`", |f| {
                let mut header = [0; 1_024];
                header[..10].copy_from_slice(b"matrix.mtx");
                header[257..262].copy_from_slice(b"ustar");
                file(f, "cells.tar.gz", &gzip(&header))
            })
            .refuse("cells.tar.gz is a tar archive, which is not read; unpack it (tar -xf) and give what is in it"),
            row("a spreadsheet (`.xlsx`)", |f| file(f, "cells.xlsx", b"PK\x03\x04...."))
                .refuse("cells.xlsx is a zip archive (perhaps .xlsx, .npz or a Zarr store), which is not read; unpack it, or export it as TSV"),
            row("an R object (`.rds`)", |f| file(f, "cells.rds", &gzip(b"X\n\0\0"))).refuse("cells.rds is an R data file (.rds), which is not read; export it from R as TSV or .h5ad"),
            row("the model instead of the data", |_| "model.cic".into()).refuse("model.cic is a model, which is not read; give it where the model is asked for, and expression data here"),
            #[cfg(unix)]
            row("a file whose own name is not UTF-8", |f| {
                use std::os::unix::ffi::OsStringExt;
                h5ad(f, &some_cells());
                let name = std::ffi::OsString::from_vec(b"cells\xff.h5ad".to_vec());
                std::fs::rename(f.path("cells.h5ad"), f.path("").join(&name)).unwrap();
                Args(vec![name])
            })
            .accept(Calls::Same),
            row("barcodes that begin with `=`, `+`, `-` or `@`", |f| {
                named(f, &["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)"])
            })
            .accept(Calls::Any)
            .note("names of cells that are changed in the table, so that no spreadsheet runs them and no terminal obeys them: 4, the first to '=cmd|' /C calc'!A0; a .h5ad keeps them"),
            row("barcodes that are numbers with a sign", |f| named(f, &["-1", "+2.5"]))
                .accept(Calls::Any),
            row("barcodes with commas and quotes", |f| named(f, &["a,b", "a\"b", "a;b"]))
                .accept(Calls::Any),
            row("a barcode with a terminal escape", |f| named(f, &["\u{1b}[31mred"]))
                .accept(Calls::Any)
                .note("names of cells that are changed in the table, so that no spreadsheet runs them and no terminal obeys them: 1, the first to \\u{1b}[31mred; a .h5ad keeps them"),
            row("a barcode with a terminal escape, twice", |f| {
                named(f, &["\u{1b}[31mred", "\u{1b}[31mred"])
            })
            .refuse("cells.h5ad: the name \"\\u{1b}[31mred\" stands at rows 0 and 1; names must be unique (AnnData: obs_names_make_unique)"),
            row("a gene with a terminal escape, and a negative value of it", |f| {
                let mut cells = with_value(some_cells(), 17, -1.0);
                let gene = cells.values.row(17).0[2] as usize;
                cells.genes[gene].id = "\u{1b}[2JCD3D\u{202e}".into();
                h5ad(f, &cells)
            })
            .refuse("cells.h5ad: cell \"AGACCTCCACCT-1\", gene \"\\u{1b}[2JCD3D\\u{202e}\": the value is -1; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)"),
        ],
    }
}

fn file(folder: &Sandbox, name: &str, bytes: &[u8]) -> Args {
    folder.write(name, bytes);
    name.into()
}

/// The sound file with other names of the first cells.
fn named(folder: &Sandbox, names: &[&str]) -> Args {
    let mut cells = some_cells();
    for (slot, name) in cells.obs_names.iter_mut().zip(names) {
        *slot = (*name).into();
    }
    h5ad(folder, &cells)
}
