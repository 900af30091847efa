#!/bin/sh
# docs/operators.md is the table that the command prints.
. "$(dirname "$0")/lib.sh"
expect 0 "$TRAIN" help operators --markdown
cmp "$work.out" "$SOURCE/docs/operators.md" ||
    fail "docs/operators.md is old: onnx-train help operators --markdown > docs/operators.md"
expect 0 "$TRAIN" help operators
stdout_has '^Conv +1 +yes +yes +yes +yes'
expect 0 "$TRAIN" inspect "$GLYPHS/glyphs.onnx"
stdout_has '^BatchNormalization +3 yes'
finish
