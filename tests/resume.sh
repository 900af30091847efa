#!/bin/sh
# Resumed runs: every option of train is applied from there on, or refused by its name; what a run
# keeps; notes that are no notes; run folders that are in use, half made, or not to be written to.
. "$(dirname "$0")/lib.sh"
. "$SOURCE/tests/tiny.sh"
model=$GLYPHS/glyphs.onnx
train() { "$TRAIN" train "$@" > log.txt 2>&1; }
rates() { sed -n 's/.*"step":\([0-9]*\).*"lr":\([0-9.e-]*\)}/\1 \2/p' "$1/metrics.jsonl"; }

echo "-- an epoch's end, and the middle of one"
printf 'batch: 16\nlr: 0.02\nval: 0\nlog_every: 1\nsave_every: 3\nthreads: 1\n' > common.yaml
common=common.yaml
train "$model" tiny $common epochs=1 out=end || fail "$(cat log.txt)"
train "$model" tiny $common epochs=0 max_steps=2 out=middle || fail "$(cat log.txt)"
train "$model" tiny $common optimizer=adam lr=0.001 epochs=1 out=adam || fail "$(cat log.txt)"
train "$model" tiny $common topology=set topology_every=2 epochs=1 out=masks &&
    train "$model" tiny $common topology=gmp sparsity=0.97 topology_every=2 epochs=1 out=prunes ||
    fail "$(cat log.txt)"

# A line an option: another value, and what becomes of it. applied: it counts, and is on record.
# quiet: it changes no result. kept: refused. epoch: refused in the middle of one, else applied.
# masks, prunes: applied to a run whose masks change, lose weights; refused by others.
cat > table.txt << 'LIST'
model - elsewhere
data - elsewhere
out - elsewhere
resume - elsewhere
print_config 1 quiet
color never quiet
threads 2 quiet
split val kept
epochs 3 applied
max_steps 7 applied
batch 8 epoch
accumulate 2 epoch
lr 0.5 applied
optimizer adam kept
momentum 0 applied
dampening 0.1 applied
nesterov 1 applied
beta1 0.5 applied
beta2 0.5 applied
eps 0.001 applied
lr_decay 0.1 applied
weight_decay 0.01 applied
post_decay 0.1 applied
clip_norm 1 applied
schedule linear applied
warmup 9 applied
step_size 5 applied
gamma 0 applied
final_factor 0.5 applied
loss mse kept
label_smoothing 0.1 kept
ignore_index 3 kept
huber_delta 2 kept
class_axis -1 kept
mask conv1.weight kept
mask_share 0.5 kept
activation all-relu:0.5 kept
fix image=0 kept
training_info 0 kept
output letter kept
classes 26 kept
freeze conv1* applied
bn train applied
sparse never applied
recognise 0 applied
topology set kept
topology_every 3 masks
topology_start 2 masks
topology_end 0.5 masks
layers conv2* masks
drop magnitude masks
drop_fraction 0.1 masks
grow random masks
grow_candidates 4 masks
ablation 0.5 masks
revive 0 masks
sparsity 0.95 prunes
density - elsewhere
budget uniform prunes
constraint - elsewhere
newborn zero masks
shuffle 0 epoch
drop_last 1 epoch
val 0.5 kept
patience 9 applied
seed 7 kept
scale 2 kept
mean 0.5 kept
std 0.5 kept
size 24 kept
skip_broken 1 kept
crop 24 kept
channels bgr kept
save_every 2 applied
log_every 2 applied
form as-is applied
isa generic applied
memory_limit 4G applied
LIST
"$TRAIN" help train | sed -n '/^options/,$s/^  \([a-z_0-9]*\) .*/\1/p' | sort > options.txt
cut -d' ' -f1 table.txt | sort | comm -13 - options.txt > missing.txt
[ -s missing.txt ] && fail "tests/resume.sh does not say what resume= does with: $(cat missing.txt)"

# applied FROM KEY VALUE: it is on record, in args.yaml, and the run goes on.
applied() {
    rm -rf copy
    cp -r "$1" copy
    more=epochs=2
    case $2 in epochs | max_steps) more= ;; esac
    expect 0 "$TRAIN" train resume=copy "$2=$3" $more
    grep '"event":"resume"' copy/metrics.jsonl | grep -qF "$2=$3 (" || fail "$2=$3 is not on record"
    grep -qE "^$2: \"?$(printf %s "$3" | sed 's/\*/[*]/')\"?\$" copy/args.yaml ||
        fail "$2=$3 is not in args.yaml"
    [ "$(sed -n 's/.*"end".*"step":\([0-9]*\).*/\1/p' copy/metrics.jsonl)" != 4 ] ||
        fail "$2=$3: no further step"
}
# refused FROM KEY VALUE: by name, and nothing has changed.
refused() {
    rm -rf copy
    cp -r "$1" copy
    expect 2 "$TRAIN" train resume=copy "$2=$3" epochs=2
    stderr_has "resume: $2 is .* in the run, $3 is given"
    diff -r "$1" copy || fail "a refused resume has changed the run"
}
while read -r key value what; do
    case $what in
        applied) applied end $key "$value" ;;
        kept) refused end $key "$value" ;;
        epoch)
            applied end $key "$value"
            refused middle $key "$value"
            ;;
        masks | prunes)
            applied $what $key "$value"
            expect 2 "$TRAIN" train resume=end "$key=$value" epochs=2
            stderr_has "$key is given, but masks do not change"
            ;;
        quiet) expect 0 "$TRAIN" train resume=end $key="$value" ;;
    esac
done < table.txt
expect 2 "$TRAIN" train resume=end out=other
stderr_has 'out: a resumed run stays in its folder'
[ ! -e other ] || fail "a refused run has made a folder"

echo "-- schedules end where the run now ends"
train "$model" tiny $common epochs=2 schedule=cosine lr=0.1 out=cosine || fail "$(cat log.txt)"
rates cosine | awk '$1 == 8 && $2 < 0.004 { last = 1 } END { exit !last }' || fail "$(rates cosine)"
expect 0 "$TRAIN" train resume=cosine epochs=4 lr=0.5
stdout_has 'from here on: epochs=4 \(2\), lr=0\.5 \(0\.1\)'
# step s of 16: 0.5 (1 + cos(pi (s - 1) / 16)) / 2
rates cosine | awk '$1 > 8 {
        want = 0.25 * (1 + cos(3.14159265358979 * ($1 - 1) / 16)); n++
        if ($2 > want * 1.00001 || $2 < want * 0.99999) bad = 1
    } END { exit bad || n != 8 }' || fail "rates after resume: $(rates cosine)"
grep -q '^lr: 0.5$' cosine/args.yaml && grep -q '^epochs: 4$' cosine/args.yaml || fail args.yaml
train "$model" tiny $common epochs=4 schedule=linear out=whole || fail "$(cat log.txt)"
train "$model" tiny $common epochs=4 schedule=linear save_every=0 max_steps=5 out=part &&
    train resume=part max_steps=0 epochs=4 save_every=3 || fail "$(cat log.txt)"
rates part > part.txt
[ "$(awk 'NR > 5' part.txt)" = "$(rates whole | awk 'NR > 5')" ] ||
    fail "rates differ: $(cat part.txt)"

echo "-- limits, warm-up, patience, moments"
train "$model" tiny $common max_steps=9 out=steps || fail "$(cat log.txt)"
grep -q '^epochs: 0$' steps/args.yaml || fail "max_steps alone is no limit on epochs"
expect 0 "$TRAIN" train resume=steps epochs=3
stdout_has 'epoch' && grep -q '"reason":"epochs","step":12' steps/metrics.jsonl || fail "epochs=3"
expect 0 "$TRAIN" train resume=steps
stdout_has 'epochs was reached at step 12; a larger epochs=N continues the run'
expect 2 "$TRAIN" train resume=steps epochs=4 warmup=5
stderr_has 'warmup: the first 5 steps of the run are behind it, at step 12'
train "$model" tiny $common epochs=50 patience=2 lr=0 out=patient || fail "$(cat log.txt)"
grep -q '"reason":"patience","step":12' patient/metrics.jsonl ||
    fail "$(tail -1 patient/metrics.jsonl)"
expect 0 "$TRAIN" train resume=patient patience=3
grep -q '"reason":"patience","step":24' patient/metrics.jsonl ||
    fail "patience does not count from there on: $(tail -1 patient/metrics.jsonl)"
expect 2 "$TRAIN" train resume=adam epochs=2 optimizer=adamw
stderr_has 'optimizer is adam in the run, adamw is given'
expect 0 "$TRAIN" train resume=adam epochs=2 beta1=0 eps=0.5

echo "-- other data, other model"
cp -r tiny other
printf '\001' | dd of=other/train-images-idx3-ubyte bs=1 seek=3000 conv=notrunc 2> /dev/null
expect 2 "$TRAIN" train resume=end data=other epochs=2
stderr_has 'resume: data: these are not the data'
cp -r tiny moved
expect 0 "$TRAIN" train resume=end data=moved epochs=2
"$TRAIN" export "$model" out=other.onnx sparse=initializer > /dev/null
expect 3 "$TRAIN" train resume=end model=other.onnx epochs=2
stderr_has 'belongs to the model with SHA-256'

echo "-- a run that has no checkpoint yet begins; one whose checkpoint was lost does not"
cp -r whole lost
rm lost/checkpoints/last.otc
expect 2 "$TRAIN" train resume=lost
stderr_has "resume: '.*last.otc' does not exist"
mkdir begun
cp whole/args.yaml begun
expect 0 "$TRAIN" train resume=begun
cmp whole/weights/last.onnx begun/weights/last.onnx || fail "a run that begins late differs"
cmp whole/metrics.jsonl begun/metrics.jsonl || fail "its records differ"
mkdir empty
expect 2 "$TRAIN" train resume=empty
stderr_has 'no args.yaml'

echo "-- one process a run; links; stale temporaries"
"$TRAIN" train "$model" "$GLYPHS" epochs=99 out=busy > busy.txt 2>&1 &
process=$!
while kill -0 $process 2> /dev/null && [ ! -s busy/metrics.jsonl ]; do sleep 0.1; done
expect 2 "$TRAIN" train resume=busy
stderr_has "in use: process $process trains it"
kill -HUP $process
wait $process
[ $? = 129 ] || fail "exit code after SIGHUP: $(tail -3 busy.txt)"
expect 0 "$TRAIN" train resume=busy max_steps=1
touch begun/checkpoints/last.otc.999999999-0.tmp begun/args.yaml.999999999-3.tmp begun/mine.tmp
touch begun/weights/best.onnx.$$-0.tmp
mkdir -p begun2.999999999-0.tmp/weights
expect 0 "$TRAIN" train resume=begun
[ -z "$(find begun -name '*999*')" ] || fail "stale temporaries: $(find begun -name '*.tmp')"
[ -e begun/mine.tmp ] && [ -e begun/weights/best.onnx.$$-0.tmp ] || fail "too much was removed"
expect 0 "$TRAIN" train "$model" tiny $common max_steps=1 out=begun2
[ ! -e begun2.999999999-0.tmp ] || fail "a stale folder"
for name in args.yaml metrics.jsonl results.csv weights/last.onnx checkpoints/last.otc; do
    rm -rf linked target
    cp -r end linked
    [ $name = args.yaml ] || rm linked/$name # args.yaml is read through a link, and replaced
    [ $name = args.yaml ] && mv linked/args.yaml target || : > target
    cp target target.before
    ln -s "$PWD/target" linked/$name
    "$TRAIN" train resume=linked epochs=2 > log.txt 2>&1
    cmp -s target target.before || fail "the target of $name was written to"
done
rm -rf linked && cp -r end linked && mv linked/weights elsewhere &&
    ln -s "$PWD/elsewhere" linked/weights
expect 1 "$TRAIN" train resume=linked epochs=2
stderr_has 'is a link, or not a folder'
rm -rf linked && ln -s end linked
expect 0 "$TRAIN" train resume=linked epochs=3

echo "-- what cannot be saved"
rm -rf full && cp -r end full && rm full/weights/last.onnx && mkdir full/weights/last.onnx
cp full/checkpoints/last.otc before.otc
expect 1 "$TRAIN" train resume=full epochs=9 save_every=0
[ "$(grep -c 'IS NOT SAVED' "$work.err")" = 2 ] || fail "$(cat "$work.err")"
stderr_has 'not a regular file'
grep -q '"event":"end"' full/metrics.jsonl && fail "an end that was none"
rmdir full/weights/last.onnx # there is room again
expect 0 "$TRAIN" train resume=full
cp -r end roomy
expect 0 "$TRAIN" train resume=roomy epochs=9 save_every=0
cmp roomy/weights/last.onnx full/weights/last.onnx || fail "a run that met with a full disk differs"
finish
