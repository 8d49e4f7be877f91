//! From the counts of a frame to a call. The host computes what a board must answer with this very
//! file.

use cic_runtime::{Presence, S8Session, Sample};

use super::frame::{self, Fault, Frame};

/// What stands in [`Instrument::panel_genes`] for a feature that the panel lacks.
pub const NOT_IN_PANEL: u16 = u16::MAX;

/// What is known of the instrument that sends.
#[derive(Clone, Copy)]
pub struct Instrument<'a> {
    /// The panel gene of each feature.
    pub panel_genes: &'a [u16],
    /// Which genes of the panel have a feature.
    pub presence: Presence<'a>,
}

/// Types the cells of frames.
pub struct Station<'a> {
    session: S8Session<'a>,
    instrument: Instrument<'a>,
    scratch: &'a mut [u32],
    entries: &'a mut [u32],
    /// Cells that were answered by a call.
    pub n_calls: u32,
    /// Frames that were answered by a fault.
    pub n_faults: u32,
}

/// What a frame is answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A frame of this kind, number and body.
    Frame {
        /// `CALL` or `FAULT`
        kind: u8,
        /// That of the frame that is answered, 0 where it is not known.
        sequence: u32,
        /// `CALL_LEN` bytes of a call, 1 of a fault.
        body: [u8; CALL_LEN],
    },
    /// Nothing: the sender has no more cells.
    End,
}

/// Bytes of the body of a call.
pub const CALL_LEN: usize = 11;

impl<'a> Station<'a> {
    /// `scratch` is the session's, `entries` has two words for each gene of the panel.
    pub fn new(
        session: S8Session<'a>,
        instrument: Instrument<'a>,
        scratch: &'a mut [u32],
        entries: &'a mut [u32],
    ) -> Self {
        Self { session, instrument, scratch, entries, n_calls: 0, n_faults: 0 }
    }

    /// Answers a frame, good or bad.
    pub fn answer(&mut self, frame: Result<Frame<'_>, Fault>) -> Answer {
        let (sequence, call) = match frame {
            Ok(Frame { kind: frame::END, body: [], .. }) => return Answer::End,
            Ok(Frame { kind: frame::CELL, sequence, body }) => (sequence, self.call(body)),
            Ok(Frame { sequence, .. }) => (sequence, Err(Fault::Malformed)),
            Err(fault) => (0, Err(fault)),
        };
        match call {
            Ok(body) => {
                self.n_calls += 1;
                Answer::Frame { kind: frame::CALL, sequence, body }
            }
            Err(fault) => {
                self.n_faults += 1;
                let mut body = [0; CALL_LEN];
                body[0] = fault as u8;
                Answer::Frame { kind: frame::FAULT, sequence, body }
            }
        }
    }

    /// The body of a call for the body of a cell.
    fn call(&mut self, body: &[u8]) -> Result<[u8; CALL_LEN], Fault> {
        let (total, listed) = self.read_cell(body)?;
        let n_genes = self.session.model().n_genes();
        let (genes, counts) = self.entries.split_at(n_genes);
        let sample = Sample::Counts {
            genes: genes.get(..listed).unwrap_or(&[]),
            counts: counts.get(..listed).unwrap_or(&[]),
            total: Some(total),
        };
        let outcome = self
            .session
            .run(&sample, Some(&self.instrument.presence), self.scratch)
            .map_err(|_| Fault::Malformed)?;
        let best = outcome.numbers.and_then(|numbers| numbers.best());
        // A model of more leaves does not fit the memory of any board here; none is the largest index.
        let leaf = best.map_or(u16::MAX, |best| u16::try_from(best.leaf).unwrap_or(u16::MAX));
        let probability = best.map_or(0, |best| best.probability_q16);
        let reject = outcome.reject.map_or(0, |reason| reason as u8);
        let mut call = [0; CALL_LEN];
        call[0..2].copy_from_slice(&leaf.to_le_bytes());
        call[2..6].copy_from_slice(&probability.to_le_bytes());
        call[6] = reject;
        call[7..11].copy_from_slice(&self.session.model().id().0[..4]);
        Ok(call)
    }

    /// Puts the counts of a cell into `entries`, genes in their order before counts, and returns the total and
    /// how many genes are above zero.
    fn read_cell(&mut self, body: &[u8]) -> Result<(u32, usize), Fault> {
        let n_genes = self.session.model().n_genes();
        if self.entries.len() < 2 * n_genes {
            return Err(Fault::Malformed);
        }
        let (genes, counts) = self.entries.split_at_mut(n_genes);
        let counts = counts.get_mut(..n_genes).ok_or(Fault::Malformed)?;
        counts.fill(0);
        let (total, rest) = body.split_first_chunk::<4>().ok_or(Fault::Malformed)?;
        let (n_entries, mut rest) = rest.split_first_chunk::<2>().ok_or(Fault::Malformed)?;
        for _ in 0..u16::from_le_bytes(*n_entries) {
            let (feature, after) = rest.split_first_chunk::<2>().ok_or(Fault::Malformed)?;
            let (count, after) = read_varint(after).ok_or(Fault::Malformed)?;
            rest = after;
            let feature = usize::from(u16::from_le_bytes(*feature));
            let gene = self.instrument.panel_genes.get(feature).ok_or(Fault::Malformed)?;
            if let Some(place) = counts.get_mut(usize::from(*gene)) {
                *place = place.checked_add(count).ok_or(Fault::Malformed)?;
            }
        }
        if !rest.is_empty() {
            return Err(Fault::Malformed);
        }
        let mut listed = 0;
        for gene in 0..n_genes {
            let count = counts.get(gene).copied().unwrap_or(0);
            if count == 0 {
                continue;
            }
            // `listed` is at most `gene`: counts move towards the beginning.
            if let (Some(to_gene), Some(to_count)) = (genes.get_mut(listed), counts.get_mut(listed))
            {
                (*to_gene, *to_count) = (gene as u32, count);
                listed += 1;
            }
        }
        Ok((u32::from_le_bytes(*total), listed))
    }
}

impl Answer {
    /// Sends the answer.
    pub fn emit(&self, write: impl FnMut(u8)) {
        let Self::Frame { kind, sequence, body } = self else { return };
        let len = if *kind == frame::CALL { CALL_LEN } else { 1 };
        let frame = Frame { kind: *kind, sequence: *sequence, body: &body[..len] };
        // The buffer has room for any answer.
        let _ = frame.emit(&mut [0; CALL_LEN + frame::OVERHEAD], write);
    }
}

/// A LEB128 number of up to 32 bits, and what follows it.
fn read_varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (position, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, bytes.get(position + 1..)?));
        }
    }
    None
}
