//! Opening a model reads no weight, and a session runs it where it lies.
#![cfg(target_os = "linux")]

use std::fs;

use cic_model::spec::{LayoutPlan, ModelSpec, NetworkSpec};
use cic_model::{Activation, AlignedBytes, Model};
use cic_runtime::{Sample, Session};
use cic_tests::models::{Random, Shape, model, random_network};

/// Bytes on the pages of a slice that were read or written since the last [`forget`]. `None` where the
/// system does not keep account.
fn touched(bytes: &[u8]) -> Option<usize> {
    let maps = fs::read_to_string("/proc/self/smaps").ok()?;
    let address = bytes.as_ptr().addr();
    let mut is_inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((start, end)) = range
            && let (Ok(start), Ok(end)) =
                (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            is_inside = (start..end).contains(&address);
        }
        if is_inside && let Some(kilobytes) = line.strip_prefix("Referenced:") {
            let kilobytes: usize = kilobytes.trim().trim_end_matches(" kB").parse().ok()?;
            return Some(1024 * kilobytes);
        }
    }
    None
}

/// Marks all pages as not touched.
fn forget() -> Option<()> {
    fs::write("/proc/self/clear_refs", "1").ok()
}

#[test]
fn opening_a_model_touches_no_weight() {
    let shape = Shape {
        n_genes: 18_000,
        hidden: vec![512, 128],
        code: 30,
        n_leaves: 40,
        activations: vec![Activation::Relu],
        carry: false,
        decoder: false,
    };
    let network = NetworkSpec::F32(random_network(&shape, &mut Random(3)));
    let spec: ModelSpec = model(network, shape.n_genes, shape.n_leaves);
    for layout in [LayoutPlan::Sparse, LayoutPlan::Panels] {
        let bytes = AlignedBytes::new(&spec.to_bytes(layout).unwrap());
        let bytes: &[u8] = &bytes;
        let Some(()) = forget() else {
            return println!("SKIPPED: pages touched by open: no /proc/self/clear_refs");
        };
        let model = Model::open(bytes).unwrap();
        let Some(opened) = touched(bytes) else {
            return println!("SKIPPED: pages touched by open: nothing in /proc/self/smaps");
        };
        let session = Session::new(&model, 0).unwrap();
        let mut scratch = vec![0; session.scratch_len() / 4];
        let sample = Sample::Counts { genes: &[5, 17_000], counts: &[3, 1], total: Some(10) };
        session.run(&sample, None, &mut scratch).unwrap();
        let ran = touched(bytes).unwrap();
        Model::open_verified(bytes).unwrap();
        let verified = touched(bytes).unwrap();
        println!(
            "{layout:?}: of {} bytes, open touched {opened}, a first cell with two genes {ran}, \
             open_verified {verified}",
            bytes.len()
        );
        // Weights are all but the names and numbers of genes and outputs.
        assert!(opened < bytes.len() / 10, "{opened}");
        assert!(ran < bytes.len() / 5, "{ran}");
        assert!(verified >= bytes.len() * 9 / 10, "{verified}");
    }
}
