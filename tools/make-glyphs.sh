#!/bin/sh
# Makes examples/glyphs anew: draws the letters, trains the dense network, prunes 95 % of it.
# Usage: tools/make-glyphs.sh [path of onnx-train]   (needs what tools/make-glyphs.py needs)
set -e
cd "$(dirname "$0")/.."
train=${1:-build/onnx-train}
out=examples/glyphs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tools/make-glyphs.py "$work"
mkdir -p $out
mv "$work"/*.gz $out
"$train" train "$work/untrained.onnx" $out out="$work/run" bn=train epochs=12 batch=64 lr=0.05 \
    momentum=0.9 weight_decay=0.0005 schedule=cosine seed=1
tools/make-glyphs.py prune "$work/run/weights/last.onnx" $out/glyphs.onnx 0.95
"$train" eval "$work/run/weights/last.onnx" $out
"$train" eval $out/glyphs.onnx $out
