#!/bin/sh
# Fine-tunes the reference models by the recipes in OT_SHARED/models/made/references.json: the first
# 20 losses within 1e-3, the accuracy within half a point, the mask untouched.
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

# tune MODEL DATA KEYS...
tune() {
    model=$1
    data=$2
    shift 2
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
    worst=$(paste want.txt got.txt |
        awk '{ d = ($2 - $1) / $1; if (d < 0) d = -d; if (d > w) w = d } END { print NR, w + 0 }')
    echo "$worst" | awk '{ exit !($1 == 20 && $2 <= 1e-3) }' ||
        fail "$model: losses differ (number, worst): $worst"

    expect 0 "$TRAIN" eval --json "$model/weights/last.onnx" "$OT_SHARED/data/$data" \
        $(for key; do case $key in mean=* | std=*) echo "$key" ;; esac; done)
    got=$(json accuracy < "$work.out")
    want=$(reference "$model" tuned_accuracy)
    awk -v a="$got" -v b="$want" 'BEGIN { d = a - b; exit !(d <= 0.005 && d >= -0.005) }' ||
        fail "$model: accuracy $got, reference $want"
    masks "$made/$model.onnx" > before.txt
    masks "$model/weights/last.onnx" | cmp - before.txt || fail "$model: the mask has changed"
    [ -s before.txt ] || fail "$model: no masks"
    echo "$model: worst of 20 losses $worst, accuracy $got (reference $want), $seconds s"
}

wanted() { [ -z "$chosen" ] || echo " $chosen " | grep -q " $1 "; }
chosen=$*
wanted fmnist_mlp_99 && tune fmnist_mlp_99 fashion-mnist
wanted fmnist_mlp_95 && tune fmnist_mlp_95 fashion-mnist
wanted fmnist_cnn_90_bn && tune fmnist_cnn_90_bn fashion-mnist
wanted cifar_resnet20_90_bn && tune cifar_resnet20_90_bn cifar10 mean=0.485,0.456,0.406 \
    std=0.229,0.224,0.225
finish
