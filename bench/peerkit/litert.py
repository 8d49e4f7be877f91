"""LiteRT with XNNPACK, on a flatbuffer that is written here."""

import time

import numpy as np


def ranges(shape, layers, calibration):
    """Scale and zero point of the input and of the output of every layer, for int8."""
    from .case import forward

    def of(values):
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        scale = (high - low) / 255
        return scale, int(round(-128 - low / scale))

    found = [of(calibration)]
    forward(shape, layers, calibration, lambda _, values: found.append(of(values)))
    return found


def flatbuffer(shape, layers, n_rows, quantisation=None):
    """The chain for a batch of this size; int8 between its ends where `quantisation` is given."""
    writer = _Writer()
    from ai_edge_litert import schema_py_generated as schema

    op, kind, option = schema.BuiltinOperator, schema.TensorType, schema.BuiltinOptions
    is_int8 = quantisation is not None
    inner = kind.INT8 if is_int8 else kind.FLOAT32
    first = value = writer.tensor("x", (n_rows, shape.dims[0]), kind.FLOAT32)
    if is_int8:
        value = writer.tensor("x int8", (n_rows, shape.dims[0]), inner, scales=quantisation[0])
        writer.operator(op.QUANTIZE, [first], value, option.QuantizeOptions,
                        schema.QuantizeOptionsT())
    for at, layer in enumerate(layers):
        given = quantisation[at] if is_int8 else None
        weights, bias = _constants(writer, kind, at, layer, given)
        scales = quantisation[at + 1] if is_int8 else None
        out = writer.tensor(f"out{at}", (n_rows, shape.dims[at + 1]), inner, scales=scales)
        settings = schema.FullyConnectedOptionsT()
        activation = schema.ActivationFunctionType
        settings.fusedActivationFunction = (
            activation.NONE if shape.is_linear(at) else activation.RELU)
        writer.operator(op.FULLY_CONNECTED, [value, weights, bias], out,
                        option.FullyConnectedOptions, settings, version=5 if is_int8 else 1)
        value = out
    if is_int8:
        out = writer.tensor("logits", (n_rows, shape.dims[-1]), kind.FLOAT32)
        writer.operator(op.DEQUANTIZE, [value], out, option.DequantizeOptions,
                        schema.DequantizeOptionsT(), version=2)
        value = out
    out = writer.tensor("y", (n_rows, shape.dims[-1]), kind.FLOAT32)
    settings = schema.SoftmaxOptionsT()
    settings.beta = 1.0
    writer.operator(op.SOFTMAX, [value], out, option.SoftmaxOptions, settings)
    return writer.finish(first, out)


def _constants(writer, kind, at, layer, given):
    """Weights `[out, in]` and bias, in int8 with a scale per output where `given` is."""
    weights = np.ascontiguousarray(layer.weights.T)
    if given is None:
        return (writer.tensor(f"w{at}", weights.shape, kind.FLOAT32, weights),
                writer.tensor(f"b{at}", layer.bias.shape, kind.FLOAT32, layer.bias))
    scale = np.maximum(np.abs(weights).max(axis=1), 1e-9) / 127
    zero = np.zeros(len(scale), np.int64)
    levels = np.rint(weights / scale[:, None]).astype(np.int8)
    bias = np.rint(layer.bias / (scale * given[0])).astype(np.int32)
    return (writer.tensor(f"w{at}", levels.shape, kind.INT8, levels, (scale, zero)),
            writer.tensor(f"b{at}", bias.shape, kind.INT32, bias, (scale * given[0], zero)))


def litert(blob, inputs, threads):
    """A runner on LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    start = time.perf_counter()
    interpreter = Interpreter(model_content=blob, num_threads=threads)
    interpreter.allocate_tensors()
    into = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]

    def call(i):
        interpreter.set_tensor(into, inputs[i])
        interpreter.invoke()

    def result(i):
        call(i)
        return interpreter.get_tensor(out)

    result(0)
    return call, result, (time.perf_counter() - start) * 1e3


class _Writer:
    """Collects tensors and operators of the one graph."""

    def __init__(self):
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.buffers, self.tensors, self.operators = [schema.BufferT()], [], []
        self.codes = {}

    def tensor(self, name, shape, kind, data=None, scales=None):
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), kind
        tensor.buffer = 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scales is not None:
            quantisation = self.schema.QuantizationParametersT()
            quantisation.scale = np.atleast_1d(scales[0]).astype(float).tolist()
            quantisation.zeroPoint = np.atleast_1d(scales[1]).astype(int).tolist()
            quantisation.quantizedDimension = 0
            tensor.quantization = quantisation
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code, inputs, output, option_kind, options, version=1):
        operator = self.schema.OperatorT()
        at, _ = self.codes.setdefault(code, (len(self.codes), version))
        operator.opcodeIndex, operator.inputs, operator.outputs = at, inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = option_kind, options
        self.operators.append(operator)

    def finish(self, first, last):
        import flatbuffers

        graph = self.schema.SubGraphT()
        graph.name, graph.inputs, graph.outputs = b"main", [first], [last]
        graph.tensors, graph.operators = self.tensors, self.operators
        model = self.schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for code, (_, version) in sorted(self.codes.items(), key=lambda item: item[1][0]):
            entry = self.schema.OperatorCodeT()
            entry.builtinCode, entry.version = code, version
            entry.deprecatedBuiltinCode = min(code, 127)
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
