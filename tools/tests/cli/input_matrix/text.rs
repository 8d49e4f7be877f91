//! Rows about 10x folders, MatrixMarket files and text tables.

use super::generators::{Mex, ensembl, every_cell, gzip, some_cells, table, table_of_cells};
use super::row::{Args, Group, Row, row};
use crate::sandbox::Sandbox;

pub fn group() -> Group {
    let mut rows = features();
    rows.extend(matrices());
    rows.extend(packed());
    rows.extend(tables());
    Group {
        title: "Text: 10x folders, MatrixMarket, tables",
        about: "`mex` is a 10x folder: `matrix.mtx`, `features.tsv` or `genes.tsv`, `barcodes.tsv`, \
                each perhaps packed with gzip. Tables are separated by tabs or commas, genes by \
                cells or cells by genes.",
        rows,
    }
}

fn symbol(at: usize) -> &'static str {
    &every_cell().genes[at].id
}

fn features() -> Vec<Row> {
    vec![
        row("`features.tsv` with one column, symbols", |f| {
            Mex::sound().features(|at| format!("{}\n", symbol(at))).write(f)
        }),
        row("`features.tsv` with two columns", |f| {
            Mex::sound().features(|at| format!("{}\t{}\n", ensembl(at), symbol(at))).write(f)
        }),
        row("`features.tsv` with three columns", |f| Mex::sound().write(f)),
        row("`features.tsv` and `barcodes.tsv` with CRLF", |f| {
            let mut mex =
                Mex::sound().features(|at| format!("{}\t{}\r\n", ensembl(at), symbol(at)));
            mex.barcodes = some_cells().obs_names.join("\r\n").into();
            mex.write(f)
        }),
        row("`matrix.mtx` with CRLF", |f| {
            let mut mex = Mex::sound();
            mex.matrix = mex.matrix.replace('\n', "\r\n");
            mex.write(f)
        }),
        row("`features.tsv` and `barcodes.tsv` with a byte order mark", |f| {
            let mut mex = Mex::sound();
            for names in [&mut mex.features, &mut mex.barcodes] {
                names.splice(0..0, *b"\xef\xbb\xbf");
            }
            mex.write(f)
        }),
        row("`features.tsv` with an empty line", |f| {
            let mut mex = Mex::sound();
            mex.features.splice(0..0, *b"\n");
            mex.write(f)
        })
        .refuse("mex/features.tsv, line 1: an empty line; expected a name; remove the line, or name what it stands for"),
        row("`features.tsv` with an empty id before a symbol", |f| {
            let mut mex = Mex::sound();
            let text = String::from_utf8(mex.features).unwrap();
            mex.features = text.replacen(&ensembl(3), "", 1).into();
            mex.write(f)
        }),
        row("`features.tsv` that is not UTF-8", |f| {
            let mut mex = Mex::sound();
            let at = mex.features.iter().position(|&byte| byte == b'C').unwrap();
            mex.features[at] = 0xe9;
            mex.write(f)
        })
        .refuse("mex/features.tsv: line 1 is not UTF-8; save the file as UTF-8"),
        row("`barcodes.tsv` with an empty name", |f| {
            let mut mex = Mex::sound();
            mex.barcodes.splice(0..14, *b"\tcell");
            mex.write(f)
        })
        .refuse("mex has no name for row 0, counted from 0; every cell needs one: its barcode, or its number"),
        row("files with a prefix (`S1_matrix.mtx`)", |f| {
            let args = Mex::sound().write(f);
            for name in ["matrix.mtx", "features.tsv", "barcodes.tsv"] {
                let (from, to) = (format!("mex/{name}"), format!("mex/S1_{name}"));
                std::fs::rename(f.path(&from), f.path(&to)).unwrap();
            }
            args
        }),
        row("the folder of a run of Cell Ranger", |f| run_folder(f, "filtered_feature_bc_matrix"))
            .note("read from outs/filtered_feature_bc_matrix of the folder"),
        row("the folder of a run of Xenium", |f| run_folder(f, "cell_feature_matrix")).note("read from outs/cell_feature_matrix of the folder"),
        row("the folder of a run with the matrix of all droplets alone", |f| {
            run_folder(f, "raw_feature_bc_matrix")
        })
        .refuse(
            "run/outs has no filtered_feature_bc_matrix.h5 or filtered_feature_bc_matrix; raw_feature_bc_matrix holds droplets without a cell too, which would be typed; give it itself if it is meant",
        ),
        row("a folder without `barcodes.tsv`", |f| {
            let args = Mex::sound().write(f);
            std::fs::remove_file(f.path("mex/barcodes.tsv")).unwrap();
            args
        })
        .refuse("mex has no barcodes.tsv[.gz]; it must stand beside matrix.mtx"),
        row("a folder with two matrices", |f| {
            let args = Mex::sound().write(f);
            f.write("mex/S2_matrix.mtx", "");
            args
        })
        .refuse("mex has no single matrix; give one of S2_matrix.mtx, matrix.mtx itself"),
    ]
}

/// A 10x folder where a run of an instrument puts it.
fn run_folder(folder: &Sandbox, matrix: &str) -> Args {
    Mex::sound().write(folder);
    std::fs::create_dir_all(folder.path("run/outs")).unwrap();
    std::fs::rename(folder.path("mex"), folder.path(&format!("run/outs/{matrix}"))).unwrap();
    "run".into()
}

fn matrices() -> Vec<Row> {
    vec![
        row("`real` values that are integers", |f| Mex::sound().edit("integer", "real").write(f)),
        row("entries of a cell in another order", |f| {
            Mex::sound()
                .entries(|entries| {
                    entries.sort_by_key(|entry| (entry[1], std::cmp::Reverse(entry[0])));
                })
                .write(f)
        }),
        row("entries sorted by gene", |f| Mex::sound().entries(|entries| entries.sort()).write(f))
            .note("the matrix is not sorted by cell, so that it was read whole"),
        row("zeros among the entries", |f| {
            Mex::sound()
                .entries(|entries| {
                    let gene = (1..300)
                        .find(|gene| entries.iter().all(|e| (e[0], e[1]) != (*gene, 2)))
                        .unwrap();
                    entries.push([gene, 2, 0]);
                    entries.sort_by_key(|entry| (entry[1], entry[0]));
                })
                .edit("2949", "2950")
                .write(f)
        }),
        row("indices from 0", |f| {
            Mex::sound()
                .entries(|entries| {
                    entries.iter_mut().for_each(|entry| {
                        entry[0] -= 1;
                        entry[1] -= 1;
                    });
                })
                .write(f)
        })
        .refuse("mex/matrix.mtx, line 3: column 0: indices count from 1; write the file again with indices from 1"),
        row("a row beyond the last", |f| {
            Mex::sound().entries(|entries| entries[40][0] = 301).write(f)
        })
        .refuse("mex/matrix.mtx, line 43: row 301: the header states only 300; write the file again"),
        row("a column beyond the last", |f| {
            Mex::sound().entries(|entries| entries.last_mut().unwrap()[1] = 25).write(f)
        })
        .refuse("mex/matrix.mtx, line 2951: column 25: the header states only 24; write the file again"),
        row("an entry that stands twice, one after the other", |f| {
            Mex::sound().entries(|entries| entries[7] = entries[6]).write(f)
        })
        .refuse("mex/matrix.mtx, line 10: row 23 of column 1 stands twice; add the entries up, or remove one"),
        row("an entry that stands twice, apart", |f| {
            Mex::sound().entries(|entries| entries[9] = entries[6]).write(f)
        })
        .refuse("mex: cell \"TCAGGCCTGACA-1\" has two entries for gene \"ENSG00000100022\"; add them up, or remove one (SciPy: sum_duplicates)"),
        row("more entries than the header states", |f| {
            Mex::sound().entries(|entries| entries.push([300, 24, 1])).write(f)
        })
        .refuse("mex/matrix.mtx, line 2952: more entries than the 2949 that the header states; write the file again"),
        row("fewer entries than the header states", |f| {
            Mex::sound().entries(|entries| entries.truncate(1_000)).write(f)
        })
        .refuse("mex/matrix.mtx, line 1002: the file ends after 1000 entries, its header states 2949; copy it again"),
        row("another number of genes than `features.tsv`", |f| {
            Mex::sound().edit("300 24", "301 24").write(f)
        })
        .refuse("mex/matrix.mtx, line 2: the matrix is 301 x 24, but there are 300 features and 24 barcodes; the files do not belong together: copy all of them again"),
        row("a `pattern` matrix", |f| Mex::sound().edit("integer", "pattern").write(f)).refuse("mex/matrix.mtx, line 1: pattern matrices are not read; write it with \"%%MatrixMarket matrix coordinate integer (or real) general\""),
        row("a `complex` matrix", |f| Mex::sound().edit("integer", "complex").write(f)).refuse("mex/matrix.mtx, line 1: complex matrices are not read; write it with \"%%MatrixMarket matrix coordinate integer (or real) general\""),
        row("a `symmetric` matrix", |f| Mex::sound().edit("general", "symmetric").write(f))
            .refuse("mex/matrix.mtx, line 1: symmetric matrices are not read; write it with \"%%MatrixMarket matrix coordinate integer (or real) general\""),
        row("an `array`", |f| Mex::sound().edit("coordinate", "array").write(f)).refuse("mex/matrix.mtx, line 1: array matrices are not read; write it with \"%%MatrixMarket matrix coordinate integer (or real) general\""),
        row("no banner", |f| {
            Mex::sound().edit("%%MatrixMarket matrix coordinate integer general\n", "").write(f)
        })
        .refuse("mex/matrix.mtx, line 1: expected \"%%MatrixMarket matrix coordinate integer (or real) general\", found \"300 24 2949\""),
        row("a negative entry", |f| Mex::sound().edit(" 1\n", " -1\n").write(f)).refuse("mex/matrix.mtx, line 4: expected an integer of zero or more, as the header says, found \"-1\"; correct the entry, or the header"),
        row("a fraction among `integer` entries", |f| Mex::sound().edit(" 1\n", " 1.5\n").write(f))
            .refuse("mex/matrix.mtx, line 4: expected an integer of zero or more, as the header says, found \"1.5\"; correct the entry, or the header"),
        row("NaN among `real` entries", |f| {
            Mex::sound().edit("integer", "real").edit(" 1\n", " nan\n").write(f)
        })
        .refuse("mex/matrix.mtx, line 4: expected a finite number of zero or more, found \"nan\"; replace or remove it (of centred or scaled values give the matrix from before)"),
        row("the size overflows", |f| {
            Mex::sound().edit("300 24 ", "300 99999999999999999999 ").write(f)
        })
        .refuse("mex/matrix.mtx, line 2: expected rows, columns and number of entries, found \"300 99999999999999999999 2949\"; write the file again"),
    ]
}

fn packed() -> Vec<Row> {
    vec![
        row("`matrix.mtx.gz`", |f| Mex::sound().packed(f, |_| {})),
        row("`matrix.mtx.gz` of two members (bgzip)", |f| {
            let text = Mex::sound().matrix;
            let (first, second) = text.split_at(5_000);
            Mex::sound().packed(f, |bytes| {
                *bytes = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
            })
        }),
        row("`matrix.mtx.gz` cut in half", |f| {
            Mex::sound().packed(f, |bytes| bytes.truncate(bytes.len() / 2))
        })
        .refuse("mex/matrix.mtx.gz: damaged gzip stream (it ends too early); copy the file again"),
        row("`matrix.mtx.gz` with a wrong checksum", |f| {
            Mex::sound().packed(f, |bytes| {
                let at = bytes.len() - 6;
                bytes[at] ^= 1;
            })
        })
        .refuse("mex/matrix.mtx.gz: damaged gzip stream (corrupt gzip stream does not have a matching checksum); copy the file again"),
        row("`matrix.mtx.gz` that unpacks to 500 times its size", |f| {
            Mex::sound().packed(f, |bytes| {
                let text = format!("{}{}", Mex::sound().matrix, "%\n".repeat(20 << 20));
                *bytes = gzip(text.as_bytes());
            })
        })
        .refuse("mex/matrix.mtx.gz unpacks to more than 200 times its size; if it is genuine, unpack it yourself"),
    ]
}

fn with_table(folder: &Sandbox, text: impl AsRef<[u8]>) -> Args {
    folder.write("cells.tsv", text);
    "cells.tsv".into()
}

fn tables() -> Vec<Row> {
    vec![
        row("a table, tabs, a row per gene", |f| with_table(f, table("\t"))).note("genes are the rows, by the form of the names"),
        row("a table, tabs, a row per cell", |f| with_table(f, table_of_cells(&some_cells())))
            .note("genes are the columns, by the form of the names"),
        row("a table, tabs, a row per cell, `--rows cells`", |f| {
            with_table(f, table_of_cells(&some_cells())).and("--rows cells")
        })
        .note("genes are the columns, as declared"),
        row("a table, commas", |f| with_table(f, table(","))).note("genes are the rows, by the form of the names"),
        row("a table, quoted, CRLF, with a byte order mark", |f| {
            let quoted = table("\t").replace('\t', "\",\"").replace('\n', "\"\r\n\"");
            with_table(f, format!("\u{feff}\"{}", quoted.trim_end_matches('"')))
        })
        .note("genes are the rows, by the form of the names"),
        row("a table as R writes it, without a name over the first column", |f| {
            with_table(f, table("\t").trim_start_matches("gene\t"))
        })
        .note("genes are the rows, by the form of the names"),
        row("a packed table", |f| with_table(f, gzip(table("\t").as_bytes()))).note("genes are the rows, by the form of the names"),
        row("a table of separators that are semicolons", |f| with_table(f, table(";"))).refuse("cells.tsv, line 1: only one column; separate the fields by tabs or commas"),
        row("a table with `NA`", |f| with_table(f, table("\t").replacen("\t0\t", "\tNA\t", 1)))
            .refuse("cells.tsv, line 2: row \"MARCH1\", column \"TCAGGCCTGACA-1\": expected a number, found \"NA\"; missing values and columns that are not expression must be removed"),
        row("a table with decimal commas", |f| {
            with_table(f, table("\t").replacen("\t0\t", "\t0,5\t", 1))
        })
        .refuse("cells.tsv, line 2: row \"MARCH1\", column \"TCAGGCCTGACA-1\": expected a number, found \"0,5\"; missing values and columns that are not expression must be removed"),
        row("a table with a row too short", |f| {
            with_table(f, table("\t").replacen("\t0\t", "\t", 1))
        })
        .refuse("cells.tsv, line 2: expected 25 fields, found 24; every row has a name and a value for each column"),
        row("a table with a column that is no expression", |f| {
            let text = table_of_cells(&some_cells());
            let mut lines = text.lines();
            let head = format!("{}\tcell_type\n", lines.next().unwrap());
            with_table(f, lines.fold(head, |text, line| format!("{text}{line}\tT\n")))
        })
        .refuse("cells.tsv, line 2: row \"TCAGGCCTGACA-1\", column \"cell_type\": expected a number, found \"T\"; missing values and columns that are not expression must be removed"),
        row("a table whose names do not show where the genes are", |f| {
            let text =
                (0..20).fold("cell\tx1\tx2\n".into(), |text, n| format!("{text}c{n}\t1\t0\n"));
            with_table(f, text)
        })
        .refuse("cells.tsv: cannot tell whether rows (\"c0\", ...) or columns (\"x1\", ...) are genes; declare the orientation, with --rows genes or --rows cells"),
        row("a table with names and no values", |f| {
            with_table(f, table("\t").lines().next().unwrap())
        })
        .refuse("cells.tsv is empty: expected a row of values; is it the right file, and whole?"),
        row("a text that is no table", |f| with_table(f, "Dear all,\nplease find enclosed\n"))
            .refuse("cells.tsv, line 2: expected 2 fields, found 1; every row has a name and a value for each column"),
    ]
}
