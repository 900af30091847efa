"""Exported models against onnx.checker and onnxruntime.

Usage: check_export.py ONNX_TRAIN [MODEL.onnx...]

Each model, and small ones made here for several opsets, is exported in every spelling of sparsity
and every form. Every file must pass onnx.checker; its weights must be those of the original bit for
bit; onnxruntime must compute the same outputs from it, and from the inference form of the training
form. Exit 77 where the packages are not there.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnx.checker
    import onnx.numpy_helper
    import onnxruntime
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TRAIN = sys.argv[1]
failures = 0


def fail(what):
    global failures
    failures += 1
    print("FAILED:", what)


def export(model, out, **options):
    words = [f"{key}={value}" for key, value in options.items()]
    run = subprocess.run([TRAIN, "export", model, f"out={out}", "force=1", *words],
                         capture_output=True, text=True)
    if run.returncode:
        fail(f"{model} {words}: {run.stderr.strip()}")
    return run.returncode == 0


def dense(sparse):
    """A SparseTensorProto as an array."""
    values = onnx.numpy_helper.to_array(sparse.values)
    index = onnx.numpy_helper.to_array(sparse.indices)
    array = np.zeros(tuple(sparse.dims), values.dtype)
    if index.ndim == 2:
        array[tuple(index.T)] = values
    else:
        array.reshape(-1)[index] = values
    return array


def weights(path):
    graph = onnx.load(path).graph
    all_ = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    all_.update({t.values.name: dense(t) for t in graph.sparse_initializer})
    return all_


def compare_weights(path, original):
    """The same weights; where one of them is spelled sparse, -0.0 counts as 0."""
    now = weights(path)
    for name, value in original.items():
        if name not in now:
            fail(f"{path}: weight {name} is gone")
        elif value.dtype != now[name].dtype or not np.array_equal(value, now[name],
                                                                  value.dtype.kind == "f"):
            fail(f"{path}: weight {name} differs")


def feed(session):
    random = np.random.default_rng(7)
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    weights_too = {i.name for i in session.get_overridable_initializers()}
    free = [3, 3, 64, 64]  # samples, channels, pixels: what pools and strides leave something of
    return {i.name: random.random([d if isinstance(d, int) else free[min(k, 3)]
                                   for k, d in enumerate(i.shape)]).astype(types[i.type])
            for i in session.get_inputs() if i.name not in weights_too}


def outputs(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feed(session))


def compare_outputs(path, expected):
    try:
        got = outputs(path)
    except Exception as error:  # onnxruntime has a dozen classes for it
        return fail(f"{path}: onnxruntime: {error}")
    for a, b in zip(expected, got):
        if not np.array_equal(a, b, a.dtype.kind == "f"):
            fail(f"{path}: outputs differ by {np.abs(a - b).max()}")


def trains(path):
    """Has the model nodes in training form?"""
    for node in onnx.load(path).graph.node:
        flag = any(a.name == "training_mode" and a.i for a in node.attribute)
        if flag or (node.op_type in ("BatchNormalization", "Dropout") and len(node.output) > 1):
            return True
    return False


def check(path):
    onnx.checker.check_model(path)


def check_model(model):
    print(model)
    original, before = weights(model), outputs(model)
    out = os.path.join(folder, "out.onnx")
    back = os.path.join(folder, "back.onnx")
    for sparse in "as-is", "initializer", "dense":
        if export(model, out, sparse=sparse):
            check(out)
            compare_weights(out, original)
            compare_outputs(out, before)
    if export(model, out, form="training"):
        check(out)
        compare_weights(out, original)
        if export(out, back, form="inference"):
            check(back)
            if not trains(model):
                compare_outputs(back, before)


def small_model(path, opset, ir):
    """Sparse Conv and Gemm, BatchNormalization, Dropout; up to IR 3 weights are inputs as well."""
    random = np.random.default_rng(opset)

    def sparse(*shape):
        values = random.standard_normal(shape).astype(np.float32)
        return values * (random.random(shape) < 0.3)

    def positive(n):
        return (0.5 + random.random(n)).astype(np.float32)

    arrays = {"conv": sparse(4, 2, 3, 3), "scale": positive(4), "shift": positive(4),
              "mean": positive(4), "var": positive(4), "gemm": sparse(4, 5), "bias": positive(5)}
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [node("Conv", ["x", "conv"], ["a"], kernel_shape=[3, 3]),
             node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"]),
             node("GlobalAveragePool", ["b"], ["c"]), node("Flatten", ["c"], ["d"]),
             node("Dropout", ["d"], ["e"]), node("Gemm", ["e", "gemm", "bias"], ["y"])]
    inputs = [info("x", onnx.TensorProto.FLOAT, ["N", 2, 6, 6])]
    if ir < 4:
        inputs += [info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in arrays.items()]
    graph = onnx.helper.make_graph(
        nodes, "g", inputs, [info("y", onnx.TensorProto.FLOAT, ["N", 5])],
        [onnx.numpy_helper.from_array(v, k) for k, v in arrays.items()])
    model = onnx.helper.make_model(graph, ir_version=ir,
                                   opset_imports=[onnx.helper.make_opsetid("", opset)])
    onnx.save(model, path)


with tempfile.TemporaryDirectory() as folder:
    small = os.path.join(folder, "small.onnx")
    for opset, ir in (7, 3), (8, 3), (9, 4), (11, 6), (12, 7), (13, 7), (14, 7), (15, 8), (17, 8):
        small_model(small, opset, ir)
        print(f"opset {opset}, IR {ir}:", end=" ")
        check_model(small)
    for name in sys.argv[2:]:
        check_model(name)
print(failures, "failures")
sys.exit(failures > 0)
