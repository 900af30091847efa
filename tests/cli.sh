#!/bin/sh
# The command from end to end: every subcommand, the run folder, errors and exit codes.
. "$(dirname "$0")/lib.sh"
model=$GLYPHS/glyphs.onnx

echo "-- help and usage errors"
expect 0 "$TRAIN" --version
stdout_has '[0-9]+\.[0-9]+\.[0-9]+'
expect 0 "$TRAIN" help
for command in inspect train eval predict export init prune bench check env; do
    stdout_has "$command"
done
for command in inspect train eval predict export init prune bench check env; do
    expect 0 "$TRAIN" help $command
    expect 0 "$TRAIN" $command --help
    stdout_has 'usage: onnx-train'
done
expect 2 "$TRAIN"
expect 2 "$TRAIN" trian "$model"
stderr_has 'train'
expect 2 "$TRAIN" train "$model" "$GLYPHS" momentun=0.9
stderr_has "momentum"
expect 2 "$TRAIN" train "$model" "$GLYPHS" batch=many
expect 2 "$TRAIN" train "$model" "$GLYPHS" batch=-1
expect 2 "$TRAIN" train "$model" "$GLYPHS" optimizer=sdg
stderr_has 'sgd'
printf 'batch: 64\nlearning: 1\n' > bad.yaml
expect 2 "$TRAIN" train "$model" "$GLYPHS" bad.yaml
stderr_has 'bad\.yaml:2'
rm bad.yaml
[ -z "$(ls)" ] || fail "usage errors wrote $(ls)"
expect 0 "$TRAIN" env
stdout_has 'oneDNN'

echo "-- inspect, eval, predict"
expect 0 "$TRAIN" inspect "$model"
stdout_has 'conv1\.weight'
expect 0 "$TRAIN" inspect "$model" --plan batch=8
stdout_has 'Conv'
[ "$(masks "$model" | wc -l)" -ge 5 ] || fail "inspect --json names fewer than 5 weights"
expect 0 "$TRAIN" eval --json "$model" "$GLYPHS"
[ "$(json n < "$work.out")" = 2000 ] || fail "eval counted $(json n < "$work.out"), not 2000"
before=$(json accuracy < "$work.out")
expect 0 "$TRAIN" predict "$model" "$GLYPHS"
[ "$(wc -l < "$work.out")" -ge 2000 ] || fail "predict printed $(wc -l < "$work.out") lines"

echo "-- train"
printf 'batch: 32\nlr: 0.5\nlog_every: 1\n' > config.yaml
expect 0 "$TRAIN" train "$model" "$GLYPHS" config.yaml --lr 0.02 --max-steps=6 bn=train out=r
for file in args.yaml metrics.jsonl results.csv weights/best.onnx weights/last.onnx; do
    [ -s "r/$file" ] || fail "no r/$file"
done
ls r/checkpoints/*.otc > /dev/null || fail "no checkpoint"
[ "$(losses r/metrics.jsonl | wc -l)" = 6 ] || fail "not a record a step"
grep -q '"lr": *0\.0\?2' r/metrics.jsonl || fail "the command line does not win over the config"
if tr -d '\n' < "$work.out" | grep -q "$(printf '\r')"; then fail "carriage returns in a file"; fi
masks "$model" > before.txt
masks r/weights/last.onnx > after.txt
cmp before.txt after.txt || fail "the mask has changed"
expect 0 "$TRAIN" eval --json r/weights/last.onnx "$GLYPHS"
[ "$(json accuracy < "$work.out")" != "$before" ] || fail "six steps of training changed nothing"

echo "-- export"
expect 0 "$TRAIN" export "$model" out=sparse.onnx sparse=initializer
expect 0 "$TRAIN" export sparse.onnx out=dense.onnx sparse=dense
for file in sparse.onnx dense.onnx; do
    masks $file | cmp - before.txt || fail "export lost the mask: $file"
    expect 0 "$TRAIN" eval --json $file "$GLYPHS"
    [ "$(json accuracy < "$work.out")" = "$before" ] || fail "export changed the accuracy: $file"
done
[ "$(wc -c < sparse.onnx)" -lt "$(wc -c < "$model")" ] || fail "sparse.onnx is not smaller"
expect 0 "$TRAIN" export "$model" out=same.onnx
expect 0 "$TRAIN" export "$model" out=training.onnx form=training
expect 0 "$TRAIN" export training.onnx out=inference.onnx form=inference
for file in same.onnx inference.onnx; do
    expect 0 "$TRAIN" eval --json $file "$GLYPHS"
    [ "$(json accuracy < "$work.out")" = "$before" ] || fail "form changed the accuracy: $file"
done

expect 0 "$TRAIN" train training.onnx "$GLYPHS" max_steps=3 out=served
expect 0 "$TRAIN" train training.onnx "$GLYPHS" max_steps=3 out=kept form=as-is
expect 0 "$TRAIN" export kept/weights/last.onnx out=serves.onnx form=inference
cmp serves.onnx served/weights/last.onnx || fail "train does not deliver the inference form"
cmp -s kept/weights/last.onnx served/weights/last.onnx && fail "form=as-is changed the form"

echo "-- files that are there, and standard output"
cp same.onnx kept.onnx
for command in "export $model out=kept.onnx sparse=initializer" \
    "predict $model $GLYPHS out=kept.csv" \
    "predict $model $GLYPHS out=kept.npy" "predict $model $GLYPHS out=kept.npz"; do
    file=${command##*out=}
    file=${file%% *}
    [ -e "$file" ] || echo mine > "$file"
    cp "$file" was.bin
    expect 2 "$TRAIN" $command
    stderr_has "out: '$file' already exists; force=1 replaces it"
    cmp was.bin "$file" || fail "$file was overwritten"
    expect 0 "$TRAIN" $command force=1
    cmp -s was.bin "$file" && fail "force=1 did not replace $file"
done
cmp kept.onnx sparse.onnx || fail "force=1 wrote something else"
"$TRAIN" export "$model" out=- sparse=initializer | cmp - sparse.onnx || fail "export out=-"
for suffix in csv npy npz; do
    "$TRAIN" predict "$model" "$GLYPHS" out=-.$suffix | cmp - kept.$suffix || fail "out=-.$suffix"
done
"$TRAIN" predict "$model" "$GLYPHS" > printed.txt
"$TRAIN" predict "$model" "$GLYPHS" out=- | cmp - printed.txt || fail "predict out=-"
ln -s "$PWD/same.onnx" link.onnx
expect 2 "$TRAIN" export "$model" out=link.onnx force=1
stderr_has 'not a regular file'
[ ! -e ./- ] && [ ! -e ./-.npy ] || fail "a file of the name -"
touch gone.npy.999999999-0.tmp
expect 0 "$TRAIN" predict "$model" "$GLYPHS" out=gone.npy
[ "$(ls gone*)" = gone.npy ] || fail "$(ls gone*)"

echo "-- training_info"
rule="optimizer=adagrad lr=0.02 label_smoothing=0.1"
steps="max_steps=3 log_every=1"
expect 0 "$TRAIN" export "$model" out=course.onnx training_info=1 $rule
expect 0 "$TRAIN" inspect course.onnx
stdout_has 'has training_info'
expect 0 "$TRAIN" train course.onnx "$GLYPHS" $steps out=told
stdout_has 'training_info: adagrad lr=0.02 .*label_smoothing=0.1'
expect 0 "$TRAIN" train "$model" "$GLYPHS" $steps $rule out=asked
losses told/metrics.jsonl > told.txt
losses asked/metrics.jsonl | cmp - told.txt || fail "training_info trains in another way"
expect 0 "$TRAIN" train told/weights/last.onnx "$GLYPHS" $steps out=further lr=0.01
stdout_has 'continues after step 3'
stdout_has 'overridden by options: lr=0.01 \(0.02\)'
expect 0 "$TRAIN" train told/weights/last.onnx "$GLYPHS" $steps optimizer=sgd schedule=cosine
stdout_has 'moments start at zero'
stderr_has "keep the model's own"
expect 0 "$TRAIN" export "$model" out=later.onnx training_info=1 label_smoothing=0.1 \
    checkpoint=asked/checkpoints/last.otc
expect 0 "$TRAIN" train later.onnx "$GLYPHS" $steps out=later
losses later/metrics.jsonl > told.txt
expect 0 "$TRAIN" train told/weights/last.onnx "$GLYPHS" $steps out=again
losses again/metrics.jsonl | cmp - told.txt || fail "a checkpoint goes on in another way"
for file in course.onnx told/weights/last.onnx later/weights/last.onnx; do
    masks $file | cmp - before.txt || fail "training_info lost the mask: $file"
done
LC_ALL=C sed 's/Adagrad/Adagrax/' course.onnx > other.onnx
expect 3 "$TRAIN" train other.onnx "$GLYPHS" $steps
stderr_has 'training_info: node .*Adagrax.*training_info=0'
expect 0 "$TRAIN" train other.onnx "$GLYPHS" $steps training_info=0

echo "-- check"
expect 2 "$TRAIN" check
expect 0 "$TRAIN" check "$model"
stdout_has '^weights, whole model +[1-9]'
expect 0 "$TRAIN" check "$model" --json
[ "$(json wrong < "$work.out")" = 0 ] || fail "check does not count wrong gradients"
mkdir -p suite/empty suite/node/strange
expect 4 "$TRAIN" check --onnx-tests suite
cp "$model" suite/node/strange/model.onnx
expect 7 "$TRAIN" check --onnx-tests suite
stdout_has 'failed +node/strange: it has no test_data_set_0'
printf 'oddly spelled\n' > suite/node/strange/model.onnx
expect 7 "$TRAIN" check --onnx-tests suite --json
[ "$(json failed < "$work.out")" = 1 ] || fail "check counts no failure"
printf 'strange # and no reason\n' > list.txt
expect 2 "$TRAIN" check --onnx-tests suite refused=list.txt

echo "-- signals"
"$TRAIN" train "$model" "$GLYPHS" epochs=50 out=stopped > stopped.txt 2>&1 &
process=$!
while kill -0 $process 2> /dev/null && [ ! -s stopped/metrics.jsonl ]; do sleep 0.1; done
kill -INT $process
wait $process
code=$?
[ $code = 130 ] || fail "exit $code after SIGINT: $(tail -3 stopped.txt)"
expect 0 "$TRAIN" train "$model" "$GLYPHS" resume=stopped max_steps=1

echo "-- data and limits"
expect 4 "$TRAIN" eval "$model" "$GLYPHS/nowhere"
mkdir broken
for file in "$GLYPHS"/*.gz; do head -c 1000 "$file" > "broken/$(basename "$file")"; done
expect 4 "$TRAIN" eval "$model" broken
expect 6 "$TRAIN" train "$model" "$GLYPHS" memory_limit=500K out=limited

echo "-- what is not finite"
expect 5 "$TRAIN" train "$model" "$GLYPHS" lr=1e17 out=diverged
stderr_has 'diverged at step [0-9]+ \(epoch 1, batch [0-9]+ of [0-9]+\): the loss is'
stderr_has 'computed by node .*the largest absolute value before it is'
grep -q '"reason":"diverged".*"message":"' diverged/metrics.jsonl || fail "no record of the end"
expect 5 "$TRAIN" train "$model" "$GLYPHS" lr=1e38 momentum=0 \
    max_steps=1 save_every=1 out=over
stderr_has "the update of '.*' is out of range"
[ -z "$(find over -name '*.onnx' -o -name best.otc)" ] || fail "a state was saved"
finish
