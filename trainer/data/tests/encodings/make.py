"""Writes AnnData files in every encoding that the installed anndata has, and what anndata reads from them.

    python make.py FOLDER

For each file NAME there is NAME.X.tsv with the values as anndata reads them, and NAME.obs.tsv with the columns of
obs as text (nothing where a value is missing). A matrix other than X has its place in the name: NAME@raw. Prints the
versions.
"""
import sys
from importlib.metadata import version
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

FOLDER = Path(sys.argv[1])
SEED = 20261130
N_OBS, N_VARS = 40, 25


def cells(x, index_name=None):
    n = x.shape[0]
    rng = np.random.default_rng(SEED)
    integers = pd.array(np.arange(n), dtype="Int64")
    integers[3] = pd.NA
    yes = pd.array(np.arange(n) % 3 == 0, dtype="boolean")
    yes[4] = pd.NA
    labels = pd.Categorical(rng.choice(["B", "NK", "T"], n), categories=["B", "NK", "T", "unused"])
    labels = labels.set_categories(labels.categories)
    labels[5] = np.nan
    obs = pd.DataFrame({"cell_type": labels, "depth": np.asarray(x.sum(1)).ravel() + 0.5,
                        "n": np.arange(n), "even": np.arange(n) % 2 == 0, "integers": integers, "yes": yes,
                        "batch": [f"batch {i % 3} é" for i in range(n)]},
                       index=pd.Index([f"cell{i}" for i in range(n)], name=index_name))
    var = pd.DataFrame({"gene_ids": [f"ENSG{i:011d}" for i in range(x.shape[1])]},
                       index=[f"GENE{i}" for i in range(x.shape[1])])
    return anndata.AnnData(X=x, obs=obs, var=var)


def text(value):
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if value == int(value) else repr(float(value))
    return str(value)


def expect(name, names, genes, x):
    dense = x.toarray() if sp.issparse(x) else np.asarray(x)
    with open(FOLDER / f"{name}.X.tsv", "w", encoding="utf-8") as file:
        print("", *genes, sep="\t", file=file)
        for cell, row in zip(names, dense):
            print(cell, *(repr(float(value)) for value in row), sep="\t", file=file)


def expect_obs(name, obs):
    with open(FOLDER / f"{name}.obs.tsv", "w", encoding="utf-8") as file:
        print("", *obs.columns, sep="\t", file=file)
        for cell, row in zip(obs.index, zip(*(obs[column] for column in obs.columns))):
            print(cell, *map(text, row), sep="\t", file=file)


def read_back(name, path):
    back = anndata.read_h5ad(path)
    expect(name, back.obs_names, back.var_names, back.X)
    expect_obs(name, back.obs)
    if back.raw is not None:
        expect(f"{name}@raw", back.obs_names, back.raw.var_names, back.raw.X)
    for layer, x in back.layers.items():
        expect(f"{name}@{layer}", back.obs_names, back.var_names, x)


def main():
    rng = np.random.default_rng(SEED)
    counts = rng.poisson(0.7, (N_OBS, N_VARS)).astype(np.float32)
    counts[7] = 0
    matrices = {"csr": sp.csr_matrix(counts), "csc": sp.csc_matrix(counts), "dense": counts,
                "int32": sp.csr_matrix(counts.astype(np.int32)), "float64": counts.astype(np.float64)}
    if hasattr(sp, "csr_array") and tuple(map(int, anndata_version().split(".")[:2])) >= (0, 11):
        matrices["csr_array"] = sp.csr_array(counts)
    for kind, x in matrices.items():
        for packed in [None, "gzip", "lzf"]:
            name = f"{kind}-{packed or 'plain'}.h5ad"
            cells(x, index_name="barcode" if packed else None).write_h5ad(FOLDER / name, compression=packed)
            read_back(name, FOLDER / name)
    full = cells(sp.csr_matrix(np.log1p(counts)))
    full.raw = cells(sp.csr_matrix(counts))
    full = full[:, ::2].copy()
    full.layers["counts"] = sp.csr_matrix(counts[:, ::2])
    full.obsm["X_pca"] = rng.normal(size=(N_OBS, 3))
    full.uns["neighbors"] = {"params": {"n": 15}}
    full.write_h5ad(FOLDER / "raw_and_layers.h5ad")
    read_back("raw_and_layers.h5ad", FOLDER / "raw_and_layers.h5ad")
    filters(counts)
    zarr_stores(counts)
    parquet_tables(counts)
    print("anndata", anndata_version(), "h5py", h5py.__version__, "numpy", np.__version__, "pandas", pd.__version__)


def anndata_version():
    return version("anndata")


def filters(counts):
    """Filters that HDF5 and its plugins have: read, or refused by name."""
    try:
        import hdf5plugin
        more = {"zstd": dict(hdf5plugin.Zstd()), "blosc": dict(hdf5plugin.Blosc()), "lz4": dict(hdf5plugin.LZ4()),
                "bitshuffle": dict(hdf5plugin.Bitshuffle()), "bzip2": dict(hdf5plugin.BZip2())}
    except ImportError:
        more = {}
    if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        more["szip"] = {"compression": "szip"}
    for name, options in more.items():
        path = FOLDER / f"filter-{name}.h5ad"
        cells(sp.csr_matrix(counts)).write_h5ad(path)
        with h5py.File(path, "a") as file:
            data = file["X/data"][:]
            about = dict(file["X/data"].attrs)
            del file["X/data"]
            # Long enough that each filter does something.
            written = file["X"].create_dataset("data", data=data, chunks=(len(data),), **options)
            written.attrs.update(about)
        read_back(path.name, path)


def zarr_stores(counts):
    """Stores of both formats with each compressor, layout and order: read, or refused by name."""
    try:
        import zarr  # noqa: F401
    except ImportError:
        return
    is_new = int(version("zarr").split(".")[0]) >= 3
    for zarr_format in [2, 3] if is_new and hasattr(anndata.settings, "zarr_write_format") else [2]:
        if is_new:
            anndata.settings.zarr_write_format = zarr_format
        full = cells(sp.csr_matrix(np.log1p(counts)), index_name="barcode")
        full.raw = cells(sp.csr_matrix(counts))
        full.layers["counts"] = counts
        full.layers["csc"] = sp.csc_matrix(counts)
        full.layers["int16"] = sp.csr_matrix(counts.astype(np.int16))
        full.layers["float64"] = counts.astype(np.float64)
        name = f"v{zarr_format}.zarr"
        full.write_zarr(FOLDER / name, chunks=(7, 6))
        read_back_zarr(name)
        full.write_zarr(FOLDER / f"whole-{name}")
        read_back_zarr(f"whole-{name}")
        for packed, options in compressors(is_new, zarr_format).items():
            name = f"{packed}-v{zarr_format}.zarr"
            write_zarr_packed(name, cells(sp.csr_matrix(counts)), is_new, zarr_format, options)
            read_back_zarr(name)
        # Arrays as anndata does not write them and other writers do.
        name = f"others-v{zarr_format}.zarr"
        write_zarr_packed(name, cells(counts), is_new, zarr_format, {})
        store = zarr.open_group(str(FOLDER / name), mode="a")
        layers = {"big": (">f4", "C", "."), "columns": ("<i4", "F", "."), "nested": ("<u2", "C", "/"),
                  "bigcolumns": (">f8", "F", "/")}
        for layer, (dtype, order, separator) in layers.items():
            put_zarr(store, f"layers/{layer}", counts.astype(dtype), (9, 4), order, separator, is_new, zarr_format)
        texts = np.array([f"fixed {i} \u00e9" for i in range(N_OBS)])
        put_zarr(store, "obs/fixed", texts, (11,), "C", ".", is_new, zarr_format)
        put_zarr(store, "obs/zeros", np.zeros(N_OBS, "<i4"), (11,), "C", ".", is_new, zarr_format, empty=True)
        order = [*store["obs"].attrs["column-order"], "fixed", "zeros"]
        store["obs"].attrs["column-order"] = order
        if hasattr(zarr, "consolidate_metadata"):
            zarr.consolidate_metadata(str(FOLDER / name))
        read_back_zarr(name)


def compressors(is_new, zarr_format):
    """Options of arrays by name."""
    import numcodecs
    inner = [(name, shuffle) for name in ["lz4", "lz4hc", "zstd", "zlib", "blosclz"] for shuffle in [0, 1, 2]]
    if zarr_format == 2:
        more = {f"blosc-{name}-{shuffle}": numcodecs.Blosc(cname=name, shuffle=shuffle) for name, shuffle in inner}
        more |= {"none": None, "gzip": numcodecs.GZip(), "zlib": numcodecs.Zlib(), "zstd": numcodecs.Zstd(),
                 "lz4": numcodecs.LZ4(), "bz2": numcodecs.BZ2(), "snappy": None}
        if "snappy" in numcodecs.blosc.list_compressors():
            more["snappy"] = numcodecs.Blosc(cname="snappy")
        else:
            del more["snappy"]
        return {name: {"compressor": codec} for name, codec in more.items()}
    from zarr import codecs
    shuffles = ["noshuffle", "shuffle", "bitshuffle"]
    more = {f"blosc-{name}-{shuffle}": [codecs.BloscCodec(cname=name, shuffle=shuffles[shuffle])]
            for name, shuffle in inner}
    more |= {"none": None, "gzip": [codecs.GzipCodec()], "zstd": [codecs.ZstdCodec()],
             "crc32c": [codecs.Crc32cCodec()]}
    return {name: {"compressors": codec} for name, codec in more.items()}


def write_zarr_packed(name, adata, is_new, zarr_format, options):
    import zarr
    write_elem = getattr(getattr(anndata, "io", None), "write_elem", None) or anndata.experimental.write_elem
    kept = {"zarr_format": zarr_format} if is_new else {}
    store = zarr.open_group(str(FOLDER / name), mode="w", **kept)
    write_elem(store, "/", adata, dataset_kwargs=options)


def put_zarr(store, path, values, chunks, order, separator, is_new, zarr_format, empty=False):
    options = {"chunks": chunks, "dtype": values.dtype, "shape": values.shape}
    if is_new:
        import zarr
        options |= {"chunk_key_encoding": {"name": "v2" if zarr_format == 2 else "default", "separator": separator}}
        if zarr_format == 2:
            options |= {"order": order}
        elif order == "F":
            options |= {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]}
        if zarr_format == 3 and values.dtype.byteorder == ">":
            options |= {"serializer": zarr.codecs.BytesCodec(endian="big"), "dtype": values.dtype.newbyteorder("<")}
        array = store.create_array(path, config={"write_empty_chunks": not empty}, **options)
    else:
        array = store.create_dataset(path, order=order, dimension_separator=separator, write_empty_chunks=not empty,
                                     **options)
    array[...] = values
    array.attrs.update({"encoding-type": "string-array" if values.dtype.kind == "U" else "array",
                        "encoding-version": "0.2.0"})


def read_back_zarr(name):
    back = anndata.read_zarr(FOLDER / name)
    expect(name, back.obs_names, back.var_names, back.X)
    expect_obs(name, back.obs)
    if back.raw is not None:
        expect(f"{name}@raw", back.obs_names, back.raw.var_names, back.raw.X)
    for layer, x in back.layers.items():
        expect(f"{name}@{layer}", back.obs_names, back.var_names, x)


def parquet_tables(counts):
    """As pandas and Arrow write them: with an index, with columns of texts, in groups of rows, packed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return
    names = pd.Index([f"cell{i}" for i in range(N_OBS)])
    genes = [f"GENE{i}" for i in range(N_VARS)]
    table = pd.DataFrame(counts, index=names, columns=genes)
    labels = pd.Series(pd.Categorical([["B", "T", None][i % 3] for i in range(N_OBS)]), index=names)
    obs = pd.DataFrame({"cell_type": labels, "doublet": [i % 2 == 0 for i in range(N_OBS)]}, index=names)
    integers = pd.concat([obs, table.astype(np.int64)], axis=1)
    small = table.astype(np.uint16).rename_axis("barcode")
    plain = table.reset_index(names="id")
    for name, frame, options in [("snappy", table, {}), ("gzip", table, {"compression": "gzip"}),
                                 ("none", small, {"compression": None}), ("groups", integers, {"row_group_size": 7}),
                                 ("no-index", plain, {"index": False}), ("zstd", table, {"compression": "zstd"}),
                                 ("genes-by-cells", table.T, {})]:
        if name == "genes-by-cells":
            frame = frame.rename(index=lambda gene: f"ENSG{int(gene[4:]):011d}")
        name = f"{name}.parquet"
        frame.to_parquet(FOLDER / name, engine="pyarrow", **options)
        expect(name, names, genes, counts)
        if frame is integers:
            expect_obs(name, obs)


def packaged():
    """scanpy's packaged example, in the layout of 2018."""
    try:
        import scanpy
    except ImportError:
        return
    import shutil
    path = Path(scanpy.__file__).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"
    shutil.copy(path, FOLDER / "pbmc68k_reduced.h5ad")
    back = anndata.read_h5ad(path)
    expect("pbmc68k_reduced.h5ad@raw", back.obs_names, back.raw.var_names, back.raw.X)
    expect_obs("pbmc68k_reduced.h5ad@raw", back.obs)


if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore")
    main()
    packaged()
