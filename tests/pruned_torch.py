#!/usr/bin/env python3
"""Models pruned with torch.nn.utils.prune and exported without `remove`: trained by onnx-train, and
by PyTorch. Needs torch, onnx and onnxruntime; without them it is skipped (exit code 77).

    tests/pruned_torch.py build/onnx-train [NAME ...]

Each network is exported by both exporters and takes STEPS steps of SGD on the same batches. The
losses, and what the delivered file computes in onnxruntime, are compared with the module's; masks
have to come back bit for bit, weights unchanged where a mask is closed, and every pruned weight has
to be listed with the slots that its mask leaves.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    from onnx import numpy_helper
    from torch import nn
    from torch.nn.utils import prune
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

BATCH, STEPS, RATE, LIMIT = 8, 6, 0.05, 1e-5


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.rnn, self.head = cell(12, 10, batch_first=True), nn.Linear(10, 6)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Tied(nn.Module):
    """One pruned layer, used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.b(torch.tanh(self.a(torch.tanh(self.a(x)))))


def mlp():
    return nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(),
                         nn.Linear(16, 5)), (24,)


def cnn():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2),
                         nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Flatten(),
                         nn.Linear(4 * 12 * 12, 5)), (3, 8, 8)


def layers(module):
    return [m for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d,
                                                          nn.ConvTranspose2d))]


def unstructured(module):
    for m in layers(module):
        prune.l1_unstructured(m, "weight", 0.7)


def random_with_bias(module):
    for m in layers(module):
        prune.random_unstructured(m, "weight", 0.6)
        prune.random_unstructured(m, "bias", 0.4)


def rows(module):
    for m in layers(module)[:-1]:
        prune.ln_structured(m, "weight", 0.5, n=2, dim=0)


def columns(module):
    for m in layers(module)[1:]:
        prune.ln_structured(m, "weight", 0.5, n=1, dim=1)


def in_turns(module):
    for m in layers(module):
        prune.ln_structured(m, "weight", 0.3, n=2, dim=0)
        prune.l1_unstructured(m, "weight", 0.5)


def everywhere(module):
    prune.global_unstructured([(m, "weight") for m in layers(module)],
                              pruning_method=prune.L1Unstructured, amount=0.8)


def by_hand(module):
    for m in layers(module):
        mask = torch.ones_like(m.weight)
        mask.view(-1)[::3] = 0
        prune.custom_from_mask(m, "weight", mask)


def gates(module):
    for name in ("weight_ih_l0", "weight_hh_l0"):
        prune.l1_unstructured(module.rnn, name, 0.6)
    prune.l1_unstructured(module.head, "weight", 0.5)


NETWORKS = {
    "unstructured": (mlp, unstructured), "bias": (mlp, random_with_bias), "rows": (mlp, rows),
    "columns": (mlp, columns), "turns": (mlp, in_turns), "global": (mlp, everywhere),
    "hand": (mlp, by_hand), "conv": (cnn, unstructured), "conv rows": (cnn, rows),
    "conv columns": (cnn, columns), "conv turns": (cnn, in_turns),
    "tied": (lambda: (Tied(), (16,)), unstructured),
    "lstm": (lambda: (Recurrent(nn.LSTM), (7, 12)), gates),
    "gru": (lambda: (Recurrent(nn.GRU), (7, 12)), gates),
}


def export(module, x, path, exporter):
    """`script` without folding, which would write W * mask down as zeros; `folded` with it."""
    if exporter == "dynamo":
        torch.onnx.export(module, (x,), path, dynamo=True, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("n", min=2, max=64)},))
        return
    torch.onnx.export(module, (x,), path, dynamo=False, opset_version=17, input_names=["x"],
                      do_constant_folding=exporter == "folded", dynamic_axes={"x": {0: "n"}})


def train_torch(module, x, y):
    module, losses = module.double(), []  # pruned modules cannot be copied
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    for i in range(STEPS):
        part = slice(i * BATCH, (i + 1) * BATCH)
        loss = nn.functional.mse_loss(module(x[part].double()), y[part].double())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return module, np.array(losses)


def train_here(binary, path, x, y, folder, name):
    np.savez(folder / "data.npz", **{name: x.numpy(), "y": y.numpy()})
    subprocess.run([binary, "train", path, folder / "data.npz", "loss=mse", f"batch={BATCH}",
                    f"lr={RATE}", "momentum=0", "epochs=1", "shuffle=0", "val=0", "log_every=1",
                    "sparse=always", f"out={folder / 'run'}"], check=True, capture_output=True)
    records = [json.loads(line) for line in open(folder / "run/metrics.jsonl", encoding="utf-8")]
    return np.array([r["loss"] for r in records if "lr" in r and r.get("loss") is not None])


def tensors(path):
    graph = onnx.load(path).graph
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def check_file(before, after, module):
    """What is wrong with the tensors of the delivered file; None: nothing."""
    was, now = tensors(before), tensors(after)
    if was.keys() != now.keys():
        return "other tensors"
    for name, mask in was.items():
        if not name.endswith("_mask"):
            continue
        if mask.tobytes() != now[name].tobytes():
            return f"{name} has changed"
        weight = name[:-len("mask")] + "orig"
        closed = mask == 0
        if weight in was and was[weight][closed].tobytes() != now[weight][closed].tobytes():
            return f"{weight} has changed where it is closed"
    return None


def check_slots(binary, path, module):
    listing = json.loads(subprocess.run([binary, "inspect", path, "json=1"], check=True,
                                        capture_output=True).stdout)["weights"]
    want = sorted(int(b.sum()) for n, b in module.named_buffers()
                  if n.endswith("_mask") and b.dim() > 1)
    slots = [w["nnz"] for w in listing if w["structure"] in ("mask", "zeros")]
    if sum(slots) != sum(want):
        return f"slots {sorted(slots)}, not {want}"
    trained = [w["name"] for w in listing if w["trainable"] and w["name"].endswith("_mask")]
    return f"{trained[0]} is trained" if trained else None


def run(binary, name, exporter):
    torch.manual_seed(3)
    make, prune_it = NETWORKS[name]
    module, shape = make()
    prune_it(module)
    module.eval()
    x = torch.randn(BATCH * STEPS, *shape)
    y = torch.randn(BATCH * STEPS, module(x[:2]).shape[1])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path = folder / "m.onnx"
        export(module, x[:BATCH], path, exporter)
        trained, want = train_torch(module, x, y)
        feed = onnxruntime.InferenceSession(path).get_inputs()[0].name
        got = train_here(binary, path, x, y, folder, feed)
        last = folder / "run/weights/last.onnx"
        served = onnxruntime.InferenceSession(last).run(None, {feed: x[:BATCH].numpy()})[0]
        expected = trained(x[:BATCH].double()).detach().numpy()
        loss = np.abs(got / want - 1).max() if got.shape == want.shape else np.inf
        output = np.abs(served - expected).max() / np.abs(expected).max()
        wrong = check_file(path, last, module) or check_slots(binary, path, module)
        good = loss <= LIMIT and output <= LIMIT and not wrong
        print(f"{name:14} {exporter:7} loss {loss:8.1e} output {output:8.1e} "
              f"{'ok' if good else 'FAILS'} {wrong or ''}", flush=True)
        return good


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    binary, *names = sys.argv[1:]
    bad = 0
    for name in names or NETWORKS:
        for exporter in ("script", "folded", "dynamo"):
            try:
                bad += not run(binary, name, exporter)
            except subprocess.CalledProcessError as e:
                bad += 1
                print(f"{name:14} {exporter:7} FAILS {e.stderr.decode().strip()[:200]}")
    sys.exit(bad > 0)


main()
