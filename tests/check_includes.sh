#!/bin/sh
# Checks who includes whom: each folder of the project may include what stands behind it in RULES.
# Usage: SOURCE=<project root> check_includes.sh
cd "${SOURCE:?}" || exit 1
bad=0

# allow FILES PATTERN: quoted includes in FILES must match the extended regular expression PATTERN.
allow() {
    for file in $1; do
        [ -e "$file" ] || continue
        lines=$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" |
            grep -vE "\"($2)\"")
        [ -z "$lines" ] || { echo "$file: $lines (allowed: $2)"; bad=1; }
    done
}
# only FILES PATTERN: no file of the project includes <PATTERN> or "PATTERN" but FILES.
only() {
    lines=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$2" \
        runtime onnx ops tools --include='*.[ch]' --include='*.inc' | grep -vE "^($1):")
    [ -z "$lines" ] || { echo "only $1 may include $2: $lines"; bad=1; }
}

base='runtime/base/[a-z0-9_]+\.h|runtime/onnxtrain\.h'
allow 'runtime/onnxtrain.h' 'nothing'
allow 'runtime/base/*.[ch]' "$base"
allow 'ops/kernels/*.[ch] ops/kernels/*.inc' \
    'ops/kernels/[a-z0-9_]+\.(h|inc)|runtime/base/tensor\.h'
allow 'ops/*.[ch]' "$base|ops/[a-z0-9_/]+\.h|ops/ops\.def"
allow 'onnx/*.[ch]' "$base|onnx/[a-z0-9_]+\.h|onnx\.pb-c\.h"
allow 'runtime/*.[ch]' "$base|ops/op\.h|onnx/(import|export)\.h|runtime/[a-z0-9_]+\.h"
allow 'tools/*.[ch]' \
    'runtime/onnxtrain\.h|runtime/base/range\.h|tools/[a-z0-9_]+\.h|tools/options\.def'
allow 'examples/*.c' 'onnxtrain\.h'
only 'ops/dnnl[a-z_]*\.[ch]|tools/bench_dense\.c' '(oneapi/dnnl/)?dnnl'
only 'onnx/[a-z0-9_]*\.[ch]' '(protobuf-c/|onnx\.pb-c)'
only 'runtime/base/pool\.c|tools/[a-z0-9_]*\.[ch]' 'pthread\.h'

headers=$(grep -nE '^#[[:space:]]*include[[:space:]]*<' runtime/onnxtrain.h |
    grep -vE '<(stddef|stdint)\.h>')
[ -z "$headers" ] || { echo "runtime/onnxtrain.h: $headers"; bad=1; }
exit $bad
