//! `cost_models FOLDER`: int8 models of many shapes, in the layouts of small processors, from which
//! `cargo xtask costs` learns what a shape takes. Names end with the layout.

use std::error::Error;
use std::path::Path;

use cic_data::CsrMatrix;
use cic_model::spec::{LayoutPlan, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model};
use cic_quant::{CalibrationSet, QuantizeOptions, quantize};
use cic_tests::models::{LAYOUTS, Random, Shape, model, random_network};

/// Genes, hidden layers of the encoder, code, leaves. The hidden widths of the classifier are those of
/// [`random_network`].
const SHAPES: [(usize, &[usize], usize, usize); 36] = [
    (1024, &[128], 30, 16),
    (512, &[64], 30, 13),
    (400, &[96], 16, 30),
    (700, &[32], 8, 5),
    (256, &[128], 30, 40),
    (128, &[48, 24], 12, 8),
    (300, &[64, 32], 30, 24),
    (900, &[80], 24, 12),
    (200, &[160], 20, 20),
    (96, &[24], 8, 5),
    (640, &[112, 40], 30, 50),
    (350, &[52], 10, 9),
    (800, &[100], 30, 35),
    (150, &[76], 28, 16),
    (120, &[16], 6, 3),
    (180, &[36, 20], 14, 60),
    (450, &[158], 30, 8),
    (1024, &[64], 12, 25),
    (90, &[40], 30, 10),
    (560, &[90, 60], 22, 18),
    (260, &[30], 30, 70),
    (990, &[48], 30, 7),
    (330, &[134], 26, 28),
    (100, &[100], 10, 15),
    (400, &[34], 20, 12),
    (230, &[50], 30, 20),
    (700, &[62], 12, 30),
    (310, &[79], 24, 9),
    (600, &[94], 30, 40),
    (150, &[107], 18, 6),
    (500, &[118, 26], 30, 16),
    (270, &[131], 8, 22),
    (830, &[142], 28, 11),
    (110, &[21], 16, 33),
    (640, &[45], 30, 14),
    (190, &[158], 30, 27),
];

fn main() -> Result<(), Box<dyn Error>> {
    let [folder] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "usage: cost_models FOLDER")?;
    for (number, (n_genes, hidden, code, n_leaves)) in SHAPES.into_iter().enumerate() {
        let shape = Shape {
            n_genes,
            hidden: hidden.to_vec(),
            code,
            n_leaves,
            activations: vec![Activation::Relu],
            carry: false,
            decoder: false,
        };
        for (layout, plan) in LAYOUTS {
            let path = Path::new(&folder).join(format!("{number:02}.{layout}.cic"));
            std::fs::write(path, int8(&shape, plan)?)?;
        }
    }
    Ok(())
}

fn int8(shape: &Shape, layouts: LayoutPlan) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let network = random_network(shape, &mut random);
    let spec = model(NetworkSpec::F32(network), shape.n_genes, shape.n_leaves);
    let full = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default())?);
    let full = Model::open_verified(&full)?;
    let n_cells = 60;
    let count =
        |random: &mut Random| if random.below(3) == 0 { random.below(40) as f32 } else { 0.0 };
    let dense: Vec<f32> = (0..n_cells * shape.n_genes).map(|_| count(&mut random)).collect();
    let values = CsrMatrix::from_dense(shape.n_genes, &dense)?;
    let calibration = CalibrationSet { values: &values, totals: &vec![0.0; n_cells] };
    let options = QuantizeOptions { layouts, ..QuantizeOptions::new(Dtype::S8) };
    Ok(quantize(&full, &calibration, options)?)
}
