#!/bin/sh
# The number of threads changes no bit of a run, and neither does being killed and resumed.
# Usage: determinism.sh [tries]   kill -9 at so many random moments (10)
. "$(dirname "$0")/lib.sh"
tries=${1:-10}
steps=100 # more than an epoch of the 2000 test images
common="train $GLYPHS/glyphs.onnx $GLYPHS split=val bn=train batch=32 lr=0.02 max_steps=$steps val=0
log_every=1 save_every=7 seed=3"
train() { "$TRAIN" $common "$@" > log.txt 2>&1; }

for threads in 1 2 3 4; do
    start=$(date +%s%N)
    train threads=$threads out=run$threads || fail "threads=$threads: $(tail -3 log.txt)"
    time=$((($(date +%s%N) - start) / 1000000))
    losses run$threads/metrics.jsonl > run$threads.txt
    cmp run1.txt run$threads.txt || fail "threads=$threads differs"
    cmp run1/weights/last.onnx run$threads/weights/last.onnx || fail "threads=$threads: weights"
done
[ "$(wc -l < run1.txt)" = $steps ] || fail "$(wc -l < run1.txt) steps, not $steps"

# A child is killed at a random moment of the time that the last run took, then resumed.
try=0
while [ $try -lt "$tries" ]; do
    try=$((try + 1))
    seed=$(od -An -N2 -tu2 /dev/urandom)
    at=$(awk -v seed="$seed" -v n=$time 'BEGIN { srand(seed); print rand() * n / 1000 }')
    rm -rf killed
    "$TRAIN" $common threads=$((1 + try % 4)) out=killed > log.txt 2>&1 &
    process=$!
    sleep "$at"
    kill -9 $process 2> /dev/null
    if wait $process 2> /dev/null; then
        echo "try $try: done before it was killed"
    elif ls killed/checkpoints/*.otc > /dev/null 2>&1; then
        echo "try $try: killed after $at s, $(losses killed/metrics.jsonl | wc -l) records"
        train threads=$((1 + (try + 1) % 4)) resume=killed || fail "resume: $(tail -3 log.txt)"
    else
        echo "try $try: killed after $at s, before its first checkpoint"
        rm -rf killed
        train out=killed || fail "$(tail -3 log.txt)"
    fi
    losses killed/metrics.jsonl > killed.txt
    cmp run1.txt killed.txt || fail "killed after $at s: the losses differ"
    cmp run1/weights/last.onnx killed/weights/last.onnx || fail "killed after $at s: weights differ"
done
finish
