#!/usr/bin/env python3
"""Where the error of an int8 model comes from: each of its parts rounded alone, everything else in double precision.

    python bench/layer_precision.py MODEL.cic INT8.cic MODEL.test.npy

MODEL.cic is in full precision, INT8.cic what `cic-quantize` made of it, the array is that of `cargo run --release -p cic-bench --bin
network-inputs`. Printed as JSON for every part: the error of the code, in standard deviations of the code between cells, and cells whose best
label is another. Needs numpy.

Levels of inputs are those of INT8.cic. Weights are rounded to the nearest of 255 integers with a scale for each row, hidden values and the copy of
the code that the classifier reads to 127 levels between the extremes of the cells: without what `cic-quantize` does to lose
less, so that the errors are larger than its own.
"""

import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/reference"))
import cic_reference  # noqa: E402

ACTIVATIONS = {kind: np.vectorize(function, otypes=[float])
               for kind, function in cic_reference.ACTIVATIONS.items()}


def rounded_weights(weights):
    scale = np.abs(weights).max(1, keepdims=True) / 127
    scale[scale == 0] = 1
    return np.round(weights / scale) * scale


def rounded_values(values):
    low = values.min(0)
    step = (values.max(0) - low) / 127
    step[step == 0] = 1
    return np.round((values - low) / step) * step + low


def rounded_inputs(inputs, profile):
    if profile["kind"] == cic_reference.LOG2_INTENSITY:
        offset = np.array(profile["gene_offsets"])
        unit = profile["scale"] / np.array(profile["gene_gains"])
    else:
        offset, unit = 0.0, profile["scale"]
    return np.clip(np.floor((inputs - offset) / unit + 0.5), 0, 127) * unit + offset


def run(model, stage, values, weights=(), levels=False):
    """A stage with some layers' weights rounded, and with hidden values rounded."""
    layers = model.stages[stage]
    carried = 0.0
    for number, layer in enumerate(layers):
        matrix = np.array(layer.rows, float)
        bias = np.array(model.epilogues[layer.index, 0][0], float)
        sums = values @ (rounded_weights(matrix) if number in weights else matrix).T + bias
        if number + 1 == len(layers):
            return sums + carried
        if number == 0 and layer.carry:
            carried = sums[:, layer.out_dim - layer.carry:]
        parts, at = [], 0
        for length, kind in layer.segments:
            parts.append(ACTIVATIONS[kind](sums[:, at:at + length]))
            at += length
        values = np.concatenate(parts, 1)
        if levels:
            values = rounded_values(values)
    return values


def main(full, int8, test):
    model = cic_reference.Model(pathlib.Path(full).read_bytes())
    profile = cic_reference.Model(pathlib.Path(int8).read_bytes()).profiles[0]
    inputs = np.load(test).astype(float)
    coarse = rounded_inputs(inputs, profile)
    n_encoder, n_classifier = len(model.stages[0]), len(model.stages[1])
    behind = range(1, n_encoder)
    exact = run(model, 0, inputs)
    spread = exact.std(0)
    spread[spread == 0] = 1
    labels = run(model, 1, exact).argmax(1)

    def part(code, with_classifier):
        logits = (run(model, 1, rounded_values(code), range(n_classifier), True) if with_classifier
                  else run(model, 1, code))
        error = np.sqrt((((code - exact) / spread) ** 2).mean())
        return {"code_error": error, "flips": int((logits.argmax(1) != labels).sum())}

    sizes = [np.size(layer.rows) for stage in model.stages[:2] for layer in stage]
    print(json.dumps({
        "cells": len(inputs),
        "first_layer": sizes[0] / sum(sizes),
        "parts": {
            "inputs": part(run(model, 0, coarse), False),
            "weights of the first layer": part(run(model, 0, inputs, [0]), False),
            "all behind the first layer": part(run(model, 0, inputs, behind, True), True),
            "inputs and first layer": part(run(model, 0, coarse, [0]), False),
            "all": part(run(model, 0, coarse, range(n_encoder), True), True),
        },
    }))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
