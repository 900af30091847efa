#!/bin/sh
# The sessions in README.md and docs/topology.md: their commands run here, and print what the pages
# say they print. Numbers may differ, because they depend on the machine.
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

# run_session PAGE HEADING LEAST: the commands behind headings that match, at least so many.
run_session() {
    awk -v heading="^## $2" '/^## / { inside = $0 ~ heading; next }
         inside && /^    / { print substr($0, 5) }
         inside && /^$/ { print }' "$SOURCE/$1" > session
    grep '^\$ ' session > commands
    [ "$(wc -l < commands)" -ge "$3" ] || fail "$1 has no session of $3 commands"
    while read -r dollar command; do
        awk -v want="$dollar $command" '$0 == want { inside = 1; next }
            /^\$ / { inside = 0 } inside { print }' session > "$work.want"
        sh -c "$command" > "$work.out" 2> "$work.err" < /dev/null || fail "$1: $command"
        shape "$work.want" | sed '/^$/d' > "$work.a"
        shape "$work.out" | sed '/^$/d' > "$work.b"
        diff "$work.a" "$work.b" || fail "$1 prints something else for: $command"
    done < commands
}

run_session README.md "A first session" 3
run_session docs/topology.md "I " 8
rm -f "$work".*
[ $failures = 0 ]
