#!/usr/bin/env python3
"""peer.py - the same model files trained here and in PyTorch, in turns, and the ratios.

    bench/peer.py FOLDER [name ...] [--batch N] [--threads T] [--steps K] [--rounds R]
                  [--command build/onnx-train] [--json]

FOLDER is what bench/models.py has written; a name is that of a file without .onnx, all of them by
default. Each round runs, each in a process of its own: this project's command, PyTorch dense, and
PyTorch dense with masks multiplied to gradients and weights. Convolutional networks run in both of
PyTorch's memory formats once, and from then on in the faster one. A step is forward, loss, backward
and SGD with momentum 0.9; BatchNormalization in training form. Times are medians over rounds of the
medians of steps. Needs PyTorch and onnx.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from models import MODELS  # noqa: E402


# ---- the model in PyTorch ----


def load(path):
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    values = {}
    for w in graph.initializer:
        tensor = torch.from_numpy(numpy_helper.to_array(w).copy())
        values[w.name] = tensor
    return graph, values


def operators(torch, F, values):
    """ONNX operators as the models use them. x: tensors, a: attributes."""

    def norm(x, a):
        return F.batch_norm(x[0], x[3], x[4], x[1], x[2], training=True, momentum=0.1)

    def conv(x, a):
        return F.conv2d(x[0], x[1], None, a["strides"], a["pads"][:2], 1, a["group"])

    def pool(x, a):
        return F.max_pool2d(x[0], a["kernel_shape"], a["strides"], a["pads"][:2])

    return {
        "Add": lambda x, a: x[0] + x[1],
        "BatchNormalization": norm,
        "Conv": conv,
        "Flatten": lambda x, a: torch.flatten(x[0], 1),
        "Gelu": lambda x, a: F.gelu(x[0]),
        "Gemm": lambda x, a: F.linear(*x),
        "GlobalAveragePool": lambda x, a: F.adaptive_avg_pool2d(x[0], 1),
        "LayerNormalization": lambda x, a: F.layer_norm(x[0], x[1].shape, x[1], x[2],
                                                        a["epsilon"]),
        "MatMul": lambda x, a: x[0] @ x[1],
        "MaxPool": pool,
        "Mul": lambda x, a: x[0] * x[1],
        "Relu": lambda x, a: F.relu(x[0]),
        "Reshape": lambda x, a: x[0].reshape(x[0].shape[0], *x[1].tolist()[1:]),
        "Softmax": lambda x, a: F.softmax(x[0], -1),
        "Transpose": lambda x, a: x[0].permute(a["perm"]),
    }


def compile_graph(graph, values):
    import torch
    import torch.nn.functional as F
    from onnx import helper

    table = operators(torch, F, values)
    program = []
    for n in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in n.attribute}
        program.append((table[n.op_type], list(n.input), n.output[0], attributes))

    def forward(x):
        at = dict(values, x=x)
        for run, inputs, output, attributes in program:
            at[output] = run([at[i] for i in inputs], attributes)
        return at[graph.output[0].name]

    return forward


def trainable(graph, values):
    """Weights: floats that are neither running statistics nor scalars."""
    statistics_of = {i for n in graph.node if n.op_type == "BatchNormalization"
                     for i in n.input[3:]}
    return [k for k, v in values.items()
            if v.is_floating_point() and v.dim() and k not in statistics_of]


def run_torch(args):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    graph, values = load(args.path)
    shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
    x = torch.rand(args.batch, *shape) * 2 - 1
    if args.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
        for k, v in values.items():
            if v.dim() == 4:
                values[k] = v.contiguous(memory_format=torch.channels_last)
    weights = [values[k].requires_grad_() for k in trainable(graph, values)]
    masks = [(w, (w != 0).float()) for w in weights if args.masked and (w == 0).any()
             and w.dim() > 1]
    forward = compile_graph(graph, values)
    with torch.no_grad():
        y = forward(x)
    target = torch.rand_like(y) if args.loss == "mse" else torch.randint(y.shape[1], y.shape[:1])
    loss = F.mse_loss if args.loss == "mse" else F.cross_entropy
    optimizer = torch.optim.SGD(weights, lr=1e-9, momentum=0.9)
    seconds = []
    for _ in range(args.steps + 3):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss(forward(x), target).backward()
        for w, mask in masks:
            w.grad.mul_(mask)
        optimizer.step()
        with torch.no_grad():
            for w, mask in masks:
                w.mul_(mask)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"step_ms": 1e3 * statistics.median(seconds[3:]),
                      "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


# ---- rounds ----


def call(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def ours(args, path, batch, loss):
    return call([args.command, "bench", path, f"batch={batch}", f"threads={args.threads}",
                 f"steps={args.steps}", f"loss={loss}", "bn=train", "--json"])


def theirs(args, path, batch, loss, *flags):
    return call([sys.executable, os.path.abspath(__file__), "--torch", path, "--batch", str(batch),
                 "--threads", str(args.threads), "--steps", str(args.steps), "--loss", loss,
                 *flags])


def compare(args, name):
    path = os.path.join(args.folder, name + ".onnx")
    _, _, batch, loss = MODELS[name.split("-")[0]]
    batch = args.batch or batch
    flags = []
    if name.split("-")[0] not in ("mlp", "bert"):
        plain = theirs(args, path, batch, loss)
        last = theirs(args, path, batch, loss, "--channels-last")
        flags = ["--channels-last"] if last["step_ms"] < plain["step_ms"] else []
    runs = {"ours": [], "dense": [], "masked": []}
    for _ in range(args.rounds):
        runs["ours"].append(ours(args, path, batch, loss))
        runs["dense"].append(theirs(args, path, batch, loss, *flags))
        runs["masked"].append(theirs(args, path, batch, loss, "--masked", *flags))
    result = {"model": name, "batch": batch, "threads": args.threads,
              "torch_format": "channels_last" if flags else "contiguous"}
    for who, list_ in runs.items():
        for key in ("step_ms", "peak_rss_mb"):
            result[f"{who}_{key}"] = statistics.median(r[key] for r in list_)
    for who in ("dense", "masked"):
        result[f"speedup_over_{who}"] = result[f"{who}_step_ms"] / result["ours_step_ms"]
    result["rss_ratio"] = result["ours_peak_rss_mb"] / result["dense_peak_rss_mb"]
    return result


def print_row(r):
    print(f"{r['model']:<16} {r['batch']:>5} {r['threads']:>3} {r['ours_step_ms']:>10.1f} "
          f"{r['dense_step_ms']:>10.1f} {r['masked_step_ms']:>10.1f} "
          f"{r['speedup_over_dense']:>8.2f}x {r['speedup_over_masked']:>8.2f}x "
          f"{r['ours_peak_rss_mb']:>8.0f} {r['dense_peak_rss_mb']:>8.0f} {r['rss_ratio']:>6.2f}  "
          f"{r['torch_format']}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?")
    p.add_argument("names", nargs="*")
    p.add_argument("--batch", type=int)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=7)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--command", default="build/onnx-train")
    p.add_argument("--json", action="store_true")
    p.add_argument("--torch", dest="path", help=argparse.SUPPRESS)
    p.add_argument("--loss", help=argparse.SUPPRESS)
    p.add_argument("--masked", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--channels-last", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.path:
        run_torch(args)
        return
    if not args.folder:
        p.error("no folder given")
    names = args.names or sorted(f[:-5] for f in os.listdir(args.folder) if f.endswith(".onnx"))
    results = []
    if not args.json:
        print(f"{'model':<16} {'batch':>5} {'thr':>3} {'ours ms':>10} {'torch':>10} {'masked':>10} "
              f"{'over':>9} {'masked':>9} {'MiB':>8} {'torch':>8} {'ratio':>6}  PyTorch's format")
    for name in names:
        results.append(compare(args, name))
        if not args.json:
            print_row(results[-1])
    if args.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
