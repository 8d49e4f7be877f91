"""The project's runtime, through the C interface of the library that cic-bench builds."""

import ctypes
import time

import numpy as np

STATUS = ("ok", "bad pointer", "bad shape", "not quantised", "not opened", "refused", "internal")
OPENINGS = ("open", "open_verified", "open_packed")


class Network(ctypes.Structure):
    _fields_ = [
        ("dims", ctypes.c_void_p), ("n_dims", ctypes.c_size_t), ("code_at", ctypes.c_size_t),
        ("parameters", ctypes.c_void_p), ("n_parameters", ctypes.c_size_t),
        ("calibration", ctypes.c_void_p), ("n_calibration", ctypes.c_size_t),
    ]


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_rows", ctypes.c_size_t), ("threads", ctypes.c_size_t),
        ("indptr", ctypes.c_void_p), ("indices", ctypes.c_void_p), ("values", ctypes.c_void_p),
        ("n_values", ctypes.c_size_t),
        ("probabilities", ctypes.c_void_p), ("codes", ctypes.c_void_p),
    ]


class Engine:
    """An int8 model of ours."""

    def __init__(self, library, shape, layers, calibration, threads):
        self.shape, self.threads = shape, threads
        self._library = ctypes.CDLL(str(library))
        self._library.cic_bench_isa.restype = ctypes.c_char_p
        self._library.cic_bench_model_len.restype = ctypes.c_size_t
        dims = np.array(shape.dims, np.uint32)
        parts = [part for layer in layers for part in (layer.weights.ravel(), layer.bias)]
        parameters = np.concatenate(parts)
        calibration = np.ascontiguousarray(calibration, np.float32)
        network = Network(
            dims.ctypes.data, len(dims), shape.code_at, parameters.ctypes.data, len(parameters),
            calibration.ctypes.data, len(calibration))
        self._engine = ctypes.c_void_p()
        made = self._library.cic_bench_new(ctypes.byref(network), ctypes.byref(self._engine))
        _check(made)
        # Passed on without a conversion.
        self._address = ctypes.byref(ctypes.c_char.from_address(self._engine.value))
        self._quick_library = ctypes.PyDLL(str(library))

    def _quick(self, name):
        """A function of the library as ctypes calls it quickest: the interpreter is not released, and
        nothing is returned."""
        function = self._quick_library[f"cic_bench_{name}"]
        function.restype = None
        return function

    def isa(self):
        return self._library.cic_bench_isa().decode()

    def model_len(self):
        return self._library.cic_bench_model_len(self._engine)

    def batches(self, inputs):
        """Descriptions of dense arrays or compressed matrices, and memory for their results. The
        descriptions hold addresses: the caller keeps inputs and results."""
        batches = (Batch * len(inputs))()
        results = []
        for batch, rows in zip(batches, inputs):
            result = np.zeros((rows.shape[0], self.shape.dims[-1]), np.float32)
            results.append(result)
            self._fill(batch, rows, result)
        return batches, results

    def _fill(self, batch, rows, result):
        batch.n_rows, batch.threads = rows.shape[0], self.threads
        batch.probabilities = result.ctypes.data
        if isinstance(rows, np.ndarray):
            batch.values, batch.n_values = rows.ctypes.data, rows.size
            return
        # Offsets and genes are not negative: their bits are those of unsigned numbers.
        assert rows.indptr.dtype == np.int32 and rows.indices.dtype == np.int32
        batch.indptr, batch.indices = rows.indptr.ctypes.data, rows.indices.ctypes.data
        batch.values, batch.n_values = rows.data.ctypes.data, rows.nnz

    def runner(self, batches, results):
        """A function that runs batch `i`, and one that also returns its probabilities."""
        checked, run, engine = self._library.cic_bench_run, self._quick("run"), self._address
        pointers = [ctypes.byref(batch) for batch in batches]

        def call(i):
            run(engine, pointers[i])

        def result(i):
            _check(checked(engine, pointers[i]))
            return results[i]

        return call, result

    def repeater(self, batches):
        """A function of a number of runs, all within one call."""
        repeat, engine, n = self._library.cic_bench_repeat, self._engine, len(batches)
        return lambda times: repeat(engine, batches, ctypes.c_size_t(n), ctypes.c_size_t(times))

    def noop(self, batches):
        """A call with the arguments of a run that does nothing."""
        noop, engine = self._quick("noop"), self._address
        pointers = [ctypes.byref(batch) for batch in batches]

        def call(i):
            noop(engine, pointers[i])

        return call

    def load_ms(self, batches, times=15):
        """Least milliseconds from bytes to the first result, by way of opening."""
        nanoseconds, least = ctypes.c_uint64(), {}
        for how, name in enumerate(OPENINGS):
            found = []
            for _ in range(times):
                _check(self._library.cic_bench_open(
                    self._engine, ctypes.byref(batches[0]), ctypes.c_uint32(how),
                    ctypes.byref(nanoseconds)))
                found.append(nanoseconds.value / 1e6)
                time.sleep(0.001)
            least[name] = min(found)
        return least

    def close(self):
        self._library.cic_bench_free(self._engine)
        self._engine = None


def _check(status):
    if status != 0:
        raise RuntimeError(f"cic_bench: {STATUS[status]}")
