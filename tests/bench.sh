#!/bin/sh
# `onnx-train bench`: both forms run and print the JSON that its readers rely on. No figures.
. "$(dirname "$0")/lib.sh"
model=$GLYPHS/glyphs.onnx

# is_json: what the last command printed is one JSON value (where something here can tell).
is_json() {
    command -v python3 > /dev/null || return 0
    python3 -m json.tool "$work.out" > /dev/null || fail "not JSON: $(head -c 300 "$work.out")"
}
# positive KEY...: numbers above zero in the last output.
positive() {
    for key in "$@"; do
        json "$key" < "$work.out" | grep -qE '^[0-9.]*[1-9]' || fail "$key is not above zero"
    done
}

echo "-- whole steps"
expect 0 "$TRAIN" bench --json "$model" batch=32 threads=1 steps=2
is_json
positive batch steps step_ms samples_per_s peak_rss_mb plan_mb limit_gflops limit_gb_per_s forward \
    backward weight_gradient reorders optimizer Conv
[ "$(json batch < "$work.out")" = 32 ] || fail "batch is $(json batch < "$work.out")"
stdout_has '"sparse":"auto"'
expect 0 "$TRAIN" bench "$model" batch=3 threads=2 steps=1 sparse=never isa=generic optimizer=adamw
stdout_has 'generic, sparse=never'
stdout_has 'weight_gradient +[0-9.]+%'
expect 0 "$TRAIN" bench "$model" batch=3 threads=1 steps=1 sparse=live --plan
stdout_has 'sparse/dense/live'
stdout_has 'dnnl'
expect 2 "$TRAIN" bench
expect 2 "$TRAIN" bench "$model" epochs=1
expect 6 "$TRAIN" bench "$model" batch=5000 memory_limit=500K

echo "-- single layers"
expect 0 "$TRAIN" bench --kernels --json only='2048->512' batch=1 sparsity=95
is_json
positive batch rounds nonzeros ratio limit_ratio
for key in forward backward_data backward_weight; do positive ${key}_ms dense_${key}_ms; done
stdout_has '"kind":"conv","shape":"2048->512 1x1 s1 7x7","sparsity":0.95,"batch":1,"threads":1'
expect 0 "$TRAIN" bench --kernels only='1024->1024' batch=4 sparsity=80,99 isa=generic
stdout_has '1024->1024 +4 +80\.0%'
stdout_has 'break-even'
expect 2 "$TRAIN" bench --kernels sparsity=100
expect 2 "$TRAIN" bench --kernels only=nothing
expect 2 "$TRAIN" bench --kernels suite=tiny
expect 2 "$TRAIN" bench --kernels "$model"
finish
