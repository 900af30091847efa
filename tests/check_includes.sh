#!/bin/sh
# Checks who includes whom: each folder of the project may include what stands behind it in RULES.
# Usage: SOURCE=<project root> check_includes.sh
cd "${SOURCE:?}" || exit 1
bad=0

# allow FILES PATTERN: quoted includes in FILES must match the extended regular expression PATTERN.
allow() {
    for file in $1; do
        [ -e "$file" ] || continue
        lines=$(grep -E '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" | cut -d'"' -f2 |
            sed "s|^|$file: |" | grep -vE ": ($2)$")
        [ -z "$lines" ] || { echo "$lines (allowed: $2)"; bad=1; }
    done
}
# only FILES PATTERN: no file of the project includes <PATTERN> or "PATTERN" but FILES.
only() {
    lines=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$2" \
        runtime onnx ops tools --include='*.[ch]' --include='*.inc' | grep -vE "^($1):")
    [ -z "$lines" ] || { echo "only $1 may include $2: $lines"; bad=1; }
}

base='runtime/base/[a-z0-9_]+\.h|runtime/onnxtrain\.h'
kernels='ops/kernels/[a-z0-9_]+\.(h|inc)'
op='ops/(op|number|quantize)\.h'
product='ops/product/[a-z0-9_]+\.h'
walk='ops/walk/[a-z0-9_]+\.h'
loss='runtime/loss/[a-z0-9_]+\.h'
model='runtime/model/[a-z0-9_]+\.h'
info='runtime/info/[a-z0-9_]+\.h'
compile='runtime/compile/[a-z0-9_]+\.h'
run='runtime/run/[a-z0-9_]+\.h'
train='runtime/train/[a-z0-9_]+\.h'
topology='runtime/topology/[a-z0-9_]+\.(h|def)'

# base <- kernels <- ops/product <- ops/walk <- ops/recurrent <- ops
allow 'runtime/onnxtrain.h' 'nothing'
allow 'runtime/base/*.[ch]' "$base"
allow 'ops/kernels/*.[ch] ops/kernels/*.inc' "$kernels|runtime/base/tensor\.h"
allow 'ops/op.[ch] ops/op_table.c ops/number.h ops/quantize.h' "$base|$kernels|$op|ops/ops\.def"
allow 'ops/product/*.[ch]' "$base|$kernels|$op|$product"
allow 'ops/walk/*.[ch]' "$base|$kernels|$op|$product|$walk"
allow 'ops/recurrent/*.[ch]' "$base|$kernels|$op|$product|$walk|ops/recurrent/[a-z0-9_]+\.h"
allow 'ops/*.[ch]' "$base|ops/[a-z0-9_/]+\.h|ops/ops\.def"

# loss, topology <- model <- compile <- run <- train <- info <- api; onnx beside runtime/model.
# Nobody but runtime/api knows a session.
beneath="$base|ops/op\.h|$loss"
allow 'onnx/*.[ch]' "$base|onnx/[a-z0-9_]+\.h|onnx\.pb-c\.h"
allow 'onnx/export/*.[ch]' "$base|onnx/[a-z0-9_]+\.h|onnx/export/[a-z0-9_]+\.h|onnx\.pb-c\.h"
allow 'runtime/loss/*.[ch]' "$beneath"
allow 'runtime/topology/*.[ch]' "$base|$topology"
allow 'runtime/model/*.[ch]' "$beneath|onnx/import\.h|$model"
allow 'runtime/info/*.[ch]' "$beneath|$model|$info|runtime/train/optimizer\.h"
allow 'runtime/compile/*.[ch]' "$beneath|onnx/import\.h|$model|$compile"
allow 'runtime/run/*.[ch]' "$beneath|$model|$compile|$run"
allow 'runtime/train/*.[ch]' "$beneath|$topology|$model|$compile|$run|$train"
allow 'runtime/api/*.[ch]' \
    "$base|ops/op\.h|onnx/(import|mlp|export/export)\.h|runtime/[a-z]+/[a-z0-9_]+\.h"

allow 'tools/*.[ch] tools/*/*.[ch]' \
    'runtime/onnxtrain\.h|runtime/base/range\.h|tools/([a-z]+/)?[a-z0-9_]+\.h|tools/options\.def'
allow 'examples/*.c' 'onnxtrain\.h'
only 'ops/product/dnnl[a-z_]*\.[ch]|tools/bench/dense\.c' '(oneapi/dnnl/)?dnnl'
only 'onnx/([a-z0-9_]*/)?[a-z0-9_]*\.[ch]' '(protobuf-c/|onnx\.pb-c)'
only 'runtime/base/pool\.c|tools/([a-z]*/)?[a-z0-9_]*\.[ch]' 'pthread\.h'

for folder in $(find runtime onnx ops tools -type d); do
    count=$(find "$folder" -maxdepth 1 -name '*.[ch]' | wc -l)
    [ "$folder" = ops ] || [ "$count" -le 60 ] || { echo "$folder has $count files"; bad=1; }
done

headers=$(grep -nE '^#[[:space:]]*include[[:space:]]*<' runtime/onnxtrain.h |
    grep -vE '<(stddef|stdint)\.h>')
[ -z "$headers" ] || { echo "runtime/onnxtrain.h: $headers"; bad=1; }
exit $bad
