#!/bin/sh
# Two networks for ImageNet get a new head and learn to tell ants from bees: at least 0.85 within
# five epochs. Usage: OT_SHARED= transfer_shared.sh
[ -d "$OT_SHARED/models" ] || { echo "OT_SHARED is not set"; exit 77; }
. "$(dirname "$0")/lib.sh"
models=$OT_SHARED/models
data=$OT_SHARED/data/hymenoptera

# learn MODEL KEYS...: the best validation accuracy of five epochs
learn() {
    model=$1
    name=$(basename "$model")
    shift
    start=$(date +%s)
    expect 0 "$TRAIN" train "$models/$model.onnx" "$data" out="$name" epochs=5 "$@" || return
    seconds=$(($(date +%s) - start))
    expect 0 "$TRAIN" eval --json "$name/weights/best.onnx" "$data" \
        $(for key; do case $key in mean=* | std=* | scale=* | size=* | crop=* | channels=*)
            echo "$key" ;; esac; done)
    got=$(json accuracy < "$work.out")
    awk -v a="$got" 'BEGIN { exit !(a >= 0.85) }' || fail "$model: accuracy $got, not 0.85"
    # The head is new; all other masks stay.
    masks "$models/$model.onnx" > before.txt
    masks "$name/weights/best.onnx" | diff before.txt - | grep -c '^<' > changed.txt
    [ "$(cat changed.txt)" -le 1 ] || fail "$model: $(cat changed.txt) masks have changed"
    echo "$model: accuracy $got, $seconds s"
}

learn pruned/squeezenet1.0_deepcompression batch=16 lr=0.001 scale=1 mean=104,117,123 \
    channels=bgr size=227 crop=227
learn imagenet/mobilenetv2_1.0_imagenet batch=16 lr=0.005 mean=0.485,0.456,0.406 \
    std=0.229,0.224,0.225 size=160 crop=160
finish
