#!/bin/sh
# Installs the Debian packages that are missing, and nothing if none is.
# Usage: install-deps.sh [build|test]   (build is the default; test adds clang)
set -e
missing=
program() { command -v "$1" > /dev/null 2>&1 || missing="$missing $2"; }
library() {
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' ||
            missing="$missing $package"
    done
}

program cc gcc
program cmake cmake
program ninja ninja-build
program pkg-config pkg-config
program protoc-c protobuf-c-compiler
if command -v dpkg-query > /dev/null; then
    library libc6-dev libprotobuf-c-dev libonnx-dev libdnnl-dev libyaml-dev zlib1g-dev \
        libjpeg-dev libpng-dev libcmocka-dev
else
    echo "This is not Debian: see docs/building.md for what has to be there." >&2
fi
if [ "$1" = test ]; then
    program gcc gcc
    program g++ g++
    program clang-14 clang-14
    program clang-format-14 clang-format-14
    ! command -v dpkg-query > /dev/null || library libonnx-testdata libclang-rt-14-dev
fi
[ -n "$missing" ] || exit 0

echo "installing:$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo > /dev/null || { echo "run as root: apt-get install$missing" >&2; exit 1; }
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update -q && $as_root apt-get install -q -y --no-install-recommends $missing
    } > "$log" 2>&1; then
    tail -20 "$log" >&2
    exit 1
fi
