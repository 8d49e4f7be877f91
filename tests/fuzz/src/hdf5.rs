//! Checksums of an HDF5 file made right again after bytes of it were changed: newer structures have them, and
//! without this every change to one would be refused at once. (HDF5 File Format Specification, II and IV.A.)

use rust_hdf5::format::checksum::checksum_metadata;

/// The bytes, beginning as HDF5 files do, with the checksums of superblock, object headers, their continuations
/// and the headers of indices.
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut mended = SIGNATURE.to_vec();
    mended.extend_from_slice(bytes.get(SIGNATURE.len()..).unwrap_or_default());
    let mut blocks = Vec::new();
    if matches!(mended.get(8), Some(2 | 3)) {
        blocks.push((0, 44));
    }
    for (at, _) in mended.iter().enumerate().filter(|(_, byte)| b"OFB".contains(byte)) {
        match mended.get(at..at + 4) {
            Some(b"OHDR") => object_header(&mended, at, &mut blocks),
            Some(b"FAHD") => blocks.push((at, 24)),
            Some(b"BTHD") => blocks.push((at, 34)),
            Some(b"FRHP") => blocks.push((at, 142)),
            _ => {}
        }
    }
    for (at, len) in blocks {
        if at.saturating_add(len).saturating_add(4) <= mended.len() {
            let sum = checksum_metadata(&mended[at..at + len]).to_le_bytes();
            mended[at + len..at + len + 4].copy_from_slice(&sum);
        }
    }
    mended
}

/// The header at `at` and what it is continued by, as first byte and length before the checksum.
fn object_header(bytes: &[u8], at: usize, blocks: &mut Vec<(usize, usize)>) {
    let Some(&flags) = bytes.get(at + 5) else { return };
    let times = if flags & 0x20 != 0 { 16 } else { 0 };
    let limits = if flags & 0x10 != 0 { 4 } else { 0 };
    let width = 1 << (flags & 3);
    let start = at + 6 + times + limits;
    let Some(len) = number(bytes, start, width) else { return };
    let first = start + width;
    let prefix = if flags & 4 != 0 { 6 } else { 4 };
    blocks.push((at, (first - at).saturating_add(len)));
    // Parts of the header: first message and end.
    let mut parts = vec![(first, first.saturating_add(len))];
    let mut n_parts = 0;
    while let (Some((mut message, end)), true) = (parts.pop(), n_parts < MOST_PARTS) {
        n_parts += 1;
        while message + prefix <= end.min(bytes.len()) {
            let Some(len) = number(bytes, message + 1, 2) else { break };
            let body = message + prefix;
            let next = (number(bytes, body, 8), number(bytes, body + 8, 8));
            if let (Some(CONTINUATION), (Some(part), Some(len))) =
                (bytes.get(message).copied(), next)
            {
                if part < bytes.len() && (8..=bytes.len()).contains(&len) {
                    blocks.push((part, len - 4));
                    parts.push((part + 4, part + len - 4));
                }
            }
            message = body + len;
        }
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// The message that says where a header goes on.
const CONTINUATION: u8 = 0x10;
const MOST_PARTS: usize = 64;
