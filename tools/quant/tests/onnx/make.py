"""ONNX files of several producers, and what onnxruntime gives for them; and files that must be refused.

    python3 -m venv V; V/bin/pip install onnx onnxruntime onnxscript skl2onnx scikit-learn torch
    V/bin/python tools/quant/tests/onnx/make.py

Beside each NAME.onnx of `read` lies NAME.json: inputs, and the scores, probabilities or labels of onnxruntime. `refused` has no
such files; tests/onnx.rs says what each must be refused for.
"""

import json
import os
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
READ, REFUSED = os.path.join(HERE, "read"), os.path.join(HERE, "refused")
GENES, CLASSES = 12, 4
rng = np.random.default_rng(7)
torch.manual_seed(7)
X = rng.poisson(1.0, (60, GENES)).astype(np.float32)
Y = (X[:, 0] + 2 * X[:, 1] - X[:, 2]).astype(int) % CLASSES
INPUT = np.log1p(rng.poisson(1.5, (6, GENES))).astype(np.float32)


def keep(name, gives, output=0):
    """Runs the file and writes what it `gives`: scores, probabilities or labels."""
    session = onnxruntime.InferenceSession(os.path.join(READ, name + ".onnx"))
    values = session.run(None, {session.get_inputs()[0].name: INPUT})[output]
    if isinstance(values, list):  # ZipMap
        values = [[row[key] for key in row] for row in values]
    values = np.asarray(values)
    values = values.tolist() if gives == "labels" else values.astype(float).tolist()
    with open(os.path.join(READ, name + ".json"), "w") as file:
        json.dump({"input": INPUT.astype(float).tolist(), "gives": gives, "values": values}, file)
        file.write("\n")


def save(folder, name, model):
    onnx.save(model, os.path.join(folder, name + ".onnx"))


def make(folder, name, nodes, constants, outputs=("y",), inputs=(("x", ["n", GENES]),), opset=17, **more):
    """A graph by hand."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, producer_name="by hand", opset_imports=sets, ir_version=8, **more)
    save(folder, name, model)
    return model


def weights(rows, columns, dtype=np.float32):
    return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(dtype)


def bias(n, dtype=np.float32):
    return (0.3 * rng.standard_normal(n)).astype(dtype)


N = helper.make_node


def torch_net(*hidden, norm=False, dropout=False):
    layers, width = [], GENES
    for units, activation in hidden:
        layers.append(torch.nn.Linear(width, units))
        if norm:
            layers.append(torch.nn.BatchNorm1d(units))
        layers.append(activation)
        if dropout:
            layers.append(torch.nn.Dropout(0.3))
        width = units
    net = torch.nn.Sequential(*layers, torch.nn.Linear(width, CLASSES))
    with torch.no_grad():
        for _ in range(20):  # moves the means of normalisation
            net(torch.from_numpy(X))
    return net.eval()


def torch_file(name, net, **options):
    path = os.path.join(READ, name + ".onnx")
    torch.onnx.export(net, (torch.from_numpy(INPUT),), path, **options)
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:  # where in which source it stood
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    keep(name, "scores")


def with_torch():
    n = torch.nn
    legacy = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    torch_file("torch-legacy-relu", torch_net((8, n.ReLU()), (5, n.ReLU())), **legacy)
    torch_file("torch-legacy-norm", torch_net((8, n.ReLU()), (5, n.Tanh()), norm=True, dropout=True), **legacy)
    torch_file("torch-legacy-logsigmoid", torch_net((8, n.LogSigmoid()), (5, n.Softplus())), **legacy)
    torch_file("torch-legacy-softshrink", torch_net((8, n.Softshrink()), (5, n.Sigmoid())), **legacy)
    dynamo = {"dynamo": True, "external_data": False, "verbose": False}
    torch_file("torch-dynamo-relu", torch_net((8, n.ReLU()), (5, n.Identity())), **dynamo)
    torch_file("torch-dynamo-norm", torch_net((8, n.Sigmoid()), (5, n.ReLU()), norm=True), **dynamo)
    torch_file("torch-dynamo-logsigmoid", torch_net((8, n.LogSigmoid()), (5, n.Softplus())), **dynamo)
    torch_file("torch-dynamo-softshrink", torch_net((8, n.Softshrink())), **dynamo)
    batch = {0: torch.export.Dim("batch")}
    torch_file("torch-dynamo-batch", torch_net((8, n.Tanh())), dynamic_shapes=(batch,), **dynamo)
    torch_file("torch-dynamo-external", torch_net((40, n.ReLU())), **(dynamo | {"external_data": True}))


def with_sklearn():
    names = np.array(["B cell", "T cell", "NK", "Mono"])

    def file(name, model, gives, output, zipmap=False, y=names[Y]):
        model.fit(X, y)
        last = model[-1] if hasattr(model, "steps") else model
        options = {} if isinstance(last, LinearSVC) else {"zipmap": zipmap}
        converted = to_onnx(
            model, initial_types=[("X", FloatTensorType([None, GENES]))], options={id(last): options}, target_opset=17
        )
        save(READ, name, converted)
        keep(name, gives, output)

    net = {"hidden_layer_sizes": (9, 5), "max_iter": 60, "random_state": 1}
    file("sklearn-mlp", MLPClassifier(**net), "probabilities", 1)
    file("sklearn-mlp-tanh", MLPClassifier(activation="tanh", **net), "probabilities", 1)
    file("sklearn-mlp-two", MLPClassifier(activation="logistic", **net), "probabilities", 1, y=Y > 1)
    file("sklearn-scaler-mlp", make_pipeline(StandardScaler(), MLPClassifier(**net)), "probabilities", 1)
    file("sklearn-logistic", LogisticRegression(), "probabilities", 1)
    file("sklearn-logistic-zipmap", LogisticRegression(), "probabilities", 1, zipmap=True)
    file("sklearn-logistic-two", LogisticRegression(), "probabilities", 1, y=names[Y // 2])
    file("sklearn-svc", LinearSVC(), "scores", 1)
    file("sklearn-svc-labels", make_pipeline(StandardScaler(), LinearSVC()), "labels", 0)


def by_hand():
    w1, b1, w2, b2 = weights(GENES, 8), bias(8), weights(8, CLASSES), bias(CLASSES)
    make(
        READ,
        "hand-everything",
        [
            N("Constant", [], ["one"], value_float=1.0),
            N("Sub", ["x", "mean"], ["centred"]),
            N("Div", ["centred", "sd"], ["scaled"]),
            N("MatMul", ["scaled", "w1"], ["h1"]),
            N("Add", ["b1", "h1"], ["h2"]),
            N("BatchNormalization", ["h2", "gamma", "beta", "mu", "var"], ["h3"], epsilon=0.01),
            N("Relu", ["h3"], ["h4"]),
            N("Mul", ["h4", "gain"], ["h5"]),
            N("Sub", ["one", "h5"], ["h6"]),
            N("Dropout", ["h6"], ["h7"]),
            N("Flatten", ["h7"], ["h8"], axis=1),
            N("Gemm", ["h8", "w2", "b2"], ["y"], alpha=0.5, beta=2.0),
            N("Softmax", ["y"], ["p"], axis=-1),
            N("ArgMax", ["y"], ["label"], axis=1),
        ],
        {
            "mean": X.mean(0),
            "sd": X.std(0) + np.float32(0.1),
            "w1": w1,
            "b1": b1,
            "gamma": 1 + bias(8),
            "beta": bias(8),
            "mu": bias(8),
            "var": np.exp(bias(8)),
            "gain": np.exp(bias(8)),
            "w2": w2,
            "b2": b2,
        },
    )
    keep("hand-everything", "scores")
    half = np.float16
    make(
        READ,
        "hand-half-transposed",
        [
            N("Cast", ["w1"], ["w1f"], to=TensorProto.FLOAT),
            N("Transpose", ["w1f"], ["w1t"], perm=[1, 0]),
            N("MatMul", ["x", "w1t"], ["h1"]),
            N("Tanh", ["h1"], ["h2"]),
            N("Reshape", ["h2", "shape"], ["h3"]),
            N("Gemm", ["h3", "w2"], ["y"], transB=1),
        ],
        {"w1": weights(8, GENES, half), "shape": np.array([-1, 8]), "w2": weights(CLASSES, 8)},
    )
    keep("hand-half-transposed", "scores")
    model = make(
        READ,
        "hand-code",
        [
            N("Gemm", ["x", "w1", "b1"], ["code"]),
            N("Softplus", ["code"], ["h"]),
            N("Gemm", ["h", "w2", "b2"], ["wide"]),
            N("Sigmoid", ["wide"], ["h2"]),
            N("Gemm", ["h2", "w3"], ["y"]),
        ],
        {"w1": weights(GENES, 6), "b1": bias(6), "w2": weights(6, 5), "b2": bias(5), "w3": weights(5, CLASSES)},
        outputs=("y", "code"),
    )
    for key, value in {
        "genes": "\n".join(f"G{gene}" for gene in range(GENES)),
        "labels": "a\nb\nc\nd",
    }.items():
        model.metadata_props.add(key=key, value=value)
    save(READ, "hand-code", model)
    keep("hand-code", "scores")


def refused():
    w, b = weights(GENES, CLASSES), bias(CLASSES)
    gemm = N("Gemm", ["x", "w", "b"], ["y"], name="fc")
    plain = {"w": w, "b": b}

    def one(name, *nodes, constants=plain, **options):
        return make(REFUSED, name, list(nodes), constants, **options)

    h = N("Gemm", ["x", "w", "b"], ["h"], name="fc")
    one("conv", h, N("Conv", ["h", "w"], ["y"], name="conv1"))
    one("leaky", h, N("LeakyRelu", ["h"], ["y"], name="act"))
    one("branch", h, N("Relu", ["h"], ["a"], name="left"), N("Tanh", ["h"], ["c"], name="right"), N("Add", ["a", "c"], ["y"]))
    one("attention", N("MatMul", ["x", "x"], ["y"], name="scores"))
    one("two-inputs", h, N("Add", ["h", "z"], ["y"]), inputs=(("x", ["n", GENES]), ("z", ["n", CLASSES])))
    one("loop", N("Add", ["x", "y2"], ["y1"], name="first"), N("Relu", ["y1"], ["y2"], name="second"), N("Gemm", ["y2", "w", "b"], ["y"]))
    one("written-twice", h, N("Relu", ["h"], ["y"]), N("Tanh", ["h"], ["y"]))
    one("custom", h, N("Magic", ["h"], ["y"], domain="com.example", name="spell"))
    one("relu-end", h, N("Relu", ["h"], ["y"]))
    one("integers", gemm, constants={"w": np.arange(GENES * CLASSES, dtype=np.int32).reshape(GENES, CLASSES), "b": b})
    one("misfit", gemm, constants={"w": weights(GENES + 1, CLASSES), "b": b})
    one("bias-misfit", gemm, constants={"w": w, "b": bias(CLASSES + 1)})
    one("not-finite", gemm, constants={"w": np.where(w == w[0, 0], np.float32(np.nan), w), "b": b})
    one("text", gemm, constants={"w": np.full((GENES, CLASSES), "x", dtype=object), "b": b})
    one("training", h, N("BatchNormalization", ["h", "b", "b", "b", "v"], ["y", "m", "s"], training_mode=1, name="norm"), constants=plain | {"v": np.exp(b)})
    one("softmax-batch", h, N("Softmax", ["h"], ["y"], axis=0, name="probabilities"))
    one("rounded", h, N("Cast", ["h"], ["i"], to=TensorProto.INT64, name="whole"), N("Add", ["i", "b"], ["y"]))
    one("weighted", h, N("Softmax", ["h"], ["p"], axis=-1), N("Mul", ["p", "b"], ["y"], name="priors"))
    narrow = {"w": weights(GENES, 1), "b": bias(1), "one": np.ones(1, np.float32)}
    two = (N("Sigmoid", ["h"], ["p"]), N("Sub", ["one", "p"], ["q"]))
    one("turned", h, *two, N("Concat", ["p", "q"], ["y"], axis=1, name="both"), constants=narrow)
    one("old", gemm, opset=6)
    ends = plain | {"zero": np.float32(0), "forty": np.float32(40), "v": weights(CLASSES, CLASSES)}
    clip = N("Clip", ["h", "zero", "forty"], ["a"], name="ceiling")
    one("clip-far", h, clip, N("Gemm", ["a", "v", "b"], ["y"]), constants=ends)
    large = {"w": w * np.float32(1e30), "b": b, "k": np.float32([1e30])}
    one("overflow", h, N("Mul", ["h", "k"], ["y"], name="scale"), constants=large)
    one("if", h, N("If", ["h"], ["y"], name="choice", then_branch=helper.make_graph([], "t", [], []), else_branch=helper.make_graph([], "e", [], [])))

    model = one("huge", gemm)
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
    save(REFUSED, "huge", model)
    model = one("short", gemm)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    save(REFUSED, "short", model)
    model = one("negative", gemm)
    model.graph.initializer[0].dims[:] = [-GENES, -CLASSES]
    save(REFUSED, "negative", model)

    def outside(name, location, **entries):
        model = one(name, gemm)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)
        with open(os.path.join(REFUSED, name + ".onnx"), "wb") as file:
            file.write(model.SerializeToString())

    outside("outside", "../make.py")
    outside("absolute", "/etc/passwd")
    outside("absent", "weights.bin")
    outside("beyond", "conv.onnx", offset="4000000000")
    with open(os.path.join(READ, "hand-code.onnx"), "rb") as whole, open(os.path.join(REFUSED, "cut.onnx"), "wb") as file:
        file.write(whole.read()[:-200])
    with open(os.path.join(REFUSED, "empty.onnx"), "wb"):
        pass
    with open(os.path.join(REFUSED, "text-file.onnx"), "w") as file:
        file.write("this is no model\n")


for folder in (READ, REFUSED):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
with_torch()
with_sklearn()
by_hand()
refused()
