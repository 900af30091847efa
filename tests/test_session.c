/* test_session.c - whole sessions on small models: gradients, memory, failures, threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/counter.h"
#include "tests/networks.h"

/* ---- gradients ---- */

/* Central differences of the loss in float: steps of about 1e-2 see 3 digits. Training-form
 * statistics need ot_train_step, whose accumulation does not disturb the loss. */
static void check_gradients(make_fn *make, ot_sparse_mode sparse) {
    struct fixture f;
    const ot_options o = {.threads = 2, .sparse = sparse};
    fixture_open(&f, make, &o);
    const ot_optimizer_options still = {.lr = 0}; /* its step only clears the gradients */
    assert_int_equal(ot_set_optimizer(f.s, &still, NULL), OT_OK);
    for (int i = 0; i < ot_parameter_count(f.s); i++) {
        ot_parameter_info info;
        ot_get_parameter(f.s, i, &info, NULL);
        if (!info.is_trainable) continue;
        fixture_train(&f);
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
            double up = fixture_train(&f);
            w[k] = keep - h;
            ot_write_parameter(f.s, i, w, NULL);
            double down = fixture_train(&f);
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
    check_gradients(network_mlp, OT_SPARSE_AUTO);
    check_gradients(network_mlp, OT_SPARSE_NEVER);
    check_gradients(network_cnn, OT_SPARSE_AUTO);
    check_gradients(network_cnn, OT_SPARSE_NEVER);
    check_gradients(network_mlp, OT_SPARSE_LIVE);
    check_gradients(network_cnn, OT_SPARSE_LIVE);
}

/* All gradients are `times` those of g, 4096 apart: to the bit, but for twice as much of a weight
 * that is used twice, which adds up in another order. */
static void check_multiple(struct fixture *f, const float *g, float times) {
    static float now[4096];
    for (int i = 0; i < ot_parameter_count(f->s); i++) {
        ot_parameter_info info;
        ot_get_parameter(f->s, i, &info, NULL);
        if (!info.is_trainable) continue;
        assert_int_equal(ot_get_gradient(f->s, i, now, NULL), OT_OK);
        for (int64_t k = 0; k < info.elements; k++)
            assert_true(fabsf(now[k] - times * g[i * 4096 + k]) <=
                        (times > 1 ? 1e-6f : 0) * (1 + fabsf(g[i * 4096 + k])));
    }
}

/* The first gradients after an update are written where later ones are added. */
static void gradients_begin_at_zero_and_add_up(void **state) {
    (void)state;
    make_fn *const makes[] = {network_mlp, network_cnn};
    static float g[16 * 4096];
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        fixture_open(&f, makes[k], NULL);
        const ot_optimizer_options still = {.lr = 0};
        assert_int_equal(ot_set_optimizer(f.s, &still, NULL), OT_OK);
        assert_true(ot_parameter_count(f.s) <= 16);
        fixture_train(&f);
        for (int i = 0; i < ot_parameter_count(f.s); i++)
            ot_get_gradient(f.s, i, g + i * 4096, NULL);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            if (round) check_multiple(&f, g, 0); /* and writes the zeros out */
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_ERROR_STATE);
            fixture_train(&f);
            check_multiple(&f, g, 1);
            fixture_train(&f);
            check_multiple(&f, g, 2);
        }
        ot_close(f.s);
    }
}

/* ---- the same bits ---- */

static void train_losses(make_fn *make, const ot_options *o, int steps, double *loss) {
    struct fixture f;
    fixture_open(&f, make, o);
    for (int i = 0; i < steps; i++) {
        loss[i] = fixture_train(&f);
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    }
    ot_close(f.s);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    make_fn *const makes[] = {network_mlp, network_cnn};
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
    make_fn *const makes[] = {network_mlp, network_cnn};
    for (int k = 0; k < 2; k++) {
        double sparse[8], dense[8], live[8];
        train_losses(makes[k], &(ot_options){.sparse = OT_SPARSE_ALWAYS}, 8, sparse);
        train_losses(makes[k], &(ot_options){.sparse = OT_SPARSE_NEVER}, 8, dense);
        train_losses(makes[k], &(ot_options){.sparse = OT_SPARSE_LIVE}, 8, live);
        for (int i = 0; i < 8; i++) {
            assert_float_equal(sparse[i], dense[i], 1e-4 * dense[i]);
            assert_float_equal(live[i], dense[i], 1e-4 * dense[i]);
        }
    }
}

/* ---- plans ---- */

static void live_buffers_do_not_overlap(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_cnn, NULL);
    fixture_train(&f);
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
    fixture_open(&f, network_cnn, &(ot_options){.sparse = OT_SPARSE_AUTO});
    fixture_train(&f);
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
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 3, DIMS(-1, 16, 12));
    network_weight(&m, "w", 2, DIMS(12, CLASSES), 0.2);
    model_node(&m, "MatMul", "x w", "y", "");
    model_output(&m, "y", OT_FLOAT, 3, DIMS(-1, 16, CLASSES));
    return model_finish(&m, size);
}

/* Lanes are filled with samples, and with tokens where a MatMul works on tokens. */
static void lanes_follow_the_samples(void **state) {
    (void)state;
    make_fn *const makes[] = {network_mlp, network_cnn, token_model};
    const int lanes[] = {32, 16, 128}; /* of 17 samples, 17 images, 17 * 16 tokens */
    for (int k = 0; k < 3; k++) {
        struct fixture f;
        fixture_open(&f, makes[k], NULL);
        assert_int_equal(ot_prepare(f.s, 0, &f.in, 1, NULL, NULL), OT_OK);
        assert_int_equal(f.s->plan->lane_count, lanes[k]);
        ot_close(f.s);
    }
}

static void frozen_weights_cost_nothing(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_mlp, NULL);
    fixture_train(&f);
    int all = f.s->plan->n_steps;
    assert_int_equal(ot_set_trainable(f.s, "*", 0, NULL), OT_OK);
    assert_int_equal(ot_set_trainable(f.s, "w3", 1, NULL), OT_OK);
    fixture_train(&f);
    assert_true(f.s->plan->n_steps < all);
    int backward = 0;
    for (int i = 0; i < f.s->plan->n_steps; i++)
        backward += f.s->plan->step[i].kind == OT_STEP_BACKWARD;
    assert_true(backward <= 2); /* the last Gemm, and the Reorder of its input at most */
    ot_close(f.s);
}

static unsigned char *wide_mlp(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 64));
    network_weight(&m, "w1", 2, DIMS(64, 64), 0.05);
    network_weight(&m, "w2", 2, DIMS(64, 64), 0.05);
    network_weight(&m, "b2", 1, DIMS(64), 1);
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
        fixture_open(&f, wide_mlp, NULL);
        assert_int_equal(ot_set_optimizer(f.s, &kinds[k], NULL), OT_OK);
        fixture_train(&f);
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
    fixture_open(&f, network_cnn, &o);
    fixture_train(&f);
    ot_optimizer_step(f.s, NULL);
    long before = c.requests;
    for (int i = 0; i < 5; i++) {
        fixture_train(&f);
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
    ot_status status = fixture_try(&f, network_cnn, o, &err);
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
    fixture_open(&f, network_cnn, NULL);
    float before[8], after[8];
    int mean = -1;
    for (int i = 0; i < ot_parameter_count(f.s); i++)
        if (!strcmp(f.s->model->parameter[i].name, "m1")) mean = i;
    fixture_train(&f);
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
    fixture_train(&f);
    ot_close(f.s);
}

static void the_memory_limit_names_its_number(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_cnn, &(ot_options){.limits = {.memory_bytes = 100000}});
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
    fixture_open(&f, network_cnn, NULL);
    assert_int_equal(ot_new_head(f.s, 2, &name, NULL), OT_OK);
    assert_string_equal(name, "fc");
    for (int i = 0; i < BATCH; i++) f.label[i] = i % 2;
    double first = fixture_train(&f);
    for (int i = 0; i < 30; i++) {
        ot_optimizer_step(f.s, NULL);
        fixture_train(&f);
    }
    assert_true(fixture_train(&f) < first);
    ot_close(f.s);
}

/* Classes that a Relu cuts off behind the layer, as in SqueezeNet. */
static unsigned char *rectified(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 8, 8));
    network_weight(&m, "last", 4, DIMS(CLASSES, 3, 1, 1), 1);
    network_weight(&m, "bias", 1, DIMS(CLASSES), 1);
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
    fixture_open(&f, rectified, NULL);
    for (size_t i = 0; i < sizeof f.x / sizeof *f.x; i++) f.x[i] = fabsf(f.x[i]);
    assert_int_equal(ot_new_head(f.s, MANY, NULL, NULL), OT_OK);
    fixture_train(&f);
    for (int i = 0; i < ot_parameter_count(f.s); i++) {
        ot_parameter_info info;
        ot_get_parameter(f.s, i, &info, NULL);
        assert_int_equal(ot_get_gradient(f.s, i, gradient, NULL), OT_OK);
        for (int64_t k = 0; k < info.elements; k++) assert_true(gradient[k] != 0);
    }
    ot_close(f.s);
}

/* ---- layouts ---- */

struct search {
    const char *text;
    int found;
};

static void find_line(void *context, const char *line) {
    struct search *s = context;
    s->found += strstr(line, s->text) != NULL;
}

/* Lines with this text in the plan for so many samples. */
static int count_lines(make_fn *make, int64_t samples, const char *text) {
    struct fixture f;
    struct search s = {.text = text};
    ot_error err = {OT_OK, ""};
    fixture_open(&f, make, &(ot_options){.threads = 1, .sparse = OT_SPARSE_ALWAYS});
    f.in.dim[0] = samples;
    if (ot_prepare(f.s, 1, &f.in, 1, NULL, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_print_plan(f.s, find_line, &s, &err), OT_OK);
    ot_close(f.s);
    return s.found;
}

/* Convolutions run in rows only where filling up lanes would cost more; linear layers in as few
 * blocks as there can be, none of which is wider than it has to be. */
static void lanes_follow_the_batch(void **state) {
    (void)state;
    static const int rows[] = {1, 8, 11, 17, 22}, lanes[] = {12, 15, 16, 23, 31, 48};
    for (int i = 0; i < 5; i++) assert_int_equal(count_lines(network_cnn, rows[i], "lanes16"), 0);
    for (int i = 0; i < 6; i++) assert_true(count_lines(network_cnn, lanes[i], "lanes16") > 0);
    assert_true(count_lines(network_mlp, 113, "lanes128") > 0);
    assert_true(count_lines(network_mlp, 129, "lanes80") > 0);
    assert_int_equal(count_lines(network_mlp, 129, "lanes128"), 0);
}

static size_t needed(struct fixture *f) {
    size_t bytes;
    assert_int_equal(ot_prepare(f->s, 1, &f->in, 1, &bytes, NULL), OT_OK);
    return bytes;
}

/* Weights that are frozen after steps need what those need that were frozen before. */
static void freezing_gives_memory_back(void **state) {
    (void)state;
    size_t bytes[3];
    for (int late = 0; late < 2; late++) {
        struct fixture f;
        const ot_options o = {.threads = 1};
        const ot_optimizer_options adam = {.kind = OT_ADAM, .lr = 0.01f};
        fixture_open(&f, network_mlp, &o);
        assert_int_equal(ot_set_optimizer(f.s, &adam, NULL), OT_OK);
        if (late) fixture_train(&f);
        if (late) assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        if (late) bytes[2] = needed(&f);
        assert_int_equal(ot_set_trainable(f.s, "w*", 0, NULL), OT_OK);
        bytes[late] = needed(&f);
        ot_close(f.s);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_true(bytes[1] < bytes[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freezing_gives_memory_back),
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(gradients_begin_at_zero_and_add_up),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(sparse_equals_dense),
        cmocka_unit_test(live_buffers_do_not_overlap),
        cmocka_unit_test(a_cnn_enters_lanes_once),
        cmocka_unit_test(lanes_follow_the_samples),
        cmocka_unit_test(frozen_weights_cost_nothing),
        cmocka_unit_test(lanes_follow_the_batch),
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
