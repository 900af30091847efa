#!/usr/bin/env python3
"""Makes tests/golden/*.zip: one step of small architectures by PyTorch, in float64.

Each archive holds model.onnx as one of PyTorch's exporters writes it (random weights, 90 % of every
matrix zero), x.npy (and x2.npy, where there is a second input) and y.npy, and for running
statistics ("affine") and, where the network has BatchNormalization, for those of the batch
("train") the gradient of each parameter that the file holds, gradient/NAME.npy, in the file's
layout, and summary.npy: the loss, the number of gradients and their largest element. A network
whose numbers PyTorch itself cannot tell in float32 is refused.

Run it with torch, torchvision, transformers, onnx and onnxscript; the archives are committed.
tests/test_architectures.c reads them. Usage: make_architectures.py [NAME ...]
"""
import io
import logging
import pathlib
import sys
import tempfile
import warnings
import zipfile

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from export_models import Last  # noqa: E402
from parity_models import (CLASSES, Language, MobileNetV1, Recurrent, convnext,  # noqa: E402
                           encoder, gpt2, images, swin, tokens, unet, vit, yolo)
from parity_torch import expected, export, forms, has_bn, randomize  # noqa: E402
from recognised import Diffusion  # noqa: E402

NOISE = 1e-4  # of PyTorch in float32
FOLDER = pathlib.Path(__file__).parent
BERT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 16}


class Blocks(nn.Module):
    """A convolution, blocks, the mean of the image, a linear layer."""

    def __init__(self, width, *blocks, out):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width),
                                  nn.ReLU())
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(out, CLASSES)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def shortcut(c, m, stride):
    return nn.Sequential(nn.Conv2d(c, m, 1, stride, bias=False), nn.BatchNorm2d(m))


def resnet_basic():
    from torchvision.models.resnet import BasicBlock
    return images(Blocks(16, BasicBlock(16, 16), BasicBlock(16, 24, 2, shortcut(16, 24, 2)),
                         out=24), 24, 16)


def resnet_bottleneck():
    from torchvision.models.resnet import Bottleneck
    return images(Blocks(16, Bottleneck(16, 8, 1, shortcut(16, 32, 1)),
                         Bottleneck(32, 12, 2, shortcut(32, 48, 2)), out=48), 24, 4)


def densenet():
    from torchvision.models import DenseNet
    return images(DenseNet(8, (2, 2), 16, bn_size=2, num_classes=CLASSES), 32, 16)


def mobilenet_v1():
    return images(MobileNetV1(16, ((24, 1), (32, 2), (32, 1))), 24, 16)


def mobilenet_v2():
    from torchvision.models.mobilenetv2 import InvertedResidual
    return images(Blocks(16, InvertedResidual(16, 16, 1, 3), InvertedResidual(16, 24, 2, 3),
                         out=24), 24, 16)


def mobilenet_v3():
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
    block = [InvertedResidualConfig(16, 3, 32, 16, True, "RE", 1, 1, 1),
             InvertedResidualConfig(16, 5, 48, 24, True, "HS", 2, 1, 1)]
    return images(MobileNetV3(block, 64, num_classes=CLASSES, dropout=0.0), 24, 16)


def efficientnet():
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig
    block = [MBConvConfig(1, 3, 1, 16, 16, 1), MBConvConfig(4, 5, 2, 16, 24, 2)]
    return images(EfficientNet(block, 0.0, 0.0, CLASSES, last_channel=64), 24, 16)


def llama():
    """Two heads of queries to each of keys."""
    import transformers
    config = transformers.LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16)
    return tokens(Language(transformers.LlamaForCausalLM(config)), per_token=True)


def whisper(frames=24):
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=64,
        num_mel_bins=8, max_source_positions=frames // 2)
    return (Last(WhisperEncoder(config), "input_features"), (torch.randn(2, 8, frames),),
            torch.randn(2, frames // 2, 32))


def clip_text(length=12):
    import transformers
    config = transformers.CLIPTextConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=16, eos_token_id=2)
    return (Last(transformers.CLIPTextModel(config), "input_ids"),
            (torch.randint(3, 100, (2, length)),), torch.randn(2, length, 32))


def diffusion(width=16, context=24, size=6):
    return (Diffusion(width, context), (torch.randn(2, width, size, size),
                                        torch.randn(2, 7, context)),
            torch.randn(2, width, size, size))


# Makers, the opset and exporter that write the file.
SMALL = {
    "resnet_basic": (resnet_basic, 11, "script"),
    "resnet_bottleneck": (resnet_bottleneck, 18, "dynamo"),
    "densenet": (densenet, 13, "script"),
    "mobilenet_v1": (mobilenet_v1, 18, "dynamo"),
    "mobilenet_v2": (mobilenet_v2, 11, "script"),
    "mobilenet_v3": (mobilenet_v3, 17, "script"),
    "efficientnet": (efficientnet, 18, "dynamo"),
    "convnext": (lambda: convnext(((16, 24, 1), (24, None, 1)), size=32), 18, "dynamo"),
    "vit": (lambda: vit(16, 4, 1, 32), 17, "script"),
    "swin": (lambda: swin(16, (1, 1), size=32), 17, "script"),
    "bert": (encoder("BertModel", "BertConfig", **BERT), 17, "script"),
    "distilbert": (encoder("DistilBertModel", "DistilBertConfig", dim=32, n_layers=1, n_heads=4,
                           hidden_dim=64, max_position_embeddings=16), 18, "dynamo"),
    "roberta": (encoder("RobertaModel", "RobertaConfig", **BERT), 13, "script"),
    "gpt2": (lambda: gpt2(32, 1, tie_word_embeddings=False), 18, "dynamo"),
    "t5_encoder": (encoder("T5EncoderModel", "T5Config", d_model=32, d_kv=8, d_ff=64, num_layers=1,
                           num_heads=4), 17, "script"),
    "llama": (llama, 20, "dynamo"),
    "whisper": (whisper, 20, "dynamo"),
    "clip_text": (clip_text, 23, "dynamo"),
    "diffusion": (diffusion, 20, "dynamo"),
    "lstm": (lambda: tokens(Recurrent(nn.LSTM, 16), 16), 13, "script"),
    "gru": (lambda: tokens(Recurrent(nn.GRU, 16), 16), 17, "script"),
    "unet": (lambda: unet(8, 16, 16), 18, "dynamo"),
    "yolo": (lambda: yolo(8, 16, 16), 17, "script"),
}

# Parameters that exporters compute with, so that they are not in the file.
LOST = {"swin": ("relative_position_bias_table",), "distilbert": ("position_embeddings",),
        "gpt2": ("wpe",), "clip_text": ("position_embedding",)}


def locate(a, known, whole=True):
    """The gradient of what a file holds; None where it is no parameter."""
    if a.tobytes() in known:
        return np.frombuffer(known[a.tobytes()]).reshape(a.shape)
    pieces = []
    if a.ndim > 1:  # recurrent layers join their directions, ...
        pieces = [locate(piece, known) for piece in a]
    elif whole and a.size % 2 == 0:  # ... and two biases
        pieces = [locate(piece, known, False) for piece in np.split(a, 2)]
    if not pieces or any(p is None for p in pieces):
        return None
    return (np.stack if a.ndim > 1 else np.concatenate)(pieces)


def gradients(module, want, model):
    """{name in the file: gradient}."""
    known, result = {}, {}
    for name, p in module.named_parameters():
        if name in want:
            for (key, _), (gradient, _) in zip(forms(p.detach().numpy()), forms(want[name])):
                known.setdefault(key, gradient)
    for tensor in model.graph.initializer:
        a = numpy_helper.to_array(tensor)
        if a.dtype == np.float32 and a.size > 1:
            g = locate(a, known)
            if g is not None:
                result[tensor.name] = g.astype(np.float32)
    return result


def largest(a):
    return float(np.abs(a).max())


def noise(module, train, inputs, target):
    """The loss, the gradients, and how far those of float32 are from them."""
    loss, want = expected(module, train, inputs, target, torch.float64)
    loss32, got = expected(module, train, inputs, target, torch.float32)
    least = 1e-3 * max(map(largest, want.values()))
    worst = max(largest(got[n] - g) / max(largest(g), least) for n, g in want.items())
    return loss, want, max(worst, abs(loss32 / loss - 1))


def shorten(x):
    """Numbers of few bits, which take less room."""
    return (x * 32).round() / 32 if x.is_floating_point() else x


def make(name, maker, opset, exporter):
    torch.manual_seed(1)
    module, inputs, target = maker()
    randomize(module)
    module.eval()
    inputs, target = tuple(map(shorten, inputs)), shorten(target)
    members = {**dict(zip(("x", "x2"), (i.numpy() for i in inputs))), "y": target.numpy()}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        assert export(module, inputs, path, opset, exporter) == opset, f"{name}: another opset"
        data = path.read_bytes()
    model = onnx.load_from_string(data)
    for mode in ("affine", "train") if has_bn(module) else ("affine",):
        loss, want, worst = noise(module, mode == "train", inputs, target)
        found = gradients(module, want, model)
        summary = [loss, len(found), max(map(largest, found.values()))]
        members[f"{mode}/summary"] = np.array(summary, np.float32)
        members.update({f"{mode}/gradient/{k}": g for k, g in found.items()})
        folded = [g.size for n, g in want.items() if any(part in n for part in LOST.get(name, ()))]
        elements = sum(g.size for g in found.values())
        print(f"{name:18} {mode:6} {exporter:6} {opset}  {elements} elements, {sum(folded)} not in "
              f"the file; float32 is off by {worst:.1e}")
        assert worst < NOISE, f"{name} is ill-conditioned"
        assert elements + sum(folded) == sum(g.size for g in want.values()), f"{name}: some lost"
    with zipfile.ZipFile(FOLDER / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("model.onnx"), data, zipfile.ZIP_DEFLATED)
        for key, a in members.items():
            buffer = io.BytesIO()
            np.save(buffer, a)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def main():
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SMALL:
        make(name, *SMALL[name])


main()
