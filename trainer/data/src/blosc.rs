//! Blosc frames of format version 2, as c-blosc 1 and so numcodecs write them (c-blosc: README_HEADER.rst; what that
//! leaves out, when a block is split and what is not shuffled, is as in its blosc.c).
//!
//! A frame is a header of 16 bytes, the start of each block, and the blocks. A block is one stream, or one for each
//! byte of an element; a stream is its length and its bytes, packed unless they are as many as it unpacks to. What the
//! streams unpack to is shuffled.

use crate::blosclz;
use crate::zarr_codec::{lz4_block, zlib_stream, zstd_frames};

/// Unpacks a frame to at most `most` bytes.
pub(crate) fn decode(frame: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let header = Header::parse(frame)?;
    if header.n_bytes > most {
        return Err(format!("its Blosc frame unpacks to {} bytes, not {most}", header.n_bytes));
    }
    let frame = frame.get(..header.n_packed).ok_or_else(|| {
        format!("its Blosc frame is cut off: {} of {} bytes", frame.len(), header.n_packed)
    })?;
    if header.flags & IS_COPY != 0 {
        let copy = frame.get(HEADER_LEN..).filter(|copy| copy.len() == header.n_bytes);
        return copy.map(<[u8]>::to_vec).ok_or_else(|| "its Blosc copy has another length".into());
    }
    let mut out = Vec::new();
    let mut block = Vec::new();
    for number in 0..header.n_bytes.div_ceil(header.block_len) {
        let len = header.block_len.min(header.n_bytes - out.len());
        let start = word(frame, HEADER_LEN + 4 * number).filter(|&start| start >= HEADER_LEN);
        let start = start.ok_or_else(|| format!("its Blosc block {number} has no place"))?;
        block.clear();
        header
            .read_block(frame, start, len, &mut block)
            .map_err(|reason| format!("its Blosc block {number} {reason}"))?;
        match header.flags & (BYTE_SHUFFLE | BIT_SHUFFLE) {
            BYTE_SHUFFLE if header.element_len > 1 => {
                unshuffle(&block, header.element_len, &mut out)
            }
            BIT_SHUFFLE if len >= header.element_len => {
                bit_unshuffle(&block, header.element_len, &mut out);
            }
            _ => out.extend_from_slice(&block),
        }
    }
    Ok(out)
}

struct Header {
    flags: u8,
    element_len: usize,
    n_bytes: usize,
    block_len: usize,
    /// Of the whole frame.
    n_packed: usize,
}

impl Header {
    fn parse(frame: &[u8]) -> Result<Self, String> {
        let (Some(start), Some(n_bytes), Some(block_len), Some(n_packed)) =
            (frame.first_chunk::<4>(), word(frame, 4), word(frame, 8), word(frame, 12))
        else {
            return Err(format!("its Blosc frame of {} bytes has no header", frame.len()));
        };
        let [version, _, flags, element_len] = *start;
        if version != VERSION {
            return Err(format!("its Blosc frame is of format version {version}, not {VERSION}"));
        }
        if n_bytes > 0 && (block_len == 0 || element_len == 0) {
            return Err("its Blosc frame has blocks or elements of no bytes".into());
        }
        let (element_len, block_len) = (usize::from(element_len).max(1), block_len.max(1));
        Ok(Self { flags, element_len, n_bytes, block_len, n_packed })
    }

    /// What the streams of a block of `len` bytes unpack to.
    fn read_block(
        &self,
        frame: &[u8],
        start: usize,
        len: usize,
        block: &mut Vec<u8>,
    ) -> Result<(), String> {
        let is_split = self.flags & IS_NOT_SPLIT == 0
            && len == self.block_len
            && self.element_len <= MOST_STREAMS
            && len / self.element_len >= LEAST_STREAM;
        let n_streams = if is_split { self.element_len } else { 1 };
        let stream_len = len / n_streams;
        let mut at = start;
        for _ in 0..n_streams {
            let packed = word(frame, at).and_then(|n| frame.get(at + 4..(at + 4).checked_add(n)?));
            let packed = packed.ok_or("ends outside the frame")?;
            at += 4 + packed.len();
            if packed.len() == stream_len {
                block.extend_from_slice(packed);
                continue;
            }
            let stream = match self.flags >> 5 {
                0 => blosclz::decode(packed, stream_len)?,
                1 => lz4_block(packed, stream_len)?,
                3 => zlib_stream(packed, stream_len)?,
                4 => zstd_frames(packed, stream_len)?,
                2 => return Err("is packed with Snappy, which is not read".into()),
                other => {
                    return Err(format!("is packed with compressor {other}, which is not known"));
                }
            };
            if stream.len() != stream_len {
                return Err(format!("unpacks to {} bytes, not {stream_len}", stream.len()));
            }
            block.extend_from_slice(&stream);
        }
        if block.len() == len {
            return Ok(());
        }
        Err(format!("has {} bytes, not {len}", block.len()))
    }
}

/// From all first bytes, all second bytes, ... to elements; a rest shorter than an element stays.
fn unshuffle(block: &[u8], element_len: usize, out: &mut Vec<u8>) {
    let n = block.len() / element_len;
    let start = out.len();
    out.resize(start + n * element_len, 0);
    let elements = &mut out[start..];
    // The usual sizes known when this is compiled: several times as fast.
    match element_len {
        2 => unshuffle_elements::<2>(block, elements),
        4 => unshuffle_elements::<4>(block, elements),
        8 => unshuffle_elements::<8>(block, elements),
        _ => {
            for (at, element) in elements.chunks_exact_mut(element_len).enumerate() {
                let planes = block[at..].iter().step_by(n);
                element.iter_mut().zip(planes).for_each(|(place, &byte)| *place = byte);
            }
        }
    }
    out.extend_from_slice(&block[n * element_len..]);
}

fn unshuffle_elements<const LEN: usize>(block: &[u8], elements: &mut [u8]) {
    let elements = elements.as_chunks_mut::<LEN>().0;
    let n = elements.len();
    let planes: [&[u8]; LEN] = core::array::from_fn(|byte| &block[byte * n..][..n]);
    for (at, element) in elements.iter_mut().enumerate() {
        *element = core::array::from_fn(|byte| planes[byte][at]);
    }
}

/// The same of bits. Blocks whose elements are no multiple of eight are not shuffled.
fn bit_unshuffle(block: &[u8], element_len: usize, out: &mut Vec<u8>) {
    let n = block.len() / element_len;
    if !n.is_multiple_of(8) {
        out.extend_from_slice(block);
        return;
    }
    let start = out.len();
    out.resize(start + n * element_len, 0);
    let plane_len = n / 8;
    for byte in 0..element_len {
        for bit in 0..8 {
            let plane = &block[(byte * 8 + bit) * plane_len..][..plane_len];
            for (eight, &bits) in plane.iter().enumerate() {
                let first = start + eight * 8 * element_len + byte;
                for element in 0..8 {
                    out[first + element * element_len] |= (bits >> element & 1) << bit;
                }
            }
        }
    }
    out.extend_from_slice(&block[n * element_len..]);
}

/// A little-endian integer of 32 bits.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

const VERSION: u8 = 2;
const HEADER_LEN: usize = 16;
const BYTE_SHUFFLE: u8 = 1;
const IS_COPY: u8 = 2;
const BIT_SHUFFLE: u8 = 4;
const IS_NOT_SPLIT: u8 = 16;
/// Elements of more bytes are not split.
const MOST_STREAMS: usize = 16;
/// Streams of fewer bytes are not split.
const LEAST_STREAM: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// What numcodecs made, with what it made it of: see the script beside it.
    fn goldens() -> Vec<(String, Vec<u8>, Vec<u8>)> {
        let lines = include_str!("../tests/fixtures/blosc.txt").lines();
        let golden = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [size, n, compressor, shuffle, frame] = fields[..] else { panic!("{line}") };
            let (size, n) = (size.parse().unwrap(), n.parse().unwrap());
            let values = (0..n).flat_map(|i| value(size, n, i).to_le_bytes()[..size].to_vec());
            (format!("{size} {n} {compressor} {shuffle}"), values.collect(), bytes(frame))
        };
        lines.map(golden).collect()
    }

    fn value(size: usize, n: usize, i: usize) -> u64 {
        let value = match (size, n) {
            (1, _) if i < 40 => i,
            (1, _) => (i + 40).saturating_sub(n),
            (_, 80_001) => ((i / 64 * 3 + i % 2) & 0xffff) / 512,
            _ => i / 64 * 3 + i % 2,
        };
        value as u64
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect()
    }

    #[test]
    fn frames_of_numcodecs_are_unpacked() {
        let goldens = goldens();
        assert_eq!(goldens.len(), 22);
        for (name, values, frame) in goldens {
            assert!(decode(&frame, values.len()).unwrap() == values, "{name}");
            let error = decode(&frame, values.len() - 1).unwrap_err();
            assert!(error.contains("unpacks to"), "{name}: {error}");
        }
    }

    #[test]
    fn frames_that_are_cut_off_are_refused() {
        for (name, values, frame) in goldens() {
            for len in (0..frame.len()).step_by(frame.len() / 60 + 1).chain([frame.len() - 1]) {
                let mut cut = frame[..len].to_vec();
                assert!(decode(&cut, values.len()).is_err(), "{name}, {len}");
                // The header says that it is whole.
                if let Some(packed) = cut.get_mut(12..16) {
                    packed.copy_from_slice(&(len as u32).to_le_bytes());
                    assert!(decode(&cut, values.len()).is_err(), "{name}, {len}");
                }
            }
        }
    }

    #[test]
    fn damaged_frames_end_in_an_error_or_as_many_bytes() {
        for (name, values, frame) in goldens() {
            for at in (0..frame.len()).step_by(frame.len() / 60 + 1) {
                let mut damaged = frame.clone();
                damaged[at] ^= 0xff;
                if let Ok(out) = decode(&damaged, values.len()) {
                    assert!(out.len() <= values.len(), "{name}, {at}");
                }
            }
        }
    }

    #[test]
    fn other_formats_and_compressors_are_named() {
        let mut frame = goldens()[3].2.clone();
        frame[2] = frame[2] & 31 | 2 << 5;
        assert!(decode(&frame, 512).unwrap_err().contains("Snappy"));
        frame[2] |= 7 << 5;
        assert!(decode(&frame, 512).unwrap_err().contains("compressor 7"));
        frame[0] = 5;
        assert!(decode(&frame, 512).unwrap_err().contains("version 5"));
    }

    #[test]
    fn rests_shorter_than_an_element_stay() {
        let mut out = Vec::new();
        unshuffle(&[1, 3, 2, 4, 9], 2, &mut out);
        assert_eq!(out, [1, 2, 3, 4, 9]);
        out.clear();
        // Eight elements of a byte: bit planes, and what no element holds.
        bit_unshuffle(&[0b1010_1010, 0, 0, 0, 0, 0, 0, 0b1], 1, &mut out);
        assert_eq!(out, [0x80, 1, 0, 1, 0, 1, 0, 1]);
        out.clear();
        bit_unshuffle(&[7; 7], 1, &mut out);
        assert_eq!(out, [7; 7]);
    }
}
