#!/bin/sh
# Every model in OT_SHARED/models loads and plans, and those whose data we hold have the accuracy
# that models/MANIFEST.md states, to a tenth of a point.
[ -d "$OT_SHARED/models" ] || { echo "OT_SHARED is not set"; exit 77; }
. "$(dirname "$0")/lib.sh"
models=$OT_SHARED/models
data=$OT_SHARED/data

echo "-- load and plan"
for model in "$models"/made/*.onnx "$models"/pruned/*.onnx "$models"/imagenet/*.onnx \
    "$models"/dense/*.onnx; do
    case $model in
    # operators that are not there yet
    */vit_pgd_2_3_16_cifar10.onnx | */byte_sb_bidi_lstm.onnx) continue ;;
    esac
    expect 0 "$TRAIN" inspect --plan "$model" batch=2
done

echo "-- accuracy"
# first2000 NAME FOLDER: the first 2000 test images of an MNIST-like data set, with new headers.
first2000() {
    mkdir "$1"
    {
        printf '\0\0\10\3\0\0\7\320\0\0\0\34\0\0\0\34'
        gzip -dc "$2/t10k-images-idx3-ubyte.gz" | tail -c +17 | head -c $((2000 * 784))
    } > "$1/t10k-images-idx3-ubyte"
    {
        printf '\0\0\10\1\0\0\7\320'
        gzip -dc "$2/t10k-labels-idx1-ubyte.gz" | tail -c +9 | head -c 2000
    } > "$1/t10k-labels-idx1-ubyte"
}
first2000 mnist2000 "$data/mnist"
first2000 fashion2000 "$data/fashion-mnist"

# accurate WANT MODEL DATA KEYS...
accurate() {
    want=$1
    model=$2
    shift 2
    expect 0 "$TRAIN" eval --json "$models/$model.onnx" "$@" batch=100 || return
    got=$(json accuracy < "$work.out")
    # a thousandth, and the rounding of what the manifest states
    if awk -v a="$got" -v b="$want" 'BEGIN { d = a - b; exit !(d * d <= 0.00101 ^ 2) }'; then
        echo "$model $got"
    else
        fail "$model: accuracy $got, stated $want"
    fi
}

fashion=$data/fashion-mnist
accurate 0.9132 made/fmnist_cnn_dense "$fashion"
accurate 0.1890 made/fmnist_cnn_90_bn "$fashion"
accurate 0.1013 made/fmnist_cnn_95_folded "$fashion"
accurate 0.5415 made/fmnist_mlp_95 "$fashion"
accurate 0.1464 made/fmnist_mlp_99 "$fashion"
accurate 0.9255 dense/fashion_mnist_cnn_edwin fashion2000
accurate 0.911 dense/fashion_mnist_cnn_netkit fashion2000

imagenet="mean=0.485,0.456,0.406 std=0.229,0.224,0.225"
accurate 0.1960 made/cifar_resnet20_90_bn "$data/cifar10" $imagenet
accurate 0.406 pruned/resnet20_cifar10_bn_mag80 "$data/cifar10" $imagenet
accurate 0.915 dense/resnet20_cifar10_bn "$data/cifar10" $imagenet
accurate 0.915 dense/resnet20_cifar10_folded "$data/cifar10" $imagenet
accurate 0.926 dense/resnet56_cifar10_bn "$data/cifar10" $imagenet
accurate 0.921 dense/resnet20_cifar10_onnc "$data/cifar10" $imagenet
accurate 0.755 dense/cifar10_large_tf2onnx "$data/cifar10"

normalised="mean=0.1307 std=0.3081"
accurate 0.9185 pruned/mnist_cnn_pruned_qr mnist2000 $normalised
accurate 0.9185 pruned/mnist_cnn_pruned_sparseinit_linear mnist2000 $normalised
accurate 0.9185 pruned/mnist_cnn_pruned_sparseinit_coo mnist2000 $normalised
accurate 0.983 dense/mnist-8 mnist2000 scale=1
accurate 0.981 dense/mnist_cnn_dw_netkit mnist2000
accurate 0.972 dense/mnist_cnn_bn_whitematter mnist2000 $normalised
accurate 0.967 dense/mnist-net_256x4 mnist2000
finish
