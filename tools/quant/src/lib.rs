//! Calibration and quantisation of cell identity code models.
