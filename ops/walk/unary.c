/* unary.c - parallel loops of the element-wise operators of one tensor. */
#include "ops/walk/unary.h"

#include <string.h>

#include "ops/number.h"

enum { GRAIN = 16384, STRIP = 2048 /* floats that stay in the first-level cache */ };

struct work {
    struct op_node *n;
    ot_unary_fn *value;
    ot_unary_gradient_fn *gradient;
    enum function f; /* the function, where value and gradient are NULL */
    struct params p;
    int64_t count;
    bool past_cache; /* the result is too large for the caches */
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

bool ot_unary_lanes(const struct op_node *n, int lane_rank) { return n->x[0]->rank >= lane_rank; }

static bool past_cache(const struct tensor *t) {
    return ot_bytes(t) > OT_PAST_CACHE && (uintptr_t)t->data % (OT_UNIT * sizeof(float)) == 0;
}

typedef void strip_fn(const struct work *w, int64_t from, float *out, int64_t count);

/* A task's share of `out`. Kernels write past the caches where that is better; for loops of
 * operators what goes there is made in a strip. */
static void run_strips(const struct work *w, int task, strip_fn *fn, float *out) {
    float strip[STRIP];
    int64_t from, to;
    ot_task_range(w->count, GRAIN, task, &from, &to);
    if (!w->past_cache || !(w->value || w->gradient)) {
        fn(w, from, out + from, to - from);
        return;
    }
    for (int64_t i = from; i < to; i += STRIP) {
        const int64_t count = to - i < STRIP ? to - i : STRIP;
        fn(w, i, strip, count);
        w->n->kernels->copy_past(strip, out + i, (size_t)count, i + count == to);
    }
}

static void value_strip(const struct work *w, int64_t from, float *y, int64_t count) {
    const float *x = ot_f(w->n->x[0]) + from;
    const struct function_value a = {.x = x, .y = y, .p = w->p, .past_cache = w->past_cache};
    if (w->value)
        w->value(x, y, count, w->n->plan);
    else
        w->n->kernels->value[w->f](&a, (size_t)count);
}

static void value_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    (void)worker;
    run_strips(w, task, value_strip, ot_f(w->n->y[0]));
}

static void run_forward(struct work w) {
    w.count = ot_count(w.n->x[0]);
    w.past_cache = past_cache(w.n->y[0]);
    ot_parallel_for(w.n->pool, ot_task_count(w.count, GRAIN), value_task, &w);
    ot_op_clear_spare(w.n->y[0]);
}

void ot_unary_forward(struct op_node *n, ot_unary_fn *fn) {
    run_forward((struct work){.n = n, .value = fn});
}

void ot_unary_forward_kernel(struct op_node *n, enum function f, struct params p) {
    run_forward((struct work){.n = n, .f = f, .p = p});
}

static void gradient_strip(const struct work *w, int64_t from, float *dx, int64_t count) {
    const struct op_node *n = w->n;
    const float *x = ot_f(n->x[0]) + from, *y = ot_f(n->y[0]) + from, *dy = ot_f(n->dy[0]) + from;
    const bool by_value = w->f == OT_FROM_SIGMOID || w->f == OT_FROM_TANH;
    const struct function_gradient a = {
        .x = by_value ? y : x, .dy = dy, .dx = dx, .p = w->p, .past_cache = w->past_cache};
    if (w->gradient)
        w->gradient(x, y, dy, dx, count, n->plan);
    else
        n->kernels->gradient[w->f](&a, (size_t)count);
}

static void gradient_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    (void)worker;
    run_strips(w, task, gradient_strip, ot_f(w->n->dx[0]));
}

static void run_backward(struct work w) {
    if (!w.n->dx[0]) return;
    w.count = ot_count(w.n->x[0]);
    w.past_cache = past_cache(w.n->dx[0]);
    ot_parallel_for(w.n->pool, ot_task_count(w.count, GRAIN), gradient_task, &w);
    ot_op_clear_spare(w.n->dx[0]);
}

void ot_unary_backward(struct op_node *n, ot_unary_gradient_fn *fn) {
    run_backward((struct work){.n = n, .gradient = fn});
}

void ot_unary_backward_kernel(struct op_node *n, enum function f, struct params p) {
    run_backward((struct work){.n = n, .f = f, .p = p});
}

struct product {
    const struct op_node *n;
    enum function f;
    struct params p;
    const struct tensor *x, *z, *dy;
    float *y, *dx, *dz;
    bool past_cache;
};

static float *offset_or_null(float *p, int64_t from) { return p ? p + from : NULL; }

static void product_task(void *arg, int task, int worker) {
    const struct product *w = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(ot_count(w->x), GRAIN, task, &from, &to);
    const float *x = ot_f(w->x) + from, *z = ot_f(w->z) + from;
    if (w->y) {
        const struct function_value a = {
            .x = x, .z = z, .y = w->y + from, .p = w->p, .past_cache = w->past_cache};
        w->n->kernels->value[w->f](&a, (size_t)(to - from));
        return;
    }
    const struct function_gradient a = {.x = x,
                                        .z = z,
                                        .dy = ot_f(w->dy) + from,
                                        .dx = offset_or_null(w->dx, from),
                                        .dz = offset_or_null(w->dz, from),
                                        .p = w->p,
                                        .past_cache = w->past_cache};
    w->n->kernels->gradient[w->f](&a, (size_t)(to - from));
}

void ot_unary_product(struct op_node *n, enum function f, struct params p, int x, int z) {
    struct product w = {.n = n,
                        .f = f,
                        .p = p,
                        .x = n->x[x],
                        .z = n->x[z],
                        .y = ot_f(n->y[0]),
                        .past_cache = past_cache(n->y[0])};
    ot_parallel_for(n->pool, ot_task_count(ot_count(w.x), GRAIN), product_task, &w);
    ot_op_clear_spare(n->y[0]);
}

void ot_unary_product_backward(struct op_node *n, enum function f, struct params p, int x, int z) {
    struct product w = {.n = n, .f = f, .p = p, .x = n->x[x], .z = n->x[z], .dy = n->dy[0]};
    if (n->dx[x]) w.dx = ot_f(n->dx[x]);
    if (n->dx[z]) w.dz = ot_f(n->dx[z]);
    if (!w.dx && !w.dz) return;
    w.past_cache = (!n->dx[x] || past_cache(n->dx[x])) && (!n->dx[z] || past_cache(n->dx[z]));
    ot_parallel_for(n->pool, ot_task_count(ot_count(w.x), GRAIN), product_task, &w);
    for (int i = 0; i < 2; i++)
        if (n->dx[i]) ot_op_clear_spare(n->dx[i]);
}

void ot_unary_backward_zero(struct op_node *n) {
    if (n->dx[0]) memset(n->dx[0]->data, 0, ot_bytes(n->dx[0]));
}

void ot_unary_integers(struct op_node *n, ot_integer_fn *f) {
    const struct tensor *x = n->x[0];
    const ot_type type = x->type;
    for (int64_t k = 0, count = ot_count(x); k < count; k++)
        ot_store_integer(n->y[0]->data, type, k,
                         f(ot_load_integer(x->data, type, k), type, n->plan));
}

void ot_unary_forward_number(struct op_node *n, ot_unary_fn *fn, ot_integer_fn *f) {
    if (n->x[0]->type == OT_FLOAT)
        ot_unary_forward(n, fn);
    else
        ot_unary_integers(n, f);
}
