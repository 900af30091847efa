#!/usr/bin/env python3
"""Whether two builds train to the same bits.

    tests/same_bits.py OLD NEW [--steps=20] [MODEL ...]

OLD and NEW are two onnx-train commands. Both train the golden models and the example, with each
optimizer, and where OT_SHARED names the folder of real models, those with their data. A line a run
says whether all losses are equal, to the last digit, and all checkpoints' weights and moments.
MODEL chooses runs by a part of their name. Exit code 1 where something differs.
"""
import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

TESTS = pathlib.Path(__file__).resolve().parent
GLYPHS = TESTS.parent / "examples" / "glyphs"
SHARED = {"fmnist_mlp_95": "fashion-mnist", "fmnist_mlp_99": "fashion-mnist",
          "fmnist_cnn_90_bn": "fashion-mnist", "fmnist_cnn_dense": "fashion-mnist",
          "fmnist_cnn_95_folded": "fashion-mnist", "cifar_resnet20_90_bn": "cifar10"}


def runs(folder):
    """(name, model, data, options) of every run."""
    for optimizer in ("sgd", "adam", "adamw", "adagrad"):
        yield f"glyphs, {optimizer}", GLYPHS / "glyphs.onnx", GLYPHS, [f"optimizer={optimizer}"]
    for bn in ("frozen", "train", "affine"):
        yield f"glyphs, bn={bn}", GLYPHS / "glyphs.onnx", GLYPHS, [f"bn={bn}"]
    for name in ("mlp", "cnn", "rnn"):
        golden = TESTS / "golden" / name
        yield f"golden {name}", golden / "model.onnx", join(golden, folder / f"{name}.npz"), []
    for path in sorted((TESTS / "golden").glob("*.zip")):
        golden = folder / path.stem
        with zipfile.ZipFile(path) as z:
            z.extractall(golden)
        if (golden / "x.npy").exists() and (golden / "y.npy").exists():
            yield (f"golden {path.stem}", golden / "model.onnx",
                   join(golden, folder / f"{path.stem}.npz"), [])
    shared = os.environ.get("OT_SHARED")
    for name, data in SHARED.items() if shared else ():
        root = pathlib.Path(shared)
        yield name, root / "models" / "made" / f"{name}.onnx", root / "data" / data, ["batch=64"]


def join(golden, path):
    """The arrays x.npy and y.npy of a golden model as one file of data."""
    with zipfile.ZipFile(path, "w") as z:
        for name in ("x.npy", "y.npy"):
            z.write(golden / name, name)
    return path


def train(command, model, data, options, steps, out):
    """The losses in their printed digits, and the tensors of the last checkpoint as bytes."""
    done = subprocess.run([command, "train", model, data, f"out={out}", f"max_steps={steps}",
                           "epochs=1000", "log_every=1", "val=0", "threads=1", *options],
                          capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1:], {}
    records = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    losses = [r["loss"] for r in records if r.get("event") == "step"]
    newest = max((out / "checkpoints").glob("*.otc"), key=lambda p: p.stat().st_mtime)
    return losses, tensors(newest.read_bytes())


def tensors(file):
    """The bytes of each tensor of a safetensors file."""
    size = struct.unpack("<Q", file[:8])[0]
    header, body = json.loads(file[8:8 + size]), file[8 + size:]
    return {name: body[slice(*t["data_offsets"])] for name, t in header.items()
            if name != "__metadata__"}


def verdict(old, new):
    """What to say of a run, and whether it is well."""
    if old[0] != new[0]:
        at = next((k for k, pair in enumerate(zip(old[0], new[0])) if pair[0] != pair[1]), 0)
        return f"loss {at}: {old[0][at:at + 1]} {new[0][at:at + 1]}", False
    names = old[1].keys() & new[1].keys()
    differ = sorted(n for n in names if old[1][n] != new[1][n])
    if differ:
        return f"{len(differ)} of {len(names)} tensors differ, {differ[0]} first", False
    if not names:
        return f"neither trains: {old[0]}", True
    alone = len(old[1].keys() ^ new[1].keys())
    return f"{len(old[0])} losses, {len(names)} tensors, {alone} in one checkpoint alone", True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("model", nargs="*")
    args = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for k, (name, model, data, options) in enumerate(runs(folder)):
            if args.model and not any(m in name for m in args.model):
                continue
            old, new = (train(c, model, data, options, args.steps, folder / f"{which}{k}")
                        for which, c in (("old", args.old), ("new", args.new)))
            text, well = verdict(old, new)
            print(f"{name:28} {'equal' if well else 'DIFFER':7} {text}", flush=True)
            bad += not well
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
