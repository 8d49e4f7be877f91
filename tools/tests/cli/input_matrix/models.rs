//! The models that files are given to, trained once.

use std::sync::OnceLock;

use cic_data::ExpressionMatrix;

use super::generators::{every_cell, h5ad, intensities, normalised, six_genes, some_cells};
use super::row::Args;
use crate::sandbox::Sandbox;

/// Which model types the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Of counts of 300 genes.
    Counts,
    /// Of the same cells as log1p of 10,000.
    Log1p,
    /// Of log2 intensities of the same genes.
    Log2,
    /// Of counts that are divided by the sum over all measured genes.
    Total,
    /// Of counts of the six genes that the HDF5 fixtures have.
    Six,
}

/// In which numbers the model calculates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    S8,
}

impl Precision {
    pub const ALL: [Self; 2] = [Self::F32, Self::S8];
}

impl Model {
    /// The bytes of the model.
    pub fn bytes(self, precision: Precision) -> &'static [u8] {
        static MODELS: [OnceLock<[Vec<u8>; 2]>; 5] = [const { OnceLock::new() }; 5];
        let models = MODELS[self as usize].get_or_init(|| {
            let folder = Sandbox::new();
            let (cells, options) = match self {
                Self::Counts => (every_cell().clone(), ""),
                Self::Log1p => (normalised(every_cell(), 1e4, f32::ln_1p), ""),
                Self::Log2 => (intensities(every_cell()), ""),
                Self::Total => (every_cell().clone(), "--library all_measured"),
                Self::Six => (six_genes(), "--hidden 8"),
            };
            h5ad(&folder, &cells);
            // Files of a few cells are tried: none of them may be rejected by chance.
            let train =
                "train cells.h5ad --labels cell_type --genes all --epochs 20 --rejects 0 -q";
            folder.cic(&format!("{train} {options} -o trained.cic")).ok();
            folder.quantize("trained.cic --calibrate cells.h5ad --to int8 -o int8.cic").ok();
            [folder.read("trained.cic"), folder.read("int8.cic")]
        });
        &models[precision as usize]
    }

    /// A file that nothing is wrong with.
    pub fn sound(self, folder: &Sandbox) -> Args {
        match self {
            Self::Counts | Self::Total => h5ad(folder, &some_cells()),
            Self::Log1p => h5ad(folder, &logarithms()),
            Self::Log2 => h5ad(folder, &intensities(&some_cells())),
            Self::Six => super::hdf5::fixture(folder, "csr_gzip.h5ad"),
        }
    }

    /// What `cic type` writes about the sound file.
    pub fn table(self, precision: Precision) -> &'static str {
        static TABLES: [[OnceLock<String>; 2]; 5] = [const { [const { OnceLock::new() }; 2] }; 5];
        TABLES[self as usize][precision as usize].get_or_init(|| {
            let folder = Sandbox::new();
            folder.write("model.cic", self.bytes(precision));
            let args = self.sound(&folder).and("-m model.cic -o -");
            folder.cic_args("type", &args.0).ok().stdout
        })
    }
}

/// The cells of the sound file as the model of log1p reads them.
pub fn logarithms() -> ExpressionMatrix {
    normalised(&some_cells(), 1e4, f32::ln_1p)
}
