/* window_function.c - HannWindow, HammingWindow and BlackmanWindow: y[i] = a - b cos(2 pi i / N)
 * + c cos(4 pi i / N) for 0 <= i < size; N = size for periodic windows, else size - 1. The size is
 * constant. y[N - i] = y[i], and cos(2 a) = 2 cos(a)^2 - 1: half a cosine an element. */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"

static const struct window_kind {
    const char *name;
    double a, b, c;
} table[] = {
    {"HannWindow", 0.5, 0.5, 0},
    {"HammingWindow", 25.0 / 46, 21.0 / 46, 0},
    {"BlackmanWindow", 0.42, 0.5, 0.08},
};

struct window_function_plan {
    const struct window_kind *kind;
    bool periodic;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct window_function_plan *plan = ot_op_plan(n);
    const ot_type type = ot_op_asked_type(n, "output_datatype", OT_FLOAT);
    const int64_t *size;
    int count;
    OT_TRY(ot_op_ints(n, 0, &size, &count, err));
    if (count != 1 || size[0] < 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 (size) is not a single number of at least 0");
    if (!ot_is_number(type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'output_datatype' is %lld, which is not supported",
                          (long long)ot_attr_int(n->node, "output_datatype", OT_FLOAT));
    plan->kind = table;
    while (strcmp(plan->kind->name, n->op->name)) plan->kind++;
    plan->periodic = ot_attr_int(n->node, "periodic", 1) != 0;
    return ot_op_set(n, n->y[0], type, 1, size, err);
}

static void forward(struct op_node *n) {
    const struct window_function_plan *plan = n->plan;
    const int64_t size = n->y[0]->dim[0];
    const int64_t period = size > 1 ? size - !plan->periodic : 1;
    for (int64_t i = 0; i < size && i <= period / 2; i++) {
        const double first = cos(6.283185307179586 * (double)i / (double)period);
        const double second = 2 * first * first - 1;
        const double y = plan->kind->a - plan->kind->b * first + plan->kind->c * second;
        ot_store_number(n->y[0]->data, n->y[0]->type, i, y);
        if (period - i < size) ot_store_number(n->y[0]->data, n->y[0]->type, period - i, y);
    }
}

static const char *const hann_cases[] = {
    "i32(4) -> f{0,0.5,1,0.5}",
    "i64(5) periodic=0 output_datatype=11 -> f{0,0.5,1,0.5,0}",
    "i64(0) -> f{}",
    "i64{-1} -> error: input 0 (size) is not a single number of at least 0",
    "i64(4) output_datatype=7 -> i64{0,0,1,0}",
    "i64(4) output_datatype=9 -> error: attribute 'output_datatype' is 9",
    "A[]:i64 -> error: input 0 is not a constant",
    NULL};
static const char *const hamming_cases[] = {"i32(4) -> f{0.08695652,0.5434783,1,0.5434783}", NULL};
static const char *const blackman_cases[] = {"i32(4) -> f{0,0.34,1,0.34}", NULL};

#define WINDOW(word, texts)                                                                        \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 17,                                                                               \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "output_datatype:i periodic:i",                                              \
        .plan_size = sizeof(struct window_function_plan),                                          \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .cases = texts,                                                                            \
    }
WINDOW(HannWindow, hann_cases);
WINDOW(HammingWindow, hamming_cases);
WINDOW(BlackmanWindow, blackman_cases);
