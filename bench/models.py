#!/usr/bin/env python3
"""models.py - writes the models of the speed comparison: random weights, random masks.

    bench/models.py FOLDER [name ...]

Each is written twice, as NAME-SPARSITY.onnx and NAME-dense.onnx. First convolution, classifier and
depthwise convolutions are dense; biases and normalisation too. Needs numpy and onnx.
"""
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

OPSET = 20


class Net:
    """Nodes and initializers of one model; every method returns the name of its output."""

    def __init__(self, sparsity):
        self.nodes, self.weights, self.values = [], [], 0
        self.sparsity = sparsity
        self.random = np.random.default_rng(1)

    def node(self, op, *inputs, **attributes):
        self.values += 1
        y = f"{op.lower()}_{self.values}"
        self.nodes.append(helper.make_node(op, list(inputs), [y], name=y, **attributes))
        return y

    def constant(self, array):
        name = f"w_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, shape, fan_in, sparse=True):
        density = 1 - self.sparsity if sparse else 1
        w = self.random.standard_normal(shape, dtype=np.float32) * np.sqrt(2 / (fan_in * density))
        if density < 1:
            w *= self.random.random(shape, dtype=np.float32) < density
        return self.constant(w.astype(np.float32))

    def conv(self, x, c, m, k, stride=1, group=1, sparse=True, relu=True):
        """Convolution, BatchNormalization, Relu."""
        w = self.weight((m, c // group, k, k), c // group * k * k, sparse)
        y = self.node("Conv", x, w, kernel_shape=[k, k], strides=[stride] * 2, group=group,
                      pads=[k // 2] * 4)
        one, zero = np.ones(m, np.float32), np.zeros(m, np.float32)
        y = self.node("BatchNormalization", y, *map(self.constant, (one, zero, zero, one)))
        return self.node("Relu", y) if relu else y

    def classifier(self, x, c, classes=1000):
        y = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.node("Gemm", y, self.weight((classes, c), c, sparse=False),
                         self.constant(np.zeros(classes, np.float32)), transB=1)

    def linear(self, x, c, m, sparse=True):
        y = self.node("MatMul", x, self.weight((c, m), c, sparse))
        return self.node("Add", y, self.constant(np.zeros(m, np.float32)))

    def write(self, path, x_shape, y, y_shape):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(self.nodes, "net",
                                  [value("x", TensorProto.FLOAT, ["N", *x_shape])],
                                  [value(y, TensorProto.FLOAT, ["N", *y_shape])], self.weights)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                               ir_version=9), path)


def mlp(net):
    x = net.node("Relu", net.node("Gemm", "x", net.weight((1000, 784), 784),
                                  net.constant(np.zeros(1000, np.float32)), transB=1))
    x = net.node("Relu", net.node("Gemm", x, net.weight((1000, 1000), 1000),
                                  net.constant(np.zeros(1000, np.float32)), transB=1))
    y = net.node("Gemm", x, net.weight((10, 1000), 1000, sparse=False),
                 net.constant(np.zeros(10, np.float32)), transB=1)
    return (784,), y, (10,)


def basic(net, x, c, m, stride):
    y = net.conv(net.conv(x, c, m, 3, stride), m, m, 3, relu=False)
    if stride > 1 or c != m:
        x = net.conv(x, c, m, 1, stride, relu=False)
    return net.node("Relu", net.node("Add", y, x)), m


def bottleneck(net, x, c, m, stride):
    y = net.conv(net.conv(x, c, m, 1), m, m, 3, stride)
    y = net.conv(y, m, 4 * m, 1, relu=False)
    if stride > 1 or c != 4 * m:
        x = net.conv(x, c, 4 * m, 1, stride, relu=False)
    return net.node("Relu", net.node("Add", y, x)), 4 * m


def resnet(net, block, depths):
    x = net.conv("x", 3, 64, 7, 2, sparse=False)
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    c = 64
    for stage, depth in enumerate(depths):
        for i in range(depth):
            x, c = block(net, x, c, 64 << stage, 2 if stage and not i else 1)
    return (3, 224, 224), net.classifier(x, c), (1000,)


def mobilenet(net):
    x, c = net.conv("x", 3, 32, 3, 2, sparse=False), 32
    for m, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
                      (1024, 2), (1024, 1)]:
        x = net.conv(net.conv(x, c, c, 3, stride, group=c, sparse=False), c, m, 1)
        c = m
    return (3, 224, 224), net.classifier(x, c), (1000,)


def bert(net, layers=12, tokens=128, c=768, heads=12):
    """The encoder of BERT-base, from embeddings on."""
    split = net.constant(np.array([0, tokens, heads, c // heads], np.int64))
    join = net.constant(np.array([0, tokens, c], np.int64))
    scale = net.constant(np.array((c // heads) ** -0.5, np.float32))

    def norm(x):
        return net.node("LayerNormalization", x, net.constant(np.ones(c, np.float32)),
                        net.constant(np.zeros(c, np.float32)), axis=-1, epsilon=1e-12)

    x = "x"
    for _ in range(layers):
        q, k, v = (net.node("Reshape", net.linear(x, c, c), split) for _ in range(3))
        q = net.node("Transpose", q, perm=[0, 2, 1, 3])
        k = net.node("Transpose", k, perm=[0, 2, 3, 1])
        v = net.node("Transpose", v, perm=[0, 2, 1, 3])
        a = net.node("Softmax", net.node("Mul", net.node("MatMul", q, k), scale), axis=-1)
        a = net.node("Transpose", net.node("MatMul", a, v), perm=[0, 2, 1, 3])
        x = norm(net.node("Add", net.linear(net.node("Reshape", a, join), c, c), x))
        y = net.linear(net.node("Gelu", net.linear(x, c, 4 * c)), 4 * c, c)
        x = norm(net.node("Add", y, x))
    return (tokens, c), x, (tokens, c)


MODELS = {  # name: (sparsity, how to make it, batch to compare at, loss)
    "mlp": (0.95, mlp, 128, "cross_entropy"),
    "resnet18": (0.95, lambda net: resnet(net, basic, (2, 2, 2, 2)), 16, "cross_entropy"),
    "resnet50": (0.95, lambda net: resnet(net, bottleneck, (3, 4, 6, 3)), 16, "cross_entropy"),
    "mobilenet": (0.90, mobilenet, 16, "cross_entropy"),
    "bert": (0.90, bert, 8, "mse"),
}


def main():
    if len(sys.argv) < 2 or any(name not in MODELS for name in sys.argv[2:]):
        sys.exit(__doc__)
    os.makedirs(sys.argv[1], exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        sparsity, make = MODELS[name][:2]
        for kind, share in ((f"{100 * sparsity:.0f}", sparsity), ("dense", 0)):
            net = Net(share)
            path = os.path.join(sys.argv[1], f"{name}-{kind}.onnx")
            net.write(path, *make(net))
            print(path)


if __name__ == "__main__":
    main()
