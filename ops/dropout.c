/* dropout.c - Dropout: in a training step y = x / (1 - ratio) where a random bit keeps x, else 0;
 * otherwise y = x.
 *
 * When a step trains: opset 12 and later, input training_mode says so; opset 7 to 10 leave it to
 * the runtime, so it does; opset 6 has is_test. The bit of element e of the batch is a function of
 * seed, step, node and e alone, whatever the layout and the division into micro-batches (Philox,
 * one counter for four elements).
 */
#include <math.h>
#include <string.h>

#include "ops/walk/unary.h"
#include "runtime/base/rng.h"

enum { GRAIN = 8192 }; /* a multiple of 4 */

struct dropout_plan {
    bool active;
    float scale;
    uint64_t drop_below; /* of 2^32 */
};

struct work {
    const struct op_node *n;
    const struct tensor *from, *to; /* x and y, or dy and dx */
};

/* A constant scalar input, of float or bool; `otherwise` where it is absent. */
static ot_status scalar(const struct op_node *n, int i, ot_type type, float otherwise, float *out,
                        ot_error *err) {
    *out = otherwise;
    if (i >= n->n_in || !n->x[i]) return OT_OK;
    const struct tensor *t = n->x[i];
    OT_TRY(ot_op_type(n, i, type, err));
    if (t->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    if (t->rank > 1 || ot_elements(t) != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a scalar", i);
    *out = type == OT_FLOAT ? ot_f(t)[0] : (float)(*(const uint8_t *)t->data != 0);
    return OT_OK;
}

static ot_status read_form(const struct op_node *n, float *ratio, bool *training, ot_error *err) {
    int opset = n->node->opset;
    *training = opset >= 7 || !ot_attr_int(n->node, "is_test", 0);
    *ratio = ot_attr_float(n->node, "ratio", 0.5f);
    if (opset >= 12) {
        float mode;
        OT_TRY(scalar(n, 1, OT_FLOAT, 0.5f, ratio, err));
        OT_TRY(scalar(n, 2, OT_BOOL, 0, &mode, err));
        *training = mode != 0;
    } else if (n->n_in > 1) {
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %d inputs, expected 1 in this opset", n->n_in);
    }
    if (!(*ratio >= 0 && *ratio <= 1))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the ratio is %g, expected 0 to 1",
                          (double)*ratio);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct dropout_plan *plan = ot_op_plan(n);
    float ratio;
    bool training;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(read_form(n, &ratio, &training, err));
    ot_op_like(n->y[0], n->x[0]);
    plan->active = training && n->training && ratio > 0;
    plan->scale = ratio < 1 ? 1 / (1 - ratio) : 0;
    plan->drop_below = (uint64_t)((double)ratio * 0x1p32);
    if (n->n_out > 1 && n->y[1]) {
        ot_op_like(n->y[1], n->x[0]);
        if (n->node->opset >= 10) n->y[1]->type = OT_BOOL;
    }
    if (plan->active) n->save_size = (size_t)ot_count(n->x[0]);
    return OT_OK;
}

/* Where element e (in rows) stands. */
static int64_t position(const struct tensor *t, int64_t plane, int64_t e) {
    if (!t->lanes) return e;
    int64_t i = e / plane, s = e % plane;
    return ((i / t->lanes) * plane + s) * t->lanes + i % t->lanes;
}

static void mask_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    const struct dropout_plan *plan = n->plan;
    const struct step_context *c = n->context;
    const uint32_t key[2] = {(uint32_t)c->seed ^ 0x44726f70u /* "Drop" */,
                             (uint32_t)(c->seed >> 32)};
    const int64_t plane = ot_sample_elements(n->x[0]), count = ot_elements(n->x[0]);
    const int64_t before = c->samples ? c->first * (count / c->samples) : 0;
    int64_t e, to;
    uint8_t *keep = n->save;
    (void)worker;
    ot_task_range(count, GRAIN, task, &e, &to);
    while (e < to) {
        uint64_t group = (uint64_t)(before + e) / 4;
        uint32_t bits[4];
        const uint32_t counter[4] = {(uint32_t)group, (uint32_t)n->index, (uint32_t)c->step,
                                     (uint32_t)(c->step >> 32) ^ (uint32_t)(group >> 32) << 16};
        ot_philox(counter, key, bits);
        for (int j = (int)((before + e) % 4); j < 4 && e < to; j++, e++)
            keep[position(n->x[0], plane, e)] = bits[j] >= plan->drop_below;
    }
}

static void apply_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct dropout_plan *plan = w->n->plan;
    const uint8_t *keep = w->n->save;
    const float *x = ot_f(w->from);
    float *y = ot_f(w->to), scale = plan->scale;
    int64_t from, to;
    (void)worker;
    ot_task_range(ot_count(w->from), GRAIN, task, &from, &to);
    if (!plan->active)
        memcpy(y + from, x + from, (size_t)(to - from) * sizeof *y);
    else
        for (; from < to; from++) y[from] = ot_pass(keep[from], x[from] * scale);
}

static void apply_mask(struct op_node *n, const struct tensor *from, const struct tensor *to) {
    struct work w = {n, from, to};
    ot_parallel_for(n->pool, ot_task_count(ot_count(from), GRAIN), apply_task, &w);
}

static void write_mask(struct op_node *n, struct tensor *mask) {
    const struct dropout_plan *plan = n->plan;
    const uint8_t *keep = n->save;
    for (int64_t k = 0, count = ot_count(mask); k < count; k++) {
        bool kept = !plan->active || keep[k];
        if (mask->type == OT_BOOL)
            ((uint8_t *)mask->data)[k] = kept;
        else
            ot_f(mask)[k] = kept;
    }
}

static void forward(struct op_node *n) {
    const struct dropout_plan *plan = n->plan;
    struct work w = {.n = n};
    if (plan->active) {
        memset(n->save, 0, n->save_size);
        ot_parallel_for(n->pool, ot_task_count(ot_elements(n->x[0]), GRAIN), mask_task, &w);
    }
    apply_mask(n, n->x[0], n->y[0]);
    if (n->n_out > 1 && n->y[1]) write_mask(n, n->y[1]);
}

/* With the bits that forward drew. */
static void again(struct op_node *n) { apply_mask(n, n->x[0], n->y[0]); }

static void backward(struct op_node *n) {
    if (n->dx[0]) apply_mask(n, n->dy[0], n->dx[0]);
}

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "X[2,3,5] train -> Y[2,3,5]",
    "X[2,3,5] f(0.4) b(1) train lanes -> Y[2,3,5]",
    "X[2,3,5] f(0.4) b(1) -> Y[2,3,5]",
    "X[2,3,5] f(0.4) b(1) train lanes -> Y[2,3,5] M[2,3,5]:b",
    "X[20,700] - b(1) train @13 lanes -> Y[20,700]",
    "X[2,3,5] ratio=0.3 train @10 lanes -> Y[2,3,5] M[2,3,5]:b",
    "X[2,3,5] ratio=0.3 train @7 -> Y[2,3,5] M[2,3,5]:n",
    "X[2,3,5] ratio=0.3 is_test=1 train @6 -> Y[2,3,5]",
    "f{1,2,3} f(1) b(1) train -> f{0,0,0} b{0,0,0}",
    "f{1,2,3} f(0.9) -> f{1,2,3} b{1,1,1}",
    "X[3] f(-0.1) -> error: ratio is -0.1",
    "X[3] f(nan) b(1) -> error: ratio is nan",
    "X[3] f[1,1,1]{0.5} -> error: input 1 is not a scalar",
    "X[3] R[] -> error: input 1 is not a constant",
    NULL,
};

const struct op ot_op_Dropout = {
    .name = "Dropout",
    .since = 6,
    .min_in = 1,
    .max_in = 3,
    .min_out = 1,
    .max_out = 2,
    .attributes = "ratio:f is_test:i seed:i consumed_inputs:I",
    .needs = 0,
    .plan_size = sizeof(struct dropout_plan),
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "ratio and training_mode must be constant",
    .cases = cases,
    .again = again,
};
