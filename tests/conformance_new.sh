#!/bin/sh
# The node cases that the installed onnx generates, outputs and gradients: tests/make_node_cases.py
# writes them. OT_PYTHON names a Python that has onnx; without one, this test is skipped. NODE_CASES
# names a folder that has them already. tests/refused.txt says what may be refused.
. "$(dirname "$0")/lib.sh"
cases=$NODE_CASES
if [ -z "$cases" ]; then
    python=${OT_PYTHON:-python3}
    "$python" -c 'import onnx.reference' 2> /dev/null || { echo "no onnx in $python"; exit 77; }
    cases=$work/cases
    expect 0 "$python" "$SOURCE/tests/make_node_cases.py" "$cases" && cat "$work.out"
fi
# share TREE MOST: of a thousand cases, at most so many may be refused.
share() {
    "$TRAIN" check --onnx-tests "$cases/$1" > "$work.out" 2> "$work.err"
    sums=$(grep -E '^[0-9]+ cases, .* refused$' "$work.out")
    echo "-- $1: $sums"
    total=${sums%% *}
    refused=$(echo "$sums" | sed 's/.* \([0-9]*\) refused$/\1/')
    [ "$total" -gt 700 ] && [ $((1000 * refused)) -le $(($2 * total)) ] ||
        fail "$1: $refused of $total refused"
}
share until22 52
share after22 253
for what in "" --gradients; do
    expect 0 "$TRAIN" check --onnx-tests "$cases" refused="$SOURCE/tests/refused.txt" $what ||
        grep -E '^failed|not on the list' "$work.out" | head -20
    tail -n 2 "$work.out"
done
finish
