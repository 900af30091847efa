#!/bin/sh
# Two networks for ImageNet get a new head and learn to tell ants from bees: at least 0.85 within
# five epochs. Usage: OT_SHARED= transfer_shared.sh. SEEDS="0 1 2" tries several.
[ -d "$OT_SHARED/models" ] || { echo "OT_SHARED is not set"; exit 77; }
. "$(dirname "$0")/lib.sh"
models=$OT_SHARED/models
data=$OT_SHARED/data/hymenoptera

# learn MODEL HEAD NAME-SEED KEYS...: the best validation accuracy of five epochs
learn() {
    model=$1
    head=$2
    name=$(basename "$model")-$3
    seed=${3##*-}
    shift 3
    start=$(date +%s)
    expect 0 "$TRAIN" train "$models/$model.onnx" "$data" out="$name" epochs=5 batch=16 \
        classes=auto seed="$seed" save_every=0 threads=2 "$@" || return
    seconds=$(($(date +%s) - start))
    expect 0 "$TRAIN" eval --json "$name/weights/best.onnx" "$data" \
        $(for key; do case $key in mean=* | std=* | scale=* | size=* | crop=* | channels=*)
            echo "$key" ;; esac; done)
    got=$(json accuracy < "$work.out")
    awk -v a="$got" 'BEGIN { exit !(a >= 0.85) }' || fail "$name: accuracy $got, not 0.85"
    # The head is new; all other masks stay.
    masks "$models/$model.onnx" | grep -v "^$head[.]" > before.txt
    masks "$name/weights/best.onnx" | grep -v "^$head[.]" > after.txt
    [ -s before.txt ] || fail "$name: no masks"
    cmp before.txt after.txt || fail "$name: masks have changed"
    echo "$name: accuracy $got, $seconds s"
}

caffe="scale=1 mean=104,117,123 channels=bgr size=227 crop=227"
torch="mean=0.485,0.456,0.406 std=0.229,0.224,0.225 size=160 crop=160"
# Every weight learns, at a small rate; or only the head does.
for seed in ${SEEDS:-0}; do
    learn pruned/squeezenet1.0_deepcompression conv_final all-$seed optimizer=adam \
        lr=0.00003 $caffe
    learn pruned/squeezenet1.0_deepcompression conv_final head-$seed optimizer=adam \
        freeze='conv1.*,fire*' $caffe
    learn imagenet/mobilenetv2_1.0_imagenet fc53 all-$seed lr=0.0002 $torch
    learn imagenet/mobilenetv2_1.0_imagenet fc53 head-$seed optimizer=adam freeze='conv*' $torch
done
finish
