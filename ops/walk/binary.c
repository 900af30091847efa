/* binary.c - arithmetic of two broadcast tensors. */
#include "ops/walk/binary.h"

#include "ops/number.h"

struct work {
    struct op_node *n;
    const struct binary *f;
    int k; /* whose gradient */
};

/* x[i] on the segment as contiguous floats: itself, or one value repeated in `run`. */
static const float *operand(const struct op_node *n, int i, int64_t offset, int step, int64_t count,
                            float *run) {
    const struct binary_plan *plan = n->plan;
    const float *x = (i && plan->converted ? plan->converted : ot_f(n->x[i])) + offset;
    if (step) return x;
    for (int64_t j = 0; j < count; j++) run[j] = *x;
    return run;
}

static void value_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                          int64_t count, float *out) {
    const struct work *w = arg;
    float *y = ot_f(w->n->y[0]) + at, run[2][OT_BROADCAST_RUN];
    int64_t most = step[0] && step[1] ? count : OT_BROADCAST_RUN;
    (void)out;
    for (int64_t j = 0; j < count; j += most) {
        int64_t m = count - j < most ? count - j : most;
        const float *a = operand(w->n, 0, offset[0] + j * step[0], step[0], m, run[0]);
        const float *b = operand(w->n, 1, offset[1] + j * step[1], step[1], m, run[1]);
        w->f->value(a, b, y + j, m);
    }
}

/* The gradient of x[w->k] before it is summed. `out` NULL: it is not broadcast, dx itself. */
static void gradient_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                             int64_t count, float *out) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    float run[2][OT_BROADCAST_RUN];
    const float *x[2] = {NULL, NULL}, *dy = ot_f(n->dy[0]) + at;
    int64_t most = step[0] && step[1] ? count : OT_BROADCAST_RUN;
    if (!out) out = ot_f(n->dx[w->k]) + at;
    for (int64_t j = 0; j < count; j += most) {
        int64_t m = count - j < most ? count - j : most;
        for (int i = 0; i < 2; i++)
            if (n->op->needs & OT_X(i))
                x[i] = operand(n, i, offset[i] + j * step[i], step[i], m, run[i]);
        (w->k ? w->f->db : w->f->da)(x[0], x[1], dy + j, out + j, m);
    }
}

static void integer_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                            int64_t count, float *out) {
    const struct work *w = arg;
    const struct tensor *a = w->n->x[0], *b = w->n->x[1];
    const bool is_unsigned = a->type == OT_UINT64 && w->f->of_uint64;
    (void)out;
    for (int64_t j = 0; j < count; j++) {
        int64_t p = ot_load_integer(a->data, a->type, offset[0] + j * step[0]);
        int64_t q = ot_load_integer(b->data, b->type, offset[1] + j * step[1]);
        int64_t v =
            is_unsigned ? (int64_t)w->f->of_uint64((uint64_t)p, (uint64_t)q) : w->f->integer(p, q);
        ot_store_integer(w->n->y[0]->data, a->type, at + j, v);
    }
}

/* The result has the type of a. */
static void mixed_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                          int64_t count, float *out) {
    const struct work *w = arg;
    const struct tensor *a = w->n->x[0], *b = w->n->x[1], *y = w->n->y[0];
    (void)out;
    for (int64_t j = 0; j < count; j++)
        ot_store_number(y->data, y->type, at + j,
                        w->f->mixed(ot_load_number(a->data, a->type, offset[0] + j * step[0]),
                                    ot_load_number(b->data, b->type, offset[1] + j * step[1])));
}

static ot_status check_types(struct op_node *n, const struct binary *f, ot_error *err) {
    struct binary_plan *plan = ot_op_plan(n);
    plan->mixed = f->mixed && !plan->converted && n->x[0]->type != n->x[1]->type &&
                  ot_is_number(n->x[0]->type) && ot_is_number(n->x[1]->type);
    if (plan->mixed && n->want)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "inputs of types %s and %s have no gradient", ot_type_name(n->x[0]->type),
                          ot_type_name(n->x[1]->type));
    if (plan->mixed) return OT_OK;
    if (f->integer && ot_is_integer(n->x[0]->type)) return ot_op_type(n, 1, n->x[0]->type, err);
    if (!f->value)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, expected integers",
                          ot_type_name(n->x[0]->type));
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    return plan->converted ? OT_OK : ot_op_type(n, 1, OT_FLOAT, err);
}

ot_status ot_binary_prepare(struct op_node *n, const struct binary *f, ot_error *err) {
    struct binary_plan *plan = ot_op_plan(n);
    struct tensor a = *n->x[0], b;
    const struct tensor *const both[] = {&a, &b};
    int rank;
    int64_t dim[OT_MAX_RANK];
    plan->f = f;
    OT_TRY(check_types(n, f, err));
    OT_TRY(ot_broadcast_operand(n, 1, &b, err));
    OT_TRY(ot_op_broadcast(n, &a, &b, &rank, dim, err));
    OT_TRY(ot_op_set(n, n->y[0], a.type, rank, dim, err));
    ot_broadcast_build(&plan->whole, n->y[0], both, 2, false);
    ot_broadcast_build(&plan->split, n->y[0], both, 2, true);
    for (int i = 0; i < 2; i++) plan->full[i] = ot_count(both[i]) == plan->whole.count;
    return OT_OK;
}

void ot_binary_forward(struct op_node *n) {
    const struct binary_plan *plan = n->plan;
    struct work w = {.n = n, .f = plan->f};
    const bool integer = ot_is_integer(n->y[0]->type);
    ot_broadcast_each(n->pool, &plan->whole,
                      plan->mixed ? mixed_segment
                      : integer   ? integer_segment
                                  : value_segment,
                      &w);
    if (!integer) ot_op_clear_spare(n->y[0]);
}

void ot_binary_backward(struct op_node *n) {
    const struct binary_plan *plan = n->plan;
    for (int k = 0; k < 2; k++) {
        struct work w = {.n = n, .f = plan->f, .k = k};
        if (!n->dx[k]) continue;
        if (plan->full[k]) {
            ot_broadcast_each(n->pool, &plan->whole, gradient_segment, &w);
            ot_op_clear_spare(n->dx[k]);
        } else {
            ot_broadcast_reduce(n->pool, &plan->split, k, gradient_segment, &w, ot_f(n->dx[k]));
            ot_op_clear_spare(n->dx[k]);
        }
    }
}
