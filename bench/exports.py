#!/usr/bin/env python3
"""exports.py - writes the networks of networks.py as PyTorch exports them, pruned.

    bench/exports.py FOLDER [NAME ...] [--exporter default|torchscript]

Files are named NAME-default.onnx and NAME-torchscript.onnx; both exporters where none is named, all
networks likewise: bert, bertmask (with a mask of keys), gpt2 and llama (4 layers, 768 wide, 8 x 128
tokens), r18 (ResNet-18), eff (EfficientNet-B0), vit, convnext, unet, and lstm (2 x 512, in both
directions, 32 x 100 tokens). 90 % of the weights are zero, 95 % of r18's. Batches are fixed, as the
exporters fix them. A network that an exporter refuses is reported; the exit code is then 1 unless
the exporter was not asked for. Needs PyTorch and onnxscript, language models transformers too.
"""
import argparse
import contextlib
import importlib.util
import logging
import os
import sys
import warnings

LANGUAGE = ("bert", "bertmask", "gpt2", "llama")
EXPORTERS = ("default", "torchscript")
TORCHSCRIPT_OPSET = 17


def require(*packages):
    missing = [p for p in packages if importlib.util.find_spec(p) is None]
    if missing:
        sys.exit(f"{os.path.basename(sys.argv[0])}: there is no {', '.join(missing)} in "
                 f"{sys.executable}; pip install {' '.join(missing)}")


@contextlib.contextmanager
def silence():
    """Exporters print, from C++ too."""
    kept = [(fd, os.dup(fd)) for fd in (1, 2)]
    with open(os.devnull, "w") as nothing:
        for fd, _ in kept:
            os.dup2(nothing.fileno(), fd)
        try:
            yield
        finally:
            for fd, saved in kept:
                os.dup2(saved, fd)
                os.close(saved)


def has_running_statistics(module):
    return any("running_mean" in name for name, _ in module.named_buffers())


def export(module, inputs, path, exporter):
    """The default exporter folds BatchNormalization into convolutions; TorchScript's keeps it where
    the network is exported in training form."""
    import torch
    with silence():
        if exporter == "default":
            torch.onnx.export(module, inputs, path, dynamo=True, external_data=False,
                              verbose=False)
        else:
            mode = torch.onnx.TrainingMode
            torch.onnx.export(module, inputs, path, dynamo=False, opset_version=TORCHSCRIPT_OPSET,
                              training=mode.TRAINING if has_running_statistics(module)
                              else mode.EVAL, do_constant_folding=False)


def write(folder, name, exporter):
    """None, or why the exporter does not make this network."""
    from networks import make
    module, inputs = make(name)
    path = os.path.join(folder, f"{name}-{exporter}.onnx")
    try:
        export(module, inputs, path, exporter)
    except Exception as e:  # whatever the exporter meets
        if os.path.exists(path):
            os.remove(path)
        return f"{path}: not exported: {(str(e).strip() or repr(e)).splitlines()[0][:200]}"
    print(path, flush=True)
    return None


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("names", nargs="*", metavar="NAME")
    p.add_argument("--exporter", choices=EXPORTERS)
    args = p.parse_args()
    require("torch", "onnx", "onnxscript")
    from networks import NETWORKS
    unknown = [n for n in args.names if n not in NETWORKS]
    if unknown:
        p.error(f"there is no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    names = args.names or list(NETWORKS)
    if set(names) & set(LANGUAGE):
        require("transformers")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.makedirs(args.folder, exist_ok=True)
    refused = [write(args.folder, name, exporter) for name in names
               for exporter in ([args.exporter] if args.exporter else EXPORTERS)]
    for why in filter(None, refused):
        print(why, file=sys.stderr)
    sys.exit(1 if args.exporter and any(refused) else 0)


if __name__ == "__main__":
    main()
