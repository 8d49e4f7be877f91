"""One case: a kind of input and a batch size, on all runners."""

import dataclasses
import pathlib

import numpy as np

from . import litert, onnx_peers, timing
from .case import forward

OURS, OURS_DENSE = "cic int8", "cic int8 (dense input)"
IN_LIBRARY, NOOP = "cic int8 (in library)", "no-op call"
ANCHOR = "ORT f32"
NOT_PEERS = (OURS, OURS_DENSE, IN_LIBRARY, NOOP)


@dataclasses.dataclass
class Bench:
    """What all cases of a shape and a kind of input have in common."""

    shape: object
    layers: list
    engine: object
    models: dict
    ranges: list
    options: object
    skipped: dict = dataclasses.field(default_factory=dict)


def peers_of(bench, inputs, matrices):
    """Name and builder of every peer; a builder returns (call, result, load in ms)."""
    models, threads = bench.models, bench.options.threads
    n_rows = inputs[0].shape[0]

    def on_litert(ranges):
        blob = litert.flatbuffer(bench.shape, bench.layers, n_rows, ranges)
        return litert.litert(blob, inputs, threads)

    def model(name):
        if isinstance(models[name], Exception):
            raise models[name]
        return pathlib.Path(models[name])

    peers = {
        ANCHOR: lambda: onnx_peers.ort(model("f32"), inputs, threads),
        "ORT int8 QDQ": lambda: onnx_peers.ort(model("qdq"), inputs, threads),
        "ORT int8 dynamic": lambda: onnx_peers.ort(model("dynamic"), inputs, threads),
        "OpenVINO int8": lambda: onnx_peers.openvino(model("qdq"), inputs, threads),
        "OpenVINO f32": lambda: onnx_peers.openvino(model("f32"), inputs, threads, "f32"),
        "OpenVINO bf16": lambda: onnx_peers.openvino(model("f32"), inputs, threads, "bf16"),
        "LiteRT int8": lambda: on_litert(bench.ranges),
        "LiteRT f32": lambda: on_litert(None),
    }
    if matrices:
        peers["SciPy CSR f32"] = lambda: scipy_csr(bench, matrices)
        peers["PyTorch CSR f32"] = lambda: torch_csr(bench, matrices)
    wanted = bench.options.peers
    return {name: make for name, make in peers.items()
            if name == ANCHOR or any(word.lower() in name.lower() for word in wanted)}


def scipy_csr(bench, matrices):
    def call(i):
        return forward(bench.shape, bench.layers, matrices[i])

    return call, call, 0.0


def torch_csr(bench, matrices):
    import torch

    torch.set_num_threads(bench.options.threads)
    layers = [(torch.from_numpy(layer.weights), torch.from_numpy(layer.bias))
              for layer in bench.layers]
    rows = [torch.sparse_csr_tensor(torch.from_numpy(matrix.indptr.astype(np.int64)),
                                    torch.from_numpy(matrix.indices.astype(np.int64)),
                                    torch.from_numpy(matrix.data), size=matrix.shape)
            for matrix in matrices]

    def call(i):
        with torch.inference_mode():
            values = rows[i]
            for at, (weights, bias) in enumerate(layers):
                values = values @ weights + bias
                if not bench.shape.is_linear(at):
                    values = torch.relu(values)
            return torch.softmax(values, -1)

    return call, lambda i: call(i).numpy(), 0.0


def measure(bench, inputs, matrices):
    """Checks and times a case; `matrices` are the dense batches `inputs` compressed, or none."""
    options, engine = bench.options, bench.engine
    n_rows, n_inputs = inputs[0].shape[0], len(inputs)
    truth = np.concatenate([forward(bench.shape, bench.layers, rows) for rows in inputs])
    batches, results = engine.batches(matrices or inputs)
    runners = {OURS: engine.runner(batches, results)}
    loads = engine.load_ms(batches)
    if matrices:
        runners[OURS_DENSE] = engine.runner(*engine.batches(inputs))
    peer_loads = {}
    for name, make in peers_of(bench, inputs, matrices).items():
        try:
            call, result, peer_loads[name] = make()
            result(0)
            runners[name] = (call, result)
        except Exception as error:  # Whatever a peer throws is a reason to go on without it.
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
            bench.skipped.setdefault(name, reason)
    checks = {name: agreement([result(i) for i in range(n_inputs)], truth)
              for name, (_, result) in runners.items()}
    calls = {name: call for name, (call, _) in runners.items()}
    if n_rows == 1:
        repeat = engine.repeater(batches)
        runs = 2 * n_inputs
        calls[IN_LIBRARY] = lambda _: repeat(runs)
        calls[NOOP] = engine.noop(batches)
    slow = n_rows * bench.shape.macs() > 5e9
    rounds = max(5, options.rounds // 4) if slow else options.rounds
    times = timing.interleave(calls, n_inputs, rounds, options.window / 1e3, options.clock,
                              0.003 if options.threads > 1 else 0)
    if IN_LIBRARY in times:
        times[IN_LIBRARY] = times[IN_LIBRARY] / runs
    return {"batch": n_rows, "rounds": rounds, "checks": checks, "load_ms": loads,
            "peer_load_ms": peer_loads,
            "times": {name: timing.summary(found) for name, found in times.items()}}


def agreement(found, truth):
    """How far the probabilities of all batches are from those of single precision."""
    found = np.concatenate(found)
    same = found.argmax(axis=-1) == truth.argmax(axis=-1)
    return {"argmax": float(same.mean()), "largest_difference": float(np.abs(found - truth).max())}


def ratios(case):
    """Best peer and ratios; above 1 is in our favour."""
    times = case["times"]
    peers = [name for name in times if name not in NOT_PEERS]
    out = {}
    for key in ("median_us", "p10_us"):
        best = min(peers, key=lambda name: times[name][key])
        out[key] = {"best_peer": best, "best_peer_us": times[best][key],
                    "over_best_peer": times[best][key] / times[OURS][key],
                    "over_ort_f32": times[ANCHOR][key] / times[OURS][key]
                    if ANCHOR in times else None}
        if IN_LIBRARY in times:
            net = times[best][key] - times[NOOP][key]
            out[key]["over_best_peer_net_of_calls"] = net / times[IN_LIBRARY][key]
    return out
