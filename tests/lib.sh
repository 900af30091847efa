# lib.sh - what the shell tests of the command share. Source it; TRAIN is the command under test.
# It makes an empty temporary folder, goes there, and removes it at the end.
: "${SOURCE:?}" "${BUILD:?}"
TRAIN=$BUILD/onnx-train
GLYPHS=$SOURCE/examples/glyphs
[ -x "$TRAIN" ] && [ -e "$GLYPHS/glyphs.onnx" ] || { echo "nothing to test yet"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect CODE COMMAND...: runs it with output in out.txt and err.txt beside the working folder.
expect() {
    expect_code=$1
    shift
    "$@" > "$work.out" 2> "$work.err"
    exit_code=$?
    [ "$exit_code" = "$expect_code" ] && return 0
    fail "exit $exit_code, not $expect_code: $*"
    tail -n 5 "$work.out"
    tail -n 5 "$work.err"
    return 1
}
stdout_has() { grep -qE -- "$1" "$work.out" || fail "no '$1' in the output of $TRAIN"; }
stderr_has() { grep -qE -- "$1" "$work.err" || fail "no '$1' on stderr: $(cat "$work.err")"; }

# json KEY: its first number or word in the JSON on stdin.
json() {
    tr -d '\n' | sed -n "s/.*\"$1\":[[:space:]]*\"\{0,1\}\([^\",}]*\).*/\1/p" | head -1
}
# The masks of all weights of a model: name, number of nonzeros, hash of the positions.
masks() {
    fields='"name":"\([^"]*\)".*"nnz":\([0-9]*\).*"mask[a-z_]*":"\([0-9a-fx]*\)"'
    "$TRAIN" inspect --json "$1" | tr -d ' \n' | sed 's/{/\n/g' |
        sed -n "s/.*$fields.*/\1 \2 \3/p"
}
# The training losses of a run, a line a step: "step loss".
losses() { sed -n '/"event": *"step"/s/.*"step": *\([0-9]*\).*"loss": *\([^,}]*\).*/\1 \2/p' "$1"; }

finish() {
    rm -f "$work.out" "$work.err"
    [ "$failures" = 0 ] || echo "$failures failures"
    [ "$failures" = 0 ]
    exit
}
