"""Models of CellTypist and what CellTypist gives for them; and pickles that must be refused.

    python3 -m venv V; V/bin/pip install celltypist==1.7.1 'scikit-learn<1.8' 'numpy>=2'
    V/bin/python tools/quant/tests/celltypist/make.py
    python3 -m venv W; W/bin/pip install 'scikit-learn<1.5' 'numpy<2'
    W/bin/python tools/quant/tests/celltypist/make.py numpy1

All data are simulated here. Beside each NAME.pkl of `read` that is no other form of another one lies NAME.json: genes,
classes, network inputs and the decision values and labels of CellTypist (of scikit-learn for `numpy1`). `cells.csv` are counts
of cells that `lr.pkl` was not trained on, with more genes than it reads; their labels are in `lr.json`. `refused` has pickles that are
written instruction by instruction; tests/celltypist.rs says what each must be refused for. They name functions that would do
something if anything were ever loaded: do not open them with Python's pickle.
"""

import copy
import json
import os
import pickle
import struct
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
READ, REFUSED = os.path.join(HERE, "read"), os.path.join(HERE, "refused")
GENES, CLASSES, TRAINED, TESTED = 60, 4, 600, 100
rng = np.random.default_rng(11)
NAMES = [f"GENE{g}" for g in range(GENES)]
RATES = rng.lognormal(-1.5, 1.5, (1, GENES)) * rng.lognormal(0, 0.9, (CLASSES, GENES))
# These tell nothing of the type, and half of what is counted is theirs.
RATES[:, 45:] = 3
# These are of one type each and so rare that one count is more than ten standard deviations.
RATES[:, 5:25] = 0
RATES[np.arange(5, 25) % CLASSES, np.arange(5, 25)] = 0.03


def cells(n, classes=CLASSES):
    types = rng.integers(0, classes, n)
    depth = rng.lognormal(0, 0.6, (n, 1))
    counts = rng.poisson(RATES[types] * depth)
    counts[:, 0] += 1  # No cell is empty.
    return counts, np.array([f"type {t}" for t in types])


def log1p(counts):
    return np.log1p(counts / counts.sum(1, keepdims=True) * 1e4).astype(np.float32)


def write(name, obj, protocol=4):
    with open(os.path.join(READ, name + ".pkl"), "wb") as file:
        pickle.dump(obj, file, protocol=protocol)


def keep(name, genes, classes, inputs, decision, labels, **more):
    golden = {"genes": list(genes), "classes": [str(c) for c in classes],
              "inputs": np.asarray(inputs, float).tolist(),
              "decision": np.asarray(decision, float).tolist(), "labels": [str(l) for l in labels], **more}
    with open(os.path.join(READ, name + ".json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")


def models():
    import celltypist
    from anndata import AnnData

    def data(counts):
        adata = AnnData(log1p(counts))
        adata.var_names = NAMES
        return adata

    def annotated(model, name, counts, lacking=()):
        whole = data(counts)
        result = celltypist.annotate(whole[:, [n not in lacking for n in NAMES]].copy(), model=model)
        at = [NAMES.index(gene) for gene in model.features]
        inputs = whole.X[:, at]
        z = (inputs - (model.scaler.mean_ if model.scaler.with_mean else 0)) / model.scaler.scale_
        # Six cells of which most is cut off, six others.
        rows = np.argsort(-(z > 10).sum(1), kind="stable")[:6].tolist() + list(range(6))
        assert ((z[rows] > 10).any(1)).sum() >= 3, f"{name}: little is cut off"
        return (model.features, model.cell_types, inputs[rows],
                result.decision_matrix.values[rows], result.predicted_labels.predicted_labels.values)

    tested, _ = cells(TESTED)
    with open(os.path.join(HERE, "cells.csv"), "w") as file:
        file.write("," + ",".join(NAMES) + "\n")
        for number, row in enumerate(tested):
            file.write(f"cell{number}," + ",".join(map(str, row)) + "\n")
    counts, labels = cells(TRAINED)
    for name, options in {
        "lr": dict(feature_selection=True, top_genes=15, random_state=1),
        "lr-nomean": dict(with_mean=False),
        "sgd": dict(use_SGD=True, random_state=1),
    }.items():
        model = celltypist.train(data(counts), labels=labels, n_jobs=1, **options)
        obj = dict(Model=model.classifier, Scaler_=model.scaler, description=model.description)
        model.description["date"] = "made by make.py"
        write(name, obj)
        more = {}
        if name == "lr":
            lacking = [gene for gene in model.features if gene != "GENE0"][::5]
            more = {"lacking": lacking, "decision_lacking": annotated(model, name, tested, lacking=lacking)[3].tolist()}
            for protocol in (2, 3, 5):
                write(f"lr-protocol{protocol}", obj, protocol)
            other = copy.deepcopy(obj)
            other["Model"].coef_ = np.asfortranarray(other["Model"].coef_)
            other["Model"].classes_ = np.array([str(c) for c in other["Model"].classes_], dtype=object)
            other["Model"].features = np.array(list(map(str, other["Model"].features)))
            other["Scaler_"].mean_ = other["Scaler_"].mean_.astype(">f8")
            for protocol in (4, 5):
                write(f"lr-layout{protocol}", other, protocol)
        keep(name, *annotated(model, name, tested), **more)
    two, labels = cells(TRAINED, 2)
    model = celltypist.train(data(two), labels=np.array([int(l[-1]) for l in labels]), n_jobs=1)
    write("lr-two", dict(Model=model.classifier, Scaler_=model.scaler, description=model.description))
    keep("lr-two", *annotated(model, "lr-two", tested))


def numpy1():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    assert np.__version__ < "2"
    counts, labels = cells(TRAINED)
    x = log1p(counts)
    scaler = StandardScaler()
    z = np.minimum(scaler.fit_transform(x), 10)
    classifier = LogisticRegression(multi_class="ovr", max_iter=1000).fit(z, labels)
    classifier.features = np.array(NAMES, dtype=object)
    tested = log1p(cells(TESTED)[0])
    z = (tested - scaler.mean_) / scaler.scale_
    rows = np.argsort(-(z > 10).sum(1), kind="stable")[:12]
    assert (z[rows] > 10).any(1).sum() >= 3
    tested, scores = tested[rows], classifier.decision_function(np.minimum(z[rows], 10))
    obj = dict(Model=classifier, Scaler_=scaler, description={"date": "", "number_celltypes": CLASSES})
    for protocol in (2, 3, 4, 5):
        write("numpy1" if protocol == 4 else f"numpy1-protocol{protocol}", obj, protocol)
    keep("numpy1", NAMES, classifier.classes_, tested, scores, classifier.classes_[scores.argmax(1)])


# --- pickles that are refused, instruction by instruction ---

def text(s):
    return b"X" + struct.pack("<I", len(s.encode())) + s.encode()


def integer(i):
    return b"\x8a\x08" + struct.pack("<q", i)


def tuple_(*items):
    return b"(" + b"".join(items) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def call(function, *arguments):
    return function + tuple_(*arguments) + b"R"


def dtype(code, order="<"):
    none = b"N"
    state = tuple_(integer(3), text(order), none, none, none, integer(-1), integer(-1), integer(0))
    return call(named("numpy", "dtype"), text(code), b"\x89", b"\x88") + state + b"b"


def array(shape, items, code="f8"):
    """`items`: bytes, or a list of pickled values."""
    if isinstance(items, list):
        items = b"](" + b"".join(items) + b"e"
    elif not items.startswith(b"\x8e"):
        items = b"B" + struct.pack("<I", len(items)) + items
    made = call(named("numpy.core.multiarray", "_reconstruct"), named("numpy", "ndarray"),
                tuple_(integer(0)), b"C\x01b")
    state = tuple_(integer(1), tuple_(*map(integer, shape)), dtype(code), b"\x89", items)
    return made + state + b"b"


def numbers(*values):
    return struct.pack(f"<{len(values)}d", *values)


def dictionary(pairs):
    return b"}(" + b"".join(text(key) + value for key, value in pairs.items()) + b"u"


def made(module, name, state):
    return named(module, name) + b")\x81" + dictionary(state) + b"b"


def model(classifier=(), scaler=(), root=(), name="LogisticRegression"):
    """A model of three types and two genes, with some parts replaced; `None` leaves one out."""
    of = lambda base, other: {k: v for k, v in {**base, **dict(other)}.items() if v is not None}
    classifier = of({
        "classes_": array([3], [text("a"), text("b"), text("c")], "O"),
        "features": array([2], [text("A"), text("B")], "O"),
        "coef_": array([3, 2], numbers(1, 2, 3, 4, 5, 6)),
        "intercept_": array([3], numbers(0, 0, 0)),
    }, classifier)
    scaler = of({"with_mean": b"\x88", "mean_": array([2], numbers(1, 1)), "scale_": array([2], numbers(1, 1))}, scaler)
    return dictionary(of({
        "Model": made("sklearn.linear_model._logistic", name, classifier),
        "Scaler_": made("sklearn.preprocessing._data", "StandardScaler", scaler),
        "description": b"}",
    }, root))


def refused():
    whole = b"\x80\x04" + model() + b"."
    coef = lambda shape, items, code="f8": model({"coef_": array(shape, items, code)})
    huge = b"\x8e" + struct.pack("<Q", 1 << 60)
    bodies = {
        "os-system": call(named("os", "system"), text("touch /tmp/pickled")),
        "builtins-eval": text("builtins") + text("eval") + b"\x93" + tuple_(text("1")) + b"R",
        "getattr": call(named("builtins", "getattr"), text("a"), text("b")),
        "import-in-state": model({"n_jobs": call(named("subprocess", "Popen"), text("true"))}),
        "random-state": model({"random_state": call(named("numpy.random._pickle", "__randomstate_ctor"), text("MT19937"))}),
        "other-classifier": model(name="LogisticRegressionCV"),
        "submodule": named("numpy", "ndarray.tofile") + b"0" + model(),
        "dataframe": model({"features": call(named("pandas.core.indexes.base", "_new_Index"), text("A"))}),
        "persistent-id": text("id") + b"Q",
        "extension-code": b"\x82\x01",
        "out-of-band": b"\x97",
        "text-integer": b"I1\n",
        "set": b"\x8f",
        "deep-tuples": b"N" + b"\x85" * 10_000,
        "deep-lists": b"]" * 10_000 + b"a" * 9_999,
        "deep-marks": b"(" * 10_000,
        "deep-states": (named("sklearn.preprocessing._data", "StandardScaler") + b")\x81") * 50 + b"b" * 49,
        "cycle": b"]q\x00h\x00a",
        "missing-mark": b"Nt",
        "missing-value": b"\x85",
        "below-mark": b"N(\x85",
        "missing-memory": b"h\x07",
        "append-to-text": text("a") + b"Na",
        "set-in-list": b"]NNs",
        "odd-pairs": b"}(Nu",
        "call-of-text": text("a") + b")R",
        "call-without-tuple": named("numpy", "dtype") + b"NR",
        "state-of-list": b"]Nb",
        "state-twice": made("sklearn.preprocessing._data", "StandardScaler", {}) + b"}b",
        "name-of-number": b"NN\x93",
        "not-utf8": b"X\x02\x00\x00\x00\xff\xfe",
        "not-latin1": call(named("_codecs", "encode"), text("\u4e2d"), text("latin1")),
        "other-codec": call(named("_codecs", "encode"), text("a"), text("rot13")),
        "huge-text": b"X\xff\xff\xff\xff",
        "huge-bytes": huge,
        "huge-integer": b"\x8b\xff\xff\xff\x7f",
        "list": b"]",
        "no-model": model(root={"Model": None}),
        "no-scaler": model(root={"Scaler_": None}),
        "scaler-of-another-class": model(root={"Scaler_": made("sklearn.linear_model._logistic", "LogisticRegression", {})}),
        "model-without-state": model(root={"Model": named("sklearn.linear_model._logistic", "LogisticRegression") + b")\x81"}),
        "no-features": model({"features": None}),
        "no-coefficients": model({"coef_": None}),
        "coefficients-in-list": model({"coef_": b"]"}),
        "coefficients-as-text": model({"coef_": array([3, 2], [text("1")] * 6, "O")}),
        "array-without-state": model({"coef_": call(named("numpy.core.multiarray", "_reconstruct"), b"N")}),
        "array-of-scaler": model({"coef_": made("sklearn.preprocessing._data", "StandardScaler", {})}),
        "huge-shape": coef([1 << 40, 1 << 40], numbers(1)),
        "large-shape": coef([1 << 30, 2], numbers(1)),
        "empty-shape": coef([1 << 40, 0], b""),
        "negative-shape": coef([-3, 2], numbers(1, 2, 3, 4, 5, 6)),
        "three-dimensions": coef([3, 2, 1], numbers(1, 2, 3, 4, 5, 6)),
        "other-shape": coef([2, 3], numbers(1, 2, 3, 4, 5, 6)),
        "short-data": coef([3, 2], numbers(1, 2, 3, 4, 5)),
        "long-data": coef([3, 2], numbers(1, 2, 3, 4, 5, 6, 7)),
        "complex": coef([3, 2], numbers(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6), "c16"),
        "times": coef([3, 2], numbers(1, 2, 3, 4, 5, 6), "M8"),
        "void": coef([3, 2], numbers(1, 2, 3, 4, 5, 6), "V8"),
        "empty-texts": model({"features": array([2], b"", "U0")}),
        "huge-texts": model({"features": array([2], b"", "U4611686018427387904")}),
        "no-letters": model({"features": array([2], b"\xff" * 8, "U1")}),
        "not-finite": coef([3, 2], numbers(1, 2, float("nan"), 4, 5, 6)),
        "intercepts": model({"intercept_": array([2], numbers(0, 0))}),
        "zero-scale": model(scaler={"scale_": array([2], numbers(1, 0))}),
        "infinite-scale": model(scaler={"scale_": array([2], numbers(1, float("inf")))}),
        "short-means": model(scaler={"mean_": array([1], numbers(1))}),
        "no-means": model(scaler={"mean_": None}),
        "with-mean": model(scaler={"with_mean": b"N"}),
        "one-class": model({"classes_": array([1], [text("a")], "O"), "coef_": array([1, 2], numbers(1, 2)),
                            "intercept_": array([1], numbers(0))}),
        "gene-twice": model({"features": array([2], [text("A"), text("A")], "O")}),
        "nameless-class": model({"classes_": array([3], [text("a"), text(""), text("c")], "O")}),
        "class-in-list": model({"classes_": array([3], [text("a"), b"]", text("c")], "O")}),
        "many-classes": model({"classes_": array([3000], np.arange(3000.0).tobytes()),
                               "features": array([1], [text("A")], "O")}),
        "long-names": text("x" * 100_000) + b"q\x000" + model({"features": array([2000], [b"h\x00"] * 2000, "O")}),
    }
    files = {name: b"\x80\x04" + body + b"." for name, body in bodies.items()}
    files["truncated"] = whole[: len(whole) // 2]
    files["no-end"] = whole[:-1]
    files["protocol-0"] = b"(dp0\nVModel\np1\nNs."
    files["protocol-6"] = b"\x80\x06" + whole[2:]
    files["no-pickle"] = b"PK\x03\x04 this is a zip archive"
    files["empty"] = b""
    for name, data in files.items():
        with open(os.path.join(REFUSED, name + ".pkl"), "wb") as file:
            file.write(data)
    write_whole = os.path.join(READ, "by-hand.pkl")
    with open(write_whole, "wb") as file:
        file.write(whole)
    inputs = np.array([[0.5, 2.0], [12.0, 0.0]])
    z = np.minimum(inputs - 1, 10)
    decision = z @ np.array([[1, 3, 5], [2, 4, 6]])
    keep("by-hand", "AB", "abc", inputs, decision, ["abc"[k] for k in decision.argmax(1)])


if __name__ == "__main__":
    os.makedirs(READ, exist_ok=True)
    os.makedirs(REFUSED, exist_ok=True)
    if sys.argv[1:] == ["numpy1"]:
        numpy1()
    else:
        models()
        refused()
