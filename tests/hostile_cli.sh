#!/bin/sh
# Broken models: exit code 3 with a message that names the problem, no crash, nothing written.
. "$(dirname "$0")/lib.sh"

# refuse FILE: inspect, train and export must all refuse it.
refuse() {
    expect 3 "$TRAIN" inspect --plan "$1" size=16
    [ -s "$work.err" ] || fail "no message for $1"
    [ "$(wc -c < "$work.err")" -lt 4000 ] || fail "a long message for $1"
    LC_ALL=C grep -q '[^[:print:][:space:]]' "$work.err" && fail "raw bytes on stderr for $1"
    expect 3 "$TRAIN" train "$1" "$GLYPHS" out=run max_steps=1
    [ -z "$(ls)" ] || fail "$1: wrote $(ls)"
    rm -rf -- *
}

echo "-- one thing wrong"
for file in "$SOURCE"/tests/hostile/*.onnx; do
    refuse "$file"
done

echo "-- cut short"
size=$(wc -c < "$GLYPHS/glyphs.onnx")
mkdir "$work.models"
i=0
while [ $i -lt 24 ]; do
    # Close together at the front, where the structure is, then far apart.
    length=$((i < 12 ? 1 + i * 7 : size * (i - 11) / 13))
    head -c $length "$GLYPHS/glyphs.onnx" > "$work.models/cut.onnx"
    refuse "$work.models/cut.onnx"
    i=$((i + 1))
done

echo "-- a good model that is not a file"
mkdir "$work.models/folder.onnx"
"$TRAIN" inspect "$work.models/folder.onnx" > /dev/null 2>&1 && fail "a folder is not a model"

echo "-- a FIFO that nobody writes, in the place of every file"
fifo=$work.models/fifo.yaml
mkfifo "$fifo"
expect 3 timeout 10 "$TRAIN" inspect model="$fifo"
expect 1 timeout 10 "$TRAIN" eval "$GLYPHS/glyphs.onnx" "$GLYPHS" checkpoint="$fifo"
expect 4 timeout 10 "$TRAIN" eval "$GLYPHS/glyphs.onnx" data="$fifo"
expect 4 timeout 10 "$TRAIN" train "$GLYPHS/glyphs.onnx" "$GLYPHS" val="$fifo" out=run
expect 2 timeout 10 "$TRAIN" train "$GLYPHS/glyphs.onnx" "$GLYPHS" "$fifo" out=run
rm -rf "$work.models"
finish
