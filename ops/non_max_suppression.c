/* non_max_suppression.c - NonMaxSuppression of constants: boxes by falling score, without those
 * that overlap one taken before; rows (sample, class, box).
 */
#include <math.h>
#include <string.h>

#include "ops/op.h"

struct non_max_suppression_plan {
    int64_t samples, classes, boxes, most;
    float overlap, score;
    bool scored, centred;
    int64_t *taken; /* 3 a row */
    int64_t rows;
};

/* The one number of input i, which may be absent. */
static ot_status read_number(const struct op_node *n, int i, float *value, bool *given,
                             ot_error *err) {
    *given = i < n->n_in && n->x[i] && ot_elements(n->x[i]) > 0;
    *value = 0;
    if (!*given) return OT_OK;
    const struct tensor *t = n->x[i];
    if (t->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    if (ot_elements(t) != 1 || (t->type != OT_FLOAT && t->type != OT_INT64))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a single number", i);
    *value = t->type == OT_FLOAT ? *ot_f(t) : (float)*(const int64_t *)t->data;
    return OT_OK;
}

static ot_status read_inputs(const struct op_node *n, struct non_max_suppression_plan *plan,
                             ot_error *err) {
    const struct tensor *boxes = n->x[0], *scores = n->x[1];
    float most;
    bool given;
    for (int i = 0; i < 2; i++) {
        OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
        if (n->x[i]->role != OT_ROLE_CONST)
            return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    }
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dim[2] != 4 ||
        boxes->dim[0] != scores->dim[0] || boxes->dim[1] != scores->dim[2])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the shapes of boxes and scores do not fit each other");
    plan->samples = scores->dim[0];
    plan->classes = scores->dim[1];
    plan->boxes = scores->dim[2];
    plan->centred = ot_attr_int(n->node, "center_point_box", 0) != 0;
    OT_TRY(read_number(n, 2, &most, &given, err));
    OT_TRY(read_number(n, 3, &plan->overlap, &given, err));
    OT_TRY(read_number(n, 4, &plan->score, &plan->scored, err));
    plan->most = most > 0 ? most < 0x1p30f ? (int64_t)most : 1 << 30 : 0;
    if (plan->most > plan->boxes) plan->most = plan->boxes;
    return OT_OK;
}

struct box {
    float y0, x0, y1, x1;
};

static struct box box_at(const struct non_max_suppression_plan *plan, const float *b) {
    if (plan->centred)
        return (struct box){b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2};
    return (struct box){fminf(b[0], b[2]), fminf(b[1], b[3]), fmaxf(b[0], b[2]), fmaxf(b[1], b[3])};
}

static float area(struct box b) {
    return b.x1 > b.x0 && b.y1 > b.y0 ? (b.x1 - b.x0) * (b.y1 - b.y0) : 0;
}

static bool overlaps(const struct non_max_suppression_plan *plan, struct box a, struct box b) {
    const struct box both = {fmaxf(a.y0, b.y0), fmaxf(a.x0, b.x0), fminf(a.y1, b.y1),
                             fminf(a.x1, b.x1)};
    const float common = area(both), all = area(a) + area(b) - common;
    return common > 0 && area(a) > 0 && area(b) > 0 && common / all > plan->overlap;
}

/* Takes boxes of one class of one sample. done: a mark for each box. */
static void suppress(const struct op_node *n, struct non_max_suppression_plan *plan, int64_t sample,
                     int64_t class, uint8_t *done) {
    const float *boxes = ot_f(n->x[0]) + sample * plan->boxes * 4;
    const float *scores = ot_f(n->x[1]) + (sample * plan->classes + class) * plan->boxes;
    const int64_t first = plan->rows;
    memset(done, 0, (size_t)plan->boxes);
    while (plan->rows - first < plan->most) {
        int64_t best = -1;
        for (int64_t i = 0; i < plan->boxes; i++)
            if (!done[i] && (!plan->scored || scores[i] > plan->score) &&
                (best < 0 || scores[i] > scores[best]))
                best = i;
        if (best < 0) return;
        done[best] = 1;
        bool free = true;
        for (int64_t k = first; k < plan->rows && free; k++)
            free = !overlaps(plan, box_at(plan, boxes + best * 4),
                             box_at(plan, boxes + plan->taken[k * 3 + 2] * 4));
        if (!free) continue;
        int64_t *row = plan->taken + 3 * plan->rows++;
        row[0] = sample;
        row[1] = class;
        row[2] = best;
    }
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct non_max_suppression_plan *plan = ot_op_plan(n);
    int64_t rows;
    OT_TRY(read_inputs(n, plan, err));
    if (!ot_shape_count((int64_t[]){plan->samples, plan->classes, plan->most, 3}, 4,
                        (int64_t)1 << 32, &rows))
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the number of boxes is too large");
    plan->taken = ot_arena_alloc(n->arena, (size_t)rows, sizeof *plan->taken);
    uint8_t *done = ot_arena_alloc(n->arena, (size_t)plan->boxes, 1);
    if (!plan->taken || !done) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < plan->samples; i++)
        for (int64_t c = 0; c < plan->classes; c++) suppress(n, plan, i, c, done);
    return ot_op_set(n, n->y[0], OT_INT64, 2, (int64_t[]){plan->rows, 3}, err);
}

static void forward(struct op_node *n) {
    const struct non_max_suppression_plan *plan = n->plan;
    memcpy(n->y[0]->data, plan->taken, (size_t)(3 * plan->rows) * sizeof *plan->taken);
}

static const char *const cases[] = {
    "f[1,4,4]{0,0,1,1,0,0.1,1,1.1,0,2,1,3,1,1,0,0} f[1,1,4]{0.9,0.75,0.6,0.95} i64{3} f{0.5} "
    "f{0.1} -> i64[2,3]{0,0,3,0,0,2}",
    "f[1,2,4]{0.5,0.5,1,1,0.5,0.6,1,1} f[1,2,2]{0.9,0.3,0.2,0.8} i64{2} f{0.9} "
    "center_point_box=1 -> i64[4,3]{0,0,0,0,0,1,0,1,1,0,1,0}",
    "f[1,1,4]{0,0,1,1} f[1,1,1]{1} -> i64[0,3]{}",
    "B[1,4,4] f[1,1,4]{1,2,3,4} -> error: input 0 is not a constant",
    "f[1,1,4]{0,0,1,1} f[1,1,2]{1,2} -> error: do not fit",
    NULL};

const struct op ot_op_NonMaxSuppression = {
    .name = "NonMaxSuppression",
    .since = 10,
    .min_in = 2,
    .max_in = 5,
    .min_out = 1,
    .max_out = 1,
    .attributes = "center_point_box:i",
    .plan_size = sizeof(struct non_max_suppression_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "all inputs must be constant",
    .cases = cases,
};
