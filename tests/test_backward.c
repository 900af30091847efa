/* test_backward.c - a loss of the host's own: ot_forward, ot_backward, gradients of inputs; and
 * slopes of nodes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/model.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
enum { N = 9, FEW = 5, IN = 6, MID = 8, OUT = 3 };

/* h = tanh(x W1) is an output and goes into y = h W2, the other one; k only counts. */
struct fixture {
    ot_session *s;
    float x[N * IN], wanted[N * OUT];
    int64_t k[N];
    ot_tensor input[2], output[2];
};

static void fill(float *v, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++) v[i] = ot_random_normal(7, stream, i);
}

static void set_up(struct fixture *f) {
    struct test_model m;
    float w[MID * (IN + OUT)];
    fill(w, MID * (IN + OUT), 1);
    for (int i = 0; i < MID * IN; i++) w[i] = i % 3 ? 0 : w[i]; /* sparse */
    fill(f->x, N * IN, 2);
    fill(f->wanted, N * OUT, 3);
    for (int i = 0; i < N; i++) f->k[i] = i;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, IN));
    model_input(&m, "k", OT_INT64, 1, DIMS(-1));
    model_floats(&m, "w1", 2, DIMS(IN, MID), w);
    model_floats(&m, "w2", 2, DIMS(MID, OUT), w + MID * IN);
    model_node(&m, "MatMul", "x w1", "a", "");
    model_node(&m, "Tanh", "a", "h", "");
    model_node(&m, "MatMul", "h w2", "p", "");
    model_node(&m, "Cast", "k", "c", "to=1");
    model_node(&m, "Unsqueeze", "c one", "u", "");
    model_ints(&m, "one", 1, DIMS(1));
    model_node(&m, "Add", "p u", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, OUT));
    model_output(&m, "h", OT_FLOAT, 2, DIMS(-1, MID));
    const ot_options options = {.threads = 1, .sparse = OT_SPARSE_ALWAYS};
    assert_int_equal(model_open(&m, &options, &f->s, NULL), OT_OK);
    f->input[0] = (ot_tensor){OT_FLOAT, 2, {N, IN}, f->x};
    f->input[1] = (ot_tensor){OT_INT64, 1, {N}, f->k};
}

static void forward(struct fixture *f) {
    assert_int_equal(ot_forward(f->s, f->input, 2, f->output, 2, NULL), OT_OK);
}

static void backward(struct fixture *f, const float *dy, const float *dh) {
    const ot_tensor gradient[2] = {{OT_FLOAT, 2, {N, OUT}, dy}, {OT_FLOAT, 2, {N, MID}, dh}};
    assert_int_equal(ot_backward(f->s, gradient, 2, NULL), OT_OK);
}

/* The library's own mean squared error, and the same made by hand, bit for bit. */
static void own_loss_equals_the_library_s(void **state) {
    (void)state;
    struct fixture f, g;
    float dy[N * OUT], a[MID * IN], b[MID * IN];
    ot_result r;
    set_up(&f);
    set_up(&g);
    const ot_loss_options loss = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.1f};
    const ot_tensor target = {OT_FLOAT, 2, {N, OUT}, f.wanted};
    assert_int_equal(ot_set_loss(f.s, &loss, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(f.s, &sgd, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(g.s, &sgd, NULL), OT_OK);
    for (int step = 0; step < 4; step++) {
        assert_int_equal(ot_train_step(f.s, f.input, 2, &target, &r, NULL), OT_OK);
        forward(&g);
        for (int i = 0; i < N * OUT; i++) {
            const double d = (double)((const float *)g.output[0].data)[i] - f.wanted[i];
            dy[i] = (float)(2 * d / (N * OUT));
        }
        backward(&g, dy, NULL);
        for (int k = 0; k < 2; k++) {
            ot_parameter_info info;
            ot_get_parameter(f.s, k, &info, NULL);
            assert_int_equal(ot_get_gradient(f.s, k, a, NULL), OT_OK);
            assert_int_equal(ot_get_gradient(g.s, k, b, NULL), OT_OK);
            assert_memory_equal(a, b, (size_t)info.elements * sizeof *a);
        }
        if (step % 2 == 0) continue; /* two batches an update */
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        assert_int_equal(ot_optimizer_step(g.s, NULL), OT_OK);
    }
    ot_close(f.s);
    ot_close(g.s);
}

static double own_loss(struct fixture *f, const float *dy, const float *dh) {
    double sum = 0;
    forward(f);
    for (int i = 0; i < N * OUT; i++) sum += dy[i] * (double)((const float *)f->output[0].data)[i];
    for (int i = 0; i < N * MID; i++) sum += dh[i] * (double)((const float *)f->output[1].data)[i];
    return sum;
}

/* Both outputs count, one of them twice: by itself and through the other. */
static void gradients_of_inputs_are_differences(void **state) {
    (void)state;
    struct fixture f;
    float dy[N * OUT], dh[N * MID], g[N * IN];
    ot_tensor gradient;
    const float h = 1.0f / 128;
    set_up(&f);
    fill(dy, N * OUT, 4);
    fill(dh, N * MID, 5);
    assert_int_equal(ot_want_input_gradient(f.s, 0, 1, NULL), OT_OK);
    forward(&f);
    backward(&f, dy, dh);
    assert_int_equal(ot_get_input_gradient(f.s, 0, &gradient, NULL), OT_OK);
    assert_int_equal(gradient.dim[1], IN);
    memcpy(g, gradient.data, sizeof g);
    for (int i = 0; i < N * IN; i++) {
        const float x = f.x[i];
        f.x[i] = x + h;
        double right = own_loss(&f, dy, dh);
        f.x[i] = x - h;
        double left = own_loss(&f, dy, dh);
        f.x[i] = x;
        assert_true(fabs((right - left) / (2 * (double)h) - g[i]) < 3e-3);
    }
    ot_close(f.s);
}

struct slopes {
    int n;
    double worst;
    bool lanes; /* something was brought into lanes */
};

static void note(void *context, const ot_slopes *s) {
    struct slopes *all = context;
    double d = (16 * (s->left[1] + s->right[1]) - (s->left[0] + s->right[0])) / 30;
    all->n++;
    all->worst = fmax(all->worst, fabs(d - s->gradient) / (s->size + 1e-3));
    all->lanes = all->lanes || !strcmp(s->op, "Reorder");
}

/* MatMul twice for two inputs, Tanh, and what brings them into lanes; the weights stay. A few
 * samples stay in rows. */
static void each_node_is_measured(void **state) {
    (void)state;
    struct fixture f;
    struct slopes all = {0}, few = {0};
    float before[MID * IN], after[MID * IN];
    set_up(&f);
    assert_int_equal(ot_want_input_gradient(f.s, 0, 1, NULL), OT_OK);
    ot_read_parameter(f.s, 0, before, NULL);
    assert_int_equal(ot_measure_gradients(f.s, f.input, 2, note, &all, NULL), OT_OK);
    assert_true(all.n >= 15 && all.lanes);
    assert_true(all.worst < 2e-3);
    f.input[0].dim[0] = f.input[1].dim[0] = FEW;
    assert_int_equal(ot_measure_gradients(f.s, f.input, 2, note, &few, NULL), OT_OK);
    assert_true(few.n >= 12 && !few.lanes && few.worst < 2e-3);
    ot_read_parameter(f.s, 0, after, NULL);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(ot_measure_gradients(f.s, f.input, 2, NULL, NULL, NULL), OT_ERROR_ARGUMENT);
    ot_close(f.s);
}

static void calls_out_of_order_are_refused(void **state) {
    (void)state;
    struct fixture f;
    float dy[N * OUT];
    ot_tensor gradient[2] = {{OT_FLOAT, 2, {N, OUT}, dy}, {.data = NULL}}, view;
    set_up(&f);
    fill(dy, N * OUT, 4);
    assert_int_equal(ot_backward(f.s, gradient, 2, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_want_input_gradient(f.s, 1, 1, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_want_input_gradient(f.s, 2, 1, NULL), OT_ERROR_ARGUMENT);
    forward(&f);
    gradient[0].dim[1]++;
    assert_int_equal(ot_backward(f.s, gradient, 2, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_backward(f.s, gradient, 1, NULL), OT_ERROR_ARGUMENT);
    gradient[0].dim[1]--;
    assert_int_equal(ot_get_input_gradient(f.s, 0, &view, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_backward(f.s, gradient, 2, NULL), OT_OK);
    assert_int_equal(ot_get_input_gradient(f.s, 0, &view, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_backward(f.s, gradient, 2, NULL), OT_ERROR_STATE);
    forward(&f);
    assert_int_equal(ot_run(f.s, f.input, 2, f.output, 2, NULL), OT_OK);
    assert_int_equal(ot_backward(f.s, gradient, 2, NULL), OT_ERROR_STATE);
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_loss_equals_the_library_s),
        cmocka_unit_test(gradients_of_inputs_are_differences),
        cmocka_unit_test(each_node_is_measured),
        cmocka_unit_test(calls_out_of_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
