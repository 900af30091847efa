#!/usr/bin/env python3
"""Makes tests/golden/training/: models whose training_info says how they are trained, and what
that gives: NAME.onnx, and NAME.npy with the losses of 10 steps, then all weights after them. x.npy,
y.npy (classes) and t.npy (for mse) are the batches, 8 samples a step.

The reference is PyTorch's autograd in float64 with the standard's formulas written out. Weight f1
is half zeros, which stay.

Run it with torch, onnx and numpy; the outputs are committed. tests/test_training.c reads them.
"""
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

STEPS, BATCH, IN, HIDDEN, OUT = 10, 8, 12, 10, 4
DOMAIN = "ai.onnx.preview.training"
folder = pathlib.Path(__file__).parent / "training"
random = np.random.default_rng(5)


def constant(name, value, type_=np.float32):
    return numpy_helper.from_array(np.array(value, type_), name)


def make_weights():
    f1 = random.normal(size=(HIDDEN, IN)).astype(np.float32) * 0.4
    f1 *= random.random(f1.shape) < 0.5
    return {"f1": f1, "b1": np.zeros(HIDDEN, np.float32),
            "f2": random.normal(size=(HIDDEN, OUT)).astype(np.float32) * 0.4,
            "b2": np.zeros(OUT, np.float32)}


def network(w):
    node = helper.make_node
    info = helper.make_tensor_value_info
    return helper.make_graph(
        [node("Gemm", ["x", "f1", "b1"], ["h"], transB=1), node("Tanh", ["h"], ["a"]),
         node("MatMul", ["a", "f2"], ["m"]), node("Add", ["m", "b2"], ["logits"])],
        "net", [info("x", TensorProto.FLOAT, ["N", IN])],
        [info("logits", TensorProto.FLOAT, ["N", OUT])],
        [numpy_helper.from_array(v, k) for k, v in w.items()])


def loss_nodes(kind):
    node = helper.make_node
    if kind == "cross_entropy":
        return [node("SoftmaxCrossEntropyLoss", ["logits", "target"], ["loss"])], []
    if kind == "mse_pow":
        return [node("Sub", ["target", "logits"], ["d"]), node("Pow", ["d", "two"], ["s"]),
                node("ReduceMean", ["s"], ["loss"])], [constant("two", 2)]
    return [node("Sub", ["logits", "target"], ["d"]), node("Mul", ["d", "d"], ["s"]),
            node("ReduceMean", ["s"], ["loss"], keepdims=0)], []


def algorithm(names, w, rule, rate, attributes, state, steps, loss, mask):
    """rule: an operator's name, or "sgd". state: first values of each list of moments."""
    node = helper.make_node
    nodes, tensors = loss_nodes(loss)
    nodes.append(node("Gradient", [*names, "x", "target"], [f"g_{n}" for n in names],
                      domain=DOMAIN, xs=names, zs=["x", "target"], y="loss"))
    tensors.append(constant("rate", rate))
    gradients = [f"g_{n}" for n in names]
    if mask:
        nodes.append(node("Mul", ["g_f1", "mask"], ["kept"]))
        tensors.append(constant("mask", w["f1"] != 0))
        gradients[names.index("f1")] = "kept"
    bind = {}
    if rule == "sgd":
        for n, g in zip(names, gradients):
            if attributes:
                nodes += [node("Mul", [n, "decay"], [f"dw_{n}"]),
                          node("Add", [f"dw_{n}", g], [f"all_{n}"])]
                g = f"all_{n}"
            nodes += [node("Mul", [g, "rate"], [f"step_{n}"]),
                      node("Sub", [n, f"step_{n}"], [f"new_{n}"])]
            bind[n] = f"new_{n}"
        if attributes:
            tensors.append(constant("decay", attributes["norm_coefficient"]))
    else:
        lists = [[f"{k}_{n}" for n in names] for k in "vh"[:len(state)]]
        for l, value in zip(lists, state):
            for m, n in zip(l, names):
                kept = w[n] != 0 if n == "f1" else 1
                tensors.append(constant(m, np.full_like(w[n], value) * kept))
                bind[m] = f"new_{m}"
        for n in names:
            bind[n] = f"new_{n}"
        flat = [m for l in lists for m in l]
        nodes += [node(rule, ["rate", "count", *names, *gradients, *flat],
                       [f"new_{n}" for n in names + flat], domain=DOMAIN, **attributes),
                  node("Add", ["count", "one"], ["new_count"])]
        tensors += [constant("count", steps, np.int64), constant("one", 1, np.int64)]
        bind["count"] = "new_count"
    info = helper.make_tensor_value_info
    target = info("target", TensorProto.INT64, ["N"]) if loss == "cross_entropy" else \
        info("target", TensorProto.FLOAT, ["N", OUT])
    outputs = [helper.make_empty_tensor_value_info(v) for v in bind.values()]
    graph = helper.make_graph(nodes, "algorithm", [target], outputs, tensors)
    return graph, bind


def step(rule, x, g, m, rate, t, a):
    """The standard's formulas. m: the moments of x; returns the new x and moments."""
    g = a.get("norm_coefficient", 0) * x + g
    if rule == "sgd":
        return x - rate * g, m
    if rule == "Momentum":
        v = a["alpha"] * m[0] + (a["beta"] if t else 1) * g
        return x - rate * (g + a["alpha"] * v if a["mode"] == "nesterov" else v), [v]
    if rule == "Adagrad":
        h = m[0] + g * g
        return x - rate / (1 + t * a["decay_factor"]) * g / (h.sqrt() + a["epsilon"]), [h]
    v = a["alpha"] * m[0] + (1 - a["alpha"]) * g
    h = a["beta"] * m[1] + (1 - a["beta"]) * g * g
    if t:
        rate *= (1 - a["beta"] ** t) ** 0.5 / (1 - a["alpha"] ** t)
    x = x - rate * v / (h.sqrt() + a["epsilon"])
    return (1 - a.get("norm_coefficient_post", 0)) * x, [v, h]


def reference(names, w, rule, rate, attributes, state, steps, loss, x, y, t):
    p = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in w.items()}
    kept = {n: (p[n].detach() != 0) if n == "f1" else 1 for n in names}
    m = {n: [torch.full_like(p[n], s) * kept[n] for s in state] for n in names}
    losses = []
    for i in range(STEPS):
        at = slice(i * BATCH, (i + 1) * BATCH)
        logits = torch.tanh(x[at] @ p["f1"].T + p["b1"]) @ p["f2"] + p["b2"]
        value = (torch.nn.functional.cross_entropy(logits, y[at]) if loss == "cross_entropy"
                 else torch.nn.functional.mse_loss(logits, t[at]))
        losses.append(value.item())
        gradients = torch.autograd.grad(value, [p[n] for n in names])
        for n, g in zip(names, gradients):
            new, m[n] = step(rule, p[n].detach(), g * kept[n], m[n], rate, steps + i, attributes)
            p[n] = new.requires_grad_()
    return np.concatenate([losses, *[p[k].detach().numpy().ravel() for k in w]])


def make(name, rule, rate, attributes, state, steps, loss, names, mask, x, y, t):
    w = make_weights()
    graph, bind = algorithm(names, w, rule, rate, attributes, state, steps, loss, mask)
    model = helper.make_model(
        network(w), ir_version=8, producer_name="onnx-train make_training.py",
        opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)])
    info = model.training_info.add()
    info.algorithm.CopyFrom(graph)
    for key, value in bind.items():
        info.update_binding.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{name}.onnx")
    result = reference(names, w, rule, rate, attributes, state, steps, loss, x, y, t)
    np.save(folder / f"{name}.npy", result)
    print(name, result[:STEPS:3])


def main():
    folder.mkdir(exist_ok=True)
    n = STEPS * BATCH
    x = random.normal(size=(n, IN)).astype(np.float32)
    y = random.integers(OUT, size=n)
    t = random.normal(size=(n, OUT)).astype(np.float32)
    for name, array in ("x", x), ("y", y), ("t", t):
        np.save(folder / f"{name}.npy", array)
    exact = torch.float64
    data = torch.tensor(x, dtype=exact), torch.tensor(y), torch.tensor(t, dtype=exact)
    every, some = ["f1", "b1", "f2", "b2"], ["f2", "b2"]
    make("sgd", "sgd", 0.5, {}, [], 0, "cross_entropy", every, False, *data)
    make("decay", "sgd", 0.2, {"norm_coefficient": 0.05}, [], 0, "mse_pow", every, True, *data)
    make("momentum", "Momentum", 0.1, dict(alpha=0.9, beta=0.7, norm_coefficient=0.01,
                                           mode="standard"),
         [0], 0, "cross_entropy", every, True, *data)
    make("nesterov", "Momentum", 0.05, dict(alpha=0.8, beta=1.0, norm_coefficient=0.0,
                                            mode="nesterov"),
         [0.1], 3, "mse", every, True, *data)
    make("adagrad", "Adagrad", 0.3, dict(decay_factor=0.1, epsilon=1e-3, norm_coefficient=0.02),
         [0.5], 0, "cross_entropy", every, False, *data)
    make("adam", "Adam", 0.02, dict(alpha=0.8, beta=0.95, epsilon=1e-3, norm_coefficient=0.01,
                                    norm_coefficient_post=0.001),
         [0, 0], 0, "mse", every, True, *data)
    make("adam_late", "Adam", 0.05, dict(alpha=0.9, beta=0.99, epsilon=1e-6), [0.02, 0.1], 7,
         "cross_entropy", some, False, *data)


main()
