/* scatter.c - Scatter, ScatterElements, ScatterND: y = x with updates put in, one after the other,
 * each in place of what stands there or reduced with it (add, mul, max, min); integers wrap around,
 * and bools are added as "or", multiplied as "and".
 *
 * Backward undoes them in the opposite order: g begins as dy; an update takes from the g of its
 * place what it has a part in and leaves the rest to those before it. What stood there before an
 * update is kept by forward where that decides.
 */
#include <string.h>

#include "ops/number.h"
#include "ops/walk/tuples.h"

enum reduction { NONE, ADD, MUL, MAX, MIN, REDUCTIONS };
static const char *const reduction_names[] = {"none", "add", "mul", "max", "min"};

struct scatter_plan {
    enum reduction reduction;
    bool by_tuples; /* ScatterND */
    struct lines lines;
    struct tuples tuples;
};

static ot_status read_reduction(const struct op_node *n, enum reduction *r, ot_error *err) {
    const char *name = ot_attr_string(n->node, "reduction", "none");
    for (*r = NONE; *r < REDUCTIONS; ++*r)
        if (!strcmp(name, reduction_names[*r])) break;
    if (*r == REDUCTIONS)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'reduction' is '%.40s', expected 'none', 'add', 'mul', 'max' or 'min'",
            name);
    if (*r && !ot_is_number(n->x[0]->type) && n->x[0]->type != OT_BOOL)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'reduction' is '%s', which is not supported for %s", name,
                          ot_type_name(n->x[0]->type));
    return OT_OK;
}

/* Updates of ScatterND have the shape of the tuples, and behind it that of a slice. */
static bool updates_fit(const struct op_node *n, const struct scatter_plan *plan) {
    const struct tensor *x = n->x[0], *index = n->x[1], *u = n->x[2];
    if (!plan->by_tuples) return ot_same_shape(u, index);
    const int r = plan->tuples.ranges.columns, head = index->rank - 1;
    bool fits = u->rank == head + x->rank - r;
    for (int i = 0; fits && i < u->rank; i++)
        fits = u->dim[i] == (i < head ? index->dim[i] : x->dim[i - head + r]);
    return fits;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *u = n->x[2];
    struct scatter_plan *plan = ot_op_plan(n);
    char text[128];
    plan->by_tuples = !strcmp(n->op->name, "ScatterND");
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_type(n, 2, x->type, err));
    OT_TRY(read_reduction(n, &plan->reduction, err));
    OT_TRY(plan->by_tuples ? ot_tuples_of(n, 0, &plan->tuples, err)
                           : ot_lines_of(n, &plan->lines, err));
    if (!updates_fit(n, plan))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the updates have shape %s, which does not fit the indices",
                          ot_shape_text(u, text, sizeof text));
    ot_op_like(n->y[0], x);
    const bool keeps = plan->reduction == MUL || plan->reduction == MAX || plan->reduction == MIN;
    if (n->want && keeps) n->save_size = (size_t)ot_elements(u) * sizeof(float);
    if (ot_training_wants(n, 2)) n->backward_scratch_size = ot_bytes(x);
    return OT_OK;
}

static int64_t reduce_integer(enum reduction reduction, ot_type type, int64_t y, int64_t u) {
    const int64_t p = ot_ordered(type, y), q = ot_ordered(type, u);
    switch (reduction) {
    case ADD: return (int64_t)((uint64_t)y + (uint64_t)u);
    case MUL: return (int64_t)((uint64_t)y * (uint64_t)u);
    case MAX: return q > p ? u : y;
    default: return q < p ? u : y;
    }
}

static void apply_integer(const struct op_node *n, const struct scatter_plan *plan, int64_t k,
                          int64_t at) {
    const struct tensor *y = n->y[0], *u = n->x[2];
    const int64_t v =
        reduce_integer(plan->reduction, y->type, ot_load_integer(y->data, y->type, at),
                       ot_load_integer(u->data, u->type, k));
    ot_store_integer(y->data, y->type, at, y->type == OT_BOOL ? v != 0 : v);
}

/* Update k meets element `at`. */
static void apply_update(const struct op_node *n, const struct scatter_plan *plan, int64_t k,
                         int64_t at) {
    const size_t size = ot_type_size(n->x[0]->type);
    if (plan->reduction == NONE) {
        memcpy((char *)n->y[0]->data + (size_t)at * size,
               (const char *)n->x[2]->data + (size_t)k * size, size);
        return;
    }
    if (n->y[0]->type != OT_FLOAT) {
        apply_integer(n, plan, k, at);
        return;
    }
    float *y = ot_f(n->y[0]) + at;
    const float u = ot_f(n->x[2])[k];
    if (n->save_size) ((float *)n->save)[k] = *y;
    switch (plan->reduction) {
    case ADD: *y += u; break;
    case MUL: *y *= u; break;
    case MAX: *y = u > *y ? u : *y; break;
    default: *y = u < *y ? u : *y; break;
    }
}

/* The part of update k in g, which keeps what is left. */
static float split_gradient(const struct op_node *n, const struct scatter_plan *plan, int64_t k,
                            float *g) {
    const float all = *g;
    if (plan->reduction == ADD) return all;
    if (plan->reduction == NONE) {
        *g = 0;
        return all;
    }
    const float u = ot_f(n->x[2])[k], before = ((const float *)n->save)[k];
    if (plan->reduction == MUL) {
        *g = all * u;
        return all * before;
    }
    const bool taken = plan->reduction == MAX ? u > before : u < before;
    if (taken) *g = 0;
    return taken ? all : 0;
}

static float *rest(const struct op_node *n) {
    return n->dx[0] ? ot_f(n->dx[0]) : (float *)n->scratch;
}

static void undo(const struct op_node *n, const struct scatter_plan *plan, int64_t k, int64_t at) {
    const float part = split_gradient(n, plan, k, rest(n) + at);
    if (n->dx[2]) ot_f(n->dx[2])[k] = part;
}

/* ---- ScatterElements: by lines ---- */

static void put_line(const struct op_node *n, int64_t from, int64_t to) {
    const struct scatter_plan *plan = n->plan;
    const struct lines *l = &plan->lines;
    for (int64_t k = 0; k < l->length; k++, from += l->picked_step)
        apply_update(n, plan, from, to + ot_index_in(n->x[1], from, l->extent) * l->data_step);
}

static void undo_line(const struct op_node *n, int64_t from, int64_t to) {
    const struct scatter_plan *plan = n->plan;
    const struct lines *l = &plan->lines;
    from += l->length * l->picked_step;
    for (int64_t k = 0; k < l->length; k++) {
        from -= l->picked_step;
        undo(n, plan, from, to + ot_index_in(n->x[1], from, l->extent) * l->data_step);
    }
}

/* ---- ScatterND: by pieces of slices ---- */

static void put_piece(const struct op_node *n, int64_t batch, int64_t from, int64_t to) {
    const struct scatter_plan *plan = n->plan;
    const struct tuples *t = &plan->tuples;
    (void)batch;
    for (int64_t k = 0; k < t->per_batch; k++) {
        const int64_t at = ot_tuples_at(n, t, k);
        for (int64_t i = from; i < to; i++) apply_update(n, plan, k * t->inner + i, at + i);
    }
}

static void undo_piece(const struct op_node *n, int64_t batch, int64_t from, int64_t to) {
    const struct scatter_plan *plan = n->plan;
    const struct tuples *t = &plan->tuples;
    (void)batch;
    for (int64_t k = t->per_batch - 1; k >= 0; k--) {
        const int64_t at = ot_tuples_at(n, t, k);
        for (int64_t i = from; i < to; i++) undo(n, plan, k * t->inner + i, at + i);
    }
}

static void copy_tensor(struct op_node *n, const struct tensor *from, void *to) {
    struct move m = {.rank = 1, .dim = {ot_count(from)}, .from_stride = {1}, .to_stride = {1}};
    ot_move_run(n->pool, &m, ot_type_size(from->type), from->data, to);
}

static void forward(struct op_node *n) {
    const struct scatter_plan *plan = n->plan;
    copy_tensor(n, n->x[0], n->y[0]->data);
    ot_indices_watch(n, plan->by_tuples ? &plan->tuples.ranges
                                        : &(struct ranges){1, {plan->lines.extent}});
    if (plan->by_tuples)
        ot_tuples_run(n, &plan->tuples, put_piece);
    else
        ot_lines_run(n, &plan->lines, put_line);
}

static void backward(struct op_node *n) {
    const struct scatter_plan *plan = n->plan;
    if (!n->dx[0] && !n->dx[2]) return;
    copy_tensor(n, n->dy[0], rest(n));
    if (plan->by_tuples)
        ot_tuples_run(n, &plan->tuples, undo_piece);
    else
        ot_lines_run(n, &plan->lines, undo_line);
}

static const char *const old_cases[] = {
    "X[3,4] i64[2,3]{0,2,-1,1,2,0} U[2,3] @9 -> Y[3,4]",
    "f[1,5]{1,2,3,4,5} i64[1,2]{1,3} f[1,2]{1.1,2.1} axis=1 @9 -> f[1,5]{1,1.1,3,2.1,5}", NULL};

static const char *const element_cases[] = {
    "X[3,4] i64[2,3]{0,2,-1,1,2,2} U[2,3] @16 -> Y[3,4]",
    "X[2,3,4] i64[2,2,3]{0,3,1,1,1,1,-1,0,2,2,2,3} U[2,2,3] axis=2 -> Y[2,3,4]",
    "X[2,3,4] i64[2,2,3]{0,3,1,1,1,1,-1,0,2,2,2,3} U[2,2,3] axis=2 reduction=add -> Y[2,3,4]",
    "X[2,5] i64[2,4]{0,3,0,0,1,-1,2,4} U[2,4] axis=1 reduction=mul -> Y[2,5]",
    "X[2,5] i64[2,4]{0,3,0,0,1,-1,2,4} U[2,4] axis=1 reduction=max distinct @18 -> Y[2,5]",
    "X[2,5] i64[2,4]{0,3,0,0,1,-1,2,4} U[2,4] axis=1 reduction=min distinct @18 -> Y[2,5]",
    "X[3,4] i64[1,3]{0,7,-9}:x U[1,3] -> Y[3,4]",
    "f[2,2]{0,2,3,4} i64[2,2]{0,0,1,1} f[2,2]{5,0,6,7} reduction=mul -> f[2,2]{0,0,18,28}",
    "i64{1,2,3} i32{2,2} i64{7,8} -> i64{1,2,8}",
    "X[3,4] i64[2,3]{0,3,-1,1,2,0} U[2,3] -> error: index 3",
    "X[3,4] i64[2,3]{0,2,-1,1,2,0} U[3,2] -> error: the updates have shape [3,2]",
    "X[3,4] i64[1,1]{0} U[1,1] reduction=mean -> error: 'mean'",
    "i64{1,2,3} i32{2,0,2} i64{7,9007199254740992,8} reduction=add -> i64{9007199254740993,2,18}",
    "u8{200,2} i64{0,1} u8{100,100} reduction=add -> u8{44,102}",
    "i32{-3,4} i64{0,0} i32{5,-2} reduction=mul -> i32{30,4}",
    "u64{1,7} i64{0,1} u64{18446744073709551615,2} reduction=max @18 -> "
    "u64{18446744073709551615,7}",
    "i8{1,7} i64{0,1} i8{-128,9} reduction=min @18 -> i8{-128,7}",
    "b{1,0,1} i64{0,1,1} b{1,1,1} reduction=add -> b{1,1,1}",
    "b{1,0,1} i64{0,1} b{0,1} reduction=mul -> b{0,0,1}",
    NULL};

static const char *const nd_cases[] = {
    "X[4,3,2] i64[2,1]{2,0} U[2,3,2] @11 -> Y[4,3,2]",
    "X[4,3,300] i64[3,2]{2,0,1,-1,2,0} U[3,300] -> Y[4,3,300]",
    "X[4,3] i64[2,2,2]{2,0,1,-1,2,0,0,0} U[2,2] reduction=add -> Y[4,3]",
    "X[4,3] i64[4,1]{2,0,2,2} U[4,3] reduction=mul -> Y[4,3]",
    "X[4,3] i64[4,1]{2,0,2,2} U[4,3] reduction=max distinct @18 -> Y[4,3]",
    "X[4,3] i64[4,1]{2,0,2,2} U[4,3] reduction=min distinct @18 -> Y[4,3]",
    "f{1,2,3,4,5,6,7,8} i64[4,1]{4,3,1,7} f{9,10,11,12} -> f{1,11,3,10,9,6,7,12}",
    "b{1,0,1} i64[1,1]{1} b{1} -> b{1,1,1}",
    "i64{1,2,3} i64[3,1]{2,0,2} i64{7,8,9} reduction=add -> i64{9,2,19}",
    "i32[2,2]{1,2,3,4} i64[2,1]{1,1} i32[2,2]{5,0,1,9} reduction=max @18 -> i32[2,2]{1,2,5,9}",
    "X[4,3] i64[2,1]{2,4} U[2,3] -> error: index 4",
    "X[4,3] i64[2,1]{2,1} U[2,4] -> error: the updates have shape [2,4]",
    NULL};

#define SCATTER(Name, first, list, texts)                                                          \
    const struct op ot_op_##Name = {                                                               \
        .name = #Name,                                                                             \
        .since = first,                                                                            \
        .min_in = 3,                                                                               \
        .max_in = 3,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .needs = OT_X(1) | OT_X(2),                                                                \
        .parameters = OT_X(0),                                                                     \
        .plan_size = sizeof(struct scatter_plan),                                                  \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .cases = texts,                                                                            \
    };

SCATTER(Scatter, 9, "axis:i", old_cases)
SCATTER(ScatterElements, 11, "axis:i reduction:s", element_cases)
SCATTER(ScatterND, 11, "reduction:s", nd_cases)
