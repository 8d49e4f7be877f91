#!/usr/bin/env python3
"""`cic type` beside CellTypist: trained on the same cells and labels, typing the same files of counts.

    python bench/celltypist_beside.py pbmc3k.h5ad big50k.h5ad --labels cell_type --split split.tsv \\
        --cic target/release/cic

Every training and every typing is a process of its own, from its start to its end, so that start-up,
reading, normalising and writing the labels are counted for both. CellTypist is trained and used with
its defaults, and in two ways that lower its time and memory; README.md beside this file tells what
they are, how to install it and how to read the tables. Linux only: memory is read from /proc. This process imports
nothing large, because a child's ru_maxrss is never below its parent's.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

# Name: arguments of celltypist.train beyond the defaults, cells per call of annotate (0: all at once).
CELLTYPIST = {
    "celltypist": ({}, 0),
    "celltypist blocks": ({}, 5000),
    "celltypist selected": ({"feature_selection": True}, 0),
    "celltypist selected blocks": ({"feature_selection": True}, 5000),
}
CIC = {"cic int8": "int8.cic", "cic f32": "f32.cic"}
OURS, PEER = "cic int8", "celltypist"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
POLL_SECONDS = 0.005


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=pathlib.Path, help="labelled .h5ad with counts in X")
    parser.add_argument("files", type=pathlib.Path, nargs="+", help=".h5ad with counts in X, to be typed")
    parser.add_argument("--labels", required=True, help="column of obs with the cell types")
    parser.add_argument("--split", help="TSV with id and split (train or test), or a column of obs; "
                        "default: a quarter of each type, drawn with --seed, is held out")
    parser.add_argument("--cic", type=pathlib.Path, required=True, help="cic-quantize lies beside it")
    parser.add_argument("--programs", default=",".join([*CIC, *CELLTYPIST]))
    parser.add_argument("--work", type=pathlib.Path,
                        help="folder for models, labels and messages; models that it has are used")
    parser.add_argument("--threads", type=int, default=0, help="of both; 0 for one per processor")
    parser.add_argument("--repeats", type=int, default=1, help="in turns; the median is shown")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-gib", type=float, default=14.0,
                        help="a process with more anonymous memory than this is stopped")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here")
    options = parser.parse_args()
    options.programs = [name.strip() for name in options.programs.split(",")]
    for name in options.programs:
        if name not in CIC and name not in CELLTYPIST:
            parser.error(f"--programs: {name!r} is none of {', '.join([*CIC, *CELLTYPIST])}")
    options.threads = options.threads or len(os.sched_getaffinity(0))
    return options


# Children: the parts that import numpy and CellTypist.


def child_truth(train, labels, split, seed, out):
    """Writes id, label and split of every labelled cell."""
    import anndata
    import numpy as np

    obs = anndata.read_h5ad(train, backed="r").obs
    obs = obs[obs[labels].notna()]
    if split in obs:
        parts = obs[split].astype(str)
    elif split:
        with open(split, newline="") as file:
            known = {row["id"]: row["split"] for row in csv.DictReader(file, delimiter="\t")}
        parts = [known[cell] for cell in obs.index]
    else:
        parts, draw = np.full(len(obs), "train", dtype=object), np.random.default_rng(seed)
        for label in sorted(set(obs[labels])):
            members = draw.permutation(np.flatnonzero(obs[labels] == label))
            parts[members[:len(members) // 4]] = "test"
    with open(out, "w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["id", "label", "split"])
        writer.writerows(zip(obs.index, obs[labels], parts))


def normalise(adata):
    """What CellTypist asks for: ln(1 + 10,000 x / sum of the cell)."""
    import scanpy

    scanpy.pp.normalize_total(adata, target_sum=1e4)
    scanpy.pp.log1p(adata)
    return adata


def child_train(train, truth, arguments, seed, out):
    import anndata
    import celltypist

    with open(truth, newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "train"]
    adata = normalise(anndata.read_h5ad(train)[[row["id"] for row in rows]].copy())
    model = celltypist.train(adata, labels=[row["label"] for row in rows], random_state=seed, **arguments)
    model.write(out)


def child_type(path, model, block, out, phases_out):
    phases, last = {}, time.perf_counter()

    def lap(name):
        nonlocal last
        now = time.perf_counter()
        phases[name], last = phases.get(name, 0.0) + now - last, now

    import anndata
    import celltypist
    import scanpy  # noqa: F401, so that it counts as import

    lap("import")
    model = celltypist.models.Model.load(model)
    source = anndata.read_h5ad(path, backed="r" if block else None)
    for at in range(0, source.n_obs, block or source.n_obs):
        adata = source[at:at + block].to_memory() if block else source
        lap("read")
        normalise(adata)
        lap("normalise")
        result = celltypist.annotate(adata, model=model, majority_voting=False)
        lap("annotate")
        table = result.predicted_labels[["predicted_labels"]]
        table = table.assign(conf_score=result.probability_matrix.max(axis=1))
        table.to_csv(out, mode="a" if at else "w", header=not at)
        lap("write")
    pathlib.Path(phases_out).write_text(json.dumps(phases))


# The process that measures.


def measure(command, options, log):
    """Runs a command; returns its times in seconds and memory in MiB. A peak of RssAnon can be missed
    between two looks; ru_maxrss, which has pages of mapped files too, cannot."""
    environment = dict(os.environ, PYTHONWARNINGS="ignore")
    environment.update({name: str(options.threads) for name in THREAD_VARIABLES})
    anonymous, threads, stopped, busy = 0, 0, False, busy_seconds()
    with open(log, "w") as messages:
        start = time.perf_counter()
        child = subprocess.Popen([str(word) for word in command], stdout=messages,
                                 stderr=messages, env=environment)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            wall = time.perf_counter() - start
            if pid:
                break
            seen = status_of(child.pid)
            anonymous = max(anonymous, seen.get("RssAnon", 0))
            threads = max(threads, seen.get("Threads", 0))
            if anonymous > options.limit_gib * 2**20 and not stopped:
                stopped = True
                child.kill()
            time.sleep(POLL_SECONDS)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode and not stopped:
        sys.exit(f"{' '.join(map(str, command))}: exit code {child.returncode}; see {log}\n"
                 + pathlib.Path(log).read_text()[-2000:])
    cpu = usage.ru_utime + usage.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "others_cpu_s": max(0.0, busy_seconds() - busy - cpu),
            "anonymous_mib": anonymous / 1024, "max_rss_mib": usage.ru_maxrss / 1024,
            "threads_seen": threads, "stopped": stopped}


def busy_seconds():
    """Processor time of the whole machine so far: user, nice, system, interrupts and stolen."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def status_of(pid):
    """KiB of anonymous memory and number of threads; nothing once the process has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    return {words[0][:-1]: int(words[1]) for words in lines if words[0] in ("RssAnon:", "Threads:")}


def python_child(name, *arguments):
    return [sys.executable, __file__, "child", name, json.dumps([str(a) if isinstance(a, pathlib.Path)
                                                                 else a for a in arguments])]


def model_of(name, work):
    if name in CIC:
        return work / CIC[name]
    arguments, _ = CELLTYPIST[name]
    return work / ("celltypist" + "".join(f"-{key}" for key in arguments) + ".pkl")


def train_all(options, work):
    """Trains what is not there yet; returns the figures of each training by the name of the model."""
    truth, figures = work / "truth.tsv", {}
    measure(python_child("truth", options.train, options.labels, options.split, options.seed, truth),
            options, work / "truth.log")
    threads = ["--threads", options.threads]
    jobs = {}
    if any(name in CIC for name in options.programs):
        jobs[work / "f32.cic"] = [options.cic, "train", options.train, "--labels", options.labels, "--split",
                                  truth, "--seed", options.seed, *threads, "-o", work / "f32.cic"]
        jobs[work / "int8.cic"] = [options.cic.with_name("cic-quantize"), work / "f32.cic", "--calibrate",
                                   options.train, "--split", truth, "--to", "int8", "--layout", "host",
                                   "-o", work / "int8.cic"]
    for name in options.programs:
        if name in CELLTYPIST:
            model = model_of(name, work)
            jobs[model] = python_child("train", options.train, truth, CELLTYPIST[name][0],
                                       options.seed, model)
    for model, command in jobs.items():
        if not model.exists():
            figures[model.name] = measure(command, options, model.with_suffix(".log"))
            print(f"  {model.name}: {figures[model.name]['wall_s']:.1f} s, "
                  f"{model.stat().st_size:,} bytes", flush=True)
    return figures


def run(name, path, options, work):
    """Types a file once; the labels are in the table that labels_path names."""
    out = labels_path(name, path, work)
    log, phases = out.with_suffix(".log"), out.with_suffix(".json")
    if name in CIC:
        command = [options.cic, "type", path, "-m", model_of(name, work), "-o", out,
                   "--threads", options.threads, "-v"]
        return measure(command, options, log)
    command = python_child("type", path, model_of(name, work), CELLTYPIST[name][1], out, phases)
    figures = measure(command, options, log)
    if not figures["stopped"]:
        figures["phases_s"] = json.loads(phases.read_text())
    return figures


def labels_path(name, path, work):
    return work / f"{path.stem}-{name.replace(' ', '-')}.csv"


def labels_in(table):
    """Yields the name of each cell and its label; row by row, so that this process stays small."""
    with open(table, newline="") as file:
        rows = csv.reader(file)
        column = next(rows).index("predicted_labels")
        for row in rows:
            yield row[0], row[column]


def agreement(first, second):
    """Number of cells, and share of the cells of two tables in the same order that have the same label."""
    cells = same = 0
    for (cell, label), (other, other_label) in zip(labels_in(first), labels_in(second), strict=True):
        if cell != other:
            sys.exit(f"{first}, {second}: cells in different orders, {cell} and {other}")
        cells, same = cells + 1, same + (label == other_label)
    return cells, same / cells


def score(options, work):
    """Accuracy, macro-F1 and agreement with OURS on the cells that were held out."""
    with open(work / "truth.tsv", newline="") as file:
        truth = {row["id"]: row["label"] for row in csv.DictReader(file, delimiter="\t")
                 if row["split"] == "test"}
    called = {}
    for name in options.programs:
        run(name, options.train, options, work)
        table = labels_in(labels_path(name, options.train, work))
        called[name] = {cell: label for cell, label in table if cell in truth}
    scores = {}
    for name, labels in called.items():
        pairs = [(truth[cell], labels[cell]) for cell in truth]
        f1 = [2 * sum(pair == (label, label) for pair in pairs)
              / sum((true == label) + (call == label) for true, call in pairs)
              for label in sorted(set(truth.values()))]
        scores[name] = {
            "cells": len(pairs), "accuracy": sum(true == call for true, call in pairs) / len(pairs),
            "macro_f1": statistics.mean(f1),
            "unassigned": sum(call == "Unassigned" for _, call in pairs),
            "agrees_with_ours": OURS in called
            and sum(labels[cell] == called[OURS][cell] for cell in truth) / len(pairs)}
    return scores


def type_file(path, options, work):
    with open(path, "rb") as file:  # So that the first program finds the file in memory as the others do.
        while file.read(1 << 24):
            pass
    runs = {name: [] for name in options.programs}
    for _ in range(options.repeats):
        for name in options.programs:
            if not (runs[name] and runs[name][-1]["stopped"]):
                runs[name].append(run(name, path, options, work))
    first = next(name for name in options.programs if not runs[name][-1]["stopped"])
    results = []
    for name, figures in runs.items():
        middle = sorted(figures, key=lambda one: one["wall_s"])[len(figures) // 2]
        result = dict(middle, program=name, runs=figures)
        for key in ("anonymous_mib", "max_rss_mib"):
            result[key] = max(one[key] for one in figures)
        if not result["stopped"]:
            tables = [labels_path(other, path, work) for other in (name, first)]
            result["cells"], result["agrees"] = agreement(*tables)
        results.append(result)
    return {"file": path.name, "agrees_with": first, "programs": results}


def print_table(header, rows):
    rows = [header, *rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(header))]
    for at, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if at == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def print_scores(scores):
    print("\n# Cells that were held out")
    print_table(("program", "cells", "accuracy", "macro-F1", "unassigned", f"same as {OURS}"),
                [(name, str(one["cells"]), f"{one['accuracy']:.3f}", f"{one['macro_f1']:.3f}",
                  str(one["unassigned"]), f"{one['agrees_with_ours']:.3f}")
                 for name, one in scores.items()])


def print_file(typed):
    cells = next(one["cells"] for one in typed["programs"] if "cells" in one)
    print(f"\n# {typed['file']}: {cells:,} cells")
    rows = []
    for one in typed["programs"]:
        memory = (f"{one['anonymous_mib']:,.0f}", f"{one['max_rss_mib']:,.0f}")
        if one["stopped"]:
            over = (f"over {part}" for part in memory)
            rows.append((one["program"], "stopped", "-", "-", "-", "-", *over, "-"))
            continue
        start = one.get("phases_s", {}).get("import", 0.0)
        rows.append((one["program"], f"{one['wall_s']:.2f}", f"{start:.2f}", f"{one['cpu_s']:.2f}",
                     f"{one['others_cpu_s']:.1f}", f"{1e6 * one['wall_s'] / cells:.1f}", *memory,
                     f"{one['agrees']:.4f}"))
    print_table(("program", "wall s", "of it imports", "CPU s", "others' CPU s", "us per cell", "RssAnon MiB",
                 "max RSS MiB", f"same as {typed['agrees_with']}"), rows)
    done = {one["program"]: one for one in typed["programs"] if not one["stopped"]}
    for name, one in done.items():
        if name not in CELLTYPIST or OURS not in done:
            continue
        ours, phases = done[OURS], one["phases_s"]
        print(f"{name} / {OURS}: wall {one['wall_s'] / ours['wall_s']:.1f} (without imports "
              f"{(one['wall_s'] - phases['import']) / ours['wall_s']:.1f}), CPU "
              f"{one['cpu_s'] / ours['cpu_s']:.1f}, RssAnon "
              f"{one['anonymous_mib'] / ours['anonymous_mib']:.1f}, "
              f"max RSS {one['max_rss_mib'] / ours['max_rss_mib']:.1f}; "
              + ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in phases.items()))
    sys.stdout.flush()


def versions():
    """Of what takes part; read from the packages' metadata, nothing is imported."""
    from importlib import metadata

    names = ("celltypist", "scikit-learn", "scanpy", "anndata", "numpy", "scipy")
    found = {name: metadata.version(name) for name in names}
    return dict(found, python=sys.version.split()[0])


def main():
    if sys.argv[1:2] == ["child"]:
        children = {"truth": child_truth, "train": child_train, "type": child_type}
        return children[sys.argv[2]](*json.loads(sys.argv[3]))
    options = parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        report = {"versions": versions(), "threads": options.threads, "seed": options.seed,
                  "repeats": options.repeats, "load_average": os.getloadavg()}
        print(f"# {options.threads} thread(s), seed {options.seed}, {options.repeats} repeat(s), load "
              f"{report['load_average'][0]:.1f}; "
              + ", ".join(" ".join(pair) for pair in report["versions"].items()), flush=True)
        report["training"] = train_all(options, work)
        report["held_out"] = score(options, work)
        print_scores(report["held_out"])
        report["files"] = []
        for path in options.files:
            report["files"].append(type_file(path, options, work))
            print_file(report["files"][-1])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
