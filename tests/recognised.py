#!/usr/bin/env python3
"""What is recognised in networks as PyTorch exports them, and whether the numbers stay.

    tests/recognised.py LIBRARY COMMAND [--details] [--opset=N] [NETWORK ...]

Small networks of well-known kinds go through both exporters, where these work, at several opsets.
The plan of each must have as many of the operators that stand for several nodes as the network has
attentions, norms, rotary embeddings and gates. A training step with recognition is held against one
where each node runs by itself: the loss and each gradient to 1e-5 (of the largest element of the
tensor, or of a thousandth of the largest of all). LIBRARY is libonnxtrain.so, COMMAND onnx-train;
needs torch, transformers, onnx and onnxscript. Exit code 1 where one differs.
"""
import argparse
import collections
import contextlib
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from library import Library  # noqa: E402

LIMIT = 1e-5
SIZE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
TEXT = dict(SIZE, vocab_size=50, max_position_embeddings=40)


class First(nn.Module):
    """The first output; a mask of keys is the second input."""

    def __init__(self, module, names=("input_ids",)):
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *inputs):
        return self.module(**dict(zip(self.names, inputs)))[0]


class Vision(nn.Module):
    """What PyTorch's own encoder makes of patches."""

    def __init__(self, width=32, layers=2, heads=4):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, heads, 2 * width, 0., "gelu", batch_first=True,
                                       norm_first=True), layers, enable_nested_tensor=False)

    def forward(self, x):
        return self.encoder(self.patch(x).flatten(2).transpose(1, 2))


class Diffusion(nn.Module):
    """A block of a latent diffusion network: self-attention, attention to a text, gated layers."""

    class Attention(nn.Module):
        def __init__(self, width, context, heads):
            super().__init__()
            self.heads = heads
            self.q = nn.Linear(width, width, bias=False)
            self.k = nn.Linear(context, width, bias=False)
            self.v = nn.Linear(context, width, bias=False)
            self.out = nn.Linear(width, width)

        def forward(self, x, c):
            cut = lambda t: t.view(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2)
            y = nn.functional.scaled_dot_product_attention(cut(self.q(x)), cut(self.k(c)),
                                                           cut(self.v(c)))
            return self.out(y.transpose(1, 2).flatten(2))

    def __init__(self, width=32, context=24, heads=4):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.project, self.back = nn.Linear(width, width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own = Diffusion.Attention(width, width, heads)
        self.other = Diffusion.Attention(width, context, heads)
        self.gate, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x, text):
        n, c, h, w = x.shape
        y = self.project(self.norm(x).permute(0, 2, 3, 1).reshape(n, h * w, c))
        y = y + self.own(self.norms[0](y), self.norms[0](y))
        y = y + self.other(self.norms[1](y), text)
        a, b = self.gate(self.norms[2](y)).chunk(2, -1)
        y = y + self.down(a * nn.functional.gelu(b))
        return x + self.back(y).reshape(n, h, w, c).permute(0, 3, 1, 2)


def transformer(kind, config, names=("input_ids",), **more):
    import transformers
    made = getattr(transformers, kind)(getattr(transformers, config)(**more))
    return First(made, names)


def tokens(n=2, length=12):
    return torch.randint(0, 50, (n, length))


def mask(n=2, length=12):
    m = torch.ones(n, length, dtype=torch.long)
    m[1:, length * 2 // 3:] = 0
    return m


IDS = ("input_ids", "attention_mask")
LLAMA = dict(TEXT, use_cache=False)
# name: the module, its inputs, and how many operators of which kinds it has
NETWORKS = {
    "bert": (lambda: bert(IDS[:1]), lambda: (tokens(),), dict(ScaledAttention=2)),
    "bert-mask": (lambda: bert(IDS), lambda: (tokens(), mask()), dict(ScaledAttention=2)),
    "bert-eager": (lambda: bert(IDS, attn_implementation="eager"), lambda: (tokens(), mask()),
                   dict(ScaledAttention=2)),
    "gpt2": (lambda: transformer("GPT2Model", "GPT2Config", vocab_size=50, n_positions=40,
                                 n_layer=2, n_embd=32, n_head=4, use_cache=False),
             lambda: (tokens(),), dict(ScaledAttention=2, Gelu=2)),
    "gpt2-mask": (lambda: transformer("GPT2Model", "GPT2Config", IDS, vocab_size=50, n_positions=40,
                                      n_layer=2, n_embd=32, n_head=4, use_cache=False),
                  lambda: (tokens(), mask()), dict(ScaledAttention=2, Gelu=2)),
    "gpt2-eager": (lambda: transformer("GPT2Model", "GPT2Config", vocab_size=50, n_positions=40,
                                       n_layer=2, n_embd=32, n_head=4, use_cache=False,
                                       attn_implementation="eager"),
                   lambda: (tokens(),), dict(ScaledAttention=2, Gelu=2)),
    "llama": (lambda: transformer("LlamaModel", "LlamaConfig", num_key_value_heads=4, **LLAMA),
              lambda: (tokens(),),
              dict(ScaledAttention=2, RMSNormalization=5, SwiGLU=2)),
    "llama-groups": (lambda: transformer("LlamaModel", "LlamaConfig", num_key_value_heads=2,
                                         **LLAMA), lambda: (tokens(),),
                     dict(ScaledAttention=2, RMSNormalization=5, SwiGLU=2)),
    "llama-eager": (lambda: transformer("LlamaModel", "LlamaConfig", num_key_value_heads=2,
                                        attn_implementation="eager", **LLAMA),
                    lambda: (tokens(),),
                    dict(ScaledAttention=2, RMSNormalization=5, SwiGLU=2)),
    "t5": (lambda: transformer("T5EncoderModel", "T5Config", vocab_size=50, d_model=32, d_kv=8,
                               d_ff=64, num_layers=2, num_heads=4, use_cache=False),
           lambda: (tokens(),), dict(ScaledAttention=2, RMSNormalization=5)),
    "vit": (lambda: Vision(), lambda: (torch.randn(2, 3, 32, 32),),
            dict(ScaledAttention=2, LayerNormalization=4, Gelu=2)),
    "vit-hf": (lambda: transformer("ViTModel", "ViTConfig", ("pixel_values",), image_size=32,
                                   patch_size=8, **SIZE),
               lambda: (torch.randn(2, 3, 32, 32),), dict(ScaledAttention=2)),
    "swin": (lambda: transformer("SwinModel", "SwinConfig", ("pixel_values",), image_size=32,
                                 patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4],
                                 window_size=4),
             lambda: (torch.randn(2, 3, 32, 32),), dict(ScaledAttention=4)),
    "whisper": (lambda: First(whisper(), ("input_features",)),
                lambda: (torch.randn(2, 16, 40),), dict(ScaledAttention=2)),
    "clip": (lambda: transformer("CLIPTextModel", "CLIPTextConfig", **TEXT, eos_token_id=49),
             lambda: (tokens(),), dict(ScaledAttention=2)),
    "clip-vision": (lambda: transformer("CLIPVisionModel", "CLIPVisionConfig", ("pixel_values",),
                                        image_size=32, patch_size=8, **SIZE),
                    lambda: (torch.randn(2, 3, 32, 32),), dict(ScaledAttention=2)),
    "diffusion": (lambda: Diffusion(), lambda: (torch.randn(2, 32, 6, 6), torch.randn(2, 7, 24)),
                  dict(ScaledAttention=2, LayerNormalization=3)),
}


def bert(names, **more):
    import transformers
    config = transformers.BertConfig(**TEXT, **more)
    return First(transformers.BertModel(config, add_pooling_layer=False), names)


def whisper():
    import transformers
    config = transformers.WhisperConfig(d_model=32, encoder_layers=2, encoder_attention_heads=4,
                                        encoder_ffn_dim=64, decoder_layers=1,
                                        decoder_attention_heads=4, num_mel_bins=16,
                                        max_source_positions=20, vocab_size=50, pad_token_id=0,
                                        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    return transformers.WhisperModel(config).encoder


@contextlib.contextmanager
def silent():
    """Nothing reaches the terminal, from C++ neither."""
    kept = [os.dup(1), os.dup(2)]
    with open(os.devnull, "w") as nothing:
        for i in (1, 2):
            os.dup2(nothing.fileno(), i)
        try:
            yield
        finally:
            for i in (1, 2):
                os.dup2(kept[i - 1], i)
                os.close(kept[i - 1])


def export(module, inputs, path, exporter, opset):
    """Why the exporter does not make this network; None: it does."""
    try:
        with silent():
            torch.onnx.export(module, inputs, path, dynamo=exporter == "default",
                              opset_version=opset, verbose=False)
    except Exception as e:  # whatever it meets
        return str(e).strip().split("\n")[0][:90]
    return None


def measure(library, path, inputs, target, apart):
    with library.open(path, apart=apart) as session:
        loss = session.step(inputs, target)
        return loss, {info.name.decode(): session.read("ot_get_gradient", i, info)
                      for i, info in session.weights() if info.is_trainable}


def largest_error(a, b):
    """Of the gradients a against b, with the name of the parameter."""
    most = max((np.abs(g).max() for g in b.values()), default=0)
    return max((np.abs(a[n] - b[n]).max() / max(np.abs(b[n]).max(), 1e-3 * most, 1e-30), n)
               for n in b)


def operators(command, path, batch):
    plan = subprocess.run([command, "inspect", "--plan", path, f"batch={batch}"],
                          capture_output=True, text=True)
    lines = [l.split() for l in plan.stdout.splitlines()]
    return collections.Counter(l[2] for l in lines if len(l) > 2 and l[1] == "forward"), plan


def check(arguments, library, name, exporter, opset):
    make, sample, wanted = NETWORKS[name]
    torch.manual_seed(0)
    module, inputs = make().eval(), sample()
    with torch.no_grad():
        for p in module.parameters():
            p += 0.05 * torch.randn(p.shape)
        y = module(*inputs).numpy()
    what = f"{name}, {exporter} exporter, opset {opset}"
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "model.onnx")
        why = export(module, inputs, path, exporter, opset)
        if why:
            print(f"{what}: not exported: {why}")
            return True
        arrays = [np.ascontiguousarray(i.numpy()) for i in inputs]
        target = np.zeros_like(y)
        try:
            together, apart = (measure(library, path, arrays, target, k) for k in (0, 1))
        except RuntimeError as e:
            print(f"{what}: {e}")
            return False
        found, plan = operators(arguments.command, path, len(y))
    error, worst = largest_error(together[1], apart[1])
    missing = {k: (found[k], n) for k, n in wanted.items() if found[k] < n}
    good = error <= LIMIT and abs(together[0] - apart[0]) <= LIMIT * abs(apart[0]) and not missing
    print(f"{what}: gradients to {error:.1e} ({worst})" +
          "".join(f", {k} {a} of {b}" for k, (a, b) in missing.items()) +
          ("" if good else "  FAILED"))
    if arguments.details:
        print("  ", dict(found), plan.stderr.strip())
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("command")
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--opset", type=int, nargs="*", default=[18, 20, 23])
    parser.add_argument("--exporter", nargs="*", default=["default", "TorchScript"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    library = Library(arguments.library)
    good = True
    for name in arguments.networks or NETWORKS:
        for exporter in arguments.exporter:
            for opset in arguments.opset if exporter == "default" else (17,):
                good &= check(arguments, library, name, exporter, opset)
    sys.exit(not good)


if __name__ == "__main__":
    main()
