//! Digests of a model file made right again after bytes of it were changed, so that what comes after their
//! check is reached.

use core::ops::Range;

use cic_model::container::{DIGEST_LEN, SectionKind};
use sha2::{Digest, Sha256};

/// The bytes with both digests as the format wants them; too short ones as they are.
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    if bytes.len() < HEADER_LEN + DIGEST_LEN {
        return mended;
    }
    let n_sections = number(bytes, N_SECTIONS, 4).min(MOST_SECTIONS);
    let table_end = (HEADER_LEN + n_sections * ENTRY_LEN).min(bytes.len());
    let table = &bytes[HEADER_LEN..table_end];
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..METADATA_DIGEST.start]);
    hasher.update(table);
    for entry in table.chunks_exact(ENTRY_LEN) {
        let (kind, start, len) = (number(entry, 0, 4), number(entry, 8, 8), number(entry, 16, 8));
        if kind != SectionKind::Weights as usize {
            hasher.update(bytes.get(start..start.saturating_add(len)).unwrap_or_default());
        }
    }
    mended[METADATA_DIGEST].copy_from_slice(&hasher.finalize());
    let covered = mended.len() - DIGEST_LEN;
    let digest = Sha256::digest(&mended[..covered]);
    mended[covered..].copy_from_slice(&digest);
    mended
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    let bytes = &bytes[at..at + len];
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Places of `docs/format.md`.
const HEADER_LEN: usize = 64;
const ENTRY_LEN: usize = 24;
const N_SECTIONS: usize = 12;
const METADATA_DIGEST: Range<usize> = 32..64;
const MOST_SECTIONS: usize = 1 << 16;
