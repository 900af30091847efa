#!/usr/bin/env python3
"""Which weights are trained, of networks as PyTorch exports them by default.

    tests/exports.py LIBRARY [--details] [--seed=N] [NETWORK ...]

Each network gets random weights and goes through torch.onnx.export(module, inputs, path), with no
opset named. The weights that the library trains must be the parameters of the module, each of them,
under whatever name, transposed or with joined gates as may be, and nothing else. Those that the
exporter has computed with, so that the file does not have them, are listed: positions, types of
tokens, a class token that was repeated for each sample, the scalar exp(logit_scale). Where it folds
BatchNormalization or weight normalisation into a layer, the module is compared as PyTorch folds it.
Then one training step: the loss is held against PyTorch's in float64, to 1e-7 of it, and gradients
to 1e-5 of the largest element of their tensor (or of a thousandth of the largest of all). LIBRARY
is libonnxtrain.so; needs torch, transformers, onnx and onnxscript. Exit code 1 where one differs.
"""
import argparse
import copy
import logging
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn.utils import fusion, parametrize

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from export_models import NETWORKS  # noqa: E402
from library import Library  # noqa: E402
from parity import Found, brief, compare  # noqa: E402
from parity_torch import expected, forms, silence  # noqa: E402

LOSS_LIMIT, GRADIENT_LIMIT = 1e-7, 1e-5
# Parts of the names of parameters that exporters compute with.
FOLDED = ("position", "wpe.", "token_type", "class_embedding", "logit_scale")
NORMS = nn.modules.batchnorm._BatchNorm


def randomize(module):
    """No two vectors alike: parameters are found by value."""
    for p in module.parameters():
        if p.dim() < 2:
            p.data += 0.1 * torch.randn(p.shape)
    for m in module.modules():
        if isinstance(m, NORMS):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)


def folded(module, inputs):
    """The module as exporters fold it: weight normalisation, and norms behind a layer."""
    module = copy.deepcopy(module).eval()
    for m in list(module.modules()):
        if parametrize.is_parametrized(m):
            parametrize.remove_parametrizations(m, "weight")
    made, pairs, kept = {}, [], []

    def see(m, given, y):
        kept.append(y)  # lest another tensor gets its id
        if isinstance(m, NORMS):
            pairs.append((made.get(id(given[0])), m))
        elif isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            made[id(y)] = m
    hooks = [m.register_forward_hook(see) for m in module.modules()]
    with torch.no_grad():
        module(*inputs)
    for hook in hooks:
        hook.remove()
    names = {m: name for name, m in module.named_modules()}
    for layer, norm in pairs:
        fuse = fusion.fuse_linear_bn_eval if isinstance(layer, nn.Linear) \
            else fusion.fuse_conv_bn_eval
        if layer is not None:
            module.set_submodule(names[layer], fuse(layer, norm))
            module.set_submodule(names[norm], nn.Identity())
    return module


class Near(Found):
    """Parameters that were computed with are found by values that are nearly theirs."""

    def __init__(self, module):
        super().__init__(module)
        self.module, self.values = dict(module.named_parameters()), {}
        self.near = [(np.frombuffer(key, np.float32), place) for name, p in self.module.items()
                     for (key, back) in forms(p.detach().numpy()) for place in [(name, back)]]

    def known(self, pieces):
        for v, _ in pieces:
            for a, place in self.near if v.tobytes() not in self.places else ():
                if a.size == v.size and np.allclose(a, v.ravel(), 1e-4, 1e-6):
                    self.places[v.tobytes()] = place
                    break
        return super().known(pieces)

    def put(self, name, back, pattern, values, gradient):
        super().put(name, back, pattern, values, gradient)
        self.values[name] = back(values)

    def take_values(self):
        """The module gets the values of the file."""
        for name, values in self.values.items():
            self.module[name].data = torch.from_numpy(np.ascontiguousarray(values))


def measure(library, name, args, folder):
    torch.manual_seed(args.seed)
    module, inputs, target = NETWORKS[name]()
    randomize(module)
    module.eval()
    path = pathlib.Path(folder) / "m.onnx"
    with silence():
        torch.onnx.export(module, inputs, str(path))
    reference = folded(module, inputs)
    found, fixed = Near(reference), []
    with library.open(path) as session:
        got = session.step([np.ascontiguousarray(x.numpy()) for x in inputs], target.numpy())
        for parameter in session.parameters():
            found.add(*parameter)
        fixed += [f"{info.name.decode()}: {session.reason(info)}"
                  for _, info in session.weights() if not info.is_trainable]
    found.take_values()
    loss, want = expected(reference, False, inputs, target, torch.float64)
    worst, _, which, missing = compare(found, want, want, args.details)
    error = abs(got - loss) / abs(loss)
    lost = [m for m in missing if not any(part in m for part in FOLDED)]
    stray = [s[0] for s in found.stray]
    good = error <= LOSS_LIMIT and worst <= GRADIENT_LIMIT and not lost and not stray
    notes = [f"not trained: {lost}"] * bool(lost) + [f"trained: {stray}"] * bool(stray)
    notes += [f"not in the file: {', '.join(m.split('.', 1)[1] for m in missing)}"] * \
        bool(missing and not lost)
    notes += [f"worst {which}"] * (worst > GRADIENT_LIMIT)
    if args.details:
        notes += fixed
    return good, f"{len(found.gradient):4} {error:8.1e} {worst:8.1e}", "; ".join(notes)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_intermixed_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    library, failures = Library(args.library), 0
    print(f"{'network':10} {'n':>4} {'loss':>8} {'gradient':>8}")
    for name in args.names or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                good, figures, notes = measure(library, name, args, folder)
            except RuntimeError as e:
                good, figures, notes = False, "", brief(e)
        failures += not good
        print(f"{name:10} {figures} {'ok' if good else 'FAILS'} {notes}", flush=True)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
