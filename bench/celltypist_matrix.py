#!/usr/bin/env python3
"""What CellTypist does with the files of the input matrix (docs/input-matrix.md).

    python -m venv celltypist
    celltypist/bin/pip install celltypist==1.7.1 'scikit-learn<1.8'    # 1.9 cannot train it
    celltypist/bin/python bench/celltypist_matrix.py
    cargo xtask input-matrix

It is trained with its defaults on the cells that the matrix's own models are trained on, as log1p of
10,000, and is given each file in a form that it asks for: AnnData of logarithms and text tables as
they are, MatrixMarket with files of genes and cells, AnnData of counts as a table of the same cells.
Rows about the structure of HDF5 files, about options of ours, about the names beside a MatrixMarket
file, which it takes in another form, and about other scales than it has are left out. Labels are
compared with those that it gives the sound file. An exception ends its command with the exit code 1.
The result is tools/tests/cli/input_matrix/celltypist.tsv.
"""

import logging
import os
import pathlib
import re
import subprocess
import tempfile

import anndata
import celltypist
import numpy as np
import pandas as pd
from celltypist.logger import logger

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULT = ROOT / "tools/tests/cli/input_matrix/celltypist.tsv. An exception ends its command with the exit code 1.
VERSION = "1.7.1"
# Rows about what it takes in another form, or not at all.
OTHERWISE = ("`features.tsv`", "`barcodes.tsv`", "a folder", "an empty folder", "the folder of a run",
             "files with a prefix", "the model instead")
SOUND = {"Counts": "counts, to a model of counts", "Log1p": "log1p of 10,000, to a model of that"}


class Warnings(logging.Handler):
    """Collects what CellTypist warns of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def export(folder):
    """The files of all rows, written by the test that owns them: number, model, arguments, name."""
    command = ["cargo", "test", "-p", "cic-tools", "--test", "cli", "--", "input_matrix::export"]
    environment = dict(os.environ, CIC_INPUT_MATRIX_FILES=str(folder))
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    lines = (folder / "rows.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines]


def in_its_form(folder, model, args):
    """The file and the options for CellTypist; None where the row is not about such a file."""
    words = args.split()
    if model not in SOUND or any(word.startswith("--") for word in words):
        return None
    path = folder / words[0]
    if path.is_dir() and (path / "matrix.mtx").exists():
        features = (path / "features.tsv").read_text(encoding="utf-8-sig", errors="surrogateescape")
        names = [line.split("\t")[1 if "\t" in line else 0] for line in features.splitlines()]
        genes, cells = folder / "genes.txt", folder / "cells.txt"
        genes.write_text("\n".join(names) + "\n", errors="surrogateescape")
        cells.write_bytes((path / "barcodes.tsv").read_bytes())
        return str(path / "matrix.mtx"), dict(
            transpose_input=True, gene_file=str(genes), cell_file=str(cells))
    if path.is_dir() and (path / "matrix.mtx.gz").exists():
        genes, cells = folder / "genes.txt", path / "barcodes.tsv"
        features = (path / "features.tsv").read_text()
        genes.write_text("".join(line.split("\t")[1] + "\n" for line in features.splitlines()))
        return str(path / "matrix.mtx.gz"), dict(
            transpose_input=True, gene_file=str(genes), cell_file=str(cells))
    if path.suffix == ".tsv":
        data = path.read_bytes()
        if b"\t" not in data.split(b"\n")[0]:
            # It goes by the name.
            path = path.rename(path.with_suffix(".csv"))
        is_by_gene = data.lstrip(b"\xef\xbb\xbf\"").startswith(b"gene") or data.startswith(b"\x1f\x8b")
        return str(path), dict(transpose_input=is_by_gene)
    if path.suffix == ".h5ad" and path.exists() and path.stat().st_size > 4096:
        if model == "Log1p":
            return str(path), {}
        try:
            data = anndata.read_h5ad(path)
        except Exception:  # no AnnData at all: given as it is
            return str(path), {}
        if data.X is None:
            return str(path), {}
        dense = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
        table = folder / "as_text.csv"
        pd.DataFrame(dense, index=data.obs_names, columns=data.var_names).to_csv(table)
        return str(table), {}
    return str(path), {}


def annotate(model, given):
    """Labels and warnings, or the error."""
    warnings = Warnings()
    logger.addHandler(warnings)
    try:
        result = celltypist.annotate(given[0], model=model, **given[1])
        return list(result.predicted_labels["predicted_labels"].astype(str)), warnings.texts
    except Exception as error:
        first = re.sub(r"\S*/\d+/", "", (str(error).strip().splitlines() or [""])[0])
        return f"{type(error).__name__}: {first}".removesuffix(": "), []
    finally:
        logger.removeHandler(warnings)


def in_words(found, warned, sound):
    if isinstance(found, str):
        text = found.replace("🛑 ", "").replace("\t", " ")[:160]
        return f"exit code 1, `` {text} ``" if "`" in text else f"exit code 1, `{text}`"
    same = sum(a == b for a, b in zip(found, sound))
    text = f"exit code 0, labels all {len(found)} cells"
    if len(found) == len(sound):
        text += ", as in the sound file" if same == len(sound) else f", {same} as in the sound file"
    return text + (", with a warning" if warned else "")


def main():
    assert celltypist.__version__ == VERSION, celltypist.__version__
    logger.setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        rows = export(folder)
        train = anndata.read_h5ad(folder / "train.h5ad")
        model = celltypist.train(train, labels="cell_type", check_expression=False)
        given = {}
        for number, kind, args, name in rows:
            if name.startswith(OTHERWISE):
                continue
            form = in_its_form(folder / number, kind, args)
            if form:
                given[name] = (kind, form)
        sound = {kind: annotate(model, given[name][1])[0] for kind, name in SOUND.items()}
        lines = []
        for name, (kind, form) in given.items():
            found, warned = annotate(model, form)
            lines.append(f"{name}\t{in_words(found, warned, sound[kind])}\n")
            print(lines[-1], end="", flush=True)
    RESULT.write_text("".join(lines))


if __name__ == "__main__":
    main()
