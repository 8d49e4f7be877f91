#!/usr/bin/env python3
"""Training steps beside PyTorch's, on the same shapes and as many threads, in turns.

    cargo build --release -p cic-trainer --example training_steps
    python -m venv T && T/bin/pip install torch numpy scipy
    T/bin/python bench/training.py --threads 1,2

README.md beside this file tells what the cases are and how to read the table.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

import scipy.sparse
import torch
from torch import nn
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
BATCH, BATCHES, CLASSES, HIDDEN, CODE, DRAWN, OUTPUTS = 256, 4, 9, 128, 30, 2000, 158


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="dense,layer,subset,whole")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--ours", type=pathlib.Path, default=BUILT / "examples/training_steps")
    return parser.parse_args()


class Ours:
    """The program in a process of its own, which sleeps while others work."""

    def __init__(self, program, case, threads):
        self.child = subprocess.Popen([program, case, str(threads)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.child.stdout.readline().strip() != "ready":
            raise SystemExit(f"{program} {case}: did not start")

    def __call__(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return [float(word) for word in self.child.stdout.readline().split()]

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Network(nn.Module):
    """genes -> 128 (and 30 linear) -> 30 -> 128 (and the code) -> genes, head 64 -> classes."""

    def __init__(self, genes):
        super().__init__()
        self.first = nn.Linear(genes, HIDDEN + CODE)
        self.code = nn.Linear(HIDDEN, CODE)
        self.hidden = nn.Linear(CODE, HIDDEN)
        self.last = nn.Linear(HIDDEN + CODE, genes)
        self.head = nn.Sequential(nn.Linear(CODE, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def forward(self, x, drawn):
        if x.layout == torch.sparse_csr:
            first = torch.sparse.mm(x, self.first.weight.t()) + self.first.bias
        else:
            first = self.first(x)
        code = self.code(torch.relu(first[:, :HIDDEN])) + first[:, HIDDEN:]
        hidden = torch.cat([torch.relu(self.hidden(code)), code], 1)
        weight, bias = self.last.weight, self.last.bias
        if drawn is not None:
            weight, bias = weight[drawn], bias[drawn]
        return functional.linear(hidden, weight, bias), self.head(code)


def rows_of(rows, genes, density):
    generator = torch.Generator().manual_seed(7)
    values = torch.rand(rows, genes, generator=generator) + 0.5
    if density < 1:
        values *= torch.rand(rows, genes, generator=generator) < density
    return values


class Rows:
    """Rows of a data set as a training loop takes them, in an order that is drawn anew."""

    def __init__(self, n, genes, density, layout):
        self.dense = rows_of(n, genes, density)
        self.compressed = scipy.sparse.csr_matrix(self.dense.numpy()) if layout == "CSR" else None

    def take(self, rows):
        if self.compressed is None:
            return self.dense[rows]
        some = self.compressed[rows.numpy()]
        parts = (some.indptr, some.indices, some.data)
        return torch.sparse_csr_tensor(*map(torch.from_numpy, parts), size=some.shape)


def network_steps(genes, density, drawn, layout, fused, compiled):
    data = Rows(BATCH * BATCHES, genes, density, layout)
    labels = torch.arange(BATCH) % CLASSES
    network = Network(genes)
    weight = torch.full((genes,), 1 / genes)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused)
    call = torch.compile(network) if compiled else network

    def epoch():
        started = time.perf_counter()
        for rows in torch.randperm(BATCH * BATCHES).split(BATCH):
            x = data.take(rows)
            # What is to be reproduced is dense.
            dense = data.dense[rows] if layout == "CSR" else x
            genes_of_step = torch.randperm(genes)[:drawn] if drawn else None
            target = dense[:, genes_of_step] if drawn else dense
            factor = weight[genes_of_step] * (genes / drawn) if drawn else weight
            optimiser.zero_grad()
            out, logits = call(x, genes_of_step)
            loss = ((out - target).square() * factor).sum() / BATCH
            (loss + 0.3 * functional.cross_entropy(logits, labels)).backward()
            optimiser.step()
        return [(time.perf_counter() - started) * 1e3 / BATCHES]

    return epoch


def layer_steps(genes, density, layout):
    data = Rows(BATCH, genes, density, layout)
    # The order in which either is quicker: [genes, outputs] for CSR, PyTorch's own for dense.
    shape = (genes, OUTPUTS) if layout == "CSR" else (OUTPUTS, genes)
    weight = torch.randn(shape, requires_grad=True)
    bias = torch.randn(OUTPUTS, requires_grad=True)
    d = torch.randn(BATCH, OUTPUTS)

    def step():
        weight.grad = bias.grad = None
        started = time.perf_counter()
        x = data.take(torch.randperm(BATCH))
        taken = time.perf_counter()
        if layout == "CSR":
            out = torch.sparse.mm(x, weight) + bias
        else:
            out = functional.linear(x, weight, bias)
        forward = time.perf_counter()
        out.backward(d)
        ended = time.perf_counter()
        parts = [taken - started, forward - taken, ended - forward]
        return [(ended - taken) * 1e3, *(part * 1e3 for part in parts)]

    return step


def peers_of(case, options):
    if case == "layer":
        return {f"PyTorch {layout}": layer_steps(20_000, 0.07, layout)
                for layout in ("dense", "CSR")}
    genes, density = (2_000, 1.0) if case == "dense" else (20_000, 0.07)
    drawn = DRAWN if case == "subset" else None
    layouts = ["dense"] if case == "dense" else ["dense", "CSR"]
    peers = {}
    for layout in layouts:
        for fused in (False, True):
            name = f"PyTorch {layout}, {'fused' if fused else 'default'} Adam"
            peers[name] = network_steps(genes, density, drawn, layout, fused, False)
    if options.compile:
        peers["PyTorch dense, fused Adam, compiled"] = network_steps(
            genes, density, drawn, "dense", True, True)
    return peers


def compare(case, threads, options):
    torch.set_num_threads(threads)
    runners = {"ours": Ours(options.ours, case, threads)}
    runners.update(peers_of(case, options))
    times = {}
    for name, runner in list(runners.items()):
        try:
            runner()
            times[name] = []
        except Exception as error:  # a peer that cannot do it is named and left out
            print(f"SKIPPED {case}, {name}: {str(error).splitlines()[0]}")
            del runners[name]
    for turn in range(options.rounds):
        names = list(runners)
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            times[name].append(runners[name]())
    runners["ours"].close()
    medians = {name: [statistics.median(part) for part in zip(*of)] for name, of in times.items()}
    ours, lows = medians["ours"][0], {name: min(t[0] for t in of) for name, of in times.items()}
    for name, parts in medians.items():
        split = " + ".join(f"{part:.2f}" for part in parts[1:])
        print(f"| {case} | {threads} | {name} | {parts[0]:.2f} | {parts[0] / ours:.2f} | "
              f"{lows[name] / lows['ours']:.2f} | {split} |", flush=True)


def main():
    options = parse_args()
    torch.manual_seed(1)
    print(f"PyTorch {torch.__version__}, medians of {options.rounds} rounds\n")
    print("| case | threads | program | ms a step | RATIO | of the quickest | of a layer: gather + forward + backward |")
    print("|---|---|---|---|---|---|---|")
    for threads in options.threads.split(","):
        for case in options.cases.split(","):
            compare(case, int(threads), options)


if __name__ == "__main__":
    main()
