#!/bin/sh
# The session in README.md: its commands run here, and print what README says they print. Numbers
# may differ, because they depend on the machine.
# Usage: SOURCE= BUILD= readme.sh
. "$SOURCE/tests/lib.sh"
mkdir build
ln -s "$TRAIN" build/onnx-train
ln -s "$SOURCE/examples" examples

# Output with numbers, the instruction set and runs of blanks made equal, without the progress
# lines that a slow machine prints.
shape() {
    sed -E -e '/^epoch=/d' -e 's/[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?/N/g' \
        -e 's/generic|avxN/ISA/' -e 's/ +/ /g' -e 's/ \*best$//' \
        -e 's/(^| )best .*/best/' -e 's/ $//' "$1"
}
awk '/^## A first session/ { inside = 1; next } /^## / { inside = 0 }
     inside && /^    / { print substr($0, 5) }
     inside && /^$/ { print }' "$SOURCE/README.md" > session
grep '^\$ ' session > commands
[ "$(wc -l < commands)" -ge 3 ] || fail "README.md has no session of three commands"
while read -r dollar command; do
    awk -v want="$dollar $command" '$0 == want { inside = 1; next }
        /^\$ / { inside = 0 } inside { print }' session > "$work.want"
    sh -c "$command" > "$work.out" 2> "$work.err" < /dev/null || fail "$command"
    shape "$work.want" | sed '/^$/d' > "$work.a"
    shape "$work.out" | sed '/^$/d' > "$work.b"
    diff "$work.a" "$work.b" || fail "README.md prints something else for: $command"
done < commands
rm -f "$work".*
[ $failures = 0 ]
