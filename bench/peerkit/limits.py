"""The least time that a case can take on this processor, from the rates of `cic-bench --limits`."""

import json
import pathlib
import subprocess

BYTE_PRODUCTS = {
    "amx": "tdpbusd tiles", "avx512vnni": "vpdpbusd zmm", "avxvnni": "vpdpbusd vex ymm",
    "avx2": "vpmaddubsw vpmaddwd vpaddd ymm",
}


def read(source):
    """From a stored file, or by running the program."""
    source = pathlib.Path(source)
    if source.suffix == ".json":
        return json.loads(source.read_text())
    found = subprocess.run([source, "--limits"], check=True, capture_output=True, text=True)
    return json.loads(found.stdout)


def byte_rate(limits, is_tiled, threads):
    """Byte products per second: in AMX tiles only where several dense cells share them."""
    isa = limits["isa"]
    if isa == "amx" and not is_tiled:
        isa = "avx512vnni"
    rates = limits["multiply_adds_per_second"].get(BYTE_PRODUCTS.get(isa))
    return rates and (rates[str(threads)] or rates["1"])


def read_rate(limits, n_bytes, threads):
    """Bytes per second from the nearest memory that holds so many."""
    rows = limits["bytes_read_per_second"]
    row = next((row for row in rows if row["bytes"] >= n_bytes), rows[-1])
    return row[str(threads)] or row["1"]


def least_us(limits, shape, batch, listed, threads):
    """Products at the rate of products, or weights read once at the rate of reading, whichever is
    longer. `listed` inputs per cell, on average, or None where all are: rows of weights that one
    sparse cell needs are read for that cell alone."""
    n_weights = shape.macs()
    is_dense = listed is None
    macs, read = n_weights, n_weights
    if not is_dense:
        macs = n_weights - (shape.dims[0] - listed) * shape.dims[1]
        read = macs
    products = byte_rate(limits, is_dense and batch >= 16, threads)
    if products is None:
        return None
    passes = 1 if is_dense else batch
    reading = passes * read / read_rate(limits, n_weights, threads)
    return 1e6 * max(batch * macs / products, reading)


def macs_per_cell(shape, listed):
    """Products that a cell needs."""
    skipped = 0 if listed is None else (shape.dims[0] - listed) * shape.dims[1]
    return shape.macs() - skipped
