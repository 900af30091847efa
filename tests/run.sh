#!/bin/sh
# Installs what is missing, builds, and runs every test. The exit status is the result.
#
# Usage: tests/run.sh [quick]
#   quick   gcc only; without it: clang, AddressSanitizer + UndefinedBehaviorSanitizer, and
#           ThreadSanitizer too, and then what libFuzzer makes up
#
# OT_SHARED=<folder with data/ and models/> adds the tests on real models and data sets.
# BUILD=<folder> (default build-tests) is where the builds go; JOBS how many things run at once.
cd "$(dirname "$0")/.." || exit 1
builds=${BUILD:-build-tests}
jobs=${JOBS:-$(nproc)}
began=$(date +%s)
failed=

minutes() { awk -v s="$(($(date +%s) - $1))" 'BEGIN { printf "%.1f min", s / 60 }'; }

# step NAME COMMAND...: runs it with its output in a file, which is shown where it fails.
step() {
    name=$1
    shift
    start=$(date +%s)
    log=$builds/log/$(echo "$name" | tr ' ,' '--').txt
    printf '%-28s' "$name"
    if "$@" > "$log" 2>&1; then
        echo "ok      $(minutes "$start")$(skipped "$log")"
    else
        echo "FAILED  $(minutes "$start"), see $log"
        tail -40 "$log"
        failed="$failed '$name'"
        return 1
    fi
}

# The tests that a log of ctest reports as skipped, by name.
skipped() {
    names=$(sed -n 's/^[[:space:]]*[0-9]* - \([^ ]*\) (Skipped)$/\1/p' "$1" | tr '\n' ' ')
    [ -z "$names" ] || echo ", skipped: $names"
}

# configure FOLDER OPTIONS...
configure() {
    folder=$builds/$1
    shift
    generator=
    command -v ninja > /dev/null && generator='-G Ninja'
    cmake $generator -S . -B "$folder" "$@" && cmake --build "$folder" -j "$jobs"
}

# beneath FOLDER COMMAND...: ctest knows --test-dir from 3.20 on only.
beneath() { (cd "$1" && shift && "$@"); }

# variant NAME FOLDER CMAKE-OPTIONS...: builds and tests one way of compiling.
variant() {
    title=$1
    where=$2
    shift 2
    step "$title: build" configure "$where" "$@" || return 1
    step "$title: test" beneath "$builds/$where" $no_aslr ctest --output-on-failure -j "$jobs" \
        $selection
}

mkdir -p "$builds/log"
step 'packages' tools/install-deps.sh test || exit 1
no_aslr=
selection=
variant 'gcc' gcc -DCMAKE_C_COMPILER=gcc
if [ "$1" != quick ]; then
    # Scripts that only look at files and symbols have had their turn.
    selection='-E ^check_'
    variant 'clang' clang -DCMAKE_C_COMPILER=clang-14
    # With every check in every loop, gcc's -O3 takes minutes a file.
    checked='-DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug'
    checked_flags='-DCMAKE_C_FLAGS_DEBUG=-O1 -g1'
    export UBSAN_OPTIONS=print_stacktrace=1
    # Two builds have shown that trainings are the same for all threads, and the README's session.
    selection='-E ^(check_|determinism|readme)'
    variant 'address, undefined' asan $checked "$checked_flags" -DOT_SANITIZE=address,undefined
    # ThreadSanitizer's shadow does not fit every random memory map. libgomp, which oneDNN brings,
    # is not instrumented: tests/tsan.supp.
    setarch "$(uname -m)" -R true 2> /dev/null && no_aslr="setarch $(uname -m) -R"
    export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp halt_on_error=1"
    # Hundreds of trainings under ThreadSanitizer would take longer than everything else together,
    # and most have one thread; the unit tests run every kernel and step on several threads, and
    # cli.sh the command.
    selection='-E ^(check_|determinism|readme|kill|faults|resume|masks|init_cli|prune_cli'
    selection="$selection|fuzz_regressions|conformance)"
    variant 'thread' tsan $checked "$checked_flags" -DOT_SANITIZE=thread
    step 'fuzz' env BUILD="$builds" JOBS="$jobs" tests/fuzz/run.sh quick &&
        sed -n 's/^total: /  /p' "$builds/log/fuzz.txt"
fi

echo
if [ -n "$failed" ]; then
    echo "FAILED:$failed, after $(minutes "$began")"
    exit 1
fi
echo "all passed in $(minutes "$began")"
