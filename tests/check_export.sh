#!/bin/sh
# Compares exported models with onnx.checker and onnxruntime, where Python has these packages; with
# the real models where OT_SHARED names their folder. Usage: SOURCE= BUILD= check_export.sh
command -v python3 > /dev/null || exit 77
set --
if [ -n "$OT_SHARED" ]; then
    for model in "$OT_SHARED"/models/made/*.onnx "$OT_SHARED"/models/pruned/*.onnx; do
        set -- "$@" "$model"
    done
fi
exec python3 "${SOURCE:?}/tests/check_export.py" "${BUILD:?}/onnx-train" "$@"
