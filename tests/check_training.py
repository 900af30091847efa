"""Models with training_info, as `onnx-train export training_info=1` writes them, run by PyTorch.

Usage: check_training.py ONNX_TRAIN GOLDEN_FOLDER

For each loss and each optimizer: the model's graph and the algorithm, put together as the standard
says, must pass onnx.checker; PyTorch runs this graph node by node, with its own autograd for
Gradient and onnx's reference implementation for the optimizers, and applies the bindings. `train`
gets the same batches: losses and all state after them must be the same to rounding. Exit 77 where
the packages are not there.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnx.checker
    import torch
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TRAIN, GOLDEN = sys.argv[1:3]
BATCH, BATCHES = 8, 6
DOMAIN = "ai.onnx.preview.training"
functional = torch.nn.functional

RUNS = [
    ("loss=cross_entropy", "optimizer=sgd lr=0.1 momentum=0"),
    ("loss=mse", "optimizer=sgd lr=0.1 momentum=0 weight_decay=0.01"),
    ("loss=cross_entropy label_smoothing=0.1", "optimizer=sgd lr=0.05 momentum=0.9"),
    ("loss=l1", "optimizer=sgd lr=0.05 momentum=0.9 nesterov=1 weight_decay=0.01"),
    ("loss=huber huber_delta=0.5", "optimizer=sgd lr=0.05 dampening=0.3"),
    ("loss=bce", "optimizer=adam lr=0.01"),
    ("loss=cross_entropy", "optimizer=adam lr=0.01 weight_decay=0.05"),
    ("loss=mse", "optimizer=adamw lr=0.01 weight_decay=0.1"),
    ("loss=cross_entropy ignore_index=1", "optimizer=adagrad lr=0.05 lr_decay=0.1"),
    ("loss=mse", "optimizer=adam_onnx lr=0.01 post_decay=0.01"),
]


def dense(sparse):
    values = numpy_helper.to_array(sparse.values)
    array = np.zeros(tuple(sparse.dims), values.dtype)
    array.reshape(-1)[numpy_helper.to_array(sparse.indices)] = values
    return array


def put_together(model):
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.training_info[:]
    algorithm = model.training_info[0].algorithm
    for field in ("node", "initializer", "sparse_initializer", "input", "output", "value_info"):
        getattr(whole.graph, field).extend(getattr(algorithm, field))
    onnx.checker.check_model(whole)
    return whole.graph


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def batch_norm(x, a, n_out):
    keep = a.get("momentum", 0.9)
    mean, var = x[3], x[4]
    if n_out > 1:
        mean, var = x[0].mean((0, 2, 3)), x[0].var((0, 2, 3), unbiased=False)
    shape = (1, -1, 1, 1)
    y = (x[0] - mean.view(shape)) / (var.view(shape) + a.get("epsilon", 1e-5)).sqrt()
    y = y * x[1].view(shape) + x[2].view(shape)
    moved = [x[i] * keep + v.detach() * (1 - keep) for i, v in ((3, mean), (4, var))]
    return [y, *moved, mean, var]


def convolve(x, a):
    top, left, bottom, right = a.get("pads", [0] * 4)
    return functional.conv2d(functional.pad(x[0], (left, right, top, bottom)), x[1],
                             x[2] if len(x) > 2 else None, a.get("strides", 1))


def update(node, x):
    info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in zip(node.input, x)]
    outputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in node.output]
    model = helper.make_model(helper.make_graph([node], "step", info, outputs),
                              opset_imports=[helper.make_opsetid(DOMAIN, 1)])
    return ReferenceEvaluator(model).run(None, dict(zip(node.input, x)))


OPERATORS = {
    "Add": lambda x, a: x[0] + x[1], "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1], "Div": lambda x, a: x[0] / x[1],
    "Pow": lambda x, a: x[0] ** x[1], "Sqrt": lambda x, a: x[0].sqrt(),
    "Abs": lambda x, a: x[0].abs(), "Min": lambda x, a: torch.minimum(x[0], x[1]),
    "Relu": lambda x, a: x[0].relu(), "Identity": lambda x, a: x[0],
    "Cast": lambda x, a: x[0].float(), "Softplus": lambda x, a: functional.softplus(x[0]),
    "ReduceMean": lambda x, a: x[0].mean(), "Flatten": lambda x, a: x[0].flatten(1),
    "MatMul": lambda x, a: x[0] @ x[1], "Conv": convolve,
    "Gemm": lambda x, a: x[0] @ (x[1].T if a.get("transB") else x[1]) + x[2],
    "MaxPool": lambda x, a: functional.max_pool2d(x[0], a["kernel_shape"], a.get("strides")),
}


class Trainer:
    """A training_info under execution; state: what all initializers hold."""

    def __init__(self, path):
        self.model = onnx.load(path)
        self.graph = put_together(self.model)
        self.state = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.state.update({t.values.name: dense(t) for t in self.graph.sparse_initializer})

    def outputs(self, node, value):
        a, x = attributes(node), [value[n] for n in node.input]
        if node.op_type == "Gradient":
            return torch.autograd.grad(value[a["y"].decode()], [value[n.decode()] for n in a["xs"]])
        if node.domain:
            return [torch.tensor(v) for v in update(node, [v.detach().numpy() for v in x])]
        if node.op_type == "BatchNormalization":
            return batch_norm(x, a, len(node.output))
        if node.op_type == "SoftmaxCrossEntropyLoss":
            ignored = a.get("ignore_index", -100)
            return [functional.cross_entropy(*x, ignore_index=ignored),
                    functional.log_softmax(x[0], 1)]
        return [OPERATORS[node.op_type](x, a)]

    def step(self, feeds):
        value = {n: torch.tensor(np.array(v)) for n, v in {**self.state, **feeds}.items()}
        gradient = [n for n in self.graph.node if n.op_type == "Gradient"][0]
        for name in attributes(gradient)["xs"]:
            value[name.decode()].requires_grad_()
        for node in self.graph.node:
            value.update(zip(node.output, self.outputs(node, value)))
        for b in self.model.training_info[0].update_binding:
            self.state[b.key] = value[b.value].detach().numpy()
        return value[attributes(gradient)["y"].decode()].item()


def run(*words):
    done = subprocess.run([TRAIN, *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"FAILED: {words}: {done.stderr}")


def steps(path):
    records = map(json.loads, open(path))
    return [r["loss"] for r in records if r["event"] == "step"]


def distance(ours, theirs):
    return max(np.abs(ours[n] - v).max() / max(np.abs(v).max(), 1e-3) for n, v in theirs.items())


def check(base, options, tolerance, x, targets, loss, optimizer, sparse):
    run("export", base, "out=m.onnx", "force=1", "training_info=1", f"sparse={sparse}", *options,
        *loss.split(), *optimizer.split())
    kind = re.match("loss=(\\w+)", loss)[1]
    y = targets.get(kind, targets["other"])
    np.savez("data.npz", x=x, y=y)
    subprocess.run(["rm", "-rf", "run"], check=True)
    run("train", "m.onnx", "data.npz", "out=run", f"batch={BATCH}", "epochs=1", "shuffle=0",
        "val=0", "log_every=1", "form=as-is")
    trainer = Trainer("m.onnx")
    names = (trainer.model.graph.input[0].name,
             trainer.model.training_info[0].algorithm.input[0].name)
    theirs = []
    for i in range(BATCHES):
        at = slice(i * BATCH, (i + 1) * BATCH)
        theirs.append(trainer.step(dict(zip(names, (x[at], y[at])))))
    ours = steps("run/metrics.jsonl")
    last = Trainer("run/weights/last.onnx").state
    off = max(abs(a / b - 1) for a, b in zip(ours, theirs))
    apart = distance(last, trainer.state)
    good = (len(ours) == BATCHES and off < 1e-5 and apart < tolerance and
            last.keys() == trainer.state.keys())
    print("ok    " if good else "FAILED", f"{loss:40} {optimizer:60} {sparse:12}",
          f"loss {off:.0e} state {apart:.0e}")
    return good


def main():
    random = np.random.default_rng(0)
    n, good = BATCH * BATCHES, True
    targets = {"cross_entropy": random.integers(10, size=n),
               "bce": (random.random((n, 10)) > 0.5).astype(np.float32),
               "other": random.normal(size=(n, 10)).astype(np.float32)}
    os.chdir(tempfile.mkdtemp())
    # the gradient of a bias before BatchNormalization is rounding alone, and there are others so
    # small that what Adam and Adagrad make of them is
    models = ("mlp", (32,), [], 1e-5), ("cnn", (1, 12, 12), ["freeze=c3.bias"], 1e-2)
    for base, shape, options, tolerance in models:
        x = random.normal(size=(n, *shape)).astype(np.float32)
        for loss, optimizer in RUNS:
            for sparse in "as-is", "initializer":
                good &= check(f"{GOLDEN}/{base}/model.onnx", options, tolerance, x, targets, loss,
                              optimizer, sparse)
    subprocess.run(["rm", "-rf", os.getcwd()], check=True)
    sys.exit(not good)


main()
