#!/bin/sh
# Checks that all C sources are as .clang-format has them. Other versions of clang-format lay a few
# constructs out in another way, so that only version 14 counts. Usage: SOURCE=<project root>
# check_format.sh
cd "${SOURCE:?}" || exit 1
format=$(command -v clang-format-14 || command -v clang-format)
case $("${format:-false}" --version 2> /dev/null) in
*"version 14."*) ;;
*) echo "clang-format 14 is not there"; exit 77 ;;
esac
find runtime onnx ops tools tests examples \
    \( -name '*.c' -o -name '*.h' -o -name '*.inc' \) -type f -print0 |
    xargs -0 -n 40 -P "$(nproc)" "$format" --dry-run -Werror
