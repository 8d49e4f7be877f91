//! Consistent overhead byte stuffing (Cheshire and Baker 1999): bytes without zeros.

/// Decodes in place and returns the length; `None` where the bytes are no encoding.
pub fn decode(bytes: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    while from < bytes.len() {
        let code = usize::from(*bytes.get(from)?);
        let end = from.checked_add(code).filter(|&end| code > 0 && end <= bytes.len())?;
        bytes.copy_within(from + 1..end, to);
        to += code - 1;
        from = end;
        if code < MAX_CODE && from < bytes.len() {
            // In bounds: a code and the bytes that it stands for are at least as long as this.
            *bytes.get_mut(to)? = 0;
            to += 1;
        }
    }
    Some(to)
}

/// Encodes `bytes` behind what `write` was given before.
pub fn encode(bytes: &[u8], mut write: impl FnMut(u8)) {
    let mut rest = bytes;
    loop {
        let run = rest.iter().take(MAX_CODE - 1).take_while(|&&byte| byte != 0).count();
        let (run_bytes, after) = rest.split_at(run);
        // At most 255.
        write(run as u8 + 1);
        run_bytes.iter().for_each(|&byte| write(byte));
        match after.split_first() {
            None => return,
            Some((&0, after)) if run < MAX_CODE - 1 => rest = after,
            Some(_) => rest = after,
        }
    }
}

/// A run of 254 bytes that no zero ends.
const MAX_CODE: usize = 255;
