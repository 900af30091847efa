#!/bin/sh
# Runs all inputs that once broke something, and the seeds, through their targets.
# Usage: regressions.sh FUZZ_REPLAY FUZZ_SEEDS
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$2" "$work"
echo "-- seeds"
for folder in "$work"/*/; do
    "$1" "${folder%/}"
done
echo "-- regressions"
for folder in "$here"/regressions/*/; do
    [ ! -d "$folder" ] || "$1" "${folder%/}"
done
