//! How large a hidden unit is against the others makes no difference to an int8 model: every unit has a range of its own, folded into
//! the weights on both sides. Cross-layer equalisation (M. Nagel et al., ICCV 2019) has nothing left to do, but for units twenty times as small
//! as the median one, which are taken for silent ones and given a twentieth of its range.

use cic_data::CsrMatrix;
use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Dtype, Model};
use cic_quant::{CalibrationSet, QuantizeOptions, quantize};
use cic_tests::models::{Random, Shape, model, random_network};

const N_GENES: usize = 50;
const N_CELLS: usize = 200;

#[test]
fn scaled_units_give_the_same_integers() {
    let mut random = Random(3);
    let shape = Shape {
        n_genes: N_GENES,
        hidden: vec![21],
        code: 5,
        n_leaves: 3,
        activations: vec![Activation::Relu],
        carry: true,
        decoder: false,
    };
    let network = random_network(&shape, &mut random);
    let mut scaled = network.clone();
    let [first, last] = &mut scaled.encoder[..] else { panic!("two layers") };
    // Powers of two lose nothing. The median width stays: as many units are larger as smaller.
    for unit in 0..20 {
        let factor = if unit % 2 == 0 { 4.0 } else { 0.25 };
        let weights = &mut first.weights[unit * N_GENES..][..N_GENES];
        weights.iter_mut().for_each(|weight| *weight *= factor);
        first.bias[unit] *= factor;
        let column = last.weights.iter_mut().skip(unit).step_by(last.in_dim);
        column.for_each(|weight| *weight /= factor);
    }
    let mut count = || if random.below(4) == 0 { random.below(30) as f32 } else { 0.0 };
    let dense: Vec<f32> = (0..N_CELLS * N_GENES).map(|_| count()).collect();
    let cells = CsrMatrix::from_dense(N_GENES, &dense).unwrap();
    let [plain, scaled] = [network, scaled].map(|network| {
        let spec = model(NetworkSpec::F32(network), N_GENES, 3);
        let bytes = AlignedBytes::new(&spec.to_bytes(LayoutPlan::default()).unwrap());
        let full = Model::open_verified(&bytes).unwrap();
        let set = CalibrationSet { values: &cells, totals: &[0.0; N_CELLS] };
        let int8 = quantize(&full, &set, &QuantizeOptions::new(Dtype::S8)).unwrap();
        let int8 = AlignedBytes::new(&int8);
        match ModelSpec::from_model(&Model::open_verified(&int8).unwrap()).network {
            NetworkSpec::S8(network) => network,
            _ => panic!("it is int8"),
        }
    });
    assert!(!plain.encoder[0].weights.iter().all(|&weight| weight == 0));
    for (plain, scaled) in plain.encoder.iter().zip(&scaled.encoder) {
        assert_eq!(plain.weights, scaled.weights);
        assert_eq!(plain.epilogue, scaled.epilogue);
    }
    assert_eq!(plain.code, scaled.code);
}
