#!/bin/sh
# Builds the fuzz targets with clang-14 and gives them what libFuzzer makes up.
#
# Usage: tests/fuzz/run.sh HOURS [TARGET...]   so long, each target in its turn
#        tests/fuzz/run.sh quick [TARGET...]   a fixed number of executions of each
#
# BUILD=<folder> (default build-tests) is where fuzz/ is built, and where corpora stay from run to
# run (fuzz-corpus/); JOBS how many targets run at once. What breaks a target is kept in
# BUILD/fuzz-found/TARGET/; it belongs into tests/fuzz/regressions/TARGET/ once it is mended.
cd "$(dirname "$0")/../.." || exit 1
builds=${BUILD:-build-tests}
jobs=${JOBS:-$(nproc)}
folder=$builds/fuzz
seeds=$builds/fuzz-seeds
testdata=/usr/share/libonnx-testdata/data

# Executions of a quick run in thousands, percent of the time of a long one, and bytes of an input.
table='model 170 40 16384
checkpoint 40 10 8192
zip 200 10 8192
npy 300 5 2048
records 150 5 8192
tensor 250 5 2048
image 90 15 4096
yaml 60 10 2048'

build() {
    generator=
    command -v ninja > /dev/null && generator='-G Ninja'
    # -O1: with every check in every loop, -O3 takes minutes a file
    cmake $generator -S . -B "$folder" -DCMAKE_C_COMPILER=clang-14 -DCMAKE_BUILD_TYPE=Debug \
        -DCMAKE_C_FLAGS_DEBUG='-O1 -gline-tables-only' \
        -DOT_SANITIZE=fuzzer-no-link,address,undefined && cmake --build "$folder" -j "$jobs" \
        --target fuzz
}

# The seeds, and where they are installed the small models of the ONNX project's tests.
plant() {
    rm -rf "$seeds"
    "$folder/tests/fuzz/fuzz_seeds" "$seeds" || return 1
    [ ! -d "$testdata" ] || find "$testdata" -name model.onnx -size -5k | while read -r model; do
        cp "$model" "$seeds/model/$(basename "$(dirname "$model")").onnx"
    done
}

# fuzz TARGET BYTES LIMIT...: one run of libFuzzer, the output in a log.
fuzz() {
    target=$1
    bytes=$2
    shift 2
    mkdir -p "$builds/fuzz-corpus/$target" "$builds/fuzz-found/$target" "$builds/log"
    "$folder/tests/fuzz/fuzz_$target" "$@" -max_len="$bytes" -timeout=20 -rss_limit_mb=4096 \
        -dict="$seeds/$target.dict" -artifact_prefix="$builds/fuzz-found/$target/" -verbosity=1 \
        -print_final_stats=1 "$builds/fuzz-corpus/$target" "$seeds/$target" \
        >> "$builds/log/fuzz-$target.txt" 2>&1
}

# quick TARGET THOUSANDS BYTES: always the same inputs, since it begins with the seeds alone.
quick() {
    rm -rf "$builds/fuzz-corpus/$1"
    fuzz "$1" "$3" -runs="$2"000 -seed=1
}

# long TARGET SECONDS BYTES: goes on behind what is found.
long() {
    end=$(($(date +%s) + $2))
    while left=$((end - $(date +%s))) && [ "$left" -gt 0 ]; do
        fuzz "$1" "$3" -max_total_time="$left" && continue
        echo "$1: stopped early, see $builds/log/fuzz-$1.txt" >&2
        sleep 1
    done
}

# What the logs say was done, and what was found.
report() {
    for target in $targets; do
        log=$builds/log/fuzz-$target.txt
        count=$(awk '/^stat::number_of_executed_units/ { n += $2 } END { print n + 0 }' "$log")
        found=$(find "$builds/fuzz-found/$target" -type f | wc -l)
        echo "$target: $count executions, $found findings"
        [ "$count" -gt 0 ] || all=$((all + 1)) # it did not even begin
        total=$((total + count))
        all=$((all + found))
    done
    echo "total: $total executions, $all findings"
    [ "$all" = 0 ]
}

what=${1:?quick, or a number of hours}
shift
if [ "$what" = one ]; then # of the processes below: MODE TARGET AMOUNT BYTES
    "$@"
    exit
fi
targets=${*:-$(echo "$table" | cut -d' ' -f1)}
mkdir -p "$builds/log"
build > "$builds/log/fuzz-build.txt" 2>&1 || { tail -40 "$builds/log/fuzz-build.txt"; exit 1; }
plant || exit 1
total=0
all=0
for target in $targets; do
    rm -f "$builds/log/fuzz-$target.txt"
    echo "$table" | grep "^$target " | while read -r name thousands share bytes; do
        if [ "$what" = quick ]; then
            echo "quick $name $thousands $bytes"
        else
            seconds=$(awk -v h="$what" -v s="$share" -v j="$jobs" \
                'BEGIN { printf "%d", h * 36 * s * j }')
            echo "long $name $seconds $bytes"
        fi
    done
done | xargs -P "$jobs" -L 1 "$0" one
stopped=$?
report && [ "$stopped" = 0 ]
