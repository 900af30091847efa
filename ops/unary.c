/* unary.c - parallel loops of the element-wise operators of one tensor. */
#include "ops/unary.h"

#include <string.h>

#include "ops/number.h"

enum { GRAIN = 16384 };

struct work {
    struct op_node *n;
    ot_unary_fn *value;
    ot_unary_gradient_fn *gradient;
    enum function f; /* where value and gradient are NULL */
    int64_t count;
};

ot_status ot_unary_prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

ot_status ot_unary_prepare_number(struct op_node *n, ot_error *err) {
    if (!ot_is_integer(n->x[0]->type)) return ot_unary_prepare(n, err);
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

bool ot_unary_lanes(const struct op_node *n, int lane_rank) {
    return n->x[0]->rank >= lane_rank;
}

static void value_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(w->count, GRAIN, task, &from, &to);
    const float *x = ot_f(w->n->x[0]) + from;
    float *y = ot_f(w->n->y[0]) + from;
    if (w->value) w->value(x, y, to - from, w->n->state);
    else w->n->kernels->value[w->f](x, y, (size_t)(to - from));
}

static void run_forward(struct work w) {
    w.count = ot_count(w.n->x[0]);
    ot_parallel_for(w.n->pool, ot_task_count(w.count, GRAIN), value_task, &w);
    ot_op_clear_spare(w.n->y[0]);
}

void ot_unary_forward(struct op_node *n, ot_unary_fn *fn) {
    run_forward((struct work){.n = n, .value = fn});
}

void ot_unary_forward_kernel(struct op_node *n, enum function f) {
    run_forward((struct work){.n = n, .f = f});
}

static void gradient_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    int64_t from, to;
    (void)worker;
    ot_task_range(w->count, GRAIN, task, &from, &to);
    const float *x = ot_f(n->x[0]) + from, *dy = ot_f(n->dy[0]) + from;
    float *dx = ot_f(n->dx[0]) + from;
    if (w->gradient) w->gradient(x, ot_f(n->y[0]) + from, dy, dx, to - from, n->state);
    else n->kernels->gradient[w->f](x, dy, dx, (size_t)(to - from));
}

static void run_backward(struct work w) {
    if (!w.n->dx[0]) return;
    w.count = ot_count(w.n->x[0]);
    ot_parallel_for(w.n->pool, ot_task_count(w.count, GRAIN), gradient_task, &w);
    ot_op_clear_spare(w.n->dx[0]);
}

void ot_unary_backward(struct op_node *n, ot_unary_gradient_fn *fn) {
    run_backward((struct work){.n = n, .gradient = fn});
}

void ot_unary_backward_kernel(struct op_node *n, enum function f) {
    run_backward((struct work){.n = n, .f = f});
}

void ot_unary_backward_zero(struct op_node *n) {
    if (n->dx[0]) memset(n->dx[0]->data, 0, ot_bytes(n->dx[0]));
}

void ot_unary_integers(struct op_node *n, ot_integer_fn *f) {
    const struct tensor *x = n->x[0];
    const ot_type type = x->type;
    for (int64_t k = 0, count = ot_count(x); k < count; k++)
        ot_store_integer(n->y[0]->data, type, k,
                         f(ot_load_integer(x->data, type, k), type, n->state));
}

void ot_unary_forward_number(struct op_node *n, ot_unary_fn *fn, ot_integer_fn *f) {
    if (n->x[0]->type == OT_FLOAT)
        ot_unary_forward(n, fn);
    else
        ot_unary_integers(n, f);
}
