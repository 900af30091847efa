#!/usr/bin/env python3
"""Makes tests/golden/{cnn,mlp,rnn}/: what PyTorch gets from 20 masked steps of SGD with momentum.

Each folder holds model.onnx (90 % of every weight matrix is zero), x.npy and y.npy (4 batches of
16, taken in turn), losses.npy (before each of the 20 updates), gradients.npy (of the first step,
all parameters one after the other) and gradients.txt (their names and sizes, in that order).

Run it with torch, onnx and numpy; the outputs are committed. tests/test_parity.c reads them.
"""
import copy
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

BATCH, BATCHES, STEPS = 16, 4, 20
MOMENTUM, SPARSITY = 0.9, 0.9


class Cnn(torch.nn.Module):
    """Three convolutions with BatchNormalization; stride, padding, pooling and a shortcut."""

    def __init__(self):
        super().__init__()
        self.c1 = torch.nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.b1 = torch.nn.BatchNorm2d(12)
        self.c2 = torch.nn.Conv2d(12, 16, 3, stride=2, padding=1, bias=False)
        self.b2 = torch.nn.BatchNorm2d(16)
        self.c3 = torch.nn.Conv2d(16, 16, 3, padding=1)
        self.b3 = torch.nn.BatchNorm2d(16)
        self.fc = torch.nn.Linear(16 * 9, 10)

    def forward(self, x):
        x = torch.relu(self.b1(self.c1(x)))
        x = torch.relu(self.b2(self.c2(x)))
        x = torch.relu(self.b3(self.c3(x)) + x)
        return self.fc(torch.max_pool2d(x, 2).flatten(1))


class Mlp(torch.nn.Module):
    """The three ways of writing a linear layer: Gemm with and without transB, MatMul and Add."""

    def __init__(self):
        super().__init__()
        self.f1 = torch.nn.Linear(32, 64)
        self.f2 = torch.nn.Linear(64, 64)
        self.f3 = torch.nn.Linear(64, 10)

    def forward(self, x):
        return self.f3(torch.relu(self.f2(torch.relu(self.f1(x)))))


class Rnn(torch.nn.Module):
    """An LSTM, and behind it a GRU in both directions, with weights as ONNX has them."""

    INPUT, LSTM, GRU = 10, 16, 8

    def __init__(self):
        super().__init__()

        def parameter(*shape):
            return torch.nn.Parameter((torch.rand(shape) * 2 - 1) * 0.3)

        self.lstm_w = parameter(1, 4 * self.LSTM, self.INPUT)
        self.lstm_r = parameter(1, 4 * self.LSTM, self.LSTM)
        self.lstm_b = parameter(8 * self.LSTM)
        self.gru_w = parameter(2, 3 * self.GRU, self.LSTM)
        self.gru_r = parameter(2, 3 * self.GRU, self.GRU)
        self.gru_b = parameter(2 * 6 * self.GRU)
        self.fc = torch.nn.Linear(2 * self.GRU, 10)

    def forward(self, x):
        def gates(t, order):  # of ONNX, in PyTorch's order
            parts = t.chunk(len(order))
            return torch.cat([parts[i] for i in order])

        lstm, gru = (0, 2, 3, 1), (1, 0, 2)  # i o f c to i f c o; z r h to r z h
        zeros = x.new_zeros((1, len(x), self.LSTM))
        weights = [gates(self.lstm_w[0], lstm), gates(self.lstm_r[0], lstm)]
        weights += [gates(b, lstm) for b in self.lstm_b.chunk(2)]
        x = torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, False, False, True)[0]
        weights, bias = [], self.gru_b.chunk(4)
        for d in range(2):
            weights += [gates(self.gru_w[d], gru), gates(self.gru_r[d], gru)]
            weights += [gates(bias[2 * d], gru), gates(bias[2 * d + 1], gru)]
        h = torch.gru(x, x.new_zeros((2, len(x), self.GRU)), weights, True, 1, 0.0, False, True,
                      True)[1]
        return self.fc(torch.cat([h[0], h[1]], 1))


def initializers(module, transposed):
    state = {k: v.detach().numpy() for k, v in module.state_dict().items() if "num_b" not in k}
    directions = {"lstm_b": 1, "gru_b": 2}
    state = {k: v.reshape(directions[k], -1) if k in directions else v for k, v in state.items()}
    return [numpy_helper.from_array(np.ascontiguousarray(v.T if k in transposed else v), k)
            for k, v in state.items()]


def bn(name, x, y):
    """Opsets 9 to 13 spell training as five outputs."""
    inputs = [x] + [f"{name}.{p}" for p in ("weight", "bias", "running_mean", "running_var")]
    outputs = [y] + [f"{name}.{p}" for p in ("mean_out", "var_out", "saved_mean", "saved_var")]
    return helper.make_node("BatchNormalization", inputs, outputs, name, epsilon=1e-5, momentum=0.9)


def conv(name, x, y, stride, bias):
    inputs = [x, f"{name}.weight"] + ([f"{name}.bias"] if bias else [])
    return helper.make_node("Conv", inputs, [y], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                            strides=[stride, stride])


def cnn_nodes():
    node = helper.make_node
    return [
        conv("c1", "x", "h1", 1, False), bn("b1", "h1", "n1"), node("Relu", ["n1"], ["r1"]),
        conv("c2", "r1", "h2", 2, False), bn("b2", "h2", "n2"), node("Relu", ["n2"], ["r2"]),
        conv("c3", "r2", "h3", 1, True), bn("b3", "h3", "n3"), node("Add", ["n3", "r2"], ["s3"]),
        node("Relu", ["s3"], ["r3"]),
        node("MaxPool", ["r3"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
    ]


def mlp_nodes():
    node = helper.make_node
    return [
        node("Gemm", ["x", "f1.weight", "f1.bias"], ["h1"], "f1", transB=1),
        node("Relu", ["h1"], ["r1"]),
        node("MatMul", ["r1", "f2.weight"], ["m2"], "f2"),
        node("Add", ["m2", "f2.bias"], ["h2"]),
        node("Relu", ["h2"], ["r2"]),
        node("Gemm", ["r2", "f3.weight", "f3.bias"], ["logits"], "f3"),
    ]


def rnn_nodes():
    node = helper.make_node
    return [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "lstm_w", "lstm_r", "lstm_b"], ["s"], "lstm", hidden_size=Rnn.LSTM),
        node("Constant", [], ["one"], value_ints=[1]),
        node("Squeeze", ["s", "one"], ["s3"]),
        node("GRU", ["s3", "gru_w", "gru_r", "gru_b"], ["", "h"], "gru", hidden_size=Rnn.GRU,
             direction="bidirectional", linear_before_reset=1),
        node("Transpose", ["h"], ["h2"], perm=[1, 0, 2]),
        node("Flatten", ["h2"], ["f"]),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
    ]


def masks(module, generator):
    """A random mask for every matrix; no output feature loses all of its inputs."""
    result = {}
    for name, p in module.named_parameters():
        if p.dim() < 2:
            continue
        m = (torch.rand(p.shape, generator=generator) >= SPARSITY).to(p.dtype).flatten(1)
        m[:, 0] = torch.where(m.sum(1) == 0, torch.ones(()), m[:, 0])
        result[name] = m.view_as(p)
        p.data *= result[name] * (2 / (1 - SPARSITY)) ** 0.5
    return result


def train(module, mask, x, y, lr):
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=MOMENTUM)
    losses, first = [], {}
    for step in range(STEPS):
        i = step % BATCHES * BATCH
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(x[i:i + BATCH]), y[i:i + BATCH])
        loss.backward()
        for name, p in module.named_parameters():
            if name in mask:
                p.grad *= mask[name].to(p.dtype)
        if step == 0:
            first = {n: p.grad.clone().numpy() for n, p in module.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses, np.float64), first


def make(name, module, shape, nodes, transposed, lr, generator):
    folder = pathlib.Path(__file__).parent / name
    folder.mkdir(exist_ok=True)
    mask = masks(module, generator)
    y = torch.randint(10, (BATCH * BATCHES,), generator=generator)
    prototypes = torch.randn((10, *shape), generator=generator)
    x = prototypes[y] + 0.7 * torch.randn((BATCH * BATCHES, *shape), generator=generator)

    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        initializers(module, transposed))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7,
                              producer_name="onnx-train make_golden.py")
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")

    exact, _ = train(copy.deepcopy(module).double(), mask, x.double(), y, lr)
    losses, gradients = train(module, mask, x, y, lr)
    gradients = {k: v.T if k in transposed else v for k, v in gradients.items()}
    np.save(folder / "x.npy", x.numpy())
    np.save(folder / "y.npy", y.numpy())
    np.save(folder / "losses.npy", losses)
    np.save(folder / "gradients.npy", np.concatenate([g.ravel() for g in gradients.values()]))
    (folder / "gradients.txt").write_text(
        "".join(f"{k} {v.size}\n" for k, v in gradients.items()))
    zeros = {k: float((v == 0).float().mean()) for k, v in mask.items()}
    print(name, "losses", losses[[0, 1, -1]], "from float64:", np.abs(losses / exact - 1).max())
    print("   zeros", {k: round(v, 3) for k, v in zeros.items()})


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(2)
    make("cnn", Cnn(), (1, 12, 12), cnn_nodes(), set(), 0.02, generator)
    make("mlp", Mlp(), (32,), mlp_nodes(), {"f2.weight", "f3.weight"}, 0.1, generator)
    make("rnn", Rnn(), (6, Rnn.INPUT), rnn_nodes(), set(), 0.2, generator)


main()
