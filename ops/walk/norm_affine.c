/* norm_affine.c - scale and bias of a normalization that are broadcast to x. */
#include "ops/walk/norm_affine.h"

struct work {
    const struct op_node *n;
    const struct norm_affine *a;
    int k; /* which input */
    const float *means;
    float *g;
};

static ot_status prepare_operand(struct op_node *n, int k, struct norm_operand *o, ot_error *err) {
    const struct tensor *x = n->x[0], *t = n->x[k];
    char have[128], want[128];
    OT_TRY(ot_op_type(n, k, OT_FLOAT, err));
    if (t->lanes)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input %d is neither a weight nor a constant", k);
    bool fits = t->rank <= x->rank;
    for (int i = 0; fits && i < t->rank; i++)
        fits = t->dim[i] == 1 || t->dim[i] == x->dim[x->rank - t->rank + i];
    if (!fits)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input %d has shape %s, which does not broadcast to %s", k,
                          ot_shape_text(t, have, sizeof have), ot_shape_text(x, want, sizeof want));
    const struct tensor *const operand[] = {t};
    ot_broadcast_build(&o->whole, n->y[0], operand, 1, false);
    ot_broadcast_build(&o->split, n->y[0], operand, 1, true);
    o->full = ot_count(t) == ot_count(n->y[0]);
    return OT_OK;
}

ot_status ot_norm_affine_prepare(struct op_node *n, int64_t length, struct norm_affine *a,
                                 ot_error *err) {
    for (int k = 1; k <= 2 && k < n->n_in; k++)
        if (n->x[k]) OT_TRY(prepare_operand(n, k, &a->operand[k - 1], err));
    float *ones = ot_arena_alloc(n->arena, (size_t)length, sizeof *ones);
    if (!ones) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < length; i++) ones[i] = 1;
    a->ones = ones;
    a->length = length;
    return OT_OK;
}

static void apply_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                          int64_t count, float *out) {
    const struct work *w = arg;
    const float *t = ot_f(w->n->x[w->k]) + offset[0];
    float *y = ot_f(w->n->y[0]) + at;
    (void)out;
    if (w->k == 1)
        for (int64_t j = 0; j < count; j++) y[j] *= t[j * step[0]];
    else
        for (int64_t j = 0; j < count; j++) y[j] += t[j * step[0]];
}

void ot_norm_affine_apply(struct op_node *n, const struct norm_affine *a) {
    for (int k = 1; k <= 2 && k < n->n_in; k++) {
        struct work w = {n, a, k, NULL, NULL};
        if (n->x[k]) ot_broadcast_each(n->pool, &a->operand[k - 1].whole, apply_segment, &w);
    }
}

static void product_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                            int64_t count, float *out) {
    const struct work *w = arg;
    const float *t = ot_f(w->n->x[1]) + offset[0], *dy = ot_f(w->n->dy[0]) + at;
    (void)out;
    for (int64_t j = 0; j < count; j++) w->g[at + j] = dy[j] * t[j * step[0]];
}

static void gradient_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                             int64_t count, float *out) {
    const struct work *w = arg;
    const float *x = ot_f(w->n->x[0]) + at, *dy = ot_f(w->n->dy[0]) + at;
    (void)offset;
    (void)step;
    if (!out) out = ot_f(w->n->dx[w->k]) + at;
    for (int64_t j = 0; j < count; j++) {
        const float *mean = w->means + (at + j) / w->a->length * 2;
        out[j] = w->k == 1 ? dy[j] * (x[j] - mean[0]) * mean[1] : dy[j];
    }
}

void ot_norm_affine_back(struct op_node *n, const struct norm_affine *a, const float *means,
                         float *g) {
    struct work w = {n, a, 1, means, g};
    ot_broadcast_each(n->pool, &a->operand[0].whole, product_segment, &w);
    for (w.k = 1; w.k <= 2 && w.k < n->n_in; w.k++) {
        const struct norm_operand *o = &a->operand[w.k - 1];
        if (!n->x[w.k] || !n->dx[w.k]) continue;
        if (o->full)
            ot_broadcast_each(n->pool, &o->whole, gradient_segment, &w);
        else
            ot_broadcast_reduce(n->pool, &o->split, 0, gradient_segment, &w, ot_f(n->dx[w.k]));
    }
}
