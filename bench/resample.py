"""Write a large file by drawing the cells of a small .h5ad, with replacement.

The result is for timing readers and writers and says nothing about biology: its cells are copies.
TARGET ends in .h5ad, or is a folder for features.tsv.gz, barcodes.tsv.gz and matrix.mtx.gz, sorted by
cell. Values are those of X (CSR), indices are 32 bits, row pointers 64 bits; cells are named by number
and keep in a .h5ad their columns of obs that are categorical or numeric. With --genes, genes without any
value follow until there are so many. Blocks of rows are written one after the other, so that memory stays
small. The seed is fixed.

    python bench/resample.py pbmc3k.h5ad big.h5ad --cells 1000000 --gzip 1
    python bench/resample.py pbmc3k.h5ad big-mex --cells 1000000 --genes 33538

Needs h5py and numpy. Chunks are those that h5py, and so anndata, chooses for itself; without
--gzip the arrays of a .h5ad are contiguous.
"""

import argparse
import gzip
import pathlib

import h5py
import numpy as np

ROWS = 4096


def encode(item, kind, version):
    item.attrs["encoding-type"] = kind
    item.attrs["encoding-version"] = version
    return item


def names(group, name, texts):
    dtype = h5py.string_dtype("utf-8")
    data = np.array(texts, dtype=object)
    return encode(group.create_dataset(name, data=data, dtype=dtype), "string-array", "0.2.0")


def resample_column(source, target, name, rows):
    item = source[name]
    if isinstance(item, h5py.Group):
        if item.attrs.get("encoding-type") != "categorical":
            return False
        group = encode(target.create_group(name), "categorical", "0.2.0")
        group.attrs["ordered"] = bool(item.attrs.get("ordered", False))
        item.copy("categories", group)
        encode(group.create_dataset("codes", data=item["codes"][:][rows]), "array", "0.2.0")
        return True
    if item.dtype.kind not in "iufb":
        return False
    encode(target.create_dataset(name, data=item[:][rows]), "array", "0.2.0")
    return True


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def resample_var(source, target, n_genes):
    """Copies var, with names for genes that are not there."""
    old = source["var"]
    known = [text(name) for name in old[old.attrs["_index"]][:]]
    if n_genes <= len(known):
        source.copy("var", target)
        return known
    known += [f"NOVALUE{number:05d}" for number in range(n_genes - len(known))]
    var = encode(target.create_group("var"), "dataframe", "0.2.0")
    var.attrs["_index"] = "_index"
    var.attrs["column-order"] = np.array([], dtype=h5py.string_dtype("utf-8"))
    names(var, "_index", known)
    return known


def write_mex(folder, genes, indptr, indices, data, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "features.tsv.gz", "wt") as out:
        out.writelines(f"{gene}\t{gene}\tGene Expression\n" for gene in genes)
    with gzip.open(folder / "barcodes.tsv.gz", "wt", compresslevel=1) as out:
        out.writelines(f"cell{number:07d}\n" for number in range(len(rows)))
    # The lines of each cell, with a gap for its number.
    lines = [
        "".join(
            f"{gene + 1} \0 {value:g}\n"
            for gene, value in zip(indices[begin:end].tolist(), data[begin:end].tolist())
        ).encode()
        for begin, end in zip(indptr[:-1], indptr[1:])
    ]
    n_values = int(np.diff(indptr)[rows].sum())
    with gzip.open(folder / "matrix.mtx.gz", "wb", compresslevel=1) as out:
        out.write(b"%%MatrixMarket matrix coordinate integer general\n")
        out.write(f"{len(genes)} {len(rows)} {n_values}\n".encode())
        for number, row in enumerate(rows):
            out.write(lines[row].replace(b"\0", str(number + 1).encode()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=0, help="at least so many")
    parser.add_argument("--gzip", type=int, metavar="LEVEL", help="1 to 9; not compressed if absent")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    is_mex = not args.target.endswith(".h5ad")
    # A folder's names go through an AnnData in memory.
    there = {"name": "names", "driver": "core", "backing_store": False} if is_mex else {"name": args.target}
    with h5py.File(args.source, "r") as source, h5py.File(mode="w", **there) as target:
        x = source["X"]
        indptr = x["indptr"][:].astype(np.int64)
        indices = x["indices"][:].astype(np.int32)
        data = x["data"][:]
        rows = np.random.default_rng(args.seed).integers(0, len(indptr) - 1, args.cells)
        genes = resample_var(source, target, args.genes)
        if is_mex:
            write_mex(pathlib.Path(args.target), genes, indptr, indices, data, rows)
            return
        lengths = np.diff(indptr)[rows]
        pointers = np.concatenate([[0], np.cumsum(lengths)])

        encode(target, "anndata", "0.1.0")
        obs = encode(target.create_group("obs"), "dataframe", "0.2.0")
        obs.attrs["_index"] = "_index"
        names(obs, "_index", [f"cell{number:07d}" for number in range(args.cells)])
        old = source["obs"]
        columns = [name for name in old.attrs["column-order"] if resample_column(old, obs, name, rows)]
        obs.attrs["column-order"] = np.array(columns, dtype=h5py.string_dtype("utf-8"))
        for name in ["layers", "obsm", "obsp", "uns", "varm", "varp"]:
            encode(target.create_group(name), "dict", "0.1.0")

        out = encode(target.create_group("X"), "csr_matrix", "0.1.0")
        out.attrs["shape"] = [args.cells, len(genes)]
        storage = {}
        if args.gzip is not None:
            storage = {"chunks": True, "compression": "gzip", "compression_opts": args.gzip}
        nnz = (int(pointers[-1]),)
        arrays = [
            (out.create_dataset("data", nnz, dtype=data.dtype, **storage), data),
            (out.create_dataset("indices", nnz, dtype=indices.dtype, **storage), indices),
        ]
        encode(out.create_dataset("indptr", data=pointers), "array", "0.2.0")
        for array, _ in arrays:
            encode(array, "array", "0.2.0")
        # Whole chunks are written, so that none is packed twice.
        step = arrays[0][0].chunks[0] * 8 if storage else 1 << 22
        pending = [[], []]
        held, written = 0, 0
        for start in range(0, args.cells, ROWS):
            block = rows[start : start + ROWS]
            entries = np.concatenate([np.arange(indptr[row], indptr[row + 1]) for row in block])
            for part, (_, values) in zip(pending, arrays):
                part.append(values[entries])
            held += len(entries)
            is_last = start + ROWS >= args.cells
            if held < step and not is_last:
                continue
            ready = held if is_last else held // step * step
            for at, (array, _) in enumerate(arrays):
                joined = np.concatenate(pending[at])
                array[written : written + ready] = joined[:ready]
                pending[at] = [joined[ready:]]
            written += ready
            held -= ready


if __name__ == "__main__":
    main()
