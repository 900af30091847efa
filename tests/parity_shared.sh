#!/bin/sh
# Fine-tunes the reference models by the recipes in OT_SHARED/models/made/references.json: the first
# 20 losses within 1e-3, the accuracy at most half a point below the reference, the mask untouched.
#
# BatchNormalization in 20 layers multiplies a difference in the last bit by about five a step.
# PyTorch itself, another release or in float64, leaves the losses of cifar_resnet20_90_bn by 1e-3
# in step 8 and by 1.6e-2 within 20 steps, those of fmnist_cnn_90_bn by 4e-4; started from weights
# that differ by 1e-7, it ends between 0.783 and 0.793 on the former (0.786 is stored), and at
# 0.8877 on the latter (0.8777). So the ResNet's losses are held to 1e-3 for 7 steps and to 3e-2
# for 20, an accuracy may be better than the reference, and that on 1,000 images 1.5 points worse.
#
# Usage: OT_SHARED= parity_shared.sh [model ...]
[ -d "$OT_SHARED/models" ] || { echo "OT_SHARED is not set"; exit 77; }
. "$(dirname "$0")/lib.sh"
made=$OT_SHARED/models/made

# reference MODEL KEY: a scalar of references.json, which has one key a line.
reference() {
    sed -n "/^ \"$1\": {/,/^ }/p" "$made/references.json" |
        sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" | head -1
}
reference_losses() {
    sed -n "/^ \"$1\": {/,/^ }/p" "$made/references.json" |
        sed -n '/"first_20_losses": \[/,/\]/p' | sed -n 's/^ *\([0-9][0-9.e-]*\),*$/\1/p'
}

# worst STEPS: the largest relative difference among the first STEPS losses, and their number
worst() {
    paste want.txt got.txt | head -"$1" |
        awk '{ d = ($2 - $1) / $1; if (d < 0) d = -d; if (d > w) w = d } END { print w + 0, NR }'
}

# tune MODEL STEPS SLACK DATA KEYS...: so many losses agree closely; how far below the reference the
# accuracy may be
tune() {
    model=$1
    steps=$2
    slack=$3
    data=$4
    shift 4
    bn=$(reference "$model" bn)
    [ "$bn" = none ] && bn=auto
    start=$(date +%s)
    expect 0 "$TRAIN" train "$made/$model.onnx" "$OT_SHARED/data/$data" out="$model" \
        epochs="$(reference "$model" epochs)" lr="$(reference "$model" lr)" \
        batch="$(reference "$model" batch)" momentum="$(reference "$model" momentum)" \
        optimizer=sgd schedule=constant shuffle=0 drop_last=1 bn="$bn" log_every=1 val=0 "$@" ||
        return
    seconds=$(($(date +%s) - start))

    reference_losses "$model" > want.txt
    losses "$model/metrics.jsonl" | head -20 | awk '{ print $2 }' > got.txt
    worst "$steps" | awk -v n="$steps" '{ exit !($2 == n && $1 <= 1e-3) }' ||
        fail "$model: losses differ (largest difference, number): $(worst "$steps")"
    worst 20 | awk '{ exit !($2 == 20 && $1 <= 3e-2) }' ||
        fail "$model: losses differ (largest difference, number): $(worst 20)"

    expect 0 "$TRAIN" eval --json "$model/weights/last.onnx" "$OT_SHARED/data/$data" \
        $(for key; do case $key in mean=* | std=*) echo "$key" ;; esac; done)
    got=$(json accuracy < "$work.out")
    want=$(reference "$model" tuned_accuracy)
    awk -v a="$got" -v b="$want" -v slack="$slack" 'BEGIN { exit !(a >= b - slack) }' ||
        fail "$model: accuracy $got, reference $want"
    masks "$made/$model.onnx" > before.txt
    masks "$model/weights/last.onnx" | cmp - before.txt || fail "$model: the mask has changed"
    [ -s before.txt ] || fail "$model: no masks"
    echo "$model: losses within $(worst "$steps" | sed 's/ / in /'), $(worst 20 | sed 's/ / in /')"
    echo "$model: accuracy $got (reference $want), $seconds s"
}

wanted() { [ -z "$chosen" ] || echo " $chosen " | grep -q " $1 "; }
chosen=$*
wanted fmnist_mlp_99 && tune fmnist_mlp_99 20 0.005 fashion-mnist
wanted fmnist_mlp_95 && tune fmnist_mlp_95 20 0.005 fashion-mnist
wanted fmnist_cnn_90_bn && tune fmnist_cnn_90_bn 20 0.005 fashion-mnist
wanted cifar_resnet20_90_bn && tune cifar_resnet20_90_bn 7 0.015 cifar10 mean=0.485,0.456,0.406 \
    std=0.229,0.224,0.225
finish
