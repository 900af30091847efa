#!/bin/sh
# Masks that change during a run: the number of threads changes no bit, and neither does a resume at
# any step around an update, nor being killed; files and records show the masks of now.
. "$(dirname "$0")/lib.sh"
. "$SOURCE/tests/tiny.sh"
model=$GLYPHS/glyphs.onnx
base="tiny val=0 batch=16 lr=0.02 log_every=1 save_every=1"
plain="$base topology=set"
common="$plain topology_every=3 topology_end=1000" # however long a part of the run is
train() { "$TRAIN" train "$@" > log.txt 2>&1; }
# What happened, without the time that it took.
events() { grep -E '"event":"(step|topology)"' "$1/metrics.jsonl" | sed 's/,"seconds":[^}]*//'; }

echo "-- threads"
for threads in 1 2 3 4 7; do
    train "$model" $common max_steps=10 threads=$threads out=run$threads || fail "$(cat log.txt)"
    events run$threads > events$threads
    cmp events1 events$threads || fail "threads=$threads: records"
    cmp run1/weights/last.onnx run$threads/weights/last.onnx || fail "threads=$threads: weights"
done
[ "$(grep -c topology events1)" = 3 ] || fail "$(cat events1)"
masks "$model" | sort > before.txt
masks run1/weights/last.onnx | sort > after.txt
[ "$(cut -d' ' -f1,2 before.txt)" = "$(cut -d' ' -f1,2 after.txt)" ] ||
    fail "nonzeros: $(cat after.txt)"
[ "$(diff before.txt after.txt | grep -c '^>')" = 4 ] || fail "masks: $(diff before.txt after.txt)"
[ "$(grep fc2.weight before.txt)" = "$(grep fc2.weight after.txt)" ] || fail "the last layer moved"

echo "-- resumed at each step"
for step in 1 2 3 4 5 6 7 8 9; do
    train "$model" $common max_steps=$step out=part$step && train resume=part$step max_steps=10 ||
        fail "$(cat log.txt)"
    events part$step > events
    cmp events1 events || fail "resumed at $step: records"
    cmp run1/weights/last.onnx part$step/weights/last.onnx || fail "resumed at $step: weights"
done

echo "-- pruned while it trains, from a dense weight on"
prune="tiny val=0 batch=16 lr=0.02 log_every=1 save_every=1 mask=!fc1.weight budget=erk
sparsity=0.97 topology_start=2 topology_end=8 topology_every=2"
for method in gmp movement; do
    train "$model" $prune topology=$method max_steps=10 out=$method || fail "$(cat log.txt)"
    events $method > events0
    for step in 2 3 5 8; do
        train "$model" $prune topology=$method max_steps=$step out=$method$step &&
            train resume=$method$step max_steps=10 || fail "$(cat log.txt)"
        events $method$step > events
        cmp events0 events || fail "$method resumed at $step: records"
        cmp $method/weights/last.onnx $method$step/weights/last.onnx ||
            fail "$method resumed at $step: weights"
    done
done
"$TRAIN" inspect gmp/weights/last.onnx > inspect.txt
grep -q 'fc1.weight.*sparse' inspect.txt || fail "$(cat inspect.txt)"

echo "-- by gradient: threads, accumulated batches, resumed"
grow="tiny val=0 batch=8 accumulate=2 lr=0.02 log_every=1 save_every=1 topology_every=2
topology_end=1000"
for method in rigl srigl "rigl grow=sampled"; do
    rm -rf g*
    for threads in 1 2 4; do
        train "$model" $grow topology=$method max_steps=8 threads=$threads out=g$threads ||
            fail "$(cat log.txt)"
        events g$threads > events$threads
        cmp events1 events$threads || fail "$method threads=$threads: records"
        cmp g1/weights/last.onnx g$threads/weights/last.onnx || fail "$method threads=$threads"
    done
    for step in 1 2 3 4; do
        train "$model" $grow topology=$method max_steps=$step out=gr$step &&
            train resume=gr$step max_steps=8 || fail "$(cat log.txt)"
        cmp g1/weights/last.onnx gr$step/weights/last.onnx || fail "$method resumed at $step"
    done
done

train "$model" $base topology=rigl topology_every=auto max_steps=2 out=auto ||
    fail "$(cat log.txt)"
every=$(sed -n 's/^topology_every: "*\([0-9]*\)"*$/\1/p' auto/args.yaml)
[ "${every:-0}" -ge 100 ] || fail "auto: $(grep topology auto/args.yaml)"
train resume=auto max_steps=3 || fail "$(cat log.txt)"

echo "-- killed"
try=0
while [ $try -lt 5 ]; do
    try=$((try + 1))
    rm -rf killed
    "$TRAIN" train "$model" $common max_steps=40 out=killed > log.txt 2>&1 &
    process=$!
    sleep 0.$((try * 7 + 5))
    kill -9 $process 2> /dev/null
    wait $process 2> /dev/null
    if ls killed/checkpoints/*.otc > /dev/null 2>&1; then
        train resume=killed || fail "resume: $(tail -3 log.txt)"
    else
        rm -rf killed
        train "$model" $common max_steps=40 out=killed || fail "$(tail -3 log.txt)"
    fi
    cp killed/weights/last.onnx killed$try.onnx
    cmp killed1.onnx killed$try.onnx || fail "killed, try $try: weights"
done

expect 0 "$TRAIN" help topology
stdout_has '^set '
stdout_has 'drop=signed grow=random newborn=uniform '

echo "-- what is refused, and what is left out"
expect 2 "$TRAIN" train "$model" $plain topology_every=0 out=x
stderr_has "topology_every: '0' is neither"
expect 2 "$TRAIN" train "$model" $plain topology_every=1.5 out=x
expect 2 "$TRAIN" train "$model" $common layers='!*' out=x
stderr_has "no trained weight"
expect 2 "$TRAIN" train "$model" tiny val=0 topology=gmp out=x
stderr_has 'no density=NUMBER or sparsity=NUMBER given'
expect 2 "$TRAIN" train "$model" tiny val=0 topology=gmp sparsity=0.1 out=x
stderr_has 'budget given: density 0.9 asks for'
expect 2 "$TRAIN" train "$model" $plain density=0.1 out=x
stderr_has 'density is given, but topology=set keeps the number of weights'
expect 2 "$TRAIN" train "$model" tiny val=0 topology=gmp sparsity=0.97 constraint=channels out=x
stderr_has "constraint channels: method 'gmp' keeps the shapes"
expect 2 "$TRAIN" train "$model" $common constraint=fan_in out=x
stderr_has "constraint is given, but topology=set"
expect 2 "$TRAIN" train "$model" tiny val=0 topology=gmp sparsity=0.97 density=0.03 out=x
stderr_has 'density and sparsity are both given'
expect 2 "$TRAIN" train "$model" tiny val=0 newborn=zero out=x
stderr_has "newborn is given, but masks do not change"
[ ! -e x ] || fail "a refused run has made a folder"
train "$model" $common max_steps=4 layers=conv2.weight out=one || fail "$(cat log.txt)"
masks one/weights/last.onnx | sort > one.txt
[ "$(comm -13 before.txt one.txt | cut -d" " -f1)" = conv2.weight ] || fail "$(cat one.txt)"

echo "-- a checkpoint with other masks"
expect 0 "$TRAIN" eval "$model" tiny checkpoint=run1/checkpoints/last.otc --json
cp "$work.out" a.txt
expect 0 "$TRAIN" eval run1/weights/last.onnx tiny --json
[ "$(json loss < a.txt)" = "$(json loss < "$work.out")" ] || fail "losses of checkpoint and weights"
finish
