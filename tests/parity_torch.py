"""What parity.py and golden/make_architectures.py share: random sparse weights, the loss and the
gradients by PyTorch, its exporters, and how an exported file may hold a parameter.
"""
import contextlib
import copy
import os
import sys

import numpy as np
import torch

SPARSITY = 0.9


def has_bn(module):
    return any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in module.modules())


def randomize(module):
    """90 % zeros in matrices, different numbers in every vector: parameters are found by value."""
    for p in module.parameters():
        if p.dim() < 2:
            p.data += 0.1 * torch.randn(p.shape)
        else:
            mask = torch.rand(p.shape) >= SPARSITY
            p.data = p.data * mask / (1 - SPARSITY) ** 0.5 + 0.0  # no zero is negative
    for m in module.modules():
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
        elif isinstance(m, torch.nn.modules.dropout._DropoutNd) or \
                type(m).__name__ == "StochasticDepth":
            m.p = 0.0


def expected(module, train, inputs, target, dtype):
    """Loss and gradients by PyTorch."""
    module = copy.deepcopy(module).to(dtype).train(train)
    y = module(*(x.to(dtype) if x.is_floating_point() else x for x in inputs))
    loss = torch.nn.functional.cross_entropy(y, target) if target.dtype == torch.int64 \
        else torch.nn.functional.mse_loss(y, target.to(dtype))
    loss.backward()
    return loss.item(), {n: p.grad.double().numpy() for n, p in module.named_parameters()
                         if p.grad is not None}


@contextlib.contextmanager
def silence():
    """Exporters print graphs, from C++ too."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        for f in (*kept, null):
            os.close(f)


def export(module, inputs, path, opset, exporter):
    """The opset that came out. BatchNormalization must not be folded into convolutions."""
    with silence():
        if exporter == "dynamo":
            torch.onnx.export(module, inputs, str(path), dynamo=True, opset_version=opset,
                              external_data=False, verbose=False, optimize=not has_bn(module))
        else:
            torch.onnx.export(module, inputs, str(path), dynamo=False, opset_version=opset,
                              training=torch.onnx.TrainingMode.PRESERVE)
    import onnx
    return onnx.load(path, load_external_data=False).opset_import[0].version


def forms(a):
    """How a file may hold an array: (its bytes there, the way from there)."""
    yield np.ascontiguousarray(a).tobytes(), lambda g, s=a.shape: g.reshape(s)
    if a.ndim == 2:
        yield a.T.copy().tobytes(), lambda g, s=a.shape: g.reshape(s[::-1]).T
    if a.ndim == 4:
        yield (a.transpose(1, 0, 2, 3).copy().tobytes(),
               lambda g, s=a.shape: g.reshape(s[1], s[0], *s[2:]).transpose(1, 0, 2, 3))
    for order in ([0, 3, 1, 2], [1, 0, 2]) if a.ndim else ():  # the gates of LSTM and GRU
        if a.shape[0] % len(order) == 0:
            blocks = a.reshape(len(order), -1, *a.shape[1:])
            back = np.argsort(order)
            yield (blocks[order].tobytes(), lambda g, s=blocks.shape, b=back, t=a.shape:
                   g.reshape(s)[b].reshape(t))
