/* embed.c - load a classifier, train it for ten steps on made-up data, export it.
 *
 * cc embed.c $(pkg-config --cflags --libs onnxtrain) -o embed && ./embed model.onnx tuned.onnx
 */
#include <stdio.h>
#include <stdlib.h>

#include <onnxtrain.h>

enum { BATCH = 16, STEPS = 10 };

/* Every class is a pattern of its own, so there is something to learn. */
static void make_batch(float *x, int64_t *y, int64_t size, int64_t classes) {
    for (int n = 0; n < BATCH; n++) {
        y[n] = n % (classes < 4 ? classes : 4);
        for (int64_t i = 0; i < size; i++) x[n * size + i] = (float)((i * (y[n] + 3) + n) % 7) / 7;
    }
}

static int failed(const ot_error *err) {
    fprintf(stderr, "%s: %s\n", ot_status_name(err->status), err->message);
    return 1;
}

/* Sets *input to BATCH samples of the model's input; the number of floats in one, or 0. */
static int64_t sample_size(const ot_session *s, ot_tensor *input, ot_error *err) {
    ot_value_info info;
    int64_t size = 1;
    int d;
    if (ot_get_input(s, 0, &info, err)) return 0;
    input->type = OT_FLOAT;
    input->rank = info.rank;
    input->dim[0] = BATCH;
    for (d = 1; d < info.rank; d++) {
        input->dim[d] = info.dim[d] < 0 ? 32 : info.dim[d];
        size *= input->dim[d];
    }
    return size;
}

static int train(ot_session *s, ot_error *err) {
    static int64_t labels[BATCH];
    ot_tensor input = {.rank = 0}, target = {.type = OT_INT64, .rank = 1, .dim = {BATCH}};
    ot_optimizer_options sgd = {.size = sizeof sgd, .kind = OT_SGD, .lr = 0.01f, .momentum = 0.9f};
    ot_value_info output;
    ot_result result;
    int step, status = 1;
    int64_t size = sample_size(s, &input, err);
    float *x = size ? malloc(BATCH * (size_t)size * sizeof *x) : NULL;

    if (!x || ot_get_output(s, 0, &output, err)) goto done;
    make_batch(x, labels, size, output.rank > 0 ? output.dim[output.rank - 1] : 2);
    input.data = x;
    target.data = labels;
    if (ot_set_optimizer(s, &sgd, err)) goto done;
    for (step = 1; step <= STEPS; step++) {
        if (ot_train_step(s, &input, 1, &target, &result, err)) goto done;
        if (ot_optimizer_step(s, err)) goto done;
        printf("step %2d  loss %.4f\n", step, result.loss);
    }
    status = 0;
done:
    free(x);
    return status;
}

int main(int argc, char **argv) {
    ot_session *s = NULL;
    ot_error err = {OT_ERROR_ARGUMENT, "usage: embed MODEL.onnx OUT.onnx"};
    int bad = argc != 3 || ot_open(argv[1], NULL, &s, &err) || train(s, &err) ||
              ot_export_onnx(s, argv[2], NULL, &err);
    ot_close(s);
    return bad ? failed(&err) : 0;
}
