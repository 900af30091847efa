#!/bin/sh
# A run of two epochs with two checkpoints, once for each call of write, fsync, rename, open, read
# and malloc that it makes, with that one call failing (tests/fault_shim.c). Each must end by
# itself: with success where the whole result is there, else with a message; the checkpoint that is
# there loads; no temporary file stays; under AddressSanitizer nothing leaks.
. "$(dirname "$0")/lib.sh"
SHIM=${SHIM:?}
INPUTS=${INPUTS:?}
jobs=2
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0:exitcode=99"
export LSAN_OPTIONS="${LSAN_OPTIONS:+$LSAN_OPTIONS:}exitcode=99"

"$INPUTS" . || { fail "no inputs"; finish; }

# train FOLDER: the run, what it prints in FOLDER.txt.
train() {
    LD_PRELOAD=$SHIM "$TRAIN" train net.onnx data.npz val=0 epochs=2 batch=20 save_every=0 \
        threads=1 out="$1" > "$1.txt" 2>&1
}

# files FOLDER: all beneath it.
files() { [ ! -d "$1" ] || (cd "$1" && find . ! -type d | sort); }

# lines FILE: how many; 0 where it is not there.
lines() { [ ! -e "$1" ] || wc -l < "$1"; }

# Whether a run has left all that the undisturbed one has.
is_whole() {
    for file in checkpoints/last.otc checkpoints/best.otc weights/last.onnx weights/best.onnx; do
        cmp -s "$1/$file" "whole/$file" || return 1
    done
    for file in metrics.jsonl results.csv args.yaml; do
        [ "$(lines "$1/$file")" = "$(lines "whole/$file")" ] || return 1
    done
}

# Whether a save that failed was reported, and made good by a later one: the records of checkpoints
# then differ, the weights do not.
is_made_good() {
    grep -q 'IS NOT SAVED' "$1.txt" && [ -e "$1/checkpoints/best.otc" ] &&
        cmp -s "$1/weights/last.onnx" whole/weights/last.onnx
}

# explain KIND N TEXT: one line for a failure, and what the run said.
explain() {
    echo "$1 $2: $3"
    tail -n 2 "run-$1.txt" | cut -c1-200
}

# Whether this checkpoint loads; asked once for each content.
loads() {
    sum=$(cksum < "$1" | tr ' ' -)
    [ -e "good-$sum" ] && return 0
    "$TRAIN" eval net.onnx data.npz checkpoint="$1" > /dev/null 2>&1 && : > "good-$sum"
}

# try KIND N: the run with the n-th call failing.
try() {
    run=run-$1
    rm -rf "$run"
    FAULT_KIND=$1 FAULT_AT=$2 train "$run"
    code=$?
    last=$run/checkpoints/last.otc
    case $code in
    99) explain "$1" "$2" "memory is lost, or worse" ;;
    0)
        is_whole "$run" || is_made_good "$run" ||
            explain "$1" "$2" "exit 0 without the whole result"
        ;;
    [1-8]) [ -s "$run.txt" ] || explain "$1" "$2" "exit $code without a message" ;;
    *) explain "$1" "$2" "exit $code" ;;
    esac
    [ ! -e "$last" ] || loads "$last" || explain "$1" "$2" "the checkpoint does not load"
    more=$(files "$run" | comm -23 - whole-files)
    [ -z "$more" ] || explain "$1" "$2" "left behind: $more"
}

# every KIND COUNT: all of them.
every() {
    n=1
    while [ "$n" -le "$2" ]; do
        try "$1" "$n"
        n=$((n + 1))
    done > "found-$1"
}

FAULT_COUNT=$PWD/count train whole || fail "the run fails by itself: $(cat whole.txt)"
files whole > whole-files
for kind in write fsync rename open read malloc; do
    rm -rf run-count
    FAULT_KIND=$kind FAULT_COUNT=$PWD/count-$kind train run-count
    count=$(cat "count-$kind")
    echo "-- $kind: $count calls"
    [ "$count" -gt 0 ] || fail "no call of $kind is seen"
    cmp -s run-count/checkpoints/last.otc whole/checkpoints/last.otc || fail "two runs differ"
done
running=0
for kind in malloc write fsync open rename read; do
    every "$kind" "$(cat "count-$kind")" &
    running=$((running + 1))
    [ $((running % jobs)) != 0 ] || wait
done
wait
for kind in write fsync rename open read malloc; do
    [ -s "found-$kind" ] || continue
    cat "found-$kind"
    fail "$(grep -c "^$kind " "found-$kind") faults with $kind"
done
finish
