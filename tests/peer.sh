#!/bin/sh
# bench/peer.py on small networks as PyTorch exports them: the nodes of each come to onnxruntime's
# result, steps run, and operators that are not known are named. OT_PYTHON names a Python that has
# torch, onnx and onnxruntime; without one, this test is skipped. Usage: SOURCE= BUILD= peer.sh
. "$(dirname "$0")/lib.sh"
python=${OT_PYTHON:-python3}
"$python" -c 'import torch, onnx, onnxruntime' 2> /dev/null ||
    { echo "no torch, onnx and onnxruntime in $python"; exit 77; }
peer() { "$python" "$SOURCE/bench/peer.py" --command "$TRAIN" "$@"; }

mkdir files
for name in lstm swin llama clip_text diffusion; do
    "$python" -m zipfile -e "$SOURCE/tests/golden/$name.zip" "$name"
    mv "$name/model.onnx" "files/$name.onnx" && rm -r "$name"
done

echo "-- against onnxruntime"
expect 0 peer files --check && cat "$work.out"
for name in lstm diffusion; do
    stdout_has "^$name +[0-9.]+e-0[5-9]"
done

echo "-- steps"
expect 0 peer files lstm --rounds 1 --steps 1 --json
stdout_has '"speedup_over_dense": [0-9]'
stdout_has '"speedup_over_masked": [0-9]'
expect 1 peer files/lstm.onnx --batch 3
stderr_has 'left out: its batch is 16'

echo "-- operators that are not known"
"$python" - files/llama.onnx files/strange.onnx <<'PYTHON'
import sys
import onnx
model = onnx.load(sys.argv[1])
for n in model.graph.node:
    n.op_type = {"Softmax": "Hardmax", "Sigmoid": "Celu"}.get(n.op_type, n.op_type)
onnx.save(model, sys.argv[2])
PYTHON
expect 1 peer files lstm strange --check
stderr_has 'strange.onnx: left out: .*not known here: Celu, Hardmax'
stdout_has '^lstm'
finish
