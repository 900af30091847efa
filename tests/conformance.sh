#!/bin/sh
# The ONNX project's backend tests, outputs and gradients: those of Debian's libonnx-testdata, and
# where OT_SHARED has them those of version 1.18. tests/refused.txt says what may be refused.
# SUITES="folder ..." checks others.
. "$(dirname "$0")/lib.sh"
suites=${SUITES:-/usr/share/libonnx-testdata/data}
archive=$(ls "${OT_SHARED:-/nowhere}"/data/onnx-backend/*.tar.xz 2> /dev/null | head -1)
if [ -z "$SUITES" ] && [ -n "$archive" ]; then
    mkdir newer && tar -xJf "$archive" -C newer || fail "cannot unpack $archive"
    suites="$suites newer"
fi
seen=0
for suite in $suites; do
    [ -d "$suite" ] || continue
    seen=1
    echo "-- $suite"
    for what in "" --gradients; do
        expect 0 "$TRAIN" check --onnx-tests "$suite" refused="$SOURCE/tests/refused.txt" $what ||
            grep -E '^failed|not on the list' "$work.out" | head -20
        tail -n 2 "$work.out"
    done
    covered=$(sed -n 's/^gradients of \([0-9]*\) operators.*/\1/p' "$work.out")
    [ "${covered:-0}" -ge 100 ] || fail "gradients of $covered operators only"
done
[ $seen = 1 ] || { echo "no suite: install libonnx-testdata"; exit 77; }
finish
