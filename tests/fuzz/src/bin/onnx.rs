//! Networks as ONNX: what is read is a chain of layers of finite weights.
#![no_main]

use std::path::Path;

use cic_fuzz::{files, write_seeds};
use cic_model::Network;
use cic_quant::onnx::{OnnxOptions, read_onnx_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| {
    // Weights in files of their own lie in a folder that is not there.
    let folder = Path::new("/nonexistent");
    for is_encoder in [false, true] {
        match read_onnx_bytes(bytes, folder, OnnxOptions { code: None, is_encoder }) {
            Ok(read) => check(&read.network),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

fn check(network: &Network) {
    let mut width = None;
    for layer in network.encoder.iter().chain(&network.classifier) {
        assert!(width.is_none_or(|width| width == layer.in_dim));
        assert_eq!(layer.weights.len(), layer.in_dim * layer.out_dim());
        assert_eq!(layer.bias.len(), layer.out_dim());
        assert!(layer.weights.iter().chain(&layer.bias).all(|number| number.is_finite()));
        width = Some(layer.activated_dim());
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let read = files("tools/quant/tests/onnx/read", "onnx");
    let refused = files("tools/quant/tests/onnx/refused", "onnx");
    read.into_iter().chain(refused).collect()
}
