"""Reads what cic type writes with anndata and scanpy.

    round_trip.py inputs FOLDER        makes FOLDER/{csr,csc,dense,double}.h5ad of FOLDER/cells.h5ad
    round_trip.py outputs FOLDER       compares FOLDER/NAME-out.{h5ad,csv} with FOLDER/NAME.h5ad
"""

import json
import sys
from pathlib import Path

import anndata
import numpy
import pandas
import scanpy
import scipy.sparse

MAKE = {
    "csr": lambda x: scipy.sparse.csr_matrix(x, dtype="float32"),
    "csc": lambda x: scipy.sparse.csc_matrix(x, dtype="float32"),
    "dense": lambda x: x.toarray().astype("float32"),
    "double": lambda x: scipy.sparse.csr_matrix(x, dtype="float64"),
}

# Kind of each column, as pandas calls it: category, float32, int64, bool.
TEXTS = ["predicted_labels", "cic_reject_reason", "cic_best_guess", "cell_type_ontology_term_id"]
SETS = ["cic_set_90", "cic_set_95"]
TREE_TEXTS = ["cic_node", "cic_node_ontology_term_id", "over_clustering", "majority_voting"]
KINDS = {
    **dict.fromkeys(TEXTS + SETS + TREE_TEXTS, "category"),
    **dict.fromkeys(["conf_score", "cic_margin", "cic_novelty", "cic_node_conf"], "float32"),
    **dict.fromkeys(["n_genes_used", "n_counts_used"], "int64"),
    "cic_rejected": "bool",
}


def inputs(folder):
    cells = anndata.read_h5ad(folder / "cells.h5ad")
    for name, make in MAKE.items():
        obs = cells.obs.copy()
        obs["leiden"] = pandas.Categorical([str(row % 4) for row in range(cells.n_obs)])
        obs["text"] = [f"cell {row}, β" for row in range(cells.n_obs)]
        obs["number"] = numpy.arange(cells.n_obs, dtype="float64") / 7
        obs["flag"] = numpy.arange(cells.n_obs) % 3 == 0
        obs["gap"] = pandas.Categorical.from_codes(
            [row % 3 - 1 for row in range(cells.n_obs)], ["a", "b"]
        )
        anndata.AnnData(make(cells.X), obs=obs, var=cells.var.copy()).write_h5ad(
            folder / f"{name}.h5ad"
        )


def outputs(folder):
    n_columns = 0
    for name in MAKE:
        before = anndata.read_h5ad(folder / f"{name}.h5ad")
        after = anndata.read_h5ad(folder / f"{name}-out.h5ad")
        table = pandas.read_csv(
            folder / f"{name}-out.csv", index_col=0, keep_default_na=False, dtype=str
        )
        same_values(before, after, name)
        for column in before.obs.columns:
            pandas.testing.assert_series_equal(before.obs[column], after.obs[column])
        assert list(after.obs_names) == list(before.obs_names) == list(table.index)
        assert list(after.var_names) == list(before.var_names)
        for column in table.columns:
            same_column(after.obs[column], table[column])
        n_columns += len(table.columns)
        same_arrays(after)
        about = after.uns["cic"]
        beside = json.loads((folder / f"{name}-out.csv.json").read_text())
        assert set(about) == set(beside) - {"output_sha256"}, set(about) ^ set(beside)
        for key in ["model_sha256", "input_sha256", "n_cells", "min_confidence", "arguments"]:
            assert list(numpy.atleast_1d(about[key])) == list(numpy.atleast_1d(beside[key])), key
        if name == "csr":
            use_in_scanpy(after)
        # What anndata writes of it says the same.
        after.write_h5ad(folder / f"{name}-again.h5ad")
    print(f"{len(MAKE)} files, {n_columns} columns")


def same_values(before, after, name):
    """X is a CSR of the same values, to the bit."""
    assert isinstance(after.X, scipy.sparse.csr_matrix) and after.X.dtype == "float32"
    expected = scipy.sparse.csr_matrix(before.X)
    assert (after.X.toarray() == expected.toarray()).all(), name
    expected.sort_indices()
    if name == "csr":
        for part in ["data", "indices", "indptr"]:
            found, of_input = getattr(after.X, part), getattr(expected, part)
            assert found.astype(of_input.dtype).tobytes() == of_input.tobytes(), part


def same_column(found, text):
    kind = KINDS[found.name]
    assert str(found.dtype) == kind, f"{found.name} is {found.dtype}, expected {kind}"
    if kind == "category":
        assert list(found.astype(str)) == list(text), found.name
    elif kind == "float32":
        expected = pandas.to_numeric(text).to_numpy(dtype=float)
        assert numpy.allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True), found.name
    elif kind == "int64":
        assert list(found) == list(text.astype(int)), found.name
    else:
        assert list(found) == list(text == "True"), found.name


def same_arrays(after):
    codes, probabilities = after.obsm["X_cic"], after.obsm["cic_prob"]
    assert codes.dtype == probabilities.dtype == "float32"
    assert codes.shape == (after.n_obs, 30) and numpy.isfinite(codes).all()
    typed = ~after.obs["cic_rejected"].to_numpy()
    assert numpy.abs(probabilities.sum(axis=1)[typed] - 1).max() < 1e-4
    assert (probabilities.max(axis=1) == after.obs["conf_score"].to_numpy()).all()


def use_in_scanpy(after):
    cells = after.copy()
    scanpy.pp.neighbors(cells, use_rep="X_cic", n_neighbors=5)
    scanpy.pp.normalize_total(cells)
    scanpy.pp.log1p(cells)
    scanpy.get.obs_df(cells, keys=["predicted_labels", "conf_score"])
    share = cells.obs.groupby("predicted_labels", observed=True)["conf_score"].mean()
    assert len(share) > 1


if __name__ == "__main__":
    {"inputs": inputs, "outputs": outputs}[sys.argv[1]](Path(sys.argv[2]))
