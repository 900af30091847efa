"""torch_graph.py - a model file as a function in PyTorch: its nodes, one after the other, by the
functions of torch_operators.py.

What depends on constants and shapes alone is computed once, at the first call, as the library does;
values are given up behind their last reader, so that memory is what gradients need.
"""
import collections

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from torch_operators import TABLE
from torch_tensors import TYPES, Unsupported, to_torch

Node = collections.namedtuple("Node", "name op run inputs outputs attributes last")
SHAPES = ("Shape", "Size")  # of what they read, only the shape counts
MOVES = ("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")


class UnknownOperators(Exception):
    pass


def read(path):
    """The model with its local functions written out."""
    model = onnx.load(path)
    if model.functions:
        from onnx import inliner
        model = inliner.inline_local_functions(model)
    return model


def dense(sparse):
    """The tensor that an initializer in coordinates stands for."""
    dims = list(sparse.dims)
    values = numpy_helper.to_array(sparse.values)
    at = numpy_helper.to_array(sparse.indices)
    whole = np.zeros(dims, values.dtype)
    whole.reshape(-1)[at if at.ndim == 1 else np.ravel_multi_index(at.T, dims)] = values
    return torch.from_numpy(whole)


def read_constants(graph):
    values = {w.name: to_torch(w) for w in graph.initializer}
    values.update((w.values.name, dense(w)) for w in graph.sparse_initializer)
    for n in graph.node:
        if n.op_type == "Constant":
            values[n.output[0]] = TABLE["Constant"]([], attributes_of(n))
    return values


def attributes_of(node):
    a = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    a = {k: v.decode() if isinstance(v, bytes) else
         [e.decode() if isinstance(e, bytes) else e for e in v] if isinstance(v, list) else v
         for k, v in a.items()}
    if node.op_type == "Split":
        a["outputs"] = len(node.output)
    return a


class Graph:
    """Call it with the inputs of the file; returns the first output."""

    def __init__(self, path):
        model = read(path)
        graph = model.graph
        unknown = sorted({n.op_type for n in graph.node if n.domain not in ("", "ai.onnx") or
                          n.op_type not in TABLE})
        if unknown:
            raise UnknownOperators(", ".join(unknown))
        self.values = read_constants(graph)
        self.inputs = [i for i in graph.input if i.name not in self.values]
        self.output = graph.output[0].name
        self.nodes = [Node(n.name, n.op_type, TABLE[n.op_type], list(n.input), list(n.output),
                           attributes_of(n), [])
                      for n in graph.node if n.op_type != "Constant"]
        self.trained, self.is_folded = set(), False

    # ---- training ----

    def train(self, names):
        """These are weights: returns them. BatchNormalization has the statistics of the batch."""
        missing = [n for n in names if n not in self.values]
        if missing:
            raise Unsupported(f"no weights of the graph: {', '.join(missing)}")
        self.trained = set(names)
        for n in self.nodes:
            if n.op == "BatchNormalization":
                n.attributes["train_norms"] = True
        return [self.values[n].requires_grad_() for n in names]

    def use_channels_last(self):
        for name, v in self.values.items():
            if v.dim() == 4:
                self.values[name] = v.contiguous(memory_format=torch.channels_last)

    # ---- inputs ----

    def table_of(self, name):
        """Rows of the embedding table that an input indexes; None: it indexes none."""
        for n in self.nodes:
            if n.op == "Gather" and n.inputs[1] == name and n.inputs[0] in self.values and \
                    n.attributes.get("axis", 0) == 0:
                return self.values[n.inputs[0]].shape[0]
            if n.op in MOVES and n.inputs[0] == name:
                rows = self.table_of(n.outputs[0])
                if rows:
                    return rows
        return None

    def make_inputs(self, batch, length):
        """Random floats, tokens that are in the vocabulary, masks that are open."""
        made = []
        for i in self.inputs:
            dims = [d.dim_value or None for d in i.type.tensor_type.shape.dim]
            if dims and batch and dims[0] not in (None, batch):
                raise Unsupported(f"the batch of {i.name} is {dims[0]}")
            if len(dims) == 2 and dims[1] is None:
                dims[1] = length
            if None in dims[1:]:
                raise Unsupported(f"input {i.name} has a shape that is free")
            dims[:1] = [dims[0] or batch or 32] if dims else []
            kind = TYPES[i.type.tensor_type.elem_type]
            rows = None if kind.is_floating_point else self.table_of(i.name)
            made.append(torch.rand(dims, dtype=kind) * 2 - 1 if kind.is_floating_point else
                        torch.randint(rows, dims, dtype=kind) if rows else
                        torch.ones(dims, dtype=kind))
        return made

    # ---- running ----

    def step(self, node, at):
        try:
            y = node.run([at[i] if i else None for i in node.inputs], node.attributes)
        except Unsupported:
            raise
        except Exception as e:
            raise RuntimeError(f"node {node.name} ({node.op}): {e}") from e
        at.update(zip(node.outputs, y if isinstance(y, tuple) else (y,)))

    def fold(self, inputs):
        """Runs all nodes; those that run each time from now on stay."""
        at = dict(self.values, **{i.name: x for i, x in zip(self.inputs, inputs)})
        static, left = set(self.values) - self.trained, []
        for n in self.nodes:
            self.step(n, at)
            if n.op in SHAPES or all(i in static for i in n.inputs if i) and n.op != "Dropout":
                static.update(n.outputs)
                self.values.update((o, at[o]) for o in n.outputs if o in at)
            else:
                left.append(n)
        readers = {i: n for n in left for i in n.inputs if i and i != self.output}
        self.values = {k: v for k, v in self.values.items() if k in (*readers, self.output)}
        for name, n in readers.items():
            if name not in self.values:
                n.last.append(name)
        self.nodes, self.is_folded = left, True

    def __call__(self, *inputs):
        if not self.is_folded:
            with torch.no_grad():
                self.fold(inputs)
        at = dict(self.values, **{i.name: x for i, x in zip(self.inputs, inputs)})
        for n in self.nodes:
            self.step(n, at)
            for name in n.last:
                del at[name]
        return at[self.output]
