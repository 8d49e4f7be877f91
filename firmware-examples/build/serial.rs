//! Source of the constants of a serial line: the device, and the panel gene of each feature of the
//! instrument.

use std::{env, fs};

use cic_model::genes::{GeneName, NOT_IN_PANEL};
use cic_model::quant::ONE_Q16;
use cic_model::{AlignedBytes, Model, StageKind};

/// `device` is `TYPE@ADDRESS/TICKS`: type of the UART, its address and what else its function `new` takes,
/// ticks of the clock in a second. `TYPE@ADDRESS/TICKS/CLOCK` where that clock is not the processor's.
pub fn source(device: &str) -> String {
    let (uart, rest) = device.split_once('@').expect("the board has a serial line");
    let (arguments, rest) = rest.split_once('/').expect("TYPE@ADDRESS/TICKS");
    let (ticks, clock) = rest.split_once('/').unwrap_or((rest, "Clock"));

    for name in ["CIC_MODEL", "CIC_FEATURES"] {
        println!("cargo::rerun-if-env-changed={name}");
        println!("cargo::rerun-if-changed={}", env::var(name).expect(name));
    }
    let model = fs::read(env::var("CIC_MODEL").expect("set")).expect("CIC_MODEL can be read");
    let model = AlignedBytes::new(&model);
    let model = Model::open_verified(&model).expect("CIC_MODEL is a whole model");
    let features = env::var("CIC_FEATURES").expect("set");
    let features = fs::read_to_string(features).expect("CIC_FEATURES can be read");
    // As in a 10x folder: id, then symbol and what else, separated by tabs.
    let ids: Vec<_> = features.lines().filter_map(|line| line.split('\t').next()).collect();

    let mut genes = vec![NOT_IN_PANEL; ids.len()];
    let mut present = vec![false; model.n_genes()];
    let names = ids.iter().map(|&id| GeneName { id, symbol: None, ensembl: Some(id) });
    let overlap = model
        .genes()
        .align_into(names, &mut genes, &mut present)
        .expect("no feature stands twice where the panel forbids it");
    let coverage = u64::from(overlap.n_present) * u64::from(ONE_Q16) / model.n_genes() as u64;
    assert!(
        coverage >= u64::from(model.rules().min_coverage_q16),
        "CIC_FEATURES has {} of the {} genes of the panel, less than the model accepts",
        overlap.n_present,
        model.n_genes()
    );
    let genes: Vec<u16> =
        genes.iter().map(|&gene| u16::try_from(gene).unwrap_or(u16::MAX)).collect();
    let correction = model.stage(StageKind::Encoder).first().map_or(0, |layer| layer.out_dim());
    format!(
        "/// Panel gene of each feature of the instrument.\n\
         pub static PANEL_GENES: [u16; {}] = {genes:?};\n\
         /// Which genes of the panel have a feature.\n\
         pub static PRESENT: [bool; {}] = {present:?};\n\
         /// Words for the entries of a cell: two for each gene of the panel.\n\
         pub const ENTRIES_LEN: usize = 2 * PRESENT.len();\n\
         /// Entries that the presence needs.\n\
         pub const CORRECTION_LEN: usize = {correction};\n\
         /// What counts the time.\n\
         pub type Clock = crate::{clock};\n\
         /// Ticks of the clock in a second.\n\
         pub const CLOCK_HZ: u32 = {ticks};\n\
         /// The board's serial line.\n\
         ///\n\
         /// # Safety\n\
         /// - It is called once.\n\
         pub unsafe fn open() -> crate::uart::{uart} {{\n    \
             // SAFETY: the address is that of this device on this board; the caller calls once.\n    \
             unsafe {{ crate::uart::{uart}::new({arguments}) }}\n\
         }}\n",
        genes.len(),
        present.len(),
    )
}
