//! Frames of the serial line of firmware-examples, decoded on the host from the same source.

#[path = "../../firmware-examples/src/stream/mod.rs"]
#[allow(dead_code, reason = "the source is the firmware's; the tests use a part of it")]
mod stream;

use proptest::collection::vec;
use proptest::prelude::*;

use stream::frame::{self, Fault, Frame};
use stream::{DELIMITER, Decoder};

const MAX: usize = 700;

/// A frame with its body.
type Owned = (u8, u32, Vec<u8>);

fn decode(decoder: &mut Decoder<MAX>, bytes: &[u8]) -> Vec<Result<Owned, Fault>> {
    let mut found = Vec::new();
    for &byte in bytes {
        if let Some(frame) = decoder.push(byte) {
            found.push(frame.map(|frame| (frame.kind, frame.sequence, frame.body.to_vec())));
        }
    }
    found
}

fn encode(sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; body.len() + frame::OVERHEAD];
    let frame = Frame { kind: frame::CELL, sequence, body };
    frame.emit(&mut buffer, |byte| bytes.push(byte)).unwrap();
    bytes
}

/// Bodies with runs of zeros and without, around the 254 bytes of a block.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..600),
        vec(0..2_u8, 0..600),
        (0..600_usize).prop_map(|len| vec![7; len]),
        (0..600_usize).prop_map(|len| vec![0; len]),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..3_000)) {
        decode(&mut Decoder::new(), &bytes);
    }

    #[test]
    fn every_encoded_frame_decodes(sequence in any::<u32>(), body in bodies()) {
        let found = decode(&mut Decoder::new(), &encode(sequence, &body));
        prop_assert_eq!(found, [Ok((frame::CELL, sequence, body))]);
    }

    #[test]
    fn the_delimiter_occurs_at_the_ends_only(body in bodies()) {
        let bytes = encode(1, &body);
        let inside = &bytes[1..bytes.len() - 1];
        prop_assert!(!inside.contains(&DELIMITER));
        prop_assert_eq!((bytes[0], bytes[bytes.len() - 1]), (DELIMITER, DELIMITER));
    }

    #[test]
    fn a_frame_after_garbage_decodes(garbage in vec(any::<u8>(), 0..2_000), body in bodies()) {
        let mut decoder = Decoder::new();
        decode(&mut decoder, &garbage);
        let found = decode(&mut decoder, &encode(9, &body));
        prop_assert_eq!(found.last(), Some(&Ok((frame::CELL, 9, body))));
        // What was open before the frame's first delimiter is a fault.
        prop_assert!(found[..found.len() - 1].iter().all(Result::is_err));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_single_bit_flip_is_detected(body in vec(prop_oneof![any::<u8>(), Just(0)], 0..300)) {
        let bytes = encode(3, &body);
        // A frame behind it shows that the decoder finds its place again.
        let next = encode(4, &[1, 0, 2]);
        for bit in 0..8 * bytes.len() {
            let mut sent = bytes.clone();
            sent[bit / 8] ^= 1 << (bit % 8);
            sent.extend(&next);
            let found = decode(&mut Decoder::new(), &sent);
            let whole: Vec<_> = found.iter().filter_map(|frame| frame.as_ref().ok()).collect();
            // A flip of the first delimiter puts a byte before the frame; one of the last is made
            // good by the first of the next.
            let damages_nothing = bit / 8 == bytes.len() - 1;
            let expected_next = (frame::CELL, 4, vec![1, 0, 2]);
            prop_assert!(!damages_nothing || found.len() == 2);
            prop_assert_eq!(whole, [&expected_next]);
        }
    }
}

#[test]
fn silence_gives_up_a_frame_that_has_begun() {
    let mut decoder = Decoder::<MAX>::new();
    assert_eq!(decoder.silence(), None);
    let bytes = encode(5, b"half");
    assert_eq!(decode(&mut decoder, &bytes[..6]), []);
    assert_eq!(decoder.silence(), Some(Fault::TimedOut));
    assert_eq!(decoder.silence(), None);
    assert_eq!(decode(&mut decoder, &bytes), [Ok((frame::CELL, 5, b"half".to_vec()))]);
}

#[test]
fn a_frame_longer_than_the_limit_is_one_fault() {
    let mut decoder = Decoder::new();
    let found = decode(&mut decoder, &encode(6, &[7; MAX]));
    assert_eq!(found, [Err(Fault::TooLong)]);
    assert_eq!(decode(&mut decoder, &encode(7, &[])), [Ok((frame::CELL, 7, Vec::new()))]);
}

#[test]
fn another_version_is_told_from_damage() {
    let content = [2, frame::CELL, 0, 0, 1, 0, 0, 0];
    // By Python's zlib.crc32.
    let frame = [&content[..], &0x39CC_B4C5_u32.to_le_bytes()].concat();
    assert_eq!(Frame::parse(&frame), Err(Fault::Version));
}

#[test]
fn the_example_of_the_specification_decodes() {
    // As in STREAM.md; cobs and zlib.crc32 of Python made it.
    let bytes = SPECIFIED;
    let body = [52, 0, 0, 0, 2, 0, 3, 0, 2, 9, 0, 50];
    assert_eq!(decode(&mut Decoder::new(), &bytes), [Ok((frame::CELL, 1, body.to_vec()))]);
    assert_eq!(encode(1, &body), bytes);
}

const SPECIFIED: [u8; 27] =
    [0, 4, 1, 1, 12, 2, 1, 1, 1, 2, 52, 1, 1, 2, 2, 2, 3, 3, 2, 9, 6, 50, 36, 18, 80, 177, 0];
