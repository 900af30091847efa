#!/bin/sh
# The number of threads changes no bit of a run, and neither does being killed and resumed.
# Usage: determinism.sh [tries]   kill -9 at so many random moments (10)
. "$(dirname "$0")/lib.sh"
tries=${1:-10}
steps=40
common="train $GLYPHS/glyphs.onnx $GLYPHS bn=train batch=32 lr=0.02 max_steps=$steps val=0
log_every=1 save_every=7 seed=3"
train() { "$TRAIN" $common "$@" > log.txt 2>&1; }

for threads in 1 2 3 4; do
    train threads=$threads out=run$threads || fail "threads=$threads: $(tail -3 log.txt)"
    losses run$threads/metrics.jsonl > run$threads.txt
    cmp run1.txt run$threads.txt || fail "threads=$threads differs"
    cmp run1/weights/last.onnx run$threads/weights/last.onnx || fail "threads=$threads: weights"
done
[ "$(wc -l < run1.txt)" = $steps ] || fail "$(wc -l < run1.txt) steps, not $steps"

# A child is killed when it has written a random number of records, then resumed till it is done.
try=0
while [ $try -lt "$tries" ]; do
    try=$((try + 1))
    at=$(awk -v seed="$try$(date +%N)" -v n=$steps \
        'BEGIN { srand(seed); print 1 + int(rand() * (n - 1)) }')
    rm -rf killed
    "$TRAIN" $common threads=$((1 + try % 4)) out=killed > log.txt 2>&1 &
    process=$!
    while kill -0 $process 2> /dev/null &&
        [ "$(losses killed/metrics.jsonl 2> /dev/null | wc -l)" -lt "$at" ]; do sleep 0.01; done
    kill -9 $process 2> /dev/null
    wait $process 2> /dev/null
    if ls killed/checkpoints/*.otc > /dev/null 2>&1; then
        train threads=$((1 + (try + 1) % 4)) resume=killed || fail "resume: $(tail -3 log.txt)"
    else
        rm -rf killed
        train out=killed || fail "$(tail -3 log.txt)"
    fi
    losses killed/metrics.jsonl > killed.txt
    cmp run1.txt killed.txt || fail "killed after record $at: the losses differ"
    cmp run1/weights/last.onnx killed/weights/last.onnx || fail "killed after $at: weights differ"
done
finish
