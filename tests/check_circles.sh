#!/bin/sh
# Checks that the library's files do not call each other in circles. The graph has a node for each
# object file and an edge for each symbol that one file leaves undefined and another one defines. A
# circle is a set of files each of which reaches all the others; printed are the symbols that close
# it, file by file. All folders count: whoever adds a function that its callers call, too, in a
# higher file, has to move it into a lower one.
# ops/op_table.c refers to every operator, and so to all of ops/ and ops/product/. That is no
# exception, as long as no operator and nothing below operators asks for an operator by its name.
# Kernels are left out: each kernel object defines one table (check_symbols.sh).
# Usage: NM= OBJECTS=<list of object files, one a line> check_circles.sh
nm=${NM:-nm}

while read -r object; do
    [ -e "$object" ] || { echo "not built: $object"; exit 1; }
done < "${OBJECTS:?}"

tr '\n' '\0' < "$OBJECTS" | xargs -0 "$nm" -A -g | awk '
    { colon = index($0, ":")
      file = substr($0, 1, colon - 1)
      sub(/^.*\.dir\/(\.\/)?/, "", file)
      sub(/\.o$/, "", file)
      if (!(file in number)) { number[file] = ++files; name[files] = file }
      $0 = substr($0, colon + 1)
      if (NF == 2) needs[number[file], $2] = 1
      else home[$3] = number[file] }

    # seen[b] for every file b that a reaches along next_of: calls, or calls backwards.
    function walk(a, next_of, degree, seen,    stack, top, i, k, b) {
        stack[top = 1] = a
        while (top) {
            i = stack[top--]
            for (k = 1; k <= degree[i]; k++) {
                b = next_of[i, k]
                if (b in seen) continue
                seen[b] = 1
                stack[++top] = b
            }
        }
    }
    END {
        if (files < 2) { print "no symbols"; exit 1 }
        for (need in needs) {
            split(need, part, SUBSEP)
            from = part[1]
            to = home[part[2]]
            if (!to || to == from) continue
            if (!((from, to) in symbols)) {
                callee[from, ++callees[from]] = to
                caller[to, ++callers[to]] = from
            }
            symbols[from, to] = symbols[from, to] " " part[2]
        }
        for (a = 1; a <= files; a++) {
            if (a in told) continue
            split("", ahead)
            split("", behind)
            walk(a, callee, callees, ahead)
            if (!(a in ahead)) continue
            walk(a, caller, callers, behind)
            bad = 1
            print "files that call each other in a circle:"
            for (i = 1; i <= files; i++) {
                if (!(i in ahead) || !(i in behind)) continue
                told[i] = 1
                for (k = 1; k <= callees[i]; k++) {
                    j = callee[i, k]
                    if ((j in ahead) && (j in behind))
                        print "    " name[i] " -> " name[j] ":" symbols[i, j]
                }
            }
        }
        exit bad
    }'
