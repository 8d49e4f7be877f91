"""Write a large .h5ad by drawing the cells of a small one, with replacement.

The result is for timing readers and writers and says nothing about biology: its cells are copies.
Values are those of X (CSR), indices are 32 bits, row pointers 64 bits; cells are named by number
and keep their columns of obs that are categorical or numeric. Blocks of rows are written one after
the other, so that memory stays small. The seed is fixed.

    python bench/resample_h5ad.py pbmc3k.h5ad big.h5ad --cells 1000000 --gzip 1

Needs h5py and numpy. Chunks are those that h5py, and so anndata, chooses for itself; without
--gzip the arrays are contiguous.
"""

import argparse

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--gzip", type=int, metavar="LEVEL", help="1 to 9; not compressed if absent")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    with h5py.File(args.source, "r") as source, h5py.File(args.target, "w") as target:
        x = source["X"]
        indptr = x["indptr"][:].astype(np.int64)
        indices = x["indices"][:].astype(np.int32)
        data = x["data"][:]
        n_vars = int(x.attrs["shape"][1])
        rows = np.random.default_rng(args.seed).integers(0, len(indptr) - 1, args.cells)
        lengths = np.diff(indptr)[rows]
        pointers = np.concatenate([[0], np.cumsum(lengths)])

        encode(target, "anndata", "0.1.0")
        obs = encode(target.create_group("obs"), "dataframe", "0.2.0")
        obs.attrs["_index"] = "_index"
        names(obs, "_index", [f"cell{number:07d}" for number in range(args.cells)])
        old = source["obs"]
        columns = [name for name in old.attrs["column-order"] if resample_column(old, obs, name, rows)]
        obs.attrs["column-order"] = np.array(columns, dtype=h5py.string_dtype("utf-8"))
        source.copy("var", target)
        for name in ["layers", "obsm", "obsp", "uns", "varm", "varp"]:
            encode(target.create_group(name), "dict", "0.1.0")

        out = encode(target.create_group("X"), "csr_matrix", "0.1.0")
        out.attrs["shape"] = [args.cells, n_vars]
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
