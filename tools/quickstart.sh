#!/bin/sh
# From an empty clone to a fine-tuned sparse network: installs missing Debian packages, builds, and
# trains the pruned letter recogniser of examples/glyphs.
# Usage: tools/quickstart.sh [key=value ...]   (keys of onnx-train train, such as threads=4)
set -e
cd "$(dirname "$0")/.."
glyphs=examples/glyphs
began=$(date +%s)

tools/install-deps.sh
echo "building (see build/log.txt)"
mkdir -p build
{
    [ -e build/CMakeCache.txt ] || cmake -G Ninja -S . -B build
    cmake --build build --target onnx-train
} > build/log.txt 2>&1 || { tail -40 build/log.txt; exit 1; }
echo "ready after $(($(date +%s) - began)) s"

run=$(mktemp -d)/run
show() { echo; echo "\$ $*"; "$@"; }
value() { sed -n "s/.*\"$1\":[[:space:]]*\([-+.0-9e]*\).*/\1/p"; }
trainer=build/onnx-train

show $trainer eval $glyphs/glyphs.onnx $glyphs
training=$(date +%s)
show $trainer train $glyphs/glyphs.onnx $glyphs out="$run" bn=train epochs=3 batch=64 lr=0.03 \
    schedule=cosine "$@"
trained=$(date +%s)
show $trainer eval "$run/weights/best.onnx" $glyphs

nonzeros() { $trainer inspect --json "$1" | value nonzeros | head -1; }
before=$($trainer eval --json $glyphs/glyphs.onnx $glyphs | value accuracy)
after=$($trainer eval --json "$run/weights/best.onnx" $glyphs | value accuracy)
kept_before=$(nonzeros $glyphs/glyphs.onnx)
kept_after=$(nonzeros "$run/weights/best.onnx")
echo
echo "accuracy   $before before, $after after, on letters of fonts that the training never saw"
echo "nonzeros   $kept_before before, $kept_after after"
echo "time       $((trained - training)) s of training, $(($(date +%s) - began)) s in all"
echo "model      $run/weights/best.onnx"
[ "$kept_before" = "$kept_after" ]
