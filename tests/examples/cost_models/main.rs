//! `cost_models FOLDER fitted|held-out`: int8 models of many shapes and makes, in the layouts of small processors.
//! From the fitted ones `cargo xtask costs` learns what models take; with the others, which no fit saw,
//! `cargo xtask costs --check` looks whether that is true. Names end with the layout.

mod dress;
#[path = "../firmware_expected/made_up.rs"]
mod made_up;

use std::error::Error;
use std::path::Path;

use cic_data::{CsrMatrix, align};
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model};
use cic_quant::{CalibrationSet, Int8Options, QuantizeOptions, quantize};
use cic_tests::fixture;
use cic_tests::models::{LAYOUTS, Random, Shape, model, random_network};

use dress::{dress, shifts};

/// Genes, hidden layers of the encoder, code, hidden layers of the classifier, leaves.
type Widths = (usize, &'static [usize], usize, &'static [usize], usize);

const FITTED: [Widths; 44] = [
    (1024, &[128], 30, &[11], 16),
    (512, &[64], 30, &[20], 13),
    (400, &[96], 16, &[], 30),
    (700, &[32], 8, &[9], 5),
    (256, &[128], 30, &[33], 40),
    (128, &[48, 24], 12, &[], 8),
    (300, &[64, 32], 30, &[16], 24),
    (900, &[80], 24, &[], 12),
    (200, &[160], 20, &[14, 22], 20),
    (96, &[24], 8, &[12], 5),
    (640, &[112, 40], 30, &[], 50),
    (350, &[52], 10, &[11], 9),
    (800, &[100], 30, &[28], 35),
    (150, &[76], 28, &[], 16),
    (120, &[16], 6, &[10], 3),
    (180, &[36, 20], 14, &[40], 60),
    (450, &[158], 30, &[], 8),
    (1024, &[64], 12, &[11], 25),
    (90, &[40], 30, &[24, 17], 10),
    (560, &[90, 60], 22, &[], 18),
    (260, &[30], 30, &[50], 70),
    (990, &[48], 30, &[], 7),
    (330, &[134], 26, &[13], 28),
    (100, &[100], 10, &[], 15),
    (400, &[34], 20, &[19], 12),
    (230, &[50], 30, &[], 20),
    (700, &[62], 12, &[32], 30),
    (310, &[79], 24, &[], 9),
    (600, &[94], 30, &[26], 40),
    (150, &[107], 18, &[], 6),
    (500, &[118, 26], 30, &[11], 16),
    (270, &[131], 8, &[], 22),
    (830, &[142], 28, &[15], 11),
    (110, &[21], 16, &[], 33),
    (640, &[45], 30, &[18], 14),
    (190, &[158], 30, &[], 27),
    (2000, &[28], 30, &[], 12),
    (1500, &[64], 20, &[12], 18),
    (1200, &[88, 30], 32, &[16], 45),
    (1800, &[18], 10, &[], 6),
    (40, &[12], 4, &[8], 3),
    (64, &[16], 5, &[], 2),
    (80, &[28], 8, &[10], 5),
    (112, &[32], 10, &[], 4),
];

const HELD_OUT: [Widths; 5] = [
    (1100, &[72], 30, &[21], 17),
    (420, &[110, 44], 18, &[], 36),
    (75, &[57], 9, &[15], 4),
    (1700, &[28], 24, &[], 21),
    (610, &[68], 14, &[25], 10),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, set] = arguments.as_slice() else {
        return Err("usage: cost_models FOLDER fitted|held-out".into());
    };
    let folder = Path::new(folder);
    match set.as_str() {
        "fitted" => write_all(folder, &FITTED, 1),
        "held-out" => {
            write(folder, "net135k", &spec(&made_up::int8(&made_up::NET135K)?)?)?;
            write(folder, "tiny", &spec(&made_up::int8(&made_up::TINY)?)?)?;
            write(folder, "fixture", &spec(&int8_fixture()?)?)?;
            write_all(folder, &HELD_OUT, 1001)
        }
        _ => Err(format!("there is no set {set}").into()),
    }
}

fn write_all(folder: &Path, widths: &[Widths], seed: u64) -> Result<(), Box<dyn Error>> {
    for (number, widths) in (0..).zip(widths) {
        let mut random = Random((seed + number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut spec = spec(&int8(widths, &mut random)?)?;
        shifts(&mut spec.network, &mut random);
        // Some stay bare.
        if number % 4 != 3 {
            dress(&mut spec, &mut random);
        }
        write(folder, &format!("{number:02}"), &spec)?;
    }
    Ok(())
}

/// In every layout.
fn write(folder: &Path, name: &str, spec: &ModelSpec) -> Result<(), Box<dyn Error>> {
    for (layout, plan) in LAYOUTS {
        std::fs::write(folder.join(format!("{name}.{layout}.cic")), spec.to_bytes(plan)?)?;
    }
    Ok(())
}

fn spec(bytes: &[u8]) -> Result<ModelSpec, Box<dyn Error>> {
    Ok(ModelSpec::from_model(&Model::open_verified(&AlignedBytes::new(bytes))?))
}

fn int8_fixture() -> Result<Vec<u8>, Box<dyn Error>> {
    let (bytes, cells) = (fixture::bytes()?, fixture::cells().matrix);
    let model = Model::open_verified(&bytes)?;
    let aligned = align(&cells, model.genes())?;
    Ok(fixture::quantised(&model, &aligned, &cells.obs_names, Dtype::S8)?)
}

fn int8(widths: &Widths, random: &mut Random) -> Result<Vec<u8>, Box<dyn Error>> {
    let &(n_genes, hidden, code, of_classifier, n_leaves) = widths;
    let activations = [Activation::Relu, Activation::LogSigmoid, Activation::Tanh];
    let shape = Shape {
        n_genes,
        hidden: hidden.to_vec(),
        code,
        n_leaves: 0,
        activations: activations.into_iter().take(1 + random.below(3)).collect(),
        carry: random.below(3) == 0,
        decoder: n_genes * hidden.first().copied().unwrap_or(0) < 20_000 && random.below(2) == 0,
    };
    let mut network = random_network(&shape, random);
    let classifier = Shape {
        n_genes: code,
        hidden: of_classifier.to_vec(),
        code: n_leaves,
        carry: false,
        decoder: false,
        ..shape
    };
    network.classifier = random_network(&classifier, random).encoder;
    let spec = model(NetworkSpec::F32(network), n_genes, n_leaves);
    let full = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default())?);
    let full = Model::open_verified(&full)?;
    let n_cells = 60;
    let count =
        |random: &mut Random| if random.below(3) == 0 { random.below(40) as f32 } else { 0.0 };
    let dense: Vec<f32> = (0..n_cells * n_genes).map(|_| count(random)).collect();
    let values = CsrMatrix::from_dense(n_genes, &dense)?;
    let calibration = CalibrationSet { values: &values, totals: &vec![0.0; n_cells] };
    // Recorded counts of instructions are of this one.
    let options = QuantizeOptions { int8: Int8Options::plain(), ..QuantizeOptions::new(Dtype::S8) };
    Ok(quantize(&full, &calibration, &options)?)
}
