//! BloscLZ, the compressor of Blosc's own (c-blosc: blosclz.c, which follows FastLZ).
//!
//! A stream is a sequence of instructions. The first three bits of one are 0 for up to 32 bytes that follow as they
//! are; else they are the length of a copy, and the other five the upper part of how far behind it begins.

/// Unpacks a stream to at most `most` bytes.
pub(crate) fn decode(stream: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = stream;
    // The upper bits of the first byte are a mark.
    let mut instruction = next(&mut rest)? & LOW;
    loop {
        if instruction <= LOW {
            let literals = rest.split_at_checked(instruction + 1);
            let (literals, after) = literals.ok_or(CUT_OFF)?;
            out.extend_from_slice(literals);
            rest = after;
        } else {
            let mut len = (instruction >> 5) + 2;
            if instruction >> 5 == LONG {
                loop {
                    let more = next(&mut rest)?;
                    len += more;
                    if more != 255 || len > most {
                        break;
                    }
                }
            }
            let mut behind = ((instruction & LOW) << 8) + next(&mut rest)? + 1;
            if behind == FAR {
                behind = (next(&mut rest)? << 8) + next(&mut rest)? + FAR;
            }
            let start = out.len().checked_sub(behind);
            let start = start.ok_or("copies from before its start")?;
            if out.len() + len > most {
                return Err(format!("unpacks to more than {most} bytes"));
            }
            for at in start..start + len {
                out.push(out[at]);
            }
        }
        if out.len() > most {
            return Err(format!("unpacks to more than {most} bytes"));
        }
        if rest.is_empty() {
            return Ok(out);
        }
        instruction = next(&mut rest)?;
    }
}

fn next(rest: &mut &[u8]) -> Result<usize, String> {
    rest.split_off_first().map(|&byte| usize::from(byte)).ok_or_else(|| CUT_OFF.into())
}

const CUT_OFF: &str = "is a BloscLZ stream that is cut off";
/// The five bits that are no length of a copy.
const LOW: usize = 31;
/// The length of a copy that goes on in the next bytes.
const LONG: usize = 7;
/// The distance that says that the true one follows, from there on.
const FAR: usize = (31 << 8) + 255 + 1;
