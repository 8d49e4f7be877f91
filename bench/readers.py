"""Time our readers beside those of Python, on the same files, in turns.

    cargo build --release -p cic-data --example read_cells
    python bench/readers.py pbmc3k.h5ad --cells 50000 --rounds 7

Draws the cells of the given file with replacement and writes them as .h5ad (CSR, gzip and not compressed), Cell Ranger's
.h5 (gzip, as Cell Ranger writes it) and a 10x folder with matrix.mtx.gz. Then, round after round, each reader has its turn, in a
process of its own, on one thread. Ours reads names, checks every value and gives blocks of cells; the others give the matrix whole:

    anndata   anndata.read_h5ad
    scanpy    scanpy.read_10x_h5, scanpy.read_10x_mtx
    h5py      the arrays of the matrix alone, without names, checks or anything around them

The time is that of reading, without starting Python or importing anything; all must find the same number of values and the same
sum, which is not timed. Needs anndata, scanpy, h5py, numpy and scipy. Prints a table in Markdown: medians, and the median of the
ratios within a round with the smallest and the largest.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

PEERS = {
    "anndata": """
import anndata
start = time()
x = anndata.read_h5ad(path).X
""",
    "scanpy": """
import os, scanpy
start = time()
x = (scanpy.read_10x_mtx(path, cache=False) if os.path.isdir(path) else scanpy.read_10x_h5(path)).X
""",
    "h5py": """
import h5py, numpy as np
start = time()
with h5py.File(path, "r") as file:
    group = file["X" if "X" in file else "matrix"]
    data, indices, indptr = (group[name][:] for name in ("data", "indices", "indptr"))
class x: pass
x = x(); x.nnz = len(data); x.data = data; x.shape = (len(indptr) - 1,)
""",
}
BEFORE = "import sys, warnings\nfrom time import perf_counter as time\nwarnings.simplefilter('ignore')\npath = sys.argv[1]\n"
AFTER = "seconds = time() - start\nprint(x.shape[0], x.nnz, float(x.data.sum(dtype='f8')), seconds)\n"


def write_files(source, folder, cells, seed):
    """The same cells in each format: {name: (path, peers)}."""
    import anndata
    import h5py
    import numpy as np
    import scipy.sparse as sp

    small = anndata.read_h5ad(source)
    rows = np.random.default_rng(seed).integers(small.n_obs, size=cells)
    x = sp.csr_matrix(small.X)[rows]
    x.sort_indices()
    names = [f"CELL{i:08}-1" for i in range(cells)]
    big = anndata.AnnData(x, obs={"obs_names": names}, var=small.var[[]])
    big.write_h5ad(folder / "plain.h5ad")
    big.write_h5ad(folder / "gzip.h5ad", compression="gzip")
    counts = x.astype(np.int32)
    with h5py.File(folder / "matrix.h5", "w") as file:
        group = file.create_group("matrix")
        packed = {"compression": "gzip", "compression_opts": 4, "chunks": (80000,), "shuffle": True}
        group.create_dataset("barcodes", data=np.array(names, dtype="S"), compression="gzip")
        group.create_dataset("data", data=counts.data, **packed)
        group.create_dataset("indices", data=counts.indices.astype(np.int64), **packed)
        group.create_dataset("indptr", data=counts.indptr.astype(np.int64), compression="gzip")
        group["shape"] = np.array(counts.shape[::-1], dtype=np.int32)
        genes = np.array(small.var_names, dtype="S")
        features = group.create_group("features")
        features["id"] = features["name"] = genes
        features["feature_type"] = np.array([b"Gene Expression"] * len(genes))
        features["genome"] = np.array([b"GRCh38"] * len(genes))
        features["_all_tag_keys"] = np.array([b"genome"])
    mex = folder / "mex"
    mex.mkdir()
    with gzip.open(mex / "barcodes.tsv.gz", "wt", compresslevel=1) as file:
        file.writelines(f"{name}\n" for name in names)
    with gzip.open(mex / "features.tsv.gz", "wt", compresslevel=1) as file:
        file.writelines(f"{gene}\t{gene}\tGene Expression\n" for gene in small.var_names)
    with gzip.open(mex / "matrix.mtx.gz", "wt", compresslevel=6) as file:
        file.write(f"%%MatrixMarket matrix coordinate integer general\n{counts.shape[1]} {cells} {counts.nnz}\n")
        for cell in range(cells):
            entries = slice(counts.indptr[cell], counts.indptr[cell + 1])
            pairs = zip(counts.indices[entries], counts.data[entries])
            file.writelines(f"{gene + 1} {cell + 1} {count}\n" for gene, count in pairs)
    return {
        ".h5ad, CSR": (folder / "plain.h5ad", ["anndata", "h5py"]),
        ".h5ad, CSR, gzip": (folder / "gzip.h5ad", ["anndata", "h5py"]),
        "Cell Ranger .h5": (folder / "matrix.h5", ["scanpy", "h5py"]),
        "matrix.mtx.gz": (mex, ["scanpy"]),
    }


def run(command, path):
    """Cells, values and their sum; seconds; peak memory in MiB."""
    threads = {name: "1" for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"]}
    process = subprocess.Popen([*command, path], stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed on {path}")
    *found, seconds = map(float, output.split())
    return found, seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", default="target/release/examples/read_cells")
    args = parser.parse_args()
    commands = {"cic": [args.reader]}
    commands.update((name, [sys.executable, "-c", BEFORE + text + AFTER]) for name, text in PEERS.items())
    print("| file | MB | reader | s | MiB | times ours (smallest, largest) |\n|---|---:|---|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: what a process held when it began another counts as that one's memory.
        with ProcessPoolExecutor(1) as writer:
            files = writer.submit(write_files, args.source, Path(folder), args.cells, args.seed).result()
        for name, (path, peers) in files.items():
            results = {reader: [] for reader in ["cic", *peers]}
            for _ in range(args.rounds):
                for reader, times in results.items():
                    times.append(run(commands[reader], path))
            expected = results["cic"][0][0]
            size = sum(p.stat().st_size for p in ([path] if path.is_file() else path.iterdir())) / 1e6
            for reader, times in results.items():
                assert all(found == expected for found, _, _ in times), (name, reader, times[0], expected)
                ratios = sorted(time[1] / ours[1] for time, ours in zip(times, results["cic"]))
                shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}, {ratios[-1]:.2f})" if reader != "cic" else "1"
                seconds = statistics.median(time[1] for time in times)
                memory = max(time[2] for time in times)
                print(f"| {name} | {size:.0f} | {reader} | {seconds:.2f} | {memory:.0f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
