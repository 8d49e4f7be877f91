"""Trains models with CellTypist on the training rows of data sets, and compares its labels and decision values of the test rows
with those of `cic type`.

    V/bin/python tools/quant/tests/celltypist/beside.py BIN DATA NAME[:OPTIONS] ...

`V` is that of make.py, `BIN` the folder with `cic` and `cic-quantize`, `DATA/NAME/NAME.h5ad` and `DATA/NAME/split.tsv` a data set.
OPTIONS are `sgd`, `features` (two passes, 100 genes of each type) or `nomean` (the same, and `with_mean=False`).
"""

import os
import subprocess
import sys
import tempfile
import warnings

import anndata
import celltypist
import numpy as np
import pandas as pd
import scanpy

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../../../tests/reference"))
import cic_reference  # noqa: E402

SELECTED = dict(feature_selection=True, top_genes=100, random_state=1)
OPTIONS = {"": {}, "sgd": dict(use_SGD=True, random_state=1), "features": SELECTED, "nomean": dict(SELECTED, with_mean=False)}


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def decision_values(path, table):
    """From the codes of f32 cells, by the classifier in the model file."""
    with open(path, "rb") as file:
        model = cic_reference.Model(file.read())
    layer = model.stages[1][0]
    key = next(key for key in table.obsm if table.obsm[key].shape[1] == model.code_dim)
    logits = np.asarray(table.obsm[key], float) @ np.array(layer.rows).T + model.epilogues[layer.index, 0][0]
    return pd.DataFrame(logits, index=table.obs_names, columns=model.labels)


def compare(bin_folder, data, which, folder, sums):
    name, _, options = which.partition(":")
    source, split_file = f"{data}/{name}/{name}.h5ad", f"{data}/{name}/split.tsv"
    counts = anndata.read_h5ad(source)
    split = pd.read_csv(split_file, sep="\t", index_col=0)["split"].reindex(counts.obs_names)
    cells = counts.copy()
    cells.X = cells.X.astype(np.float32)
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    model = celltypist.train(cells[split == "train"].copy(), labels="cell_type", n_jobs=1, **OPTIONS[options])
    model.write(f"{folder}/own.pkl")
    test = cells[split == "test"].copy()
    test.X = test.X.toarray()
    result = celltypist.annotate(test, model=model)
    labels, decision = result.predicted_labels.predicted_labels.astype(str), result.decision_matrix
    ordered = np.sort(decision.values, 1)
    margin = pd.Series(ordered[:, -1] - ordered[:, -2], index=decision.index)
    counts[split == "test"].copy().write_h5ad(f"{folder}/test.h5ad")
    print(f"{which}: {len(model.features)} genes, {len(model.cell_types)} types")
    for to in ("f32", "f16", "int8"):
        path = f"{folder}/own.cic"
        told = run(f"{bin_folder}/cic-quantize", f"{folder}/own.pkl", "--calibrate", source, "--split", split_file,
                   "--to", to, "-o", path)
        run(f"{bin_folder}/cic", "type", f"{folder}/test.h5ad", "-m", path, "-o", f"{folder}/out.h5ad")
        table = anndata.read_h5ad(f"{folder}/out.h5ad")
        same = table.obs["cic_best_guess"].astype(str).reindex(labels.index) == labels
        so_far = sums.setdefault(to, [0, 0])
        so_far[0], so_far[1] = so_far[0] + same.sum(), so_far[1] + len(same)
        line = f"  {to}: {same.sum()} of {len(same)} labels the same ({same.mean():.2%}), {os.path.getsize(path)} bytes"
        if to == "f32":
            found = decision_values(path, table).reindex(index=decision.index, columns=decision.columns)
            divisor = next((int(w.rstrip(".")) for w in told.split("divided by ")[1:] for w in w.split()[:1]), 1)
            off = np.abs(found.values * divisor - decision.values).max()
            line += f", decision values within {off:.1e} of {np.abs(decision.values).max():.1f}"
        if not same.all():
            line += f", margins of the others {np.sort(margin[~same].values).round(2).tolist()}"
        print(line, flush=True)


if __name__ == "__main__":
    bin_folder, data, *names = sys.argv[1:]
    sums = {}
    for which in names:
        with tempfile.TemporaryDirectory() as folder:
            compare(bin_folder, data, which, folder, sums)
    for to, (same, n) in sums.items():
        print(f"{to}: {same} of {n} ({same / n:.3%})")
