"""The first changes of masks while training, against PyTorch with dense weights and masks.

Usage: topology_torch.py ONNX_TRAIN FOLDER, an empty folder. After each of five changes the masks
have to be equal, and the losses of all steps within 1e-5. Of set, random places and their values
are taken from the command. Exit code 77: Python lacks a package.
"""
import json
import math
import subprocess
import sys

try:
    import numpy as np
    import onnx
    import torch
    from onnx import numpy_helper
except ImportError as missing:
    print(missing)
    sys.exit(77)

EVERY, UPDATES, BATCH, END = 10, 5, 100, 1000
SHARE, GOAL, GMP_START, GMP_END = 0.3, 0.98, 2, 60
ROW_LISTS, LEAST_ROW = 3, 16  # as runtime/train/topology.c has them


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{args}: {done.stdout}{done.stderr}")


def read(path):
    """{name: (values, mask)} of a file; the mask of a dense tensor is where it is not zero."""
    graph = onnx.load(path).graph
    dense = [(t.name, numpy_helper.to_array(t).copy()) for t in graph.initializer]
    out = {name: (w, w != 0) for name, w in dense}
    for s in graph.sparse_initializer:
        shape, index = tuple(s.dims), numpy_helper.to_array(s.indices)
        if index.ndim == 2:
            index = index[:, 0] * shape[1] + index[:, 1]
        w, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        w.reshape(-1)[index] = numpy_helper.to_array(s.values)
        mask.reshape(-1)[index] = True
        out[s.values.name] = (w, mask)
    return out


def best(score, k):
    """Marks the k best; of equal ones the first."""
    order = np.argsort(-score.reshape(-1).astype(np.float64), kind="stable")
    mask = np.zeros(score.size, bool)
    mask[order[:k]] = True
    return mask.reshape(score.shape)


class Layer:
    """A weight with a mask; `first`: its slots at the beginning."""

    def __init__(self, mask, last, ablation):
        self.mask, self.first, self.last, self.ablation = mask, int(mask.sum()), last, ablation

    def moves(self, step):
        share = SHARE / 2 * (1 + math.cos(math.pi * step / END))
        return int(share * int(self.mask.sum()))

    def rigl(self, w, g, step):
        q = self.moves(step)
        keep = best(np.where(self.mask, abs(w), -1), int(self.mask.sum()) - q)
        return keep | best(np.where(keep, -1, abs(g)), q)

    def gone(self, worth):
        """Rows that are ablated."""
        rows, cols = self.mask.shape
        mean, a = self.first // rows, self.ablation
        threshold = 0 if self.last else int(a) if a >= 1 else max(1, int(a * mean))
        slots = self.mask.sum(1)
        listed = min(cols, max(LEAST_ROW, ROW_LISTS * mean))
        least = self.first // int(np.minimum(slots + listed, cols).min())
        if least < rows:
            threshold = min(threshold, np.sort(worth)[::-1][least])
        return worth < threshold

    def srigl(self, w, g, step):
        q = self.moves(step)
        stay, score = int(self.mask.sum()) - q, np.where(self.mask, abs(w), -1)
        gone = self.gone((best(score, stay) | best(abs(g), q)).sum(1))
        k = self.first // int((~gone).sum())
        score[gone] = -1
        keep = best(score, min(stay, int((score >= 0).sum())))
        new = np.zeros_like(keep)
        for r in np.flatnonzero(~gone):
            new[r] = best(np.where(keep[r], abs(w[r]), -1), min(k, int(keep[r].sum())))
            new[r] |= best(np.where(new[r], -1, abs(g[r])), k - int(new[r].sum()))
        return new

    def gmp(self, w, g, step):
        goal = min(int(w.size * (1 - GOAL + 1e-12)), self.first)
        left = max(0, (GMP_END - step) / (GMP_END - GMP_START)) ** 3
        most = goal + int((self.first - goal) * left)
        return best(np.where(self.mask, abs(w), -1), min(int(self.mask.sum()), most))

    def set_keeps(self, w):
        keep = self.mask.copy()
        for sign in (self.mask & (w >= 0), self.mask & (w < 0)):
            n = int(sign.sum())
            keep &= ~sign | best(np.where(sign, abs(w), -1), n - int(SHARE * n))
        return keep


def train(command, folder, method, options):
    """Runs of the command that end with each change: weights after it, and losses of the last."""
    weights = []
    for update in range(1, UPDATES + 1):
        out = f"{folder}/{method}{update}"
        run("rm", "-rf", out)
        run(command, "train", f"{folder}/{method}.onnx", f"{folder}/data.npz", "val=0", "shuffle=0",
            f"batch={BATCH}", "lr=0.1", "momentum=0.9", "weight_decay=1e-4", "log_every=1",
            "threads=1", f"topology={method}", f"topology_every={EVERY}",
            f"max_steps={EVERY * update}", f"out={out}", *options)
        weights.append(read(f"{out}/weights/last.onnx"))
    records = [json.loads(line) for line in open(f"{out}/metrics.jsonl")]
    return weights, [r["loss"] for r in records if r["event"] == "step"]


class Peer:
    """The same network in PyTorch."""

    def __init__(self, path, method, ablation):
        start = read(path)
        nodes = onnx.load(path).graph.node
        self.layers = [tuple(n.input[1:3]) for n in nodes if n.op_type == "Gemm"]
        self.p = {name: torch.nn.Parameter(torch.from_numpy(start[name][0]))
                  for names in self.layers for name in names}
        self.method, last = method, self.layers[-1][0]
        self.masked = {w: Layer(start[w][1], w == last, ablation) for w, _ in self.layers
                       if method == "gmp" or not start[w][1].all()}
        self.sgd = torch.optim.SGD(self.p.values(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def step(self, x, y):
        for k, (w, b) in enumerate(self.layers):
            x = torch.nn.functional.linear(torch.relu(x) if k else x, self.p[w], self.p[b])
        loss = torch.nn.functional.cross_entropy(x, y)
        self.sgd.zero_grad()
        loss.backward()
        self.gradient = {w: self.p[w].grad.numpy().copy() for w in self.masked}
        for w, layer in self.masked.items():
            self.p[w].grad *= torch.from_numpy(layer.mask)
        self.sgd.step()
        return loss.item()

    def change(self, theirs, step):
        """Changes all masks; returns how many positions differ from those of the command."""
        differ = 0
        for w, layer in self.masked.items():
            value = self.p[w].detach().numpy()
            momentum = self.sgd.state[self.p[w]]["momentum_buffer"]
            values, mask = theirs[w]
            if self.method != "set":
                new = getattr(layer, self.method)(value, self.gradient[w], step)
            elif layer.last:
                new = layer.mask
            else:
                keep = layer.set_keeps(value)
                new = keep | mask
                value[mask & ~keep] = values[mask & ~keep]
                momentum.numpy()[mask & ~keep] = 0
                differ += abs(int(new.sum()) - layer.first)
            differ += int((new != mask).sum())
            layer.mask = new
            value *= new
            momentum *= torch.from_numpy(new)
        return differ


def compare(command, folder, method, density, ablation):
    constraint = "fan_in" if method == "srigl" else "free"
    model = f"{folder}/{method}.onnx"
    run(command, "init", "mlp=784-300-100-10", f"density=erk:{density}", f"constraint={constraint}",
        "seed=1", f"out={model}", "force=1")
    options = [f"topology_end={END}"]
    if method == "srigl":
        options += [f"ablation={ablation}"]
    if method == "gmp":
        options = [f"topology_start={GMP_START}", f"topology_end={GMP_END}", f"sparsity={GOAL}",
                   "budget=uniform"]
    weights, losses = train(command, folder, method, options)
    peer, data = Peer(model, method, ablation), np.load(f"{folder}/data.npz")
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    differ, worst = 0, 0
    for step in range(1, EVERY * UPDATES + 1):
        part = slice((step - 1) * BATCH, step * BATCH)
        loss = peer.step(x[part], y[part])
        worst = max(worst, abs(loss - losses[step - 1]) / abs(loss))
        if step % EVERY == 0:
            differ += peer.change(weights[step // EVERY - 1], step)
    print(f"{method}, density {density}, ablation {ablation}: {differ} positions differ, losses by "
          f"{worst:.1e}")
    return differ == 0 and worst <= 1e-5


def main(command, folder):
    torch.set_num_threads(1)
    r, n = np.random.default_rng(3), BATCH * EVERY * UPDATES
    np.savez(f"{folder}/data.npz", x=r.standard_normal((n, 784)).astype(np.float32),
             y=r.integers(0, 10, n))
    cases = [("set", 0.1, 0), ("rigl", 0.1, 0), ("rigl", 0.01, 0), ("srigl", 0.1, 0.3),
             ("srigl", 0.01, 0.3), ("srigl", 0.1, 0.95), ("srigl", 0.01, 3), ("gmp", 0.1, 0)]
    sys.exit(not all([compare(command, folder, *case) for case in cases]))


main(*sys.argv[1:3])
