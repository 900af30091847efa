#!/usr/bin/env python3
"""torch_step.py - one process of peer.py: training steps in PyTorch, or the check of a model.

    bench/torch_step.py MODEL [--batch N] [--threads T] [--steps K] [--loss mse|cross_entropy]
                        [--module NAME] [--masked] [--channels-last] [--command build/onnx-train]
    bench/torch_step.py MODEL --check

The model runs as its file says (torch_graph.py), or as PyTorch's own module of networks.py. Weights
are those that `onnx-train inspect` calls trainable. Prints one object of JSON. --check holds the
result of the file's nodes against onnxruntime's.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from torch.nn import functional as F

from torch_graph import Graph, UnknownOperators, read
from torch_tensors import Unsupported


def inspect(command, path):
    done = subprocess.run([command, "inspect", path, "--json"], capture_output=True, text=True)
    if done.returncode:
        raise Unsupported(done.stderr.strip())
    return json.loads(done.stdout)


class FromFile:
    """What trains is the graph of the file."""

    def __init__(self, args):
        self.forward = Graph(args.path)
        self.inputs = self.forward.make_inputs(args.batch, args.length)
        weights = [w for w in inspect(args.command, args.path)["weights"] if w["trainable"]]
        if args.channels_last:
            self.forward.use_channels_last()
        self.weights = self.forward.train([w["name"] for w in weights])
        self.pruned = [p for p, w in zip(self.weights, weights) if w["structure"] != "none"]


class FromModule:
    """What trains is the module that the file was made of."""

    def __init__(self, args):
        from networks import NETWORKS, make, pruned_weights
        if args.module not in NETWORKS:
            raise Unsupported(f"networks.py has no {args.module}")
        module, self.inputs = make(args.module)
        if args.channels_last:
            module = module.to(memory_format=torch.channels_last)
        self.forward = module.train()
        self.weights, self.pruned = list(module.parameters()), list(pruned_weights(module))


def run_steps(args, network):
    inputs = network.inputs
    if args.channels_last:
        inputs = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
                  for x in inputs]
    masks = [(w, (w != 0).float()) for w in network.pruned] if args.masked else []
    with torch.no_grad():
        y = network.forward(*inputs)
    target = torch.rand_like(y) if args.loss == "mse" else \
        torch.randint(y.shape[1], (y.shape[0], *y.shape[2:]))
    loss = F.mse_loss if args.loss == "mse" else F.cross_entropy
    del y
    optimizer = torch.optim.SGD(network.weights, lr=1e-9, momentum=0.9)
    seconds = []
    for _ in range(args.steps + args.warm_up):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss(network.forward(*inputs), target).backward()
        for w, mask in masks:
            w.grad.mul_(mask)
        optimizer.step()
        with torch.no_grad():
            for w, mask in masks:
                w.mul_(mask)
        seconds.append(time.perf_counter() - start)
    timed = seconds[args.warm_up:]
    return {"step_ms": 1e3 * statistics.median(timed), "step_ms_min": 1e3 * min(timed),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


# ---- the check ----


def in_inference_form(path):
    """onnxruntime has no BatchNormalization in training form."""
    model = read(path)
    for n in model.graph.node:
        if n.op_type == "BatchNormalization":
            kept = [a for a in n.attribute if a.name != "training_mode"]
            del n.attribute[:], n.output[1:]
            n.attribute.extend(kept)
    return model


def check(args):
    """The largest difference, by the largest element, of the first call and of the folded graph."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        onnx.save(in_inference_form(args.path), path)
        graph = Graph(path)
        inputs = graph.make_inputs(args.batch, args.length)
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, args.threads
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    names = [i.name for i in graph.inputs]
    wanted = session.run([graph.output], {n: x.numpy() for n, x in zip(names, inputs)})[0]
    wanted = torch.from_numpy(wanted)
    with torch.no_grad():
        worst = max((graph(*inputs) - wanted).abs().max().item() for _ in range(2))
    return {"error": worst / max(wanted.abs().max().item(), 1e-30)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("path")
    p.add_argument("--batch", type=int)
    p.add_argument("--length", type=int, default=128)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=7)
    p.add_argument("--warm-up", type=int, default=3)
    p.add_argument("--loss", default="mse")
    p.add_argument("--module")
    p.add_argument("--masked", action="store_true")
    p.add_argument("--channels-last", action="store_true")
    p.add_argument("--check", action="store_true")
    p.add_argument("--command", default="build/onnx-train")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    try:
        if args.check:
            result = check(args)
        else:
            result = run_steps(args, (FromModule if args.module else FromFile)(args))
    except UnknownOperators as e:
        sys.exit(f"operators that are not known here: {e}")
    except Unsupported as e:
        sys.exit(str(e))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
