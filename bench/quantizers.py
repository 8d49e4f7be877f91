#!/usr/bin/env python3
"""What other quantizers make of a network: ONNX Runtime's static one with its calibrators, and four-bit weights in the first layer.

    python bench/quantizers.py MODEL.onnx MODEL.calibrate.npy MODEL.test.npy [--save PREFIX]

MODEL.onnx is what `cic train --onnx` writes, the arrays are those of `cargo run --release -p cic-bench --bin network-inputs`. Printed as JSON, for
every way of quantising, on calibration and on test cells: cells, cells whose best label is another than in single precision, and the
error of the code, in standard deviations of the code between cells, as `cic-quantize diff` has it. Needs
onnx, onnxruntime and numpy.

Four bits are simulated: weights of the first layer on the grid that four bits have, everything else in single precision, which is better than
a whole int8 network could be. Groups of inputs have a scale each, the best of several by squared error; `gptq` moves what
rounding one weight lost to the weights after it (E. Frantar et al., GPTQ, ICLR 2023). Biases take up the mean errors. --save keeps these
layers, weights and bias of an output in a row, as PREFIX.WAY-SIZE.npy: `cargo run --release -p cic-bench --bin with-first-layer` puts
one into a model.
"""

import argparse
import contextlib
import json
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static)
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
BATCH = 64
GROUPS = (32, 128)


class Rows(CalibrationDataReader):
    def __init__(self, inputs):
        # In one batch: the calibrators fail where the last batch is shorter than the others.
        self.batches = iter([{"x": inputs}])

    def get_next(self):
        return next(self.batches, None)


def outputs(model, inputs):
    """Codes and logits."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = [session.run(["code", "logits"], {"x": inputs[at:at + BATCH]})
             for at in range(0, len(inputs), BATCH)]
    return [np.concatenate(part) for part in zip(*found)]


def difference(exact, found):
    """As `cic_quant::compare` has it."""
    (code, logits), (other_code, other_logits) = exact, found
    deviation = code.std(axis=0, dtype=np.float64)
    error = np.sqrt(np.mean((other_code.astype(np.float64) - code) ** 2, axis=0))
    error = np.divide(error, deviation, out=np.zeros_like(error), where=deviation > 0)
    return {
        "cells": len(code),
        "flips": int((logits.argmax(axis=1) != other_logits.argmax(axis=1)).sum()),
        "code_error": float(np.sqrt(np.mean(error ** 2))),
    }


def onnxruntime_static(path, calibrate, folder):
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    for name, method in METHODS.items():
        out = folder / f"{name}.onnx"
        quantize_static(
            str(prepared), str(out), Rows(calibrate), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method)
        yield f"onnxruntime {name}", str(out)


def four_bits(weights, size):
    """Scales [rows, groups] with the least squared error."""
    rows, width = weights.shape
    padded = np.pad(weights, ((0, 0), (0, -width % size))).reshape(rows, -1, size)
    largest = np.abs(padded).max(axis=2, keepdims=True) / 7 + 1e-12
    best, least = largest, np.full(largest.shape, np.inf)
    for share in np.arange(0.5, 1.01, 0.05):
        scale = share * largest
        error = ((padded - scale * np.clip(np.rint(padded / scale), -7, 7)) ** 2).sum(
            axis=2, keepdims=True)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best[:, :, 0]


def nearest(weights, inputs, size):
    scale = np.repeat(four_bits(weights, size), size, axis=1)[:, :weights.shape[1]]
    return scale * np.clip(np.rint(weights / scale), -7, 7)


def gptq(weights, inputs, size):
    centred = (inputs - inputs.mean(axis=0)).astype(np.float64)
    hessian = centred.T @ centred / len(inputs)
    diagonal = np.diag(hessian).copy()
    # A few hundred cells know the covariance badly; what they never show is rounded as it is.
    hessian *= 0.7
    np.fill_diagonal(hessian, diagonal + 1e-2 * diagonal.mean())
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    scale = np.repeat(four_bits(weights, size), size, axis=1)
    left = weights.astype(np.float64).copy()
    rounded = np.zeros_like(left)
    for at in range(left.shape[1]):
        step = scale[:, at]
        rounded[:, at] = step * np.clip(np.rint(left[:, at] / step), -7, 7)
        error = (left[:, at] - rounded[:, at]) / upper[at, at]
        left[:, at + 1:] -= np.outer(error, upper[at, at + 1:])
    return rounded


def put(tensor, values):
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def with_four_bits(path, calibrate, folder, prefix):
    for name, round_weights in (("nearest", nearest), ("gptq", gptq)):
        for size in GROUPS:
            model = onnx.load(path)
            stored = {one.name: one for one in model.graph.initializer}
            layer = []
            for node in model.graph.node:
                if node.op_type == "Gemm" and node.input[0] == "x":
                    tensor, bias = stored[node.input[1]], stored[node.input[2]]
                    weights = numpy_helper.to_array(tensor)
                    rounded = round_weights(weights, calibrate, size)
                    # What rounding adds up to on average, the bias takes up.
                    lost = (weights - rounded) @ calibrate.mean(axis=0, dtype=np.float64)
                    offset = numpy_helper.to_array(bias) + lost
                    put(tensor, rounded)
                    put(bias, offset)
                    # Outputs that are activated, then those that are carried past the rest, as a model has them.
                    layer.append(np.column_stack([rounded, offset]))
            if prefix:
                np.save(f"{prefix}.{name}-{size}.npy", np.concatenate(layer).astype("<f4"))
            out = folder / f"four-{name}-{size}.onnx"
            onnx.save(model, out)
            yield f"int4 {name}, groups of {size}", str(out)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("calibrate", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    parser.add_argument("--save", metavar="PREFIX", help="where rounded first layers go")
    options = parser.parse_args()
    parts = {"calibrate": np.load(options.calibrate), "test": np.load(options.test)}
    exact = {part: outputs(str(options.model), inputs) for part, inputs in parts.items()}
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # The calibrators print what they do.
        with contextlib.redirect_stdout(sys.stderr):
            made = [*onnxruntime_static(options.model, parts["calibrate"], folder),
                    *with_four_bits(options.model, parts["calibrate"], folder, options.save)]
        for name, path in made:
            report[name] = {part: difference(exact[part], outputs(path, inputs))
                            for part, inputs in parts.items()}
            report[name]["bytes"] = pathlib.Path(path).stat().st_size
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
