//! What goes over the serial line of an image of `stream_uart`: good frames and bad ones, and the answers
//! that the board must give.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use cic_model::genes::{GeneName, NOT_IN_PANEL};
use cic_model::{Model, StageKind};
use cic_runtime::{S8Session, Sample};
use cic_tests::{fixture, models::Random};

use crate::profiles::RandomProfiles;
use crate::stream::frame::{self, Fault, Frame};
use crate::stream::station::{self, Answer, Instrument, Station};
use crate::stream::{DELIMITER, Decoder, MAX_FRAME};

/// Profiles made from random numbers, besides the golden cells.
const RANDOM_PROFILES: usize = 32;

/// Simulated cells, for a model of which it matters what it calls them.
const SIMULATED_CELLS: usize = 300;

/// Genes of a cell, and their counts.
type Counts = Vec<(u32, u32)>;

/// Writes the instrument's features and the conversation beside `model_path`, and returns the console.
pub fn write(
    model: &Model<'_>,
    model_path: &Path,
    with_simulated: bool,
) -> Result<String, Box<dyn Error>> {
    let ids = features(model);
    let table: String = ids.iter().map(|id| format!("{id}\n")).collect();
    fs::write(model_path.with_extension("features.tsv"), table)?;

    let mut genes = vec![NOT_IN_PANEL; ids.len()];
    let mut present = vec![false; model.n_genes()];
    let names = ids.iter().map(|id| GeneName { id, symbol: None, ensembl: Some(id) });
    model.genes().align_into(names, &mut genes, &mut present).map_err(|error| error.to_string())?;
    let panel_genes: Vec<u16> =
        genes.iter().map(|&gene| u16::try_from(gene).unwrap_or(u16::MAX)).collect();
    let session = S8Session::new(model, 0)?;
    let layer = model.stage(StageKind::Encoder).first().ok_or("no layer")?;
    let mut correction = vec![0; layer.out_dim()];
    let presence = session.presence(&present, &mut correction)?;
    let instrument = Instrument { panel_genes: &panel_genes, presence };
    let (mut scratch, mut entries) = (vec![0; 2048], vec![0; 2 * model.n_genes()]);
    let mut line = Line {
        station: Station::new(session, instrument, &mut scratch, &mut entries),
        decoder: Decoder::new(),
        script: String::new(),
    };
    let mut cells = cells(model);
    if with_simulated {
        cells.extend(simulated_cells(model)?);
    }
    line.play(cells, &panel_genes)?;
    fs::write(model_path.with_extension("conversation"), &line.script)?;
    let matched = panel_genes.iter().filter(|&&gene| gene != station::NOT_IN_PANEL).count();
    Ok(format!(
        "{matched} of {} features are in the panel\ncalls {} faults {}\n",
        ids.len(),
        line.station.n_calls,
        line.station.n_faults
    ))
}

/// The panel and the genes of the simulation, in another order than the panel's; the instrument lacks one in 97.
fn features(model: &Model<'_>) -> Vec<String> {
    let genes = model.genes();
    let panel: Vec<String> = (0..genes.len()).map(|gene| genes.id(gene).to_owned()).collect();
    let simulated = fixture::cells().matrix.genes.into_iter().map(|gene| gene.id);
    let others: Vec<String> = simulated.filter(|id| !panel.contains(id)).collect();
    let genes = panel.into_iter().chain(others).enumerate();
    let mut ids: Vec<_> = genes.filter(|(number, _)| number % 97 != 5).map(|(_, id)| id).collect();
    ids.reverse();
    ids
}

/// Genes of the panel and their counts: the golden cells, then random profiles.
fn cells(model: &Model<'_>) -> Vec<Counts> {
    let zipped = |genes: &[u32], counts: &[u32]| -> Counts {
        genes.iter().copied().zip(counts.iter().copied()).collect()
    };
    let golden = model.golden();
    let mut cells: Vec<_> = golden.cells().map(|cell| zipped(cell.genes, cell.values)).collect();
    let (mut profiles, mut memory) = (RandomProfiles::new(), vec![0; 2 * model.n_genes()]);
    for _ in 0..RANDOM_PROFILES {
        cells.push(match profiles.next(model.n_genes(), &mut memory) {
            Sample::Counts { genes, counts, .. } => zipped(genes, counts),
            Sample::DenseCounts { counts, .. } => {
                (0..).zip(counts.iter().copied()).filter(|&(_, count)| count > 0).collect()
            }
            _ => unreachable!("random profiles are counts"),
        });
    }
    cells
}

/// The first of the cells that the fixture was trained on.
fn simulated_cells(model: &Model<'_>) -> Result<Vec<Counts>, Box<dyn Error>> {
    let cells = fixture::aligned(model, &fixture::cells())?;
    let row = |row: usize| -> Counts {
        let (genes, counts) = cells.values.row(row);
        genes.iter().copied().zip(counts.iter().map(|&count| count as u32)).collect()
    };
    Ok((0..SIMULATED_CELLS).map(row).collect())
}

/// The board's side, and what was said so far.
struct Line<'a> {
    station: Station<'a>,
    decoder: Decoder<MAX_FRAME>,
    script: String,
}

impl Line<'_> {
    fn play(&mut self, cells: Vec<Counts>, panel_genes: &[u16]) -> Result<(), Box<dyn Error>> {
        let mut random = Random(77);
        let feature_of = |gene: u32| {
            panel_genes.iter().position(|&found| u32::from(found) == gene).map(|f| f as u16)
        };
        let cells: Vec<Vec<(u16, u32)>> = cells
            .into_iter()
            .map(|cell| {
                let entries = cell.into_iter();
                entries.filter_map(|(gene, count)| Some((feature_of(gene)?, count))).collect()
            })
            .collect();
        // The board's word that it listens.
        writeln!(self.script, "expect {}", hex(&[DELIMITER]))?;

        let (mut sequence, mut good) = (0, 0);
        let mut next = |entries: &[(u16, u32)]| {
            sequence += 1;
            cell_frame(sequence, entries)
        };
        for cell in &cells {
            self.send(&next(cell), None)?;
            good += 1;
            // Garbage of any length between frames is one fault, or several where it has delimiters.
            let garbage: Vec<u8> = (0..random.below(60)).map(|_| random.below(256) as u8).collect();
            self.send(&garbage, None)?;
        }
        // Ends the garbage.
        self.send(&[0], None)?;
        // An empty cell, and features that the panel lacks: whole frames, calls with a reason.
        let unknown = panel_genes.iter().position(|&gene| gene == station::NOT_IN_PANEL);
        let unknown = unknown.ok_or("every feature is in the panel")? as u16;
        for cell in [&[][..], &[(unknown, 50)]] {
            self.send(&next(cell), None)?;
            good += 1;
        }
        let first = cells.first().ok_or("no golden cell")?;
        // A flipped bit.
        let mut corrupted = next(first);
        corrupted[20] ^= 0x10;
        self.send(&corrupted, Some(Fault::Corrupted))?;
        // A feature that the instrument has not.
        self.send(&next(&[(u16::MAX, 1)]), Some(Fault::Malformed))?;
        // A frame that never ends, and one that is too long.
        let whole = next(first);
        self.send(&whole[..whole.len() / 2], None)?;
        self.silence()?;
        self.send(&[&[7; MAX_FRAME + 1][..], &[0]].concat(), Some(Fault::TooLong))?;
        // After all that, the next frame is answered.
        self.send(&next(first), None)?;
        good += 1;
        if self.station.n_calls != good {
            return Err(format!("{} calls for {good} cells", self.station.n_calls).into());
        }
        self.send(&bytes_of(&Frame { kind: frame::END, sequence, body: &[] }), None)
    }

    /// The board gets `bytes`, and answers by `fault` alone if there is one.
    fn send(&mut self, bytes: &[u8], fault: Option<Fault>) -> Result<(), Box<dyn Error>> {
        writeln!(self.script, "send {}", hex(bytes))?;
        let mut answers = Vec::new();
        for &byte in bytes {
            if let Some(frame) = self.decoder.push(byte) {
                answers.push(self.station.answer(frame));
            }
        }
        if let Some(fault) = fault {
            let is_that = |answer: &Answer| matches!(answer, Answer::Frame { kind: frame::FAULT, body, .. } if body[0] == fault as u8);
            if !matches!(&answers[..], [answer] if is_that(answer)) {
                return Err(format!("expected {fault:?}, found {answers:?}").into());
            }
        }
        self.expect(&answers)
    }

    /// Nothing comes until the board gives up.
    fn silence(&mut self) -> Result<(), Box<dyn Error>> {
        let fault = self.decoder.silence().ok_or("no frame has begun")?;
        let answer = self.station.answer(Err(fault));
        self.expect(&[answer])
    }

    fn expect(&mut self, answers: &[Answer]) -> Result<(), Box<dyn Error>> {
        let mut bytes = Vec::new();
        answers.iter().for_each(|answer| answer.emit(|byte| bytes.push(byte)));
        if !bytes.is_empty() {
            writeln!(self.script, "expect {}", hex(&bytes))?;
        }
        Ok(())
    }
}

fn cell_frame(sequence: u32, entries: &[(u16, u32)]) -> Vec<u8> {
    let total: u32 = entries.iter().map(|&(_, count)| count).sum();
    let mut body = total.to_le_bytes().to_vec();
    body.extend((entries.len() as u16).to_le_bytes());
    for &(feature, count) in entries {
        body.extend(feature.to_le_bytes());
        let mut rest = count;
        while rest >= 0x80 {
            body.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        body.push(rest as u8);
    }
    bytes_of(&Frame { kind: frame::CELL, sequence, body: &body })
}

fn bytes_of(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; frame.body.len() + frame::OVERHEAD];
    frame.emit(&mut buffer, |byte| bytes.push(byte)).expect("the buffer has room");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
