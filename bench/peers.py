#!/usr/bin/env python3
"""The runtime beside ONNX Runtime, OpenVINO, LiteRT, SciPy and PyTorch, all in this process.

    cargo build --release -p cic-bench
    taskset -c 1 python bench/peers.py --rounds 21
    taskset -c 1 python bench/peers.py --dims 500,64,30,13 --code-at 2 --zeros dense,0.85,0.93,0.98

Every peer that is importable takes part; the others are printed as SKIPPED. README.md beside this
file tells how to install them and how to read the tables.
"""

import argparse
import gc
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
REFERENCES = [((1024, 256, 30, 64, 16), 2), ((18000, 512, 128, 30, 64, 40), 3)]
CALIBRATION, TEST = 0, 1
PEERS = "ort,openvino int8,litert,scipy,pytorch"
HEADER = ("kind", "batch", "ours us", "best peer", "its us", "RATIO", "at p10", "over ORT f32",
          "GMAC/s", "of limit", "bytes", "load ms")


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", help="genes,layers,classes; default: both reference networks")
    parser.add_argument("--code-at", type=int, default=2, help="which of --dims is the code")
    parser.add_argument("--zeros", default="dense,0.93", help="shares of zeros, or 'dense'")
    parser.add_argument("--batches", default="1,16,256,4096")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--window", type=float, default=2.0, help="milliseconds")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu: time of this process only, for a busy machine and one thread")
    parser.add_argument("--peers", default=PEERS, help="parts of names, such as 'openvino bf16'")
    parser.add_argument("--library", type=pathlib.Path,
                        default=BUILT / "libcic_bench.so")
    parser.add_argument("--limits", default=BUILT / "cic-bench",
                        help="the program, or a .json file with what it printed")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here")
    options = parser.parse_args()
    options.peers = [word.strip() for word in options.peers.split(",")]
    options.batches = [int(word) for word in options.batches.split(",")]
    for needed in (options.library, options.limits):
        if not pathlib.Path(needed).exists():
            parser.error(f"{needed} is not there: cargo build --release -p cic-bench")
    options.kinds = [None if word == "dense" else float(word)
                     for word in options.zeros.split(",")]
    return options


def shapes_of(options):
    from peerkit.case import Shape

    if not options.dims:
        return [Shape(*reference) for reference in REFERENCES]
    return [Shape(tuple(int(word) for word in options.dims.split(",")), options.code_at)]


def rows_of(shape, zeros, n_rows, seed, part):
    from peerkit.case import make_dense, make_sparse

    if zeros is None:
        return make_dense(shape, n_rows, seed, part)
    return make_sparse(shape, n_rows, zeros, seed, part)


def prepare(shape, zeros, options, folder):
    """Makes the model of every runner, on the same weights and the same calibration rows."""
    import numpy as np
    from peerkit import case, litert, measure, onnx_peers, ours

    rows = rows_of(shape, zeros, 128, options.seed, CALIBRATION)
    calibration = np.ascontiguousarray(rows if zeros is None else rows.toarray())
    layers = case.centre(case.make_layers(shape, options.seed), calibration)
    engine = ours.Engine(options.library, shape, layers, calibration, options.threads)
    try:
        models = onnx_peers.write_models(folder, shape, layers, calibration)
    except Exception as error:  # Without the onnx packages the other peers go on.
        models = dict.fromkeys(("f32", "qdq", "dynamic"), error)
    ranges = litert.ranges(shape, layers, calibration)
    return measure.Bench(shape, layers, engine, models, ranges, options)


def run_shape(shape, options, limits):
    """All cases of a shape."""
    print(f"\n# {shape.name()}: {shape.macs():,} products, seed {options.seed}, "
          f"{options.threads} thread(s), {options.clock} clock, {limits['isa']}, "
          f"load {os.getloadavg()[0]:.1f}", flush=True)
    cases, skipped = [], {}
    for zeros in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            bench = prepare(shape, zeros, options, pathlib.Path(folder))
            for batch in options.batches:
                cases.append(run_case(bench, zeros, batch, limits))
                gc.collect()
            skipped.update(bench.skipped)
            bench.engine.close()
    print_table(cases)
    for name, reason in skipped.items():
        print(f"SKIPPED {name}: {reason}")
    return {"dims": shape.dims, "code_at": shape.code_at, "load_average": os.getloadavg(),
            "cases": cases, "skipped": skipped}


def run_case(bench, zeros, batch, limits):
    import numpy as np
    from peerkit import measure

    shape, options = bench.shape, bench.options
    count = max(1, min(16 if zeros is None else 64, 256 // batch))
    rows = rows_of(shape, zeros, batch * count, options.seed, TEST)
    parts = [rows[at * batch:(at + 1) * batch] for at in range(count)]
    if zeros is None:
        kind, listed = "dense", None
        inputs, matrices = [np.ascontiguousarray(part) for part in parts], None
    else:
        kind, listed = f"{100 * zeros:g} % zeros", rows.nnz / rows.shape[0]
        inputs, matrices = [part.toarray() for part in parts], parts
    case = measure.measure(bench, inputs, matrices)
    case.update(kind=kind, listed=listed, ratios=measure.ratios(case),
                isa=bench.engine.isa(), model_bytes=bench.engine.model_len())
    add_limit(case, shape, limits, options.threads)
    print_checks(case)
    return case


def add_limit(case, shape, limits, threads):
    from peerkit.limits import least_us, macs_per_cell
    from peerkit.measure import OURS

    ours = case["times"][OURS]
    macs = case["batch"] * macs_per_cell(shape, case["listed"])
    case["gmac_per_second"] = macs / ours["median_us"] / 1e3
    least = limits and least_us(limits, shape, case["batch"], case["listed"], threads)
    case["least_us"] = least
    case["of_limit"] = least and least / ours["p10_us"]


def print_checks(case):
    print(f"  {case['kind']} b{case['batch']}: agreement with f32 (argmax, largest difference)")
    for name, check in case["checks"].items():
        time = case["times"][name]
        print(f"    {name:24} {check['argmax']:7.1%} {check['largest_difference']:.4f}"
              f"   {time['median_us']:12.2f} us   p10 {time['p10_us']:12.2f}")
    for name in set(case["times"]) - set(case["checks"]):
        time = case["times"][name]
        print(f"    {name:24} {'':14}   {time['median_us']:12.2f} us   p10 {time['p10_us']:12.2f}")
    sys.stdout.flush()


def print_table(cases):
    rows = [HEADER] + [table_row(case) for case in cases]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADER))]
    for at, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if at == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for case in cases:
        found = case["ratios"]["median_us"].get("over_best_peer_net_of_calls")
        if found:
            print(f"{case['kind']} b1, RATIO above: through Python for both. Net of call costs "
                  f"(peer less a no-op call, ours in a loop in the library): {found:.2f}")


def table_row(case):
    from peerkit.measure import OURS

    median, p10 = case["ratios"]["median_us"], case["ratios"]["p10_us"]
    limit, anchor = case["of_limit"], median["over_ort_f32"]
    loads = case["load_ms"]
    return (case["kind"], str(case["batch"]), f"{case['times'][OURS]['median_us']:.2f}",
            median["best_peer"], f"{median['best_peer_us']:.2f}",
            f"{median['over_best_peer']:.2f}", f"{p10['over_best_peer']:.2f}",
            f"{anchor:.2f}" if anchor else "-", f"{case['gmac_per_second']:.1f}",
            f"{limit:.2f}" if limit else "-", f"{case['model_bytes']:,}",
            f"{loads['open']:.3f} (verified {loads['open_verified']:.3f})")


def main():
    options = parse_args()
    # Before anything loads a library with threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    from peerkit import limits as limits_of

    limits = limits_of.read(options.limits)
    results = []
    for shape in shapes_of(options):
        results.append(run_shape(shape, options, limits))
    if options.json:
        report = {"threads": options.threads, "clock": options.clock, "seed": options.seed,
                  "rounds": options.rounds, "limits": limits, "shapes": results}
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
