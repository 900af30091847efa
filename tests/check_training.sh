#!/bin/sh
# Runs models with training_info in PyTorch, where Python has it.
# Usage: SOURCE= BUILD= check_training.sh
command -v python3 > /dev/null || exit 77
exec python3 "${SOURCE:?}/tests/check_training.py" "${BUILD:?}/onnx-train" "$SOURCE/tests/golden"
