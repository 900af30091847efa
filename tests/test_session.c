/* test_session.c - whole sessions on small models: gradients, memory, failures, threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/session.h"
#include "tests/counter.h"
#include "tests/model.h"

/* ---- models ---- */

enum { BATCH = 17, CLASSES = 5 };

static void random_floats(float *v, size_t n, uint64_t stream, double density) {
    for (size_t i = 0; i < n; i++) {
        bool kept = ot_random_float(3, stream, i) < density;
        v[i] = kept ? 0.3f * ot_random_normal(4, stream, i) : 0;
    }
}

static void weight(struct model *m, const char *name, int rank, const int64_t *dim,
                   double density) {
    float v[4096];
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dim[i];
    random_floats(v, n, strlen(name) * 131u + (uint64_t)name[0] + (uint64_t)name[1] * 7, density);
    model_floats(m, name, rank, dim, v);
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Sparse MLP in all three orientations; a value with two consumers; a weight used twice. */
static unsigned char *mlp(size_t *size) {
    struct model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 12));
    weight(&m, "w1", 2, DIMS(20, 12), 0.2);
    weight(&m, "b1", 1, DIMS(20), 1);
    weight(&m, "w2", 2, DIMS(20, 20), 0.15);
    weight(&m, "w3", 2, DIMS(20, CLASSES), 0.3);
    weight(&m, "b3", 1, DIMS(CLASSES), 1);
    model_node(&m, "Gemm", "x w1 b1", "h1", "transB=1");
    model_node(&m, "Tanh", "h1", "a1", "");
    model_node(&m, "MatMul", "a1 w2", "h2", "");
    model_node(&m, "MatMul", "h2 w2", "h3", "");
    model_node(&m, "Add", "h3 a1", "s", "");
    model_node(&m, "Sigmoid", "s", "a3", "");
    model_node(&m, "Gemm", "a3 w3 b3", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

/* A residual CNN: sparse convolutions, BatchNormalization in training form, pooling, a dense head.
 */
static unsigned char *cnn(size_t *size) {
    struct model m;
    model_begin(&m, 15);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 8, 8));
    weight(&m, "c1", 4, DIMS(8, 3, 3, 3), 1);
    weight(&m, "c2", 4, DIMS(8, 8, 3, 3), 0.2);
    weight(&m, "c3", 4, DIMS(8, 8, 3, 3), 0.2);
    weight(&m, "fc", 2, DIMS(CLASSES, 8), 1);
    weight(&m, "fb", 1, DIMS(CLASSES), 1);
    const float one[8] = {1, 1, 1, 1, 1, 1, 1, 1}, zero[8] = {0};
    const char *const stats[] = {"g1", "v1", "g2", "v2", "z1", "m1", "z2", "m2"};
    for (int i = 0; i < 8; i++) model_floats(&m, stats[i], 1, DIMS(8), i < 4 ? one : zero);
    model_node(&m, "Conv", "x c1", "h1", "kernel_shape=3,3 pads=1,1,1,1");
    model_node(&m, "BatchNormalization", "h1 g1 z1 m1 v1", "n1 nm1 nv1", "training_mode=1");
    model_node(&m, "Relu", "n1", "a1", "");
    model_node(&m, "Conv", "a1 c2", "h2", "kernel_shape=3,3 pads=1,1,1,1");
    model_node(&m, "BatchNormalization", "h2 g2 z2 m2 v2", "n2 nm2 nv2", "training_mode=1");
    model_node(&m, "Add", "n2 a1", "s", "");
    model_node(&m, "Conv", "s c3", "h3", "kernel_shape=3,3 pads=1,1,1,1 strides=2,2");
    model_node(&m, "GlobalAveragePool", "h3", "p", "");
    model_node(&m, "Flatten", "p", "f", "");
    model_node(&m, "Gemm", "f fc fb", "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

struct fixture {
    ot_session *s;
    float x[BATCH * 3 * 8 * 8];
    int64_t label[BATCH];
    ot_tensor in, target;
};

typedef unsigned char *make_fn(size_t *size);

static ot_status open_with(struct fixture *f, make_fn *make, const ot_options *o, ot_error *err) {
    size_t size;
    unsigned char *file = make(&size);
    ot_status status = ot_open_buffer(file, size, o, &f->s, err);
    free(file);
    if (status) return status;
    ot_value_info info;
    ot_get_input(f->s, 0, &info, NULL);
    f->in = (ot_tensor){.type = OT_FLOAT, .rank = info.rank, .data = f->x};
    memcpy(f->in.dim, info.dim, sizeof f->in.dim);
    f->in.dim[0] = BATCH;
    f->target = (ot_tensor){.type = OT_INT64, .rank = 1, .dim = {BATCH}, .data = f->label};
    random_floats(f->x, sizeof f->x / sizeof *f->x, 99, 1);
    for (int i = 0; i < BATCH; i++) f->label[i] = i * 3 % CLASSES;
    return OT_OK;
}

static void must_open(struct fixture *f, make_fn *make, const ot_options *o) {
    ot_error err = {OT_OK, ""};
    if (open_with(f, make, o, &err)) fail_msg("%s", err.message);
    const ot_optimizer_options sgd = {.lr = 0.05f, .momentum = 0.9f};
    assert_int_equal(ot_set_optimizer(f->s, &sgd, NULL), OT_OK);
}

static double must_train(struct fixture *f) {
    ot_error err = {OT_OK, ""};
    ot_result r;
    if (ot_train_step(f->s, &f->in, 1, &f->target, &r, &err)) fail_msg("%s", err.message);
    return r.loss;
}

/* ---- gradients ---- */

/* Central differences of the loss in float: steps of about 1e-2 see 3 digits. Training-form
 * statistics need ot_train_step, whose accumulation does not disturb the loss. */
static void check_gradients(make_fn *make, ot_sparse_mode sparse) {
    struct fixture f;
    const ot_options o = {.threads = 2, .sparse = sparse};
    must_open(&f, make, &o);
    const ot_optimizer_options still = {.lr = 0}; /* its step only clears the gradients */
    assert_int_equal(ot_set_optimizer(f.s, &still, NULL), OT_OK);
    for (int i = 0; i < ot_parameter_count(f.s); i++) {
        ot_parameter_info info;
        ot_get_parameter(f.s, i, &info, NULL);
        if (!info.is_trainable) continue;
        must_train(&f);
        float w[4096], g[4096];
        assert_int_equal(ot_get_gradient(f.s, i, g, NULL), OT_OK);
        assert_int_equal(ot_read_parameter(f.s, i, w, NULL), OT_OK);
        int checked = 0;
        for (int64_t k = 0; k < info.elements && checked < 12; k++) {
            if (w[k] == 0 && info.has_pattern) {
                assert_true(g[k] == 0);
                continue;
            }
            checked++;
            const float keep = w[k], h = 5e-3f;
            w[k] = keep + h;
            ot_write_parameter(f.s, i, w, NULL);
            double up = must_train(&f);
            w[k] = keep - h;
            ot_write_parameter(f.s, i, w, NULL);
            double down = must_train(&f);
            w[k] = keep;
            ot_write_parameter(f.s, i, w, NULL);
            double slope = (up - down) / (2 * (double)h);
            if (fabs(g[k] - slope) > 2e-3 + 2e-2 * fabs(slope))
                fail_msg("%s[%d]: gradient %g, difference %g", info.name, (int)k, (double)g[k],
                         slope);
        }
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    }
    ot_close(f.s);
}

static void gradients_are_differences(void **state) {
    (void)state;
    check_gradients(mlp, OT_SPARSE_AUTO);
    check_gradients(mlp, OT_SPARSE_NEVER);
    check_gradients(cnn, OT_SPARSE_AUTO);
    check_gradients(cnn, OT_SPARSE_NEVER);
}

/* ---- the same bits ---- */

static void train_losses(make_fn *make, const ot_options *o, int steps, double *loss) {
    struct fixture f;
    must_open(&f, make, o);
    for (int i = 0; i < steps; i++) {
        loss[i] = must_train(&f);
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    }
    ot_close(f.s);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    make_fn *const makes[] = {mlp, cnn};
    for (int k = 0; k < 2; k++) {
        double first[8], loss[8];
        for (int threads = 1; threads <= 4; threads++) {
            const ot_options o = {.threads = threads};
            train_losses(makes[k], &o, 8, threads == 1 ? first : loss);
            if (threads > 1) assert_memory_equal(first, loss, sizeof loss);
        }
        assert_true(first[7] < first[0]);
    }
}

static void sparse_equals_dense(void **state) {
    (void)state;
    make_fn *const makes[] = {mlp, cnn};
    for (int k = 0; k < 2; k++) {
        double sparse[8], dense[8];
        train_losses(makes[k], &(ot_options){.sparse = OT_SPARSE_ALWAYS}, 8, sparse);
        train_losses(makes[k], &(ot_options){.sparse = OT_SPARSE_NEVER}, 8, dense);
        for (int i = 0; i < 8; i++) assert_float_equal(sparse[i], dense[i], 1e-4 * dense[i]);
    }
}

/* ---- plans ---- */

static void live_buffers_do_not_overlap(void **state) {
    (void)state;
    struct fixture f;
    must_open(&f, cnn, NULL);
    must_train(&f);
    const struct plan *p = f.s->plan;
    for (int i = 0; i < p->n_buffers; i++) {
        const struct buffer *a = &p->buffer[i];
        if (a->first > a->last) continue;
        assert_true(a->offset + a->bytes <= p->block_bytes && a->offset % 64 == 0);
        for (int k = i + 1; k < p->n_buffers; k++) {
            const struct buffer *b = &p->buffer[k];
            if (b->first > a->last || b->last < a->first) continue;
            assert_true(a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset);
        }
    }
    ot_close(f.s);
}

static void a_cnn_enters_lanes_once(void **state) {
    (void)state;
    struct fixture f;
    must_open(&f, cnn, &(ot_options){.sparse = OT_SPARSE_AUTO});
    must_train(&f);
    int in = 0, out = 0;
    for (int i = 0; i < f.s->plan->n_nodes; i++) {
        const struct op_node *n = &f.s->plan->node[i]->n;
        if (strcmp(n->op->name, "Reorder")) continue;
        in += n->y[0]->lanes != 0;
        out += n->y[0]->lanes == 0;
    }
    assert_int_equal(in, 1);
    assert_int_equal(out, 1);
    ot_close(f.s);
}

static unsigned char *token_model(size_t *size) {
    struct model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 3, DIMS(-1, 16, 12));
    weight(&m, "w", 2, DIMS(12, CLASSES), 0.2);
    model_node(&m, "MatMul", "x w", "y", "");
    model_output(&m, "y", OT_FLOAT, 3, DIMS(-1, 16, CLASSES));
    return model_finish(&m, size);
}

/* Lanes are filled with samples, and with tokens where a MatMul works on tokens. */
static void lanes_follow_the_samples(void **state) {
    (void)state;
    make_fn *const makes[] = {mlp, cnn, token_model};
    const int lanes[] = {32, 16, 128}; /* of 17 samples, 17 images, 17 * 16 tokens */
    for (int k = 0; k < 3; k++) {
        struct fixture f;
        must_open(&f, makes[k], NULL);
        assert_int_equal(ot_prepare(f.s, 0, &f.in, 1, NULL, NULL), OT_OK);
        assert_int_equal(f.s->plan->lane_count, lanes[k]);
        ot_close(f.s);
    }
}

static void frozen_weights_cost_nothing(void **state) {
    (void)state;
    struct fixture f;
    must_open(&f, mlp, NULL);
    must_train(&f);
    int all = f.s->plan->n_steps;
    assert_int_equal(ot_set_trainable(f.s, "*", 0, NULL), OT_OK);
    assert_int_equal(ot_set_trainable(f.s, "w3", 1, NULL), OT_OK);
    must_train(&f);
    assert_true(f.s->plan->n_steps < all);
    int backward = 0;
    for (int i = 0; i < f.s->plan->n_steps; i++)
        backward += f.s->plan->step[i].kind == OT_STEP_BACKWARD;
    assert_true(backward <= 2); /* the last Gemm, and the Reorder of its input at most */
    ot_close(f.s);
}

static unsigned char *wide_mlp(size_t *size) {
    struct model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 64));
    weight(&m, "w1", 2, DIMS(64, 64), 0.05);
    weight(&m, "w2", 2, DIMS(64, 64), 0.05);
    weight(&m, "b2", 1, DIMS(64), 1);
    model_node(&m, "Gemm", "x w1", "h1", "transB=1");
    model_node(&m, "Relu", "h1", "a1", "");
    model_node(&m, "Gemm", "a1 w2 b2", "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, 64));
    return model_finish(&m, size);
}

/* Gradients and moments of a 95 % sparse network take at most 8 % of what dense ones take. */
static void training_memory_follows_the_nonzeros(void **state) {
    (void)state;
    const ot_optimizer_options kinds[] = {{.lr = 0.1f, .momentum = 0.9f}, {.kind = OT_ADAM}};
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        ot_memory_info info;
        ot_model_info model;
        must_open(&f, wide_mlp, NULL);
        assert_int_equal(ot_set_optimizer(f.s, &kinds[k], NULL), OT_OK);
        must_train(&f);
        ot_get_memory_info(f.s, &info);
        ot_get_model_info(f.s, &model);
        size_t arrays = kinds[k].kind == OT_ADAM ? 3 : 2;
        size_t dense = (size_t)model.parameters * sizeof(float) * arrays;
        assert_true(info.gradients + info.moments <= dense * 8 / 100);
        assert_true(info.gradients > 0 && info.moments > 0);
        ot_close(f.s);
    }
}

/* ---- allocations and failures ---- */

static void a_step_allocates_nothing(void **state) {
    (void)state;
    struct counter c = {0};
    const ot_options o = {.allocator = counting_allocator(&c)};
    struct fixture f;
    must_open(&f, cnn, &o);
    must_train(&f);
    ot_optimizer_step(f.s, NULL);
    long before = c.requests;
    for (int i = 0; i < 5; i++) {
        must_train(&f);
        ot_optimizer_step(f.s, NULL);
    }
    assert_int_equal(c.requests, before);
    ot_close(f.s);
    assert_int_equal(c.live, 0);
}

static ot_status whole_life(const ot_options *o, ot_error *e) {
    struct fixture f;
    ot_result r;
    ot_error err = {OT_OK, ""};
    ot_status status = open_with(&f, cnn, o, &err);
    *e = err;
    if (status) return status;
    const ot_optimizer_options adam = {.kind = OT_ADAM, .lr = 0.01f};
    status = ot_set_optimizer(f.s, &adam, &err);
    if (!status) status = ot_train_step(f.s, &f.in, 1, &f.target, &r, &err);
    if (!status) status = ot_optimizer_step(f.s, &err);
    if (!status) status = ot_eval_step(f.s, &f.in, 1, &f.target, &r, &err);
    if (!status) status = ot_new_head(f.s, 3, NULL, &err);
    ot_close(f.s);
    *e = err;
    return status;
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        struct counter c = {.fail_at = n};
        const ot_options o = {.threads = 2, .allocator = counting_allocator(&c)};
        ot_error err;
        ot_status status = whole_life(&o, &err);
        assert_int_equal(c.live, 0);
        if (c.requests < n) {
            assert_int_equal(status, OT_OK);
            break;
        }
        if (status != OT_ERROR_NO_MEMORY) fail_msg("allocation %ld: %d %s", n, status, err.message);
    }
}

static void a_failed_call_changes_nothing(void **state) {
    (void)state;
    struct fixture f;
    must_open(&f, cnn, NULL);
    float before[8], after[8];
    int mean = -1;
    for (int i = 0; i < ot_parameter_count(f.s); i++)
        if (!strcmp(f.s->parameter[i].name, "m1")) mean = i;
    must_train(&f);
    ot_optimizer_step(f.s, NULL);
    ot_read_parameter(f.s, mean, before, NULL);
    float keep = f.x[5];
    f.x[5] = NAN;
    ot_result r;
    ot_error err;
    assert_int_equal(ot_train_step(f.s, &f.in, 1, &f.target, &r, &err), OT_ERROR_NUMERIC);
    ot_read_parameter(f.s, mean, after, NULL);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(ot_optimizer_step(f.s, &err), OT_ERROR_STATE);
    f.x[5] = keep;
    f.in.dim[2] = 9;
    assert_int_equal(ot_train_step(f.s, &f.in, 1, &f.target, &r, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "'x'"));
    f.in.dim[2] = 8;
    must_train(&f);
    ot_close(f.s);
}

static void the_memory_limit_names_its_number(void **state) {
    (void)state;
    struct fixture f;
    must_open(&f, cnn, &(ot_options){.limits = {.memory_bytes = 100000}});
    ot_error err;
    ot_result r;
    assert_int_equal(ot_train_step(f.s, &f.in, 1, &f.target, &r, &err), OT_ERROR_LIMIT);
    assert_non_null(strstr(err.message, "MiB"));
    ot_close(f.s);
}

static void a_new_head_trains(void **state) {
    (void)state;
    struct fixture f;
    const char *name = NULL;
    must_open(&f, cnn, NULL);
    assert_int_equal(ot_new_head(f.s, 2, &name, NULL), OT_OK);
    assert_string_equal(name, "fc");
    for (int i = 0; i < BATCH; i++) f.label[i] = i % 2;
    double first = must_train(&f);
    for (int i = 0; i < 30; i++) {
        ot_optimizer_step(f.s, NULL);
        must_train(&f);
    }
    assert_true(must_train(&f) < first);
    ot_close(f.s);
}

/* Classes that a Relu cuts off behind the layer, as in SqueezeNet. */
static unsigned char *rectified(size_t *size) {
    struct model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 8, 8));
    weight(&m, "last", 4, DIMS(CLASSES, 3, 1, 1), 1);
    weight(&m, "bias", 1, DIMS(CLASSES), 1);
    model_node(&m, "Conv", "x last bias", "h", "kernel_shape=1,1");
    model_node(&m, "Relu", "h", "r", "");
    model_node(&m, "GlobalAveragePool", "r", "p", "");
    model_node(&m, "Flatten", "p", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

/* On features that are not negative, every class of a new head gets a gradient. */
static void no_class_of_a_new_head_is_dead(void **state) {
    (void)state;
    enum { MANY = 64 };
    struct fixture f;
    float gradient[MANY * 3];
    must_open(&f, rectified, NULL);
    for (size_t i = 0; i < sizeof f.x / sizeof *f.x; i++) f.x[i] = fabsf(f.x[i]);
    assert_int_equal(ot_new_head(f.s, MANY, NULL, NULL), OT_OK);
    must_train(&f);
    for (int i = 0; i < ot_parameter_count(f.s); i++) {
        ot_parameter_info info;
        ot_get_parameter(f.s, i, &info, NULL);
        assert_int_equal(ot_get_gradient(f.s, i, gradient, NULL), OT_OK);
        for (int64_t k = 0; k < info.elements; k++) assert_true(gradient[k] != 0);
    }
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(sparse_equals_dense),
        cmocka_unit_test(live_buffers_do_not_overlap),
        cmocka_unit_test(a_cnn_enters_lanes_once),
        cmocka_unit_test(lanes_follow_the_samples),
        cmocka_unit_test(frozen_weights_cost_nothing),
        cmocka_unit_test(training_memory_follows_the_nonzeros),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(a_failed_call_changes_nothing),
        cmocka_unit_test(the_memory_limit_names_its_number),
        cmocka_unit_test(a_new_head_trains),
        cmocka_unit_test(no_class_of_a_new_head_is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
