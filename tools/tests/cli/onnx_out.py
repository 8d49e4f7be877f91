"""Runs an int8 model as ONNX in onnxruntime on the cells of a file that cic type wrote with the same model.

    onnx_out.py MODEL.onnx TYPED.h5ad        prints what differs, as JSON
"""

import json
import re
import sys

import anndata
import numpy
import onnxruntime
import scipy.sparse


def network_inputs(cells, properties):
    """What the property preprocessing says, of the genes of the panel."""
    names = [list(cells.var_names)] + [list(cells.var[column].astype(str)) for column in cells.var]
    places = {}
    for name, column in ((name, column) for of in names for column, name in enumerate(of)):
        places.setdefault(name, column)
    columns = [places[gene] for gene in properties["genes"].split("\n")]
    every = scipy.sparse.csr_matrix(cells.X)
    values = every[:, columns].toarray().astype("float64")
    how = properties["preprocessing"]
    if how.endswith("values as they are"):
        return values.astype("float32")
    scaled = re.search(r"ln\(1 \+ value \* (\d+) / sum over (.*)\)", how)
    panel = scaled[2] == "the genes of the panel"
    library = values.sum(axis=1) if panel else numpy.asarray(every.sum(axis=1)).ravel()
    return numpy.log1p(values * int(scaled[1]) / library[:, None]).astype("float32")


def main(model, typed):
    session = onnxruntime.InferenceSession(model)
    properties = session.get_modelmeta().custom_metadata_map
    cells = anndata.read_h5ad(typed)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"x": network_inputs(cells, properties)})))
    labels = numpy.array(properties["labels"].split("\n"))[found["logits"].argmax(axis=1)]
    codes = cells.obsm["X_cic"]
    off = numpy.abs(found["code"] - codes)
    # Codes are multiples of a unit: those that differ by less than any unit are the same.
    print(
        json.dumps(
            {
                "n_cells": cells.n_obs,
                "n_same_label": int((labels == cells.obs["cic_best_guess"].astype(str)).sum()),
                "share_of_codes_off": float((off > 1e-5).mean()),
                "largest_code_off": float((off / codes.std(axis=0)).max()),
                "share_sum_off": float(numpy.abs(found["probabilities"].sum(axis=1) - 1).max()),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
