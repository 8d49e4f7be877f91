//! The serial line of the board, and what its instrument measures.

use crate::stream::station::NOT_IN_PANEL;

include!(concat!(env!("OUT_DIR"), "/serial.rs"));

/// Features whose gene the panel has.
pub fn n_matched() -> usize {
    PANEL_GENES.iter().filter(|&&gene| gene != NOT_IN_PANEL).count()
}
