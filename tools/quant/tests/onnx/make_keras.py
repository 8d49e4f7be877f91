"""ONNX files that Keras exports; after make.py, which empties the folder.

    python3 -m venv V; V/bin/pip install tensorflow-cpu tf2onnx onnxruntime 'numpy<2'
    V/bin/python tools/quant/tests/onnx/make_keras.py
"""

import json
import os

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
import keras
import numpy as np
import onnx
import onnxruntime

READ = os.path.join(os.path.dirname(os.path.abspath(__file__)), "read")
with open(os.path.join(READ, "hand-code.json")) as file:
    INPUT = np.asarray(json.load(file)["input"], dtype=np.float32)
keras.utils.set_random_seed(7)
layers = keras.layers


def keep(name, *stack):
    net = keras.Sequential([layers.Input((INPUT.shape[1],)), *stack])
    net.compile(loss="mse")
    rng = np.random.default_rng(7)  # moves the means of normalisation
    net.fit(INPUT, rng.random((len(INPUT), net.output_shape[1])), epochs=5, verbose=0)
    path = os.path.join(READ, name + ".onnx")
    net.export(path, format="onnx", verbose=False, opset_version=17)
    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("doc_string")
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path)
    values = session.run(None, {session.get_inputs()[0].name: INPUT})[0]
    if values.shape[1] == 1:
        values = np.concatenate([1 - values, values], axis=1)
    with open(os.path.join(READ, name + ".json"), "w") as file:
        golden = {"input": INPUT.astype(float).tolist(), "gives": "probabilities", "values": values.astype(float).tolist()}
        json.dump(golden, file)
        file.write("\n")


keep(
    "keras-norm",
    layers.Dense(8),
    layers.BatchNormalization(),
    layers.Activation("relu"),
    layers.Dropout(0.2),
    layers.Dense(5, activation="tanh"),
    layers.Dense(4, activation="softmax"),
)
keep("keras-two", layers.Rescaling(0.5, offset=-0.2), layers.Dense(6, activation="softplus"), layers.Dense(1, activation="sigmoid"))
