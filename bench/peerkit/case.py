"""Networks and inputs of any shape, from a seed; the same for every runner."""

import dataclasses

import numpy as np
import scipy.sparse


@dataclasses.dataclass(frozen=True)
class Shape:
    """A chain of layers: genes, layers, classes; `code_at` says which of them is the code."""

    dims: tuple
    code_at: int

    def name(self):
        return "-".join(map(str, self.dims)) + f" (code at {self.code_at})"

    def is_linear(self, layer):
        return layer + 1 == self.code_at or layer + 2 == len(self.dims)

    def macs(self):
        return sum(a * b for a, b in zip(self.dims, self.dims[1:]))


@dataclasses.dataclass
class Layer:
    """Weights `[in, out]` and bias `[out]`."""

    weights: np.ndarray
    bias: np.ndarray


def make_layers(shape, seed):
    """He-scaled normal weights; outputs differ in scale, so that scales per output matter."""
    rng = np.random.default_rng([seed, 1])
    layers = []
    for n_in, n_out in zip(shape.dims, shape.dims[1:]):
        weights = rng.standard_normal((n_in, n_out), dtype=np.float32)
        weights *= np.float32(np.sqrt(2 / n_in)) * rng.uniform(0.6, 1.6, n_out).astype(np.float32)
        bias = rng.normal(0, 0.05, n_out).astype(np.float32)
        layers.append(Layer(weights, bias))
    return layers


def centre(layers, rows):
    """Bias of the first layer so that its outputs are around zero for these rows, as training
    leaves them; else one mean would drown the differences between cells."""
    first = layers[0]
    return [Layer(first.weights, first.bias - rows.mean(axis=0) @ first.weights), *layers[1:]]


def make_dense(shape, n_rows, seed, part):
    """Bulk-like log values: every gene has a level of its own, and none is zero. Parts differ in
    their rows only."""
    rng = np.random.default_rng([seed, 2])
    level = rng.gamma(2.0, 1.2, shape.dims[0]).astype(np.float32)
    rng = np.random.default_rng([seed, 2, part])
    rows = rng.standard_normal((n_rows, shape.dims[0]), dtype=np.float32)
    rows *= np.float32(0.7)
    rows += level
    return np.maximum(rows, np.float32(0.02), out=rows)


def make_sparse(shape, n_rows, zeros, seed, part):
    """Single-cell-like log1p values: a gene is detected the more often, the higher its level.
    Parts differ in their rows only."""
    rng = np.random.default_rng([seed, 3])
    n_genes = shape.dims[0]
    level = rng.lognormal(0, 1.6, n_genes)
    depth = _depth_for(level, 1 - zeros)
    detected = 1 - np.exp(-depth * level)
    size = np.log1p(4 + 3 * level / level.mean()).astype(np.float32)
    rng = np.random.default_rng([seed, 3, part])
    blocks = []
    for first in range(0, n_rows, 256):
        n = min(256, n_rows - first)
        is_set = rng.random((n, n_genes), dtype=np.float32) < detected.astype(np.float32)
        is_set[np.arange(n), rng.integers(0, n_genes, n)] = True
        block = scipy.sparse.csr_matrix(is_set, dtype=np.float32)
        noise = rng.uniform(0.6, 1.5, block.nnz).astype(np.float32)
        block.data = size[block.indices] * noise
        blocks.append(block)
    matrix = scipy.sparse.vstack(blocks, format="csr")
    matrix.sort_indices()
    return matrix


def _depth_for(level, share):
    low, high = 1e-9, 1e9
    for _ in range(80):
        middle = np.sqrt(low * high)
        if np.mean(1 - np.exp(-middle * level)) < share:
            low = middle
        else:
            high = middle
    return middle


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def forward(shape, layers, rows, on_layer=None):
    """Probabilities in single precision. `rows` may be compressed; `on_layer` sees all outputs."""
    values = rows
    for at, layer in enumerate(layers):
        values = np.asarray(values @ layer.weights) + layer.bias
        if not shape.is_linear(at):
            values = np.maximum(values, 0)
        if on_layer:
            on_layer(at, values)
    return softmax(values)
