/* compare.c - Equal, Less, Greater, LessOrEqual, GreaterOrEqual, And, Or, Xor: two broadcast
 * tensors in, bool out. Comparisons with NaN are false. Not differentiable. */
#include <string.h>

#include "ops/number.h"
#include "ops/walk/broadcast.h"

/* sign: -1, 0, 1 for a < b, a == b, a > b; 2 for unordered. */
static bool equal(int sign) { return sign == 0; }
static bool is_less(int sign) { return sign == -1; }
static bool greater(int sign) { return sign == 1; }
static bool less_or_equal(int sign) { return sign == -1 || sign == 0; }
static bool greater_or_equal(int sign) { return sign == 1 || sign == 0; }

static bool and (bool a, bool b) { return a && b; }
static bool or (bool a, bool b) { return a || b; }
static bool xor (bool a, bool b) { return a != b; }

    static const struct {
    const char *name;
    bool (*of_order)(int sign);
    bool (*of_bools)(bool a, bool b);
} table[] = {
    {"Equal", equal, NULL},
    {"Less", is_less, NULL},
    {"Greater", greater, NULL},
    {"LessOrEqual", less_or_equal, NULL},
    {"GreaterOrEqual", greater_or_equal, NULL},
    {"And", NULL, and},
    {"Or", NULL, or },
    {"Xor", NULL, xor},
};

struct compare_plan {
    struct broadcast broadcast;
    int row; /* row of the table of comparisons */
};

static int order(const struct tensor *a, int64_t i, const struct tensor *b, int64_t j) {
    if (a->type == OT_FLOAT) {
        float p = ot_f(a)[i], q = ot_f(b)[j];
        return p < q ? -1 : p > q ? 1 : p == q ? 0 : 2;
    }
    int64_t p = ot_load_integer(a->data, a->type, i), q = ot_load_integer(b->data, b->type, j);
    if (a->type == OT_UINT64) return (uint64_t)p < (uint64_t)q ? -1 : (uint64_t)p > (uint64_t)q;
    return p < q ? -1 : p > q;
}

static void segment(void *arg, int64_t at, const int64_t *offset, const int *step, int64_t count,
                    float *out) {
    struct op_node *n = arg;
    const struct compare_plan *plan = n->plan;
    const struct tensor *a = n->x[0], *b = n->x[1];
    uint8_t *y = n->y[0]->data;
    (void)out;
    for (int64_t j = 0; j < count; j++) {
        int64_t p = offset[0] + j * step[0], q = offset[1] + j * step[1];
        if (table[plan->row].of_order)
            y[at + j] = table[plan->row].of_order(order(a, p, b, q));
        else
            y[at + j] = table[plan->row].of_bools(ot_load_integer(a->data, OT_BOOL, p),
                                                  ot_load_integer(b->data, OT_BOOL, q));
    }
}

static ot_status check_types(const struct op_node *n, bool bools, ot_error *err) {
    ot_type type = n->x[0]->type;
    if (bools)
        OT_TRY(ot_op_type(n, 0, OT_BOOL, err));
    else if (!ot_is_integer(type) && type != OT_BOOL)
        OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    return ot_op_type(n, 1, type, err);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct compare_plan *plan = ot_op_plan(n);
    struct tensor a = *n->x[0], b;
    const struct tensor *const both[] = {&a, &b};
    int rank;
    int64_t dim[OT_MAX_RANK];
    while (strcmp(table[plan->row].name, n->op->name)) plan->row++;
    OT_TRY(check_types(n, table[plan->row].of_bools, err));
    OT_TRY(ot_broadcast_operand(n, 1, &b, err));
    OT_TRY(ot_op_broadcast(n, &a, &b, &rank, dim, err));
    OT_TRY(ot_op_set(n, n->y[0], OT_BOOL, rank, dim, err));
    ot_broadcast_build(&plan->broadcast, n->y[0], both, 2, false);
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct compare_plan *plan = n->plan;
    ot_broadcast_each(n->pool, &plan->broadcast, segment, n);
}

static const char *const equal_cases[] = {
    "f{1,2,nan} f{1,3,nan} -> b{1,0,0}",
    "i64{1,2} i64(2) -> b{0,1}",
    "b{1,0} b{1,1} -> b{1,0}",
    "A[2,3] B[2,3] lanes -> Y[2,3]:b",
    "A[2,3,4] f[3,1]{1,2,3} lanes -> Y[2,3,4]:b",
    "i64{1} f{1} -> error: input 1 is float",
    NULL,
};
static const char *const less_cases[] = {"f{1,2,3} f(2) -> b{1,0,0}", NULL};
static const char *const greater_cases[] = {"i64{1,2,3} i64(2) @6 broadcast=1 -> b{0,0,1}", NULL};
static const char *const less_or_equal_cases[] = {"f{1,2,3} f(2) -> b{1,1,0}", NULL};
static const char *const greater_or_equal_cases[] = {"f{1,2,nan} f(2) -> b{0,1,0}", NULL};
static const char *const and_cases[] = {"b{0,0,1,1} b{0,1,0,1} -> b{0,0,0,1}", NULL};
static const char *const or_cases[] = {"b{0,0,1,1} b{0,1,0,1} -> b{0,1,1,1}",
                                       "i64{1} b{1} -> error: input 0 is int64", NULL};
static const char *const xor_cases[] = {"b{0,0,1,1} b{0,1,0,1} -> b{0,1,1,0}", NULL};

#define COMPARISON(word, first, list)                                                              \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "broadcast:i axis:i",                                                        \
        .plan_size = sizeof(struct compare_plan),                                                  \
        .lanes = ot_broadcast_lanes,                                                               \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .cases = list,                                                                             \
    }
COMPARISON(Equal, 1, equal_cases);
COMPARISON(Less, 1, less_cases);
COMPARISON(Greater, 1, greater_cases);
COMPARISON(LessOrEqual, 12, less_or_equal_cases);
COMPARISON(GreaterOrEqual, 12, greater_or_equal_cases);
COMPARISON(And, 1, and_cases);
COMPARISON(Or, 1, or_cases);
COMPARISON(Xor, 1, xor_cases);
