#!/usr/bin/env python3
"""One training step of whole architectures against PyTorch.

    tests/parity.py LIBRARY [--opsets=11,13,17,18] [--exporters=script,dynamo]
                    [--sparse=auto|always|never] [--details] [ARCHITECTURE ...]

Each architecture gets random weights, 90 % of every matrix zero, and is exported. The library then
makes one training step; loss and the gradient of every parameter are held against PyTorch's in
float64: the loss to 1e-4, gradients to 1e-3 of the largest element of their tensor (or of a
thousandth of the largest of all, where a gradient is zero but for rounding). The column "torch" is
how far PyTorch in float32 is from float64 itself: what is nearer than that is good too. Where that
is not enough, it is how far float64 goes if its weights are moved by up to 2^-22 of themselves, as
roundings of float32 may: in networks where a Relu turns for it, much farther than that. Networks
with BatchNormalization run with running statistics and with those of the batch. LIBRARY is
libonnxtrain.so; needs torch, torchvision, transformers, onnx and onnxscript (the dynamo exporter).
Exit code 1 where something differs.
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

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from library import Library  # noqa: E402
from parity_models import ARCHITECTURES, FOLDED  # noqa: E402
from parity_torch import expected, export, forms, has_bn, randomize  # noqa: E402

LOSS_LIMIT, GRADIENT_LIMIT, LEAST = 1e-4, 1e-3, 1e-3
DRAWS, MOVE = 5, 2.0 ** -22
BN = {"affine": 3, "train": 2}
SPARSE = {"auto": 0, "always": 1, "never": 2}


class Found:
    """Where the values of each parameter lie in the model, and the gradients from there."""

    def __init__(self, module):
        self.places, self.gradient, self.slots, self.stray = {}, {}, {}, []
        for name, p in module.named_parameters():
            for key, back in forms(p.detach().numpy()):
                self.places.setdefault(key, (name, back))

    def add(self, name, pattern, values, gradient):
        """Sets apart what is no parameter of the module."""
        pieces = [(values, gradient)]
        if not self.known(pieces) and values.ndim > 1:
            pieces = list(zip(values, gradient))  # recurrent layers join their directions
        if not self.known(pieces) and values.ndim and values.shape[-1] % 2 == 0:  # and two biases
            pieces = [half for piece in pieces
                      for half in zip(*(np.split(a, 2, axis=-1) for a in piece))]
        if not self.known(pieces):
            self.stray.append((name, values, gradient))
            return
        for v, g in pieces:
            self.put(*self.places[v.tobytes()], pattern, v, g)

    def unfold(self, module, folded):
        """Gradients of parameters from those of what exporters have computed with them."""
        for t in folded(module):
            for name, values, gradient in self.stray:
                if values.size == t.numel() and np.allclose(values.ravel(), t.detach().ravel()):
                    t.backward(torch.from_numpy(gradient).reshape(t.shape), retain_graph=True)
        for name, p in module.named_parameters():
            if p.grad is not None:
                self.gradient[name] = p.grad.double().numpy()
                self.slots[name] = True

    def known(self, pieces):
        return all(v.tobytes() in self.places for v, _ in pieces)

    def put(self, name, back, pattern, values, gradient):
        slots = back(values != 0) if pattern else True
        self.gradient[name] = self.gradient.get(name, 0) + back(gradient.astype(np.float64))
        self.slots[name] = self.slots.get(name, True) & slots


def largest(a):
    return float(np.abs(a).max()) if a.size else 0.0


def compare(found, want, torch32, details):
    """The worst error of all gradients, PyTorch's own, the parameter, and those not found."""
    scale_of_all = max(map(largest, want.values()))
    worst, noise, which, missing = 0.0, 0.0, "", []
    for name, g in want.items():
        if name not in found.gradient:
            missing.append(name)
            continue
        scale = max(largest(g), LEAST * scale_of_all)
        slots = found.slots[name]
        error = largest((found.gradient[name] - g) * slots) / scale
        noise = max(noise, largest((torch32[name] - g) * slots) / scale)
        if details and error > GRADIENT_LIMIT:
            print(f"    {name} {error:.1e} of {scale:.1e}")
        if not error <= worst:
            worst, which = error, name
    return worst, noise, which, missing


def unrest(found, module, train, inputs, target, want):
    """The worst error of gradients in float64 with weights that are moved a little."""
    worst = 0.0
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        moved = copy.deepcopy(module).double()
        with torch.no_grad():
            for p in moved.parameters():
                p *= 1 + MOVE * (2 * torch.rand_like(p) - 1)
        _, gradient = expected(moved, train, inputs, target, torch.float64)
        worst = max(worst, compare(found, want, gradient, False)[1])
    return worst


def brief(e):
    lines = [s for s in str(e).strip().splitlines() if s.strip()]
    return f"{type(e).__name__}: {(lines or [''])[0][:150]}"


def measure(library, name, module, inputs, target, path, bn, args):
    train = bn == "train"
    loss, want = expected(module, train, inputs, target, torch.float64)
    _, torch32 = expected(module, train, inputs, target, torch.float32)
    found = Found(module)
    with library.open(path, sparse=SPARSE[args.sparse], bn=BN[bn]) as session:
        got = session.step([np.ascontiguousarray(x.numpy()) for x in inputs], target.numpy())
        for parameter in session.parameters():
            found.add(*parameter)
    parts, folded = FOLDED.get(name, ((), None))
    if folded:
        found.unfold(copy.deepcopy(module), folded)
    worst, noise, which, missing = compare(found, want, torch32, args.details)
    if worst > max(GRADIENT_LIMIT, noise):
        noise = max(noise, unrest(found, module, train, inputs, target, want))
    error = abs(got - loss) / abs(loss)
    lost = [m for m in missing if not any(part in m for part in parts)]
    good = error <= LOSS_LIMIT and worst <= max(GRADIENT_LIMIT, noise) and not lost
    stray = [name for name, *_ in found.stray[:2]]
    note = f"not found: {len(lost)} of {len(want)}, {lost[0]}; stray {stray}" if lost \
        else f"not in the file: {len(missing)} of {len(want)}" if missing else ""
    if worst > GRADIENT_LIMIT:
        note += which
    return good, f"{error:8.1e} {worst:8.1e} {noise:8.1e}", note


def run(library, name, args):
    """The table's lines of one architecture; the number of failures."""
    torch.manual_seed(1)
    module, inputs, target = ARCHITECTURES[name]()
    randomize(module)
    module.eval()
    failures = 0
    for exporter in args.exporters.split(","):
        for opset in map(int, args.opsets.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                path, label = pathlib.Path(folder) / "m.onnx", f"{name:14} {opset:3} {exporter:6}"
                try:
                    real = export(module, inputs, path, opset, exporter)
                except Exception as e:
                    print(f"{label} {'-':6} not exported: {brief(e)}", flush=True)
                    continue
                if real != opset:
                    print(f"{label} {'-':6} not exported: became opset {real}", flush=True)
                    continue
                for bn in BN if has_bn(module) else ["affine"]:
                    try:
                        good, figures, note = measure(library, name, module, inputs, target, path,
                                                      bn, args)
                    except RuntimeError as e:
                        good, figures, note = False, "", brief(e)
                    failures += not good
                    print(f"{label} {bn if has_bn(module) else '-':6} {figures:26} "
                          f"{'ok' if good else 'FAILS'} {note}", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--opsets", default="11,13,17,18")
    parser.add_argument("--exporters", default="script,dynamo")
    parser.add_argument("--sparse", default="always", choices=SPARSE)
    parser.add_argument("--details", action="store_true")
    args = parser.parse_intermixed_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    library = Library(args.library)
    print(f"{'architecture':14} {'':3} {'':6} {'bn':6} {'loss':>8} {'gradient':>8} {'torch':>8}")
    sys.exit(sum(run(library, name, args) for name in args.names or ARCHITECTURES) > 0)


if __name__ == "__main__":
    main()
