#!/usr/bin/env python3
"""What a second thread adds: the runtime alone on one thread and on two, in turns; then again while another
process keeps one of the two processors busy.

    cargo build --release -p cic-bench
    python bench/threads.py --batches 256,4096
"""

import argparse
import multiprocessing
import os
import pathlib
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import peers  # noqa: E402
from peerkit import case, ours  # noqa: E402


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", help="genes,layers,classes; default: both reference networks")
    parser.add_argument("--code-at", type=int, default=2)
    parser.add_argument("--zeros", default="dense,0.93")
    parser.add_argument("--batches", default="256,4096")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default=peers.BUILT / "libcic_bench.so")
    return parser.parse_args()


def occupy(processor):
    os.sched_setaffinity(0, {processor})
    while True:
        pass


def engines(options, shape, zeros, batch):
    """For one thread and two, on the same model and rows: a function that runs the batch."""
    rows = peers.rows_of(shape, zeros, 128, options.seed, peers.CALIBRATION)
    calibration = np.ascontiguousarray(rows if zeros is None else rows.toarray())
    layers = case.centre(case.make_layers(shape, options.seed), calibration)
    inputs = peers.rows_of(shape, zeros, batch, options.seed, peers.TEST)
    runs, kept = [], []
    for threads in (1, 2):
        engine = ours.Engine(options.library, shape, layers, calibration, threads)
        batches, results = engine.batches([inputs])
        runs.append(engine.repeater(batches))
        # The engine reads these by their addresses.
        kept.append((engine, batches, results, inputs))
    return runs, kept


def ratio(runs, rounds, least_s=0.02):
    """Median of the times on one thread over that on two, and the first in microseconds."""
    start = time.perf_counter()
    runs[0](1)
    times = max(1, round(least_s / (time.perf_counter() - start)))
    found = ([], [])
    for _ in range(rounds):
        for run, times_of in zip(runs, found):
            start = time.perf_counter()
            run(times)
            times_of.append((time.perf_counter() - start) / times)
    one, two = map(np.median, found)
    return one / two, one * 1e6


def main():
    options = parse_args()
    shapes = [case.Shape(*reference) for reference in peers.REFERENCES]
    if options.dims:
        shapes = [case.Shape(tuple(map(int, options.dims.split(","))), options.code_at)]
    print("| network | rows | batch | one thread us | two threads | two, one processor busy |")
    print("|---|---|---|---|---|---|")
    for shape in shapes:
        for word in options.zeros.split(","):
            zeros = None if word == "dense" else float(word)
            for batch in map(int, options.batches.split(",")):
                runs, kept = engines(options, shape, zeros, batch)
                free, one = ratio(runs, options.rounds)
                busy = multiprocessing.Process(target=occupy, args=(0,), daemon=True)
                busy.start()
                shared, _ = ratio(runs, options.rounds)
                busy.terminate()
                busy.join()
                rows = "dense" if zeros is None else f"{100 * zeros:g} % zeros"
                print(f"| {shape.name()} | {rows} | {batch} | {one:.0f} | {free:.2f} | "
                      f"{shared:.2f} |", flush=True)
                for engine, *_ in kept:
                    engine.close()


if __name__ == "__main__":
    main()
