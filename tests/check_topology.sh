#!/bin/sh
# Compares the first changes of masks with PyTorch, where Python has it.
. "$(dirname "$0")/lib.sh"
command -v python3 > /dev/null || exit 77
mkdir torch
python3 "$SOURCE/tests/topology_torch.py" "$TRAIN" torch
code=$?
[ $code != 77 ] || exit 77
[ $code = 0 ] || fail "masks or losses differ from PyTorch's"
finish
