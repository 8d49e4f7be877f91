"""ONNX Runtime and OpenVINO, on models that are made and quantised here."""

import time

import numpy as np


def write_models(folder, shape, layers, calibration):
    """Single precision, static int8 (QDQ) and dynamic int8; returns their paths."""
    import onnx
    from onnxruntime import quantization as quant

    paths = {name: folder / f"{name}.onnx" for name in ("f32", "matmul", "qdq", "dynamic")}
    onnx.save(_graph(shape, layers, is_gemm=True), paths["f32"])
    onnx.save(_graph(shape, layers, is_gemm=False), paths["matmul"])
    quant.quantize_static(
        paths["f32"], paths["qdq"], _reader(quant.CalibrationDataReader, calibration),
        quant_format=quant.QuantFormat.QDQ, per_channel=True,
        activation_type=quant.QuantType.QUInt8, weight_type=quant.QuantType.QInt8,
        calibrate_method=quant.CalibrationMethod.MinMax, op_types_to_quantize=["Gemm", "Relu"])
    quant.quantize_dynamic(
        paths["matmul"], paths["dynamic"], per_channel=True, weight_type=quant.QuantType.QInt8)
    return paths


def _graph(shape, layers, is_gemm):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    for at, layer in enumerate(layers):
        weights, bias, out = f"w{at}", f"b{at}", f"sum{at}"
        constants += [numpy_helper.from_array(layer.weights, weights),
                      numpy_helper.from_array(layer.bias, bias)]
        if is_gemm:
            nodes.append(helper.make_node("Gemm", [value, weights, bias], [out]))
        else:
            nodes.append(helper.make_node("MatMul", [value, weights], [f"product{at}"]))
            nodes.append(helper.make_node("Add", [f"product{at}", bias], [out]))
        value = out
        if not shape.is_linear(at):
            value = f"hidden{at}"
            nodes.append(helper.make_node("Relu", [out], [value]))
    nodes.append(helper.make_node("Softmax", [value], ["y"], axis=-1))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain", [tensor("x", TensorProto.FLOAT, ["batch", shape.dims[0]])],
        [tensor("y", TensorProto.FLOAT, ["batch", shape.dims[-1]])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def _reader(base, rows):
    class Reader(base):
        def __init__(self):
            self.parts = iter(np.array_split(rows, max(1, len(rows) // 32)))

        def get_next(self):
            part = next(self.parts, None)
            return None if part is None else {"x": part}

    return Reader()


def ort(path, inputs, threads):
    """A runner on ONNX Runtime; inputs are bound beforehand, which is its quickest way."""
    import onnxruntime

    start = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"])
    bindings = []
    for rows in inputs:
        binding = session.io_binding()
        binding.bind_cpu_input("x", rows)
        binding.bind_output("y")
        bindings.append(binding)
    run = session.run_with_iobinding

    def result(i):
        run(bindings[i])
        return bindings[i].copy_outputs_to_cpu()[0]

    result(0)
    return lambda i: run(bindings[i]), result, _ms_since(start)


def openvino(path, inputs, threads, precision=None):
    """A runner on OpenVINO with the batch compiled in; inputs are shared, not copied."""
    import openvino as ov

    start = time.perf_counter()
    core = ov.Core()
    model = core.read_model(str(path))
    model.reshape(list(inputs[0].shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    tensors = [ov.Tensor(rows, shared_memory=True) for rows in inputs]

    def call(i):
        request.set_input_tensor(tensors[i])
        request.infer()

    def result(i):
        call(i)
        return np.array(request.get_output_tensor().data)

    result(0)
    return call, result, _ms_since(start)


def _ms_since(start):
    return (time.perf_counter() - start) * 1e3
