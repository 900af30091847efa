/* test_loss_choice.c - the loss of steps: what targets choose, outputs that are probabilities,
 * tokens that are their own labels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/model.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define COUNT(a)  (sizeof(a) / sizeof *(a))

static void fill(float *x, int n, uint64_t stream) {
    for (int i = 0; i < n; i++) x[i] = ot_random_normal(7, stream, (uint64_t)i);
}

/* ---- what a target asks for ---- */

struct choice {
    int rank;
    int64_t dim[4];   /* of the output */
    const char *tail; /* of the model; "" */
    ot_type type;     /* of the target */
    int target_rank;
    int64_t target_dim[4];
    const char *values; /* repeated: "012" digits, or "f" thirds of one, "n" -0.5 */
    ot_loss_kind kind;  /* OT_LOSS_AUTO: refused */
    int axis;
    bool soft;
};

static const struct choice choices[] = {
    {2, {6, 3}, "", OT_INT64, 1, {6}, "012", OT_LOSS_CROSS_ENTROPY, 1, false},
    {2, {6, 3}, "", OT_UINT8, 2, {6, 1}, "012", OT_LOSS_CROSS_ENTROPY, 1, false},
    {2, {6, 2}, "", OT_INT64, 1, {6}, "01", OT_LOSS_CROSS_ENTROPY, 1, false},
    {3, {6, 4, 5}, "", OT_INT32, 2, {6, 4}, "012", OT_LOSS_CROSS_ENTROPY, 2, false},
    {3, {6, 5, 4}, "", OT_INT64, 2, {6, 4}, "012", OT_LOSS_CROSS_ENTROPY, 1, false},
    {3, {6, 4, 4}, "", OT_INT64, 2, {6, 4}, "012", OT_LOSS_CROSS_ENTROPY, 2, false},
    {4, {6, 3, 2, 4}, "", OT_INT64, 3, {6, 2, 4}, "012", OT_LOSS_CROSS_ENTROPY, 1, false},
    {4, {6, 2, 4, 3}, "", OT_INT64, 3, {6, 2, 4}, "012", OT_LOSS_CROSS_ENTROPY, 3, false},
    {4, {6, 3, 1, 1}, "", OT_INT64, 1, {6}, "012", OT_LOSS_CROSS_ENTROPY, 1, false},
    {2, {6, 1}, "", OT_INT64, 1, {6}, "01", OT_LOSS_BCE, 0, false},
    {2, {6, 1}, "Sigmoid", OT_UINT8, 2, {6, 1}, "01", OT_LOSS_BCE, 0, false},
    {2, {6, 1}, "Sigmoid", OT_FLOAT, 2, {6, 1}, "1", OT_LOSS_BCE, 0, false},
    {2, {6, 1}, "", OT_FLOAT, 1, {6}, "01", OT_LOSS_BCE, 0, false},
    {2, {6, 1}, "", OT_FLOAT, 1, {6}, "1", OT_LOSS_MSE, 0, false},
    {2, {6, 1}, "", OT_FLOAT, 2, {6, 1}, "012", OT_LOSS_MSE, 0, false},
    {2, {6, 1}, "Sigmoid", OT_FLOAT, 2, {6, 1}, "f", OT_LOSS_MSE, 0, false},
    {2, {6, 3}, "", OT_FLOAT, 2, {6, 3}, "f", OT_LOSS_CROSS_ENTROPY, 1, true},
    {2, {6, 3}, "", OT_FLOAT, 2, {6, 3}, "001", OT_LOSS_CROSS_ENTROPY, 1, true},
    {2, {6, 3}, "", OT_INT64, 2, {6, 3}, "001", OT_LOSS_CROSS_ENTROPY, 1, true},
    {2, {6, 3}, "Sigmoid", OT_FLOAT, 2, {6, 3}, "001", OT_LOSS_BCE, 0, false},
    {2, {6, 3}, "", OT_FLOAT, 2, {6, 3}, "011", OT_LOSS_BCE, 0, false},
    {2, {6, 3}, "", OT_FLOAT, 2, {6, 3}, "n", OT_LOSS_MSE, 0, false},
    {3, {6, 4, 3}, "", OT_FLOAT, 3, {6, 4, 3}, "f", OT_LOSS_CROSS_ENTROPY, 2, true},
    {2, {6, 3}, "", OT_INT64, 2, {6, 3}, "012", OT_LOSS_MSE, 0, false},
    {2, {6, 1}, "", OT_INT64, 1, {6}, "012", OT_LOSS_AUTO, 0, false},
    {2, {6, 3}, "", OT_FLOAT, 1, {6}, "012", OT_LOSS_AUTO, 0, false},
    {2, {6, 3}, "", OT_INT64, 2, {6, 2}, "012", OT_LOSS_AUTO, 0, false},
    {2, {6, 3}, "", OT_UNDEFINED, 0, {0}, "", OT_LOSS_AUTO, 0, false},
};

/* y = tail(x w), w a matrix on the last axis. */
static ot_session *open_tail(const char *tail, const struct choice *c) {
    struct test_model m;
    float w[5 * 5];
    ot_session *s;
    int64_t dim[4];
    memcpy(dim, c->dim, sizeof dim);
    dim[0] = -1;
    const int64_t last = dim[c->rank - 1];
    fill(w, 25, 3);
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, c->rank, dim);
    model_floats(&m, "w", 2, DIMS(last, last), w);
    model_node(&m, "MatMul", "x w", *tail ? "z" : "y", "");
    if (*tail) model_node(&m, tail, "z", "y", "");
    model_output(&m, "y", OT_FLOAT, c->rank, dim);
    const ot_options options = {.threads = 1};
    assert_int_equal(model_open(&m, &options, &s, NULL), OT_OK);
    return s;
}

static void set_value(ot_type type, void *data, int i, char value) {
    const float number = value == 'f' ? 1.0f / 3 : value == 'n' ? -0.5f : (float)(value - '0');
    if (type == OT_FLOAT) ((float *)data)[i] = number;
    if (type == OT_INT64) ((int64_t *)data)[i] = (int64_t)number;
    if (type == OT_INT32) ((int32_t *)data)[i] = (int32_t)number;
    if (type == OT_UINT8) ((uint8_t *)data)[i] = (uint8_t)number;
}

static void targets_choose_the_loss(void **state) {
    (void)state;
    float x[6 * 5 * 4 * 3];
    int64_t data[6 * 5 * 4 * 3];
    fill(x, (int)COUNT(x), 4);
    for (size_t k = 0; k < COUNT(choices); k++) {
        const struct choice *c = &choices[k];
        ot_session *s = open_tail(c->tail, c);
        ot_tensor in = {OT_FLOAT, c->rank, {0}, x}, target = {c->type, c->target_rank, {0}, data};
        memcpy(in.dim, c->dim, sizeof c->dim);
        memcpy(target.dim, c->target_dim, sizeof c->target_dim);
        for (int i = 0; *c->values && i < (int)COUNT(data); i++)
            set_value(c->type, data, i, c->values[(size_t)i % strlen(c->values)]);
        const ot_tensor *given = c->target_rank ? &target : NULL;
        ot_loss_info info;
        ot_error err = {OT_OK, ""};
        ot_status status = ot_choose_loss(s, &in, 1, given, &info, &err);
        if (c->kind == OT_LOSS_AUTO) {
            assert_int_equal(status, OT_ERROR_ARGUMENT);
            assert_int_equal(ot_eval_step(s, &in, 1, given, NULL, NULL), OT_ERROR_ARGUMENT);
            ot_close(s);
            continue;
        }
        if (status) fail_msg("choice %zu: %s", k, err.message);
        if (info.kind != c->kind || info.class_axis != c->axis || info.soft_targets != c->soft)
            fail_msg("choice %zu: kind %d, axis %d, soft %d", k, (int)info.kind, info.class_axis,
                     info.soft_targets);
        assert_int_equal(info.classes, c->axis ? c->dim[c->axis] : 0);
        ot_result r;
        status = ot_eval_step(s, &in, 1, given, &r, &err); /* it agrees with what was chosen */
        if (status) fail_msg("choice %zu: %s", k, err.message);
        ot_tensor want;
        assert_int_equal(ot_get_target(s, &want, NULL), OT_OK);
        assert_memory_equal(&want, &info.target, sizeof want);
        ot_close(s);
    }
}

/* A step alone chooses too; what is refused changes nothing; the choice stands. */
static void the_first_target_decides(void **state) {
    (void)state;
    const struct choice c = {.rank = 2, .dim = {6, 1}};
    ot_session *s = open_tail("Sigmoid", &c);
    float x[6], values[6] = {0.5f, 2, 3, 1, 0, 1};
    int64_t labels[6] = {0, 1, 0, 1, 1, 7};
    fill(x, 6, 4);
    const ot_tensor in = {OT_FLOAT, 2, {6, 1}, x}, wrong = {OT_INT64, 1, {6}, labels},
                    five = {OT_INT64, 1, {5}, labels}, floats = {OT_FLOAT, 1, {6}, values};
    ot_error err;
    ot_result r;
    size_t bytes;
    const ot_optimizer_options sgd = {.lr = 0.1f};
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    assert_int_equal(ot_prepare(s, 1, &in, 1, &bytes, NULL), OT_OK);
    assert_int_equal(ot_train_step(s, &in, 1, &wrong, &r, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "label 7 of sample 5"));
    assert_int_equal(ot_train_step(s, &in, 1, &five, &r, &err), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_train_step(s, &in, 1, &floats, &r, &err), OT_OK); /* mse */
    labels[5] = 0;
    assert_int_equal(ot_train_step(s, &in, 1, &wrong, &r, &err), OT_OK);
    assert_int_equal(s->loss_kind, OT_LOSS_MSE);
    ot_close(s);
}

/* ---- probabilities as outputs ---- */

enum { ROWS = 6, IN = 4, OUT = 3 };

struct tail_case {
    int opset;
    const char *nodes; /* "op|in|out|attributes;..." from z, what the loss wants, to y */
    int rank;
    int64_t dim[4]; /* of y */
    ot_loss_kind kind;
    bool same; /* as of the scores themselves */
};

#define CROSS OT_LOSS_CROSS_ENTROPY
static const struct tail_case tails[] = {
    {13, "Softmax|z|y|axis=-1", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|axis=1;Identity|p|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|axis=1;Cast|p|c|to=10;Cast|c|y|to=1", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|;Reshape|p shape|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|;Unsqueeze|p two|u|;Identity|u|y|", 3, {-1, OUT, 1}, CROSS, true},
    {13, "Softmax|z|p|;Unsqueeze|p two|u|;Squeeze|u two|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|;Unsqueeze|p two|u|;Flatten|u|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|;Dropout|p|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|;Log|p|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Softmax|z|p|;Identity|p|q|;Log|q|l|;Cast|l|y|to=1", 2, {-1, OUT}, CROSS, true},
    {13, "LogSoftmax|z|y|", 2, {-1, OUT}, CROSS, true},
    {13, "LogSoftmax|z|p|;Identity|p|y|", 2, {-1, OUT}, CROSS, true},
    {13,
     "Unsqueeze|z two|u|;Transpose|u|t|perm=0,2,1;Softmax|t|p|axis=2;Transpose|p|y|perm=0,2,1",
     3,
     {-1, OUT, 1},
     CROSS,
     true},
    {11, "Softmax|z|p|axis=1;Identity|p|y|", 2, {-1, OUT}, CROSS, true},
    {13, "Sigmoid|z|y|", 2, {-1, OUT}, OT_LOSS_BCE, true},
    {13,
     "Sigmoid|z|p|;Cast|p|c|to=11;Cast|c|i|to=1;Identity|i|y|",
     2,
     {-1, OUT},
     OT_LOSS_BCE,
     true},
    {13, "Sigmoid|z|p|;Unsqueeze|p two|y|", 3, {-1, OUT, 1}, OT_LOSS_BCE, true},
    /* these are no scores */
    {13, "Sigmoid|z|y|", 2, {-1, OUT}, CROSS, false},
    {13, "Softmax|z|y|", 2, {-1, OUT}, OT_LOSS_BCE, false},
    {13, "Softmax|z|y|", 2, {-1, OUT}, OT_LOSS_MSE, false},
    {13, "Softmax|z|p|;Mul|p p|y|", 2, {-1, OUT}, CROSS, false},
    {13, "Softmax|z|p|;Clip|p|y|", 2, {-1, OUT}, CROSS, false},
    {13, "Softmax|z|p|;Softmax|p|y|", 2, {-1, OUT}, CROSS, false},
    {11, "Unsqueeze|z|u|axes=2,;Softmax|u|p|axis=0;Flatten|p|y|", 2, {-1, OUT}, CROSS, false},
};

static void add_nodes(struct test_model *m, const char *nodes) {
    char text[256], *next = text;
    snprintf(text, sizeof text, "%s", nodes);
    while (next) {
        char *node = next, *part[4] = {node};
        next = strchr(node, ';');
        if (next) *next++ = '\0';
        for (int i = 1; i < 4; i++) {
            part[i] = strchr(part[i - 1], '|');
            *part[i]++ = '\0';
        }
        model_node(m, part[0], part[1], part[2], part[3]);
    }
}

struct tail_step {
    ot_result r;
    float gradient[IN * OUT];
    int skipped;
};

/* A training step of y = nodes(x w); also_p: the probabilities are an output too. */
static void step_tail(const struct tail_case *c, const char *nodes, bool also_p,
                      struct tail_step *step) {
    struct test_model m;
    float w[IN * OUT], x[ROWS * IN], yes[ROWS * OUT];
    int64_t label[ROWS];
    ot_session *s;
    ot_error err = {OT_OK, ""};
    fill(w, IN * OUT, 3);
    fill(x, ROWS * IN, 4);
    for (int i = 0; i < ROWS; i++) label[i] = i * 2 % OUT;
    for (int i = 0; i < ROWS * OUT; i++) yes[i] = i % 2;
    model_begin(&m, c->opset);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, IN));
    model_floats(&m, "w", 2, DIMS(IN, OUT), w);
    model_ints(&m, "two", 1, DIMS(2));
    model_ints(&m, "shape", 2, DIMS(-1, OUT));
    model_node(&m, "MatMul", "x w", *nodes ? "z" : "y", "");
    if (*nodes) add_nodes(&m, nodes);
    model_output(&m, "y", OT_FLOAT, *nodes ? c->rank : 2, *nodes ? c->dim : DIMS(-1, OUT));
    if (also_p) model_output(&m, "p", OT_FLOAT, 2, DIMS(-1, OUT));
    const ot_options options = {.threads = 1};
    if (model_open(&m, &options, &s, &err)) fail_msg("%s: %s", nodes, err.message);
    const ot_tensor in = {OT_FLOAT, 2, {ROWS, IN}, x}, labels = {OT_INT64, 1, {ROWS}, label},
                    values = {OT_FLOAT, 2, {ROWS, OUT}, yes};
    const ot_loss_options loss = {.kind = c->kind};
    const ot_optimizer_options sgd = {.lr = 0.1f};
    ot_set_loss(s, &loss, NULL);
    ot_set_optimizer(s, &sgd, NULL);
    if (ot_train_step(s, &in, 1, c->kind == CROSS ? &labels : &values, &step->r, &err) ||
        ot_get_gradient(s, 0, step->gradient, &err))
        fail_msg("%s: %s", nodes, err.message);
    step->skipped = s->plan->is_skipped;
    ot_close(s);
}

static void probabilities_are_seen_through(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT(tails); k++) {
        const struct tail_case *c = &tails[k];
        struct tail_step want, got, with_p;
        step_tail(c, "", false, &want);
        step_tail(c, c->nodes, false, &got);
        const bool equal = fabs(got.r.loss - want.r.loss) < 1e-6;
        if (equal != c->same)
            fail_msg("%s: loss %.9g, of the scores %.9g", c->nodes, got.r.loss, want.r.loss);
        for (int i = 0; c->same && i < IN * OUT; i++)
            assert_float_equal(got.gradient[i], want.gradient[i], 1e-6);
        if (c->same) assert_int_equal(got.r.correct, want.r.correct);
        if (strstr(c->nodes, "|p|")) { /* somebody else looks at the probabilities */
            if (c->rank == 3 && strstr(c->nodes, "Transpose")) continue;
            step_tail(c, c->nodes, true, &with_p);
            assert_memory_equal(&with_p.r, &got.r, sizeof got.r);
        }
    }
}

/* Dropout that trains hides the scores from training alone. */
static void active_dropout_is_not_seen_through(void **state) {
    (void)state;
    const struct tail_case c = {11, "Softmax|z|p|;Dropout|p|y|ratio=0.5", 2, {-1, OUT}, CROSS, 0};
    struct tail_step got;
    step_tail(&c, c.nodes, false, &got);
    assert_false(got.skipped);
}

/* A Softmax along another axis than the classes is no reason to guess. */
static void softmax_along_another_axis_is_refused(void **state) {
    (void)state;
    const struct choice c = {.rank = 3, .dim = {6, 5, 4}};
    ot_session *s = open_tail("Softmax", &c);
    float x[6 * 5 * 4];
    int64_t label[6 * 4] = {0};
    ot_error err;
    fill(x, 6 * 5 * 4, 4);
    const ot_tensor in = {OT_FLOAT, 3, {6, 5, 4}, x}, target = {OT_INT64, 2, {6, 4}, label};
    assert_int_equal(ot_eval_step(s, &in, 1, &target, NULL, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "axis 1"));
    ot_close(s);
}

/* ---- language models ---- */

enum { TOKENS = 9, WORDS = 7, WIDTH = 4 };

static ot_session *open_language(const ot_options *options) {
    struct test_model m;
    float table[WORDS * WIDTH], head[WIDTH * WORDS];
    ot_session *s;
    ot_error err = {OT_OK, ""};
    fill(table, WORDS * WIDTH, 5);
    fill(head, WIDTH * WORDS, 6);
    model_begin(&m, 13);
    model_input(&m, "attention_mask", OT_INT64, 2, DIMS(-1, -1));
    model_input(&m, "input_ids", OT_INT64, 2, DIMS(-1, -1));
    model_floats(&m, "table", 2, DIMS(WORDS, WIDTH), table);
    model_floats(&m, "head", 2, DIMS(WIDTH, WORDS), head);
    model_ints(&m, "axis", 1, DIMS(2));
    model_node(&m, "Gather", "table input_ids", "e", "");
    model_node(&m, "Cast", "attention_mask", "c", "to=1");
    model_node(&m, "Unsqueeze", "c axis", "u", "");
    model_node(&m, "Mul", "e u", "h", "");
    model_node(&m, "MatMul", "h head", "y", "");
    model_output(&m, "y", OT_FLOAT, 3, DIMS(-1, -1, WORDS));
    if (model_open(&m, options, &s, &err)) fail_msg("%s", err.message);
    ot_set_optimizer(s, &(ot_optimizer_options){.lr = 0.1f}, NULL);
    return s;
}

/* What the tokens alone give is what labels give that are shifted by hand. */
static void tokens_are_their_own_labels(void **state) {
    (void)state;
    int64_t ids[ROWS * TOKENS], mask[ROWS * TOKENS], label[ROWS * TOKENS];
    const ot_options options = {.threads = 1};
    ot_session *s = open_language(&options);
    ot_result a, b;
    ot_error err = {OT_OK, ""};
    for (int i = 0; i < ROWS * TOKENS; i++) {
        ids[i] = i * 5 % WORDS;
        mask[i] = i % TOKENS < TOKENS - i / TOKENS;
    }
    for (int i = 0; i < ROWS * TOKENS; i++) {
        const bool last = i % TOKENS == TOKENS - 1;
        label[i] = last || !mask[i + 1] || ids[i + 1] == 3 ? -100 : ids[i + 1];
    }
    const ot_tensor in[] = {{OT_INT64, 2, {ROWS, TOKENS}, mask},
                            {OT_INT64, 2, {ROWS, TOKENS}, ids}},
                    target = {OT_INT64, 2, {ROWS, TOKENS}, label};
    const ot_loss_options next = {.kind = OT_LOSS_NEXT_TOKEN,
                                  .use_ignore_index = 1,
                                  .ignore_index = 3},
                          labels = {.kind = OT_LOSS_CROSS_ENTROPY};
    float g[2][WORDS * WIDTH];
    ot_loss_info info;
    assert_int_equal(ot_choose_loss(s, in, 2, NULL, &info, NULL), OT_OK); /* auto */
    assert_int_equal(info.kind, OT_LOSS_NEXT_TOKEN);
    assert_true(info.tokens == 1 && info.classes == WORDS && info.class_axis == 2);
    ot_set_loss(s, &next, NULL);
    if (ot_train_step(s, in, 2, NULL, &a, &err)) fail_msg("%s", err.message);
    ot_get_gradient(s, 0, g[0], NULL);
    ot_optimizer_step(s, NULL);
    ot_close(s);
    s = open_language(&options);
    ot_set_loss(s, &labels, NULL);
    if (ot_train_step(s, in, 2, &target, &b, &err)) fail_msg("%s", err.message);
    ot_get_gradient(s, 0, g[1], NULL);
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_equal(g[0], g[1], sizeof g[0]);
    ot_close(s);
}

/* Micro-batches cut tokens and mask as they cut the output. */
static void tokens_are_divided(void **state) {
    (void)state;
    enum { MANY = 64, LONG = 40 };
    static int64_t ids[MANY * LONG], mask[MANY * LONG];
    ot_options options = {.threads = 1};
    ot_result r[2];
    ot_error err = {OT_OK, ""};
    ot_memory_info info[2];
    size_t bytes;
    for (int i = 0; i < MANY * LONG; i++) {
        ids[i] = i * 5 % WORDS;
        mask[i] = i % LONG < LONG - i / LONG % 30;
    }
    const ot_tensor in[] = {{OT_INT64, 2, {MANY, LONG}, mask}, {OT_INT64, 2, {MANY, LONG}, ids}};
    for (int k = 0; k < 2; k++) {
        ot_session *s = open_language(&options);
        if (ot_train_step(s, in, 2, NULL, &r[k], &err)) fail_msg("%s", err.message);
        ot_get_memory_info(s, &info[k]);
        assert_int_equal(ot_prepare(s, 1, in, 2, &bytes, NULL), OT_OK);
        options.limits.memory_bytes = bytes - info[k].plan / 2;
        ot_close(s);
    }
    assert_true(info[0].parts == 1 && info[1].parts > 1);
    assert_int_equal(r[0].count, r[1].count);
    assert_int_equal(r[0].correct, r[1].correct);
    assert_float_equal(r[0].loss, r[1].loss, 1e-6);
}

/* The choice is made once; later steps of the same shapes ask for no memory. */
static void chosen_steps_allocate_nothing(void **state) {
    (void)state;
    int64_t ids[ROWS * TOKENS] = {0}, mask[ROWS * TOKENS] = {1, 1, 1};
    struct counter c = {0};
    const ot_options options = {.threads = 1, .allocator = counting_allocator(&c)};
    ot_session *s = open_language(&options);
    const ot_tensor in[] = {{OT_INT64, 2, {ROWS, TOKENS}, mask},
                            {OT_INT64, 2, {ROWS, TOKENS}, ids}};
    assert_int_equal(ot_train_step(s, in, 2, NULL, NULL, NULL), OT_OK);
    const long before = c.requests;
    for (int i = 0; i < 3; i++) assert_int_equal(ot_train_step(s, in, 2, NULL, NULL, NULL), OT_OK);
    assert_int_equal(c.requests, before);
    ot_close(s);
    assert_int_equal(c.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_choose_the_loss),
        cmocka_unit_test(the_first_target_decides),
        cmocka_unit_test(probabilities_are_seen_through),
        cmocka_unit_test(active_dropout_is_not_seen_through),
        cmocka_unit_test(softmax_along_another_axis_is_refused),
        cmocka_unit_test(tokens_are_their_own_labels),
        cmocka_unit_test(tokens_are_divided),
        cmocka_unit_test(chosen_steps_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
