#!/bin/sh
# Runs that are ended at any moment, by SIGKILL at 100 and by SIGTERM and SIGHUP at ten each, go on
# to the same weights and the same records as the run that nobody ended.
# Usage: kill.sh [tries]
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR # a killed process loses no memory
. "$(dirname "$0")/lib.sh"
. "$SOURCE/tests/tiny.sh"
tries=${1:-100}
# Momentum, batch statistics, steps of two batches, checkpoints within epochs, and epochs that end
# with the best so far or not: everything that a checkpoint has to hold.
printf '%s\n' 'batch: 8' 'lr: 0.05' 'bn: train' 'val: 0.2' 'accumulate: 2' 'epochs: 4' \
    'schedule: cosine' 'save_every: 2' 'log_every: 1' 'patience: 3' 'threads: 1' > common.yaml
train() { "$TRAIN" train "$GLYPHS/glyphs.onnx" tiny common.yaml "$@" > log.txt 2>&1; }

start=$(date +%s%N)
train out=whole || fail "$(cat log.txt)"
length=$((($(date +%s%N) - start) / 1000))
# times are a run's own; all else has to be the same
rows() { cut -d, -f1,2,4- "$1/results.csv"; }
rows whole > rows.txt
grep -v '"event":"checkpoint"' whole/metrics.jsonl > records.txt

# begin SIGNAL MICROSECONDS: a run is ended then; $code is how.
begin() {
    rm -rf killed
    "$TRAIN" train "$GLYPHS/glyphs.onnx" tiny common.yaml out=killed > log.txt 2>&1 &
    process=$!
    sleep "$(printf '%d.%06d' $(($2 / 1000000)) $(($2 % 1000000)))"
    kill -"$1" $process 2> /dev/null
    wait $process 2> /dev/null
    code=$?
}

# end SIGNAL MICROSECONDS: a run is ended then, resumed until it is done, and compared. One that was
# done before is ended earlier: how long a run takes is not known on a busy machine.
end() {
    begin "$1" "$2"
    earlier=$2
    for again in 1 2 3; do
        [ $code = 0 ] || break
        earlier=$((earlier / 2))
        begin "$1" $earlier
    done
    case $1:$code in
        KILL:137 | KILL:0 | HUP:129 | HUP:0 | TERM:143 | TERM:0) ;;
        *) fail "exit $code after SIG$1 at $2: $(tail -1 log.txt)" ;;
    esac
    [ $code = 0 ] && done_before=$((done_before + 1))
    if [ -e killed ]; then
        "$TRAIN" train resume=killed > log.txt 2>&1 || fail "SIG$1 at $2: $(tail -1 log.txt)"
    else # nothing was there yet, and nothing half
        nothing=$((nothing + 1))
        train out=killed || fail "SIG$1 at $2, before the folder: $(tail -1 log.txt)"
    fi
    same=1
    files='weights/last.onnx weights/best.onnx'
    # what a signal has saved is one more record, and stands in the lengths that checkpoints hold
    [ "$1" != KILL ] || files="$files checkpoints/last.otc checkpoints/best.otc metrics.jsonl"
    for file in $files; do
        cmp "whole/$file" "killed/$file" || same=0
    done
    grep -v '"event":"checkpoint"' killed/metrics.jsonl | cmp - records.txt || same=0
    rows killed | cmp - rows.txt || same=0
    [ $same = 1 ] || fail "SIG$1 at $2 us: the run differs"
    equal=$((equal + same))
}

# Moments from before the folder to behind the end, of a fixed sequence.
nothing=0 done_before=0 equal=0
moments=$(awk -v n="$tries" -v length_="$length" 'BEGIN {
    srand(16)
    for (i = 0; i < n + n / 5; i++) printf "%d ", (0.1 + 0.95 * rand()) * length_
}')
try=0
for moment in $moments; do
    try=$((try + 1))
    if [ $try -le "$tries" ]; then
        end KILL "$moment"
        [ $try = "$tries" ] && echo "SIGKILL: $equal of $try are the same, bit for bit" \
            "($nothing had no folder yet, $done_before were done)"
    elif [ $((try % 2)) = 0 ]; then
        end TERM "$moment"
    else
        end HUP "$moment"
    fi
done
echo "all: $equal of $try"
[ $equal = $try ] || fail "$((try - equal)) of $try differ"
[ $((nothing + done_before)) -lt $((tries / 2)) ] || fail "most were too early or too late"
[ -z "$(find killed -name '*.tmp')" ] || fail "temporaries: $(find killed -name '*.tmp')"
finish
