#!/usr/bin/env python3
"""Makes the data and the untrained model of examples/glyphs; tools/make-glyphs.sh does the rest.

Letters of the free fonts in Debian, upper and lower case of one letter being one class, turned,
sheared, moved, blurred and dimmed, as 24x24 grey images in the IDX files that MNIST uses. The
fonts of the test set (t10k-*) do not occur in the training set.

Usage: make-glyphs.py FOLDER
       make-glyphs.py prune IN.onnx OUT.onnx SHARE
with numpy, pillow and onnx, and for the first the Debian packages in PACKAGES.
"""
import gzip
import pathlib
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFilter, ImageFont

PACKAGES = """fonts-cantarell fonts-comfortaa fonts-crosextra-caladea fonts-crosextra-carlito
fonts-dejavu-core fonts-dejavu-extra fonts-ebgaramond fonts-freefont-ttf fonts-hack
fonts-inconsolata fonts-lato fonts-liberation fonts-linuxlibertine fonts-oldstandard
fonts-opendyslexic fonts-open-sans fonts-play fonts-quicksand fonts-roboto-unhinted"""
# Families by the beginning of the file name.
TRAIN = """Cantarell Comfortaa Carlito DejaVuSans DejaVuSerif EBGaramond12 FreeMono FreeSans Hack
Inconsolata Lato LiberationSans LiberationMono LinLibertine OpenDyslexic OpenSans Play""".split()
TEST = """Caladea FreeSerif LiberationSerif LinBiolinum OldStandard Quicksand Roboto""".split()
TRAIN_COUNT, TEST_COUNT, SIZE, BIG = 16000, 2000, 24, 96
LETTERS = [chr(c) for c in (*range(65, 91), *range(97, 123))]


def fonts(families):
    files = [p for p in pathlib.Path("/usr/share/fonts").rglob("*") if p.suffix in (".ttf", ".otf")]
    skip = ("DejaVuMath", "_I", "Initials", "Keyboard", "Math", "SC", "Hairline", "Thin")
    found = sorted(p for p in files if p.stem.startswith(tuple(families))
                   and not any(s in p.stem for s in skip))
    for family in families:
        if not any(p.stem.startswith(family) for p in found):
            sys.exit(f"{family} is missing: apt-get install {PACKAGES}")
    return found


def draw(random, font, letter):
    """One image: a letter in the middle of BIG x BIG, bent, then made small."""
    face = ImageFont.truetype(str(font), int(random.uniform(52, 80)))
    image = Image.new("L", (BIG, BIG))
    ImageDraw.Draw(image).text((BIG / 2, BIG / 2), letter, fill=255, font=face, anchor="mm")
    angle, shear = np.radians(random.uniform(-18, 18)), random.uniform(-0.3, 0.3)
    wide, high = random.uniform(0.8, 1.25, 2)
    c, s = np.cos(angle), np.sin(angle)
    m = np.array([[c, -s], [s, c]]) @ np.array([[wide, shear], [0, high]])
    offset = BIG / 2 - m @ (np.full(2, BIG / 2) + random.uniform(-8, 8, 2))
    image = image.transform(
        (BIG, BIG), Image.Transform.AFFINE, (*m[0], offset[0], *m[1], offset[1]),
        Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 3.5)))
    pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), np.float64) / 255
    low, range_ = random.uniform(0, 0.25), random.uniform(0.45, 0.75)
    pixels = low + range_ * pixels
    # A bar that hides a part; 16 grey levels: noise would only make the files bigger.
    if random.random() < 0.3:
        at = random.integers(4, SIZE - 4)
        rows = slice(at, at + 2) if random.random() < 0.5 else slice(None)
        columns = slice(None) if rows != slice(None) else slice(at, at + 2)
        pixels[rows, columns] = low + range_ * random.random()
    return np.uint8(np.round(pixels * 15) * 17)


def write_idx(path, array):
    """IDX: two zero bytes, 8 for unsigned bytes, the rank, big-endian dimensions, data."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(head + array.tobytes())


def make_data(folder, name, families, count, random):
    faces = fonts(families)
    labels = random.permutation(np.arange(count) % 26).astype(np.uint8)
    images = np.stack([draw(random, faces[random.integers(len(faces))],
                            LETTERS[label + 26 * random.integers(2)]) for label in labels])
    write_idx(folder / f"{name}-images-idx3-ubyte.gz", images)
    write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
    print(name, count, "images of", len(faces), "fonts")


def make_model(path, random):
    """Three convolutions with BatchNormalization, two linear layers; He's initial weights."""
    weights, nodes, x = [], [], "image"

    def tensor(name, values):
        weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    for i, (c, k) in enumerate(((1, 24), (24, 48), (48, 64)), 1):
        w = tensor(f"conv{i}.weight", random.normal(0, (2 / (9 * c)) ** 0.5, (k, c, 3, 3)))
        x = node("Conv", [x, w], f"conv{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        parts = (("scale", 1), ("bias", 0), ("mean", 0), ("var", 1))
        parts = [tensor(f"bn{i}.{p}", np.full(k, v)) for p, v in parts]
        x = node("BatchNormalization", [x, *parts], f"bn{i}")
        x = node("Relu", [x], f"relu{i}")
        x = node("MaxPool", [x], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2])
    x = node("Flatten", [x], "flat")
    for i, (c, k) in enumerate(((576, 128), (128, 26)), 1):
        w = tensor(f"fc{i}.weight", random.normal(0, (2 / c) ** 0.5, (k, c)))
        y = "letter" if i == 2 else f"fc{i}"
        x = node("Gemm", [x, w, tensor(f"fc{i}.bias", np.zeros(k))], y, transB=1)
        if i == 1:
            x = node("Relu", [x], "relu4")
    graph = helper.make_graph(
        nodes, "glyphs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("letter", TensorProto.FLOAT, ["N", 26])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7,
                              producer_name="onnx-train make-glyphs.py")
    onnx.checker.check_model(model)
    onnx.save(model, path)
    print(path, sum(w.ByteSize() for w in weights) // 1024, "KiB")


def prune(source, target, share):
    """Sets the smallest weights of all matrices together to zero."""
    model = onnx.load(source)
    matrices = [t for t in model.graph.initializer if len(t.dims) > 1]
    values = [numpy_helper.to_array(t) for t in matrices]
    limit = np.quantile(np.abs(np.concatenate([v.ravel() for v in values])), share)
    for t, v in zip(matrices, values):
        kept = np.where(np.abs(v) > limit, v, np.float32(0))
        t.CopyFrom(numpy_helper.from_array(kept, t.name))
        print(f"{t.name:14} {np.mean(kept == 0):6.1%} zeros")
    onnx.checker.check_model(model)
    onnx.save(model, target)


def main():
    if sys.argv[1:2] == ["prune"]:
        return prune(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2026)
    make_model(folder / "untrained.onnx", random)
    make_data(folder, "train", TRAIN, TRAIN_COUNT, random)
    make_data(folder, "t10k", TEST, TEST_COUNT, random)


if __name__ == "__main__":
    main()
