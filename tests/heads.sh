#!/bin/sh
# A head is replaced where that is asked for, never otherwise. Usage: SOURCE= BUILD= heads.sh
. "$(dirname "$0")/lib.sh"
model=$GLYPHS/glyphs.onnx

# Letters with one label that the model does not have: sample 63 is number 32 of 26.
mkdir wrong
for file in train-images-idx3-ubyte train-labels-idx1-ubyte; do
    gzip -dc "$GLYPHS/$file.gz" > wrong/$file
done
printf '\040' | dd of=wrong/train-labels-idx1-ubyte bs=1 seek=$((8 + 63)) conv=notrunc 2> /dev/null
short="max_steps=2 save_every=0 val=0"

echo "-- a wrong label"
expect 4 "$TRAIN" train "$model" wrong out=r1 $short
stderr_has 'label 32 of sample 63; the model has 26 classes. classes=33 or classes=auto'
[ -e r1 ] && fail "a run that was refused left a folder"
expect 4 "$TRAIN" train "$model" wrong out=r1 classes=model $short
expect 4 "$TRAIN" train "$model" wrong out=r1 classes=26 $short
stderr_has 'label 32 of sample 63'

echo "-- a new head"
expect 0 "$TRAIN" train "$model" wrong out=r2 classes=auto $short
stdout_has 're-initialised, 26 -> 33 classes'
stdout_has 'cross_entropy of 33 classes, chosen by the targets'
expect 0 "$TRAIN" train "$model" wrong out=r3 classes=40 $short
stdout_has 're-initialised, 26 -> 40 classes'
for word in 0 -3 2.5 some 1e9; do
    expect 2 "$TRAIN" train "$model" wrong out=r4 classes=$word $short
    stderr_has "classes: '$word'"
done

echo "-- data that have fewer classes"
mkdir cifar
head -c $((3073 * 40)) /dev/zero > cifar/data_batch_1.bin
head -c $((3073 * 10)) /dev/zero > cifar/test_batch.bin
size=$("$TRAIN" inspect --json "$model" | tr -d ' \n' |
    sed -n 's/.*"inputs":\[[^]]*"shape":\[[^]]*,\([0-9]*\)\].*/\1/p')
expect 4 "$TRAIN" train "$model" cifar out=r5 size="$size" crop="$size" $short
stderr_has 'has 10 classes, the model 26. classes=10 or classes=auto .* classes=model'
expect 0 "$TRAIN" train "$model" cifar out=r5 size="$size" crop="$size" classes=model $short
stdout_has 'cross_entropy of 26 classes'
expect 0 "$TRAIN" train "$model" cifar out=r6 size="$size" crop="$size" classes=auto $short
stdout_has '26 -> 10 classes'
finish
