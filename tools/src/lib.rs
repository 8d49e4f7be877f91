//! What the programs `cic` and `cic-quantize` share.
