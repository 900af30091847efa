#!/bin/sh
# Compiles each header on its own (twice, so that its guard works), and the public one as C99 and
# as C++ without extensions. Usage: CC= CXX= SOURCE= GENERATED= check_headers.sh
cd "${SOURCE:?}" || exit 1
bad=0
warnings='-Wall -Wextra -Wpedantic -Wshadow -Wvla -Werror'

for header in runtime/*.h runtime/*/*.h ops/*.h ops/*/*.h onnx/*.h onnx/*/*.h tools/*.h \
    tools/*/*.h tests/*.h; do
    [ -e "$header" ] || continue
    case $header in
    ops/kernels/simd.h) define='-DOT_ISA=generic -DOT_ISA_generic' ;;
    *) define= ;;
    esac
    printf '#include "%s"\n#include "%s"\nextern int ot_unused;\n' "$header" "$header" |
        "${CC:-cc}" -std=c11 -D_GNU_SOURCE $define $warnings -Wno-unused-function -I. \
            -isystem "${GENERATED:?}" -fsyntax-only -x c - || { echo "$header: see above"; bad=1; }
done

public='#include "onnxtrain.h"\nextern int unused;\n'
printf "$public" | "${CC:-cc}" -std=c99 $warnings -Iruntime -fsyntax-only -x c - || bad=1
if [ -n "$CXX" ] && [ "$CXX" != CXX_COMPILER-NOTFOUND ]; then
    printf "$public" | "$CXX" -std=c++98 -Wall -Wextra -Wshadow -Werror -Iruntime \
        -fsyntax-only -x c++ - || bad=1
fi
exit $bad
