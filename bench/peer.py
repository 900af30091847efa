#!/usr/bin/env python3
"""peer.py - the same model files trained here and in PyTorch, in turns, and the ratios.

    bench/peer.py FOLDER|FILE ... [NAME ...] [--batch N] [--threads T] [--steps K] [--rounds R]
                  [--loss auto|cross_entropy|mse] [--no-masked] [--command build/onnx-train]
                  [--json]
    bench/peer.py FOLDER|FILE ... --check

A NAME is that of a file of the folders without .onnx; without names all of a folder's files run.
PyTorch runs a file node by node (torch_graph.py), and where the file is one of exports.py
(NAME-default.onnx, NAME-torchscript.onnx), the module that it was made of as well, which has fused
attention; networks with convolutions run in both memory formats. The fastest of these is the peer.
Each round then runs, each in a process of its own: this project's command, the peer dense, and the
peer with masks multiplied to gradients and weights. A step is forward, loss, backward and SGD with
momentum 0.9; BatchNormalization in training form; weights are those that `inspect` calls trainable.
Times are medians over rounds of the medians of steps. --loss auto: cross entropy where the output
has two axes, or four and more (classes second), else mse. Where the file leaves the batch free, it
is bench/models.py's, or 32.

--check runs no steps, but prints the largest difference of PyTorch's result from onnxruntime's, by
the result's largest element; exit code 1 above 1e-4. Files with operators that are not known are
named, and left out; the exit code is then 1. Needs PyTorch and onnx, exports of language models
transformers.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MOST_ERROR = 1e-4
QUICK = ("--steps", "3", "--warm-up", "1")  # which form is the faster one


class Failed(Exception):
    pass


def call(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip()
                     else f"{command[0]} ended with {done.returncode}")
    return json.loads(done.stdout)


# ---- files ----


def find_files(words):
    """Files, folders, and names of files in these folders."""
    folders = [w for w in words if os.path.isdir(w)]
    names = [w for w in words if not os.path.isdir(w) and not os.path.isfile(w)]
    files = [w for w in words if os.path.isfile(w)]
    for name in names:
        found = [p for p in (os.path.join(f, name + ".onnx") for f in folders)
                 if os.path.isfile(p)]
        if not found:
            sys.exit(f"peer.py: there is no {name}")
        files += found
    if not names:
        files += [os.path.join(f, n) for f in folders for n in sorted(os.listdir(f))
                  if n.endswith(".onnx")]
    return files


def module_of(path):
    """The network of networks.py that exports.py made this file of, or None."""
    named = re.fullmatch(r"(\w+)-(default|torchscript)\.onnx", os.path.basename(path))
    return named and named[1]


def batch_of(path, fixed):
    from models import MODELS
    known = MODELS.get(os.path.basename(path).split("-")[0])
    return fixed or (known[2] if known else 32)


def loss_of(args, output):
    if args.loss != "auto":
        return args.loss
    return "mse" if len(output["shape"]) in (0, 1, 3) else "cross_entropy"


# ---- one run ----


def ours(args, path, batch, loss):
    axis = ["class_axis=1"] if loss == "cross_entropy" else []
    return call([args.command, "bench", path, f"batch={batch}", f"threads={args.threads}",
                 f"steps={args.steps}", f"loss={loss}", *axis, "bn=train", "--json"])


def theirs(args, path, *flags):
    return call([sys.executable, os.path.join(HERE, "torch_step.py"), path, "--threads",
                 str(args.threads), "--command", args.command, *flags])


def fastest_form(args, path, common, has_images):
    """Which form of the network PyTorch is fastest with: its name, and the flags of that form. A
    module that does not run here is reported, and the file's nodes are the peer."""
    forms = {"file": []}
    if module_of(path):
        forms["module"] = ["--module", module_of(path)]
    if has_images:
        forms.update({f"{k}, channels_last": v + ["--channels-last"]
                      for k, v in list(forms.items())})
    if len(forms) == 1:
        return "file", []
    times = {}
    for form, flags in forms.items():
        try:
            times[form] = theirs(args, path, *common, *QUICK, *flags)["step_ms_min"]
        except Failed as e:
            if "module" not in form:
                raise
            print(f"{path}: without its module: {e}", file=sys.stderr, flush=True)
    best = min(times, key=times.get)
    return best, forms[best]


def compare(args, path):
    model = call([args.command, "inspect", path, "--json"])
    first = model["inputs"][0]["shape"]
    fixed = first[0] if first and isinstance(first[0], int) and first[0] > 0 else None
    if fixed and args.batch and fixed != args.batch:
        raise Failed(f"its batch is {fixed}")
    batch, loss = args.batch or batch_of(path, fixed), loss_of(args, model["outputs"][0])
    common = ["--batch", str(batch), "--loss", loss]
    has_images = any(o["operator"] in ("Conv", "ConvTranspose") for o in model["operators"]) and \
        len(first) == 4
    form, flags = fastest_form(args, path, common, has_images)
    common += ["--steps", str(args.steps), *flags]
    runs = {"ours": [], "dense": [], "masked": []}
    for _ in range(args.rounds):
        runs["ours"].append(ours(args, path, batch, loss))
        runs["dense"].append(theirs(args, path, *common))
        if args.masked:
            runs["masked"].append(theirs(args, path, *common, "--masked"))
    return {"model": os.path.basename(path)[:-5], "batch": batch, "threads": args.threads,
            "loss": loss, "torch_runs": form.split(",")[0],
            "torch_format": "channels_last" if "last" in form else "contiguous", **summary(runs)}


def summary(runs):
    result = {}
    for who, list_ in runs.items():
        for key in ("step_ms", "peak_rss_mb") if list_ else ():
            result[f"{who}_{key}"] = statistics.median(r[key] for r in list_)
    for who in ("dense", "masked"):
        if runs[who]:
            result[f"speedup_over_{who}"] = result[f"{who}_step_ms"] / result["ours_step_ms"]
    result["rss_ratio"] = result["ours_peak_rss_mb"] / result["dense_peak_rss_mb"]
    return result


# ---- the table ----


def print_head():
    print(f"{'model':<22} {'batch':>5} {'thr':>3} {'ours ms':>10} {'torch':>10} {'masked':>10} "
          f"{'over':>9} {'masked':>9} {'MiB':>8} {'torch':>8} {'ratio':>6}  PyTorch runs")


def print_row(r):
    masked = f"{r['masked_step_ms']:>10.1f}" if "masked_step_ms" in r else f"{'-':>10}"
    over = f"{r['speedup_over_masked']:>8.2f}x" if "masked_step_ms" in r else f"{'-':>9}"
    print(f"{r['model']:<22} {r['batch']:>5} {r['threads']:>3} {r['ours_step_ms']:>10.1f} "
          f"{r['dense_step_ms']:>10.1f} {masked} {r['speedup_over_dense']:>8.2f}x {over} "
          f"{r['ours_peak_rss_mb']:>8.0f} {r['dense_peak_rss_mb']:>8.0f} {r['rss_ratio']:>6.2f}  "
          f"{r['torch_runs']}, {r['torch_format']}", flush=True)


def check(args, path):
    batch = ["--batch", str(args.batch)] if args.batch else []
    error = theirs(args, path, "--check", *batch)["error"]
    print(f"{os.path.basename(path)[:-5]:<22} {error:.1e}", flush=True)
    return error <= MOST_ERROR


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("paths", nargs="+", metavar="FOLDER|FILE|NAME")
    p.add_argument("--batch", type=int)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=7)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--loss", choices=("auto", "cross_entropy", "mse"), default="auto")
    p.add_argument("--no-masked", dest="masked", action="store_false")
    p.add_argument("--check", action="store_true")
    p.add_argument("--command", default="build/onnx-train")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    good, results = True, []
    if not args.json and not args.check:
        print_head()
    for path in find_files(args.paths):
        try:
            if args.check:
                good &= check(args, path)
                continue
            results.append(compare(args, path))
            if not args.json:
                print_row(results[-1])
        except Failed as e:
            good = False
            print(f"{path}: left out: {e}", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps(results, indent=1))
    sys.exit(not good)


if __name__ == "__main__":
    main()
