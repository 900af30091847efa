#!/bin/sh
# onnx-train prune: each criterion and constraint on a network, and that it can be trained
# afterwards; wrong options leave no file.
. "$(dirname "$0")/lib.sh"
model=$GLYPHS/glyphs.onnx
nonzeros() { masks "$1" | awk '{ n += $2 } END { print n }'; }

echo "-- criteria"
before=$(nonzeros "$model")
expect 0 "$TRAIN" prune "$model" sparsity=0.97 budget=global out=magnitude.onnx
stdout_has 'all matrices +3458 of +115288'
expect 0 "$TRAIN" inspect magnitude.onnx
[ "$(nonzeros magnitude.onnx)" -lt "$before" ] || fail "nothing was pruned"
expect 0 "$TRAIN" prune "$model" density=0.03 budget=global out=same.onnx
cmp magnitude.onnx same.onnx || fail "density=0.03 is not sparsity=0.97"
expect 0 "$TRAIN" prune "$model" sparsity=0.97 budget=global by=random out=random.onnx
expect 0 "$TRAIN" prune "$model" "$GLYPHS" sparsity=0.97 budget=global by=taylor batch=100 \
    out=taylor.onnx
for by in magnitude random taylor; do
    expect 0 "$TRAIN" eval --json $by.onnx "$GLYPHS"
    json accuracy < "$work.out" > $by.txt
done
[ "$(awk 'NR == FNR { a = $1; next } { print ($1 > a) }' random.txt magnitude.txt)" = 1 ] ||
    fail "magnitude $(cat magnitude.txt) is not better than random $(cat random.txt)"
[ "$(awk 'NR == FNR { a = $1; next } { print ($1 > a) }' random.txt taylor.txt)" = 1 ] ||
    fail "taylor $(cat taylor.txt) is not better than random $(cat random.txt)"

echo "-- constraints"
expect 0 "$TRAIN" prune "$model" sparsity=0.99 budget=uniform constraint=fan_in 'layers=fc1*' \
    out=fan_in.onnx
expect 0 "$TRAIN" prune "$model" constraint=nm:1:8 'layers=fc*,!fc2*' out=nm.onnx
expect 0 "$TRAIN" prune "$model" density=0.02 budget=erk constraint=block:4x1 'layers=fc1*' \
    out=block.onnx
for file in fan_in nm block; do
    masks $file.onnx > $file.txt
    [ "$(sed -n '/^conv/p' $file.txt)" = "$(masks "$model" | sed -n '/^conv/p')" ] ||
        fail "$file.onnx: a mask of conv has changed"
done
expect 0 "$TRAIN" prune "$model" constraint=channels sparsity=0.25 out=channels.onnx
stderr_has "channels of 'fc2.weight' cannot leave because of an output of the model"
expect 0 "$TRAIN" inspect channels.onnx
stdout_has 'conv2\.weight .*\[[0-9]*,18,3,3\]'
expect 0 "$TRAIN" eval channels.onnx "$GLYPHS"
masks magnitude.onnx > before.txt
expect 0 "$TRAIN" train magnitude.onnx "$GLYPHS" max_steps=3 val=0 out=run
masks run/weights/last.onnx | cmp - before.txt || fail "training changed a mask"
"$TRAIN" prune "$model" sparsity=0.97 budget=global out=- | cmp - magnitude.onnx ||
    fail "prune out=-"

echo "-- what is refused"
# refuse WORD ARGUMENT...: exit code 2, a message with the word, and no file.
refuse() {
    word=$1
    shift
    expect 2 "$TRAIN" prune "$model" "$@" out=bad.onnx
    stderr_has "$word"
    [ ! -e bad.onnx ] || { fail "a file of $*"; rm bad.onnx; }
}
refuse 'no density' budget=erk
refuse 'density is 0' sparsity=1
refuse 'is not a number from 0 to 1' sparsity=1.5
refuse 'density is -1' density=-1
refuse 'nm:5:4' constraint=nm:5:4
refuse 'none of free' constraint=nm:2
refuse 'none of free' constraint=block:4
refuse "'conv1.weight' has 1 inputs" constraint=nm:2:4
refuse 'does not divide' constraint=block:7x1 density=0.1 budget=erk
refuse 'constraint=nm:2:4' constraint=nm:2:4 sparsity=0.5
refuse 'without a weight' density=0.00001 budget=global
refuse 'times as many' density=0.9 budget=given
refuse "matches 'fc9'" density=0.01 budget=erk layers=fc9
refuse 'needs data' density=0.01 budget=erk by=taylor
refuse 'data is given' "$GLYPHS" density=0.01 budget=erk
refuse 'loss is given' loss=mse density=0.01 budget=erk
expect 2 "$TRAIN" prune "$model" sparsity=0.97 budget=global out=same.onnx
stderr_has 'already exists'
finish
