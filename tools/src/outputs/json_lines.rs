//! JSON lines: what the cells were typed with, an object per cell, and a last line without which
//! the file is not whole.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::columns::{Cell, Extent, Get};
use super::provenance::Provenance;
use crate::typed::TypedCells;

pub(super) fn write(
    out: &mut dyn Write,
    cells: &TypedCells<'_>,
    provenance: &Provenance,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &json!({ PROVENANCE: provenance }))?;
    writeln!(out)?;
    let extent = cells.extent();
    for (name, cell) in cells.head.obs_names.iter().zip(cells.cells()) {
        serde_json::to_writer(&mut *out, &Line { name, cell, extent })?;
        writeln!(out)?;
    }
    let verdict = json!({
        "n_cells": cells.calls.len(),
        "n_rejected": cells.n_rejected(),
    });
    serde_json::to_writer(&mut *out, &json!({ VERDICT: verdict }))?;
    writeln!(out)
}

/// A cell, its columns in order.
struct Line<'a> {
    name: &'a str,
    cell: Cell<'a>,
    extent: Extent,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(BARCODE, self.name)?;
        for column in self.extent.columns() {
            match column.get {
                Get::Text(get) => map.serialize_entry(column.name, &*get(&self.cell))?,
                Get::Real(get) => map.serialize_entry(column.name, &get(&self.cell))?,
                Get::Whole(get) => map.serialize_entry(column.name, &get(&self.cell))?,
                Get::Flag(get) => map.serialize_entry(column.name, &get(&self.cell))?,
            }
        }
        map.end()
    }
}

/// Members of the first line, of each cell's and of the last.
pub(super) const PROVENANCE: &str = "provenance";
pub(super) const BARCODE: &str = "barcode";
pub(super) const VERDICT: &str = "verdict";
