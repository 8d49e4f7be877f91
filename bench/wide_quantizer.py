#!/usr/bin/env python3
"""ONNX Runtime's static quantizer on a network of the shape of the example `wide_model`: time and memory beside `cic-quantize`.

    python bench/wide_quantizer.py [minmax|entropy|percentile]

18,000 genes, 512 hidden units, a code of 30, 16 types and a decoder of the same widths, random weights, 10,000 calibration cells with a
twelfth of the genes each, which are made as they are asked for. Prints seconds, peak memory and the bytes of both files.
Needs onnx, onnxruntime and numpy.
"""

import pathlib
import resource
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static)
from onnxruntime.quantization.shape_inference import quant_pre_process

GENES, HIDDEN, CODE, TYPES, CELLS, BATCH = 18_000, 512, 30, 16, 10_000, 100
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Cells(CalibrationDataReader):
    def __init__(self):
        self.random = np.random.default_rng(1)
        self.left = CELLS // BATCH

    def get_next(self):
        if self.left == 0:
            return None
        self.left -= 1
        counts = self.random.integers(1, 5, (BATCH, GENES)).astype(np.float32)
        counts *= self.random.random((BATCH, GENES), dtype=np.float32) < 1 / 12
        return {"x": np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))}


def network(path):
    random = np.random.default_rng(2)
    nodes, stored = [], []

    def dense(source, target, width, out, relu):
        weights = random.uniform(-1, 1, (out, width)).astype(np.float32) * np.sqrt(6 / width, dtype=np.float32)
        stored.append(numpy_helper.from_array(weights, f"{target}.weight"))
        stored.append(numpy_helper.from_array(np.zeros(out, np.float32), f"{target}.bias"))
        name = f"{target}.sum" if relu else target
        nodes.append(helper.make_node(
            "Gemm", [source, f"{target}.weight", f"{target}.bias"], [name], transB=1))
        if relu:
            nodes.append(helper.make_node("Relu", [name], [target]))

    dense("x", "hidden", GENES, HIDDEN, True)
    dense("hidden", "code", HIDDEN, CODE, False)
    dense("code", "typing", CODE, 11, True)
    dense("typing", "logits", 11, TYPES, False)
    dense("code", "back", CODE, HIDDEN, True)
    dense("back", "reconstruction", HIDDEN, GENES, False)
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
    graph = helper.make_graph(
        nodes, "wide", [value("x", GENES)],
        [value("code", CODE), value("logits", TYPES), value("reconstruction", GENES)], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def main():
    method = METHODS[sys.argv[1] if len(sys.argv) > 1 else "minmax"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        plain, prepared, out = (folder / f"{name}.onnx" for name in ("plain", "prepared", "out"))
        network(plain)
        start = time.perf_counter()
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(out), Cells(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{seconds:.1f} s, {peak:.0f} MiB, {plain.stat().st_size} -> {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
