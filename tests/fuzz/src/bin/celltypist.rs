//! Models of CellTypist: what is read has finite numbers that fit each other.
#![no_main]

use cic_fuzz::{files, write_seeds};
use cic_quant::celltypist::read_celltypist_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| {
    match read_celltypist_bytes(bytes) {
        Ok(model) => {
            let (n_genes, n_classes) = (model.genes.len(), model.classes.len());
            assert_eq!(model.limits().len(), n_genes);
            assert_eq!(model.decision(&vec![1.0; n_genes]).len(), n_classes);
            let finite = model.coefficients.iter().chain(&model.intercepts).chain(&model.means);
            assert!(finite.chain(&model.scales).all(|number| number.is_finite()));
            // Quotients of finite numbers need not be finite in single precision: what adopts them checks it.
            let half = model.restricted(&(0..n_genes).map(|gene| gene % 2 == 0).collect::<Vec<_>>());
            assert_eq!(half.network(1.0).encoder[0].in_dim, n_genes.div_ceil(2));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn seeds() -> Vec<(String, Vec<u8>)> {
    let read = files("tools/quant/tests/celltypist/read", "pkl");
    let refused = files("tools/quant/tests/celltypist/refused", "pkl");
    read.into_iter().chain(refused).collect()
}
