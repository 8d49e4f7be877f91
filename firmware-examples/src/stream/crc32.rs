//! CRC-32 of IEEE 802.3, bit by bit: a frame is short, and a table would take 1 KiB of flash.

/// The checksum of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { REVERSED_POLYNOMIAL } else { 0 };
        }
    }
    !crc
}

const REVERSED_POLYNOMIAL: u32 = 0xEDB8_8320;
