#!/bin/sh
# onnx-train init: networks from nothing and from a model, each way to say how sparse; what they
# learn; wrong options leave no file.
. "$(dirname "$0")/lib.sh"

# nonzeros FILE NAME: of a weight.
nonzeros() { masks "$1" | sed -n "s/^$2 \([0-9]*\) .*/\1/p"; }

echo "-- perceptrons"
expect 0 "$TRAIN" init mlp=784-300-100-10 density=erk:0.1 constraint=fan_in out=erk.onnx
stdout_has 'fc1\.weight +18600 of +235200'
stdout_has 'all matrices +26500 of +266200'
[ "$(nonzeros erk.onnx fc2.weight)" = 6900 ] || fail "fc2 of erk.onnx"
expect 0 "$TRAIN" init mlp=784-1000-1000-1000-10 density=er:20 activation=all-relu:0.6 out=er.onnx
stdout_has 'fc4\.weight +10000 of +10000'
expect 0 "$TRAIN" inspect er.onnx
stdout_has 'LeakyRelu +3'
[ "$(wc -c < er.onnx)" -lt 2000000 ] || fail "er.onnx has dense weights"
expect 0 "$TRAIN" init mlp=784-300-100-10 sparsity=0.9 budget=erk constraint=fan_in out=same.onnx
cmp erk.onnx same.onnx || fail "density=erk:0.1 is not sparsity=0.9 budget=erk"
expect 0 "$TRAIN" init mlp=784-300-100-10 density=erk:0.1 constraint=fan_in seed=1 out=other.onnx
cmp -s erk.onnx other.onnx && fail "another seed gives the same network"
printf 'fc*: 0.1\nfc2*: 0.5\n' > list.yaml
expect 0 "$TRAIN" init mlp=40-30-20-10 budget=list.yaml constraint=fan_in out=list.onnx
[ "$(nonzeros list.onnx fc1.weight)" = 120 ] || fail "fc1 of list.onnx"
[ "$(nonzeros list.onnx fc2.weight)" = 300 ] || fail "fc2 of list.onnx"
"$TRAIN" init mlp=784-300-100-10 density=erk:0.1 constraint=fan_in out=- | cmp - erk.onnx ||
    fail "init out=-"

echo "-- a model"
expect 0 "$TRAIN" init "$GLYPHS/glyphs.onnx" density=0.2 budget=erk out=fresh.onnx
expect 0 "$TRAIN" inspect fresh.onnx
expect 0 "$TRAIN" train fresh.onnx "$GLYPHS" bn=train epochs=1 lr=0.1 batch=64 val=0 out=run
expect 0 "$TRAIN" eval --json run/weights/last.onnx "$GLYPHS"
accuracy=$(json accuracy < "$work.out")
expr "$accuracy" : '0\.[2-9]' > /dev/null || fail "accuracy $accuracy after an epoch from nothing"
masks fresh.onnx > before.txt
masks run/weights/last.onnx | cmp - before.txt || fail "training changed a mask"

echo "-- All-ReLU"
expect 0 "$TRAIN" train "$GLYPHS/glyphs.onnx" "$GLYPHS" activation=all-relu:0.25 max_steps=2 out=all
expect 0 "$TRAIN" inspect all/weights/last.onnx
stdout_has 'LeakyRelu'
expect 0 "$TRAIN" train resume=all max_steps=3
expect 2 "$TRAIN" train resume=all max_steps=4 activation=all-relu:0.5
last=all/checkpoints/last.otc
expect 0 "$TRAIN" export "$GLYPHS/glyphs.onnx" checkpoint=$last out=exported.onnx \
    activation=all-relu:0.25 form=inference
cmp exported.onnx all/weights/last.onnx || fail "export of a checkpoint with activation="

echo "-- what is refused"
# refuse WORD ARGUMENT...: exit code 2, a message with the word, and no file.
refuse() {
    word=$1
    shift
    expect 2 "$TRAIN" init "$@" out=bad.onnx
    stderr_has "$word"
    [ ! -e bad.onnx ] || { fail "a file of $*"; rm bad.onnx; }
}
mlp=mlp=784-300-10
refuse 'density is 0' $mlp density=0
refuse 'density is 1.5' $mlp density=1.5
refuse 'density is nan' $mlp density=nan
refuse 'no density' $mlp
refuse 'both given' $mlp density=0.1 sparsity=0.9
refuse 'both given' "$GLYPHS/glyphs.onnx" $mlp density=0.1
refuse 'units' mlp=784 density=0.1
refuse 'units' mlp=784-0-10 density=0.1
refuse 'units' mlp=784-x density=0.1
refuse 'every layer is dense' $mlp density=er:1000
refuse "inputs of a row of 'fc1.weight'" $mlp density=uniform:0.001 constraint=fan_in
refuse "'fc1.weight': a density" $mlp density=uniform:1e-12
refuse "matches 'fc7\*'" $mlp density=0.1 "layers=fc7*"
refuse 'budget=er:20' $mlp density=0.1 budget=er:20
refuse 'budget is given, too' $mlp density=erk:0.1 budget=erk
refuse 'none of given' $mlp density=0.1 budget=even
refuse 'none of free' $mlp density=0.1 constraint=rows
refuse 'pruning' $mlp constraint=nm:2:4
refuse 'all-relu' $mlp density=0.1 activation=swish
printf 'fc1*: 0\n' > bad.yaml
refuse 'fc1\* is 0' $mlp budget=bad.yaml
printf 'fc1*: many\n' > bad.yaml
refuse 'bad.yaml:1:1' $mlp budget=bad.yaml
expect 2 "$TRAIN" init $mlp density=0.1 out=erk.onnx
stderr_has 'already exists'
expect 2 "$TRAIN" init $mlp density=0.1
stderr_has 'no out=FILE'
finish
