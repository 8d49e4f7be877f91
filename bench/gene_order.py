#!/usr/bin/env python3
"""Does it pay to order genes by how often they are detected? The same network and the same sparse cells with
genes as they come, the most detected first, and shuffled; in turns, in one process.

    cargo build --release -p cic-bench
    taskset -c 1 python bench/gene_order.py --dims 18000,512,128,30,64,40 --code-at 3 --batches 1,16,256
"""

import argparse
import pathlib
import sys
import time

import numpy as np
import scipy.sparse

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import peers  # noqa: E402
from peerkit import case, ours  # noqa: E402


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="18000,512,128,30,64,40")
    parser.add_argument("--code-at", type=int, default=3)
    parser.add_argument("--zeros", type=float, default=0.93)
    parser.add_argument("--batches", default="1,16,256")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default=peers.BUILT / "libcic_bench.so")
    return parser.parse_args()


def ordered(matrix, order):
    matrix = scipy.sparse.csr_matrix(matrix[:, order])
    matrix.sort_indices()
    matrix.indices, matrix.indptr = (part.astype(np.int32)
                                     for part in (matrix.indices, matrix.indptr))
    return matrix


def main():
    options = parse_args()
    shape = case.Shape(tuple(map(int, options.dims.split(","))), options.code_at)
    calibration = peers.rows_of(shape, options.zeros, 128, options.seed, peers.CALIBRATION)
    layers = case.centre(case.make_layers(shape, options.seed), calibration.toarray())
    detected = np.asarray((calibration > 0).mean(axis=0)).ravel()
    orders = {
        "as they come": np.arange(shape.dims[0]),
        "most detected first": np.argsort(-detected, kind="stable"),
        "shuffled": np.random.default_rng(options.seed).permutation(shape.dims[0]),
    }
    for batch in map(int, options.batches.split(",")):
        count = max(1, min(64, 256 // batch))
        rows = peers.rows_of(shape, options.zeros, batch * count, options.seed, peers.TEST)
        runs, kept = {}, []
        for name, order in orders.items():
            first = case.Layer(layers[0].weights[order], layers[0].bias)
            rows_of_calibration = np.ascontiguousarray(calibration[:, order].toarray())
            engine = ours.Engine(
                options.library, shape, [first, *layers[1:]], rows_of_calibration, 1)
            parts = [ordered(rows[at * batch:(at + 1) * batch], order) for at in range(count)]
            batches, results = engine.batches(parts)
            runs[name] = engine.repeater(batches)
            # The engine reads these by their addresses.
            kept.append((engine, parts, batches, results))
        times = max(count, 3_000_000 // (shape.dims[0] * batch))
        found = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                run(times)
                found[name].append((time.perf_counter() - start) / times / batch * 1e6)
        medians = {name: np.median(values) for name, values in found.items()}
        print(f"{shape.name()}, {100 * options.zeros:g} % zeros, b{batch}: " + ", ".join(
            f"{name} {median:.3f} us/cell ({medians['as they come'] / median:.2f})"
            for name, median in medians.items()), flush=True)
        for engine, *_ in kept:
            engine.close()


if __name__ == "__main__":
    main()
