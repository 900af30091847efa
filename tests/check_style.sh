#!/bin/sh
# Checks what a compiler does not: every source file begins with its name and what it does, no line
# is longer than 100 columns, no file longer than 600 lines (the public header: 900), no tabs, no
# spaces at line ends, no unfinished notes. Usage: SOURCE=<project root> check_style.sh
cd "${SOURCE:?}" || exit 1
bad=0
complain() {
    [ -z "$2" ] || { echo "$1:"; echo "$2" | sed 's/^/    /'; bad=1; }
}
sources=$(find runtime onnx ops tools tests examples \
    -name '*.c' -o -name '*.h' -o -name '*.inc' -o -name '*.def')
texts="$sources $(find tests tools bench cmake .ci -name '*.sh' -o -name '*.py' -o -name '*.cmake')"

for file in $(echo "$sources" | grep -v '\.def$'); do
    head -1 "$file" | grep -qF "/* $(basename "$file") - " || complain 'no first sentence' "$file"
    length=$(wc -l < "$file")
    # The one public header is the reference of the library: what is in it grows with the library.
    [ "$file" = runtime/onnxtrain.h ] && longest=900 || longest=600
    [ "$length" -le "$longest" ] || complain 'longer than 600 lines' "$file: $length"
done

# A header's guard is its path, below runtime/: runtime/run/x.h has OT_RUN_X_H.
for file in $(find runtime/*/ onnx ops tools -name '*.h'); do
    guard=OT_$(echo "${file%.h}_H" | sed 's|^runtime/||' | tr 'a-z/' 'A-Z_')
    [ "$(grep -cxE "#(ifndef|define) $guard" "$file")" = 2 ] ||
        complain "no guard $guard" "$file"
done
complain 'longer than 100 columns' "$(LC_ALL=C.UTF-8 grep -nE '^.{101,}' $texts)"
complain 'tabs' "$(grep -nP '\t' $sources)"
complain 'spaces at the end of the line' "$(grep -nE ' +$' $texts)"
complain 'unfinished' "$(grep -nE 'TO[D]O|FI[X]ME|\bX[X]X\b' $texts)"
complain 'typedef of a struct inside' "$(grep -nE '^typedef struct' $sources |
    grep -vE '^runtime/onnxtrain\.h:')"
exit $bad
