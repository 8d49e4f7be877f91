//! How the chunks of Zarr arrays are packed.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use crate::blosc;

/// A codec from bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip,
    Zlib,
    Zstd,
    Lz4,
    Blosc,
}

impl Codec {
    /// The codec of a name in metadata of version 2 or 3, if it is read.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gzip" => Self::Gzip,
            "zlib" => Self::Zlib,
            "zstd" => Self::Zstd,
            "lz4" => Self::Lz4,
            "blosc" => Self::Blosc,
            _ => return None,
        })
    }

    /// Unpacks to at most `most` bytes, or says what is wrong.
    pub(crate) fn decode(self, bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
        match self {
            Self::Gzip => read("gzip", MultiGzDecoder::new(bytes), most),
            Self::Zlib => zlib_stream(bytes, most),
            Self::Zstd => zstd_frames(bytes, most),
            Self::Lz4 => {
                // As numcodecs writes it: the length stands before the block.
                let (len, block) = bytes.split_first_chunk().ok_or("its LZ4 block is cut off")?;
                let len = u32::from_le_bytes(*len) as usize;
                if len > most {
                    return Err(format!("its LZ4 block unpacks to {len} bytes, not {most}"));
                }
                let out = lz4_block(block, len)?;
                match out.len() == len {
                    true => Ok(out),
                    false => {
                        Err(format!("its LZ4 block unpacks to {} bytes, not {len}", out.len()))
                    }
                }
            }
            Self::Blosc => blosc::decode(bytes, most),
        }
    }
}

/// One zlib stream.
pub(crate) fn zlib_stream(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    read("zlib", ZlibDecoder::new(bytes), most)
}

/// Zstandard frames, one after the other.
pub(crate) fn zstd_frames(mut bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    loop {
        let decoder = StreamingDecoder::new(&mut bytes)
            .map_err(|error| format!("its Zstandard frame is damaged: {error}"))?;
        out.append(&mut read("Zstandard", decoder, most - out.len())?);
        if bytes.is_empty() {
            return Ok(out);
        }
    }
}

/// An LZ4 block that unpacks to `len` bytes at most; the caller has made sure that so many are affordable.
pub(crate) fn lz4_block(block: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let mut out = vec![0; len];
    let n = lz4_flex::block::decompress_into(block, &mut out)
        .map_err(|error| format!("its LZ4 block is damaged: {error}"))?;
    out.truncate(n);
    Ok(out)
}

fn read(name: &str, decoder: impl Read, most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = decoder.take(most as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| format!("its {name} stream is damaged: {error}"))?;
    match out.len() > most {
        true => Err(format!("its {name} stream unpacks to more than {most} bytes")),
        false => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    /// `bytes(range(40)) * 25` by numcodecs 0.15.2: `Zstd(1).encode(...)` and `LZ4().encode(...)`.
    const ZSTD: &[u8] =
        b"\x28\xb5\x2f\xfd\x60\xe8\x02\x8d\x01\x00\x84\x02\x00\x01\x02\x03\x04\x05\x06\x07\
        \x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\
        \x1c\x1d\x1e\x1f\x20\x21\x22\x23\x24\x25\x26\x27\x01\x00\xe8\xbd\x2a\x55\x06";
    const LZ4: &[u8] =
        b"\xe8\x03\x00\x00\xff\x19\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\
        \x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20\x21\
        \x22\x23\x24\x25\x26\x27\x28\x00\xff\xff\xff\xab\x50\x23\x24\x25\x26\x27";

    fn plain() -> Vec<u8> {
        (0..40).collect::<Vec<u8>>().repeat(25)
    }

    fn packed() -> Vec<(Codec, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&plain()).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&plain()).unwrap();
        let (gzip, zlib) = (gzip.finish().unwrap(), zlib.finish().unwrap());
        vec![
            (Codec::Gzip, gzip),
            (Codec::Zlib, zlib),
            (Codec::Zstd, ZSTD.to_vec()),
            (Codec::Lz4, LZ4.to_vec()),
        ]
    }

    #[test]
    fn packed_bytes_come_back_and_are_never_more_than_asked_for() {
        for (codec, packed) in packed() {
            assert_eq!(codec.decode(&packed, 1000).unwrap(), plain(), "{codec:?}");
            let error = codec.decode(&packed, 999).unwrap_err();
            assert!(error.contains("unpacks to"), "{codec:?}: {error}");
            for len in 0..packed.len() {
                let cut = codec.decode(&packed[..len], 1000);
                assert!(cut.is_err() || len == 0, "{codec:?}, {len}");
            }
        }
        assert_eq!(Codec::named("snappy"), None);
    }

    #[test]
    fn frames_of_zstandard_may_follow_each_other() {
        let two = [ZSTD, ZSTD].concat();
        assert_eq!(zstd_frames(&two, 2000).unwrap(), [plain(), plain()].concat());
        assert!(zstd_frames(&two, 1999).is_err());
    }
}
