/* is_special.c - IsNaN, and IsInf with detect_negative and detect_positive: float in, bool out. Not
 * differentiable. */
#include <math.h>
#include <string.h>

#include "ops/walk/unary.h"

struct is_special_plan {
    bool nan, negative, positive; /* which special values count */
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct is_special_plan *plan = ot_op_plan(n);
    plan->nan = !strcmp(n->op->name, "IsNaN");
    plan->negative = !plan->nan && ot_attr_int(n->node, "detect_negative", 1);
    plan->positive = !plan->nan && ot_attr_int(n->node, "detect_positive", 1);
    OT_TRY(ot_unary_prepare(n, err));
    n->y[0]->type = OT_BOOL;
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct is_special_plan p = *(const struct is_special_plan *)n->plan;
    const float *x = ot_f(n->x[0]);
    uint8_t *y = n->y[0]->data;
    for (int64_t i = 0, count = ot_count(n->x[0]); i < count; i++)
        y[i] = isnan(x[i]) ? p.nan : isinf(x[i]) && (x[i] < 0 ? p.negative : p.positive);
}

static const char *const nan_cases[] = {"f{1,nan,inf,-inf} -> b{0,1,0,0}",
                                        "X[2,3] lanes -> Y[2,3]:b",
                                        "i64{1} -> error: input 0 is int64", NULL};
static const char *const inf_cases[] = {"f{1,nan,inf,-inf} -> b{0,0,1,1}",
                                        "f{1,nan,inf,-inf} detect_negative=0 -> b{0,0,1,0}",
                                        "f{1,nan,inf,-inf} detect_positive=0 -> b{0,0,0,1}", NULL};

#define IS_SPECIAL(word, first, list, texts)                                                       \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .plan_size = sizeof(struct is_special_plan),                                               \
        .lanes = ot_unary_lanes,                                                                   \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .cases = texts,                                                                            \
    }
IS_SPECIAL(IsNaN, 9, "", nan_cases);
IS_SPECIAL(IsInf, 10, "detect_negative:i detect_positive:i", inf_cases);
