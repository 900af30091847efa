/* broadcast.c - strides of broadcast operands, and the two ways to walk them. */
#include "ops/walk/broadcast.h"

#include <string.h>

enum { GRAIN = 16384, COLUMNS = 128 };

/* ---- building ---- */

ot_status ot_broadcast_operand(const struct op_node *n, int i, struct tensor *shape,
                               ot_error *err) {
    *shape = *n->x[i];
    if (i == 0 || n->node->opset >= 7) return OT_OK;
    int rank = n->x[0]->rank, own = shape->rank;
    const bool channels = !strcmp(n->op->name, "PRelu"); /* of them is its slope, unasked */
    if (!ot_attr_int(n->node, "broadcast", channels)) {
        if (ot_same_shape(n->x[0], shape)) return OT_OK;
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the shapes differ, but attribute 'broadcast' is 0");
    }
    if (own > rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d has more dimensions than input 0", i);
    const int64_t axis =
        ot_attr_int(n->node, "axis", channels && own == 1 && rank > 1 ? 1 : rank - own);
    if (axis < 0 || axis > rank - own)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'axis' is %lld, expected 0 to %d",
                          (long long)axis, rank - own);
    for (int d = own; d < rank - (int)axis; d++) shape->dim[d] = 1;
    shape->rank = rank - (int)axis;
    return OT_OK;
}

static bool is_computed(const struct tensor *x) {
    return x->role != OT_ROLE_CONST && x->role != OT_ROLE_PARAM;
}

static bool operand_fits(const struct tensor *x, const struct tensor *y, int lane_rank) {
    if (is_computed(x))
        return x->rank == y->rank && !memcmp(x->dim, y->dim, (size_t)lane_rank * sizeof *x->dim);
    for (int d = 0; d < x->rank; d++)
        if (x->rank - d > y->rank - lane_rank && x->dim[d] != 1) return false;
    return true;
}

bool ot_broadcast_lanes(const struct op_node *n, int lane_rank) {
    struct tensor y = {.rank = 0}, operand;
    int changing = 0;
    for (int i = 0; i < n->n_in; i++) {
        const struct tensor so_far = y;
        if (!n->x[i] || ot_broadcast_operand(n, i, &operand, NULL) ||
            ot_op_broadcast(n, &so_far, &operand, &y.rank, y.dim, NULL))
            return false;
        changing += is_computed(&operand);
    }
    if (!changing || y.rank < lane_rank) return false;
    for (int i = 0; i < n->n_in; i++) {
        ot_broadcast_operand(n, i, &operand, NULL);
        if (!operand_fits(&operand, &y, lane_rank)) return false;
    }
    return true;
}

/* Axes of x beside those of y: [blocks, dims.., L] in lanes. Gives their number. */
static int axes(const struct tensor *y, const struct tensor *x, int64_t *dim) {
    int n = 0;
    if (y->lanes) dim[n++] = x->lanes ? ot_lane_blocks(x) : 1;
    for (int d = y->lane_rank; d < y->rank; d++) {
        int own = d - (y->rank - x->rank);
        dim[n++] = own < 0 ? 1 : x->dim[own];
    }
    if (y->lanes) dim[n++] = x->lanes ? x->lanes : 1;
    return n;
}

static bool may_merge(const struct broadcast *b, int axis) {
    for (int k = 0; k < b->operands; k++)
        if (b->stride[k][axis] != b->stride[k][axis + 1] * b->dim[axis + 1]) return false;
    return true;
}

/* Removes `axis`: its extent goes into the next one, which keeps its strides. */
static void remove_axis(struct broadcast *b, int axis) {
    size_t behind = (size_t)(b->rank - axis - 1) * sizeof *b->dim;
    b->dim[axis + 1] *= b->dim[axis];
    memmove(b->dim + axis, b->dim + axis + 1, behind);
    for (int k = 0; k < b->operands; k++)
        memmove(b->stride[k] + axis, b->stride[k] + axis + 1, behind);
    b->rank--;
}

static void merge(struct broadcast *b, bool split) {
    for (int axis = b->rank - 2; axis >= 0; axis--) {
        bool edge = split && (axis == 0 || axis == b->rank - 2);
        if (!edge && (b->dim[axis] == 1 || may_merge(b, axis))) remove_axis(b, axis);
    }
    /* an innermost axis of one element would make every segment one element long */
    int last = b->rank - 1;
    if (split || last == 0 || b->dim[last] != 1) return;
    for (int k = 0; k < b->operands; k++) b->stride[k][last] = b->stride[k][last - 1];
    remove_axis(b, last - 1);
}

void ot_broadcast_build(struct broadcast *b, const struct tensor *y,
                        const struct tensor *const *operand, int operands, bool split) {
    *b = (struct broadcast){.operands = operands, .count = ot_count(y)};
    b->rank = axes(y, y, b->dim);
    for (int k = 0; k < operands; k++) {
        int64_t dim[OT_BROADCAST_RANK], step = 1;
        axes(y, operand[k], dim);
        for (int d = b->rank - 1; d >= 0; d--) {
            b->stride[k][d] = dim[d] == 1 ? 0 : step;
            step *= dim[d];
        }
    }
    if (y->lanes && split) b->used = ot_lane_samples(y) - (ot_lane_blocks(y) - 1) * y->lanes;
    if (!b->rank) {
        b->rank = 1;
        b->dim[0] = 1;
    }
    merge(b, y->lanes && split);
    for (int64_t d = b->rank - 1, step = 1; d >= 0; step *= b->dim[d--]) b->pitch[d] = step;
}

/* ---- walking the result ---- */

struct walk {
    const struct broadcast *b;
    ot_segment_fn *fn;
    void *arg;
    int k;
    int64_t targets, reduced, grain;
    float *dx;
};

/* A place in the result, and what stands there in the operands. */
struct place {
    int64_t index[OT_BROADCAST_RANK];
    int64_t at, offset[OT_BROADCAST_MAX];
};

static inline void advance(const struct broadcast *b, struct place *p, int axis, int64_t by) {
    p->index[axis] += by;
    p->at += by * b->pitch[axis];
    for (int k = 0; k < b->operands; k++) p->offset[k] += by * b->stride[k][axis];
}

static inline void call(const struct walk *w, const struct place *p, int64_t count, float *out) {
    const struct broadcast *b = w->b;
    int step[OT_BROADCAST_MAX];
    for (int k = 0; k < b->operands; k++) step[k] = b->stride[k][b->rank - 1] != 0;
    w->fn(w->arg, p->at, p->offset, step, count, out);
}

static void each_task(void *arg, int task, int worker) {
    const struct walk *w = arg;
    const struct broadcast *b = w->b;
    struct place p = {.at = 0};
    int last = b->rank - 1;
    int64_t from, to;
    (void)worker;
    ot_task_range(b->count, GRAIN, task, &from, &to);
    for (int d = 0; d <= last && from < to; d++) advance(b, &p, d, from / b->pitch[d] % b->dim[d]);
    while (p.at < to) {
        int64_t count = b->dim[last] - p.index[last];
        if (count > to - p.at) count = to - p.at;
        call(w, &p, count, NULL);
        advance(b, &p, last, count);
        for (int d = last; d > 0 && p.index[d] == b->dim[d]; d--) {
            advance(b, &p, d, -b->dim[d]);
            advance(b, &p, d - 1, 1);
        }
    }
}

void ot_broadcast_each(struct pool *pool, const struct broadcast *b, ot_segment_fn *fn, void *arg) {
    struct walk w = {.b = b, .fn = fn, .arg = arg};
    ot_parallel_for(pool, ot_task_count(b->count, GRAIN), each_task, &w);
}

/* ---- summing over broadcast axes ---- */

/* The next combination of the axes 0 .. rank-1 that operand k does not have; false after the last.
 */
static bool next_reduced(const struct broadcast *b, int k, int rank, struct place *p) {
    for (int d = rank - 1; d >= 0; d--) {
        if (b->stride[k][d]) continue;
        if (p->index[d] + 1 < b->dim[d]) {
            advance(b, p, d, 1);
            return true;
        }
        advance(b, p, d, -p->index[d]);
    }
    return false;
}

/* Four sums side by side, so that additions need not wait for one another. */
static double sum_floats(const float *x, int64_t n) {
    double sum[4] = {0};
    int64_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (int i = 0; i < 4; i++) sum[i] += (double)x[j + i];
    for (; j < n; j++) sum[0] += (double)x[j];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* The innermost axis is summed: one element of the operand. */
static double sum_run(const struct walk *w, struct place *p) {
    const struct broadcast *b = w->b;
    float part[OT_BROADCAST_RUN];
    double sum = 0;
    int last = b->rank - 1;
    do {
        int64_t run = b->dim[last];
        if (b->used && p->index[0] == b->dim[0] - 1) run = b->used;
        while (p->index[last] < run) {
            int64_t count = run - p->index[last];
            if (count > OT_BROADCAST_RUN) count = OT_BROADCAST_RUN;
            call(w, p, count, part);
            sum += sum_floats(part, count);
            advance(b, p, last, count);
        }
        advance(b, p, last, -p->index[last]);
    } while (next_reduced(b, w->k, last, p));
    return sum;
}

/* The innermost axis is the operand's own: `count` of its elements side by side. */
static void sum_columns(const struct walk *w, struct place *p, int64_t count, float *dx) {
    double sum[COLUMNS] = {0};
    float part[COLUMNS];
    do {
        call(w, p, count, part);
        for (int64_t j = 0; j < count; j++) sum[j] += (double)part[j];
    } while (next_reduced(w->b, w->k, w->b->rank - 1, p));
    for (int64_t j = 0; j < count; j++) dx[j] = (float)sum[j];
}

static void reduce_task(void *arg, int task, int worker) {
    const struct walk *w = arg;
    const struct broadcast *b = w->b;
    int last = b->rank - 1;
    int64_t at, to, count;
    (void)worker;
    ot_task_range(w->targets, w->grain, task, &at, &to);
    for (; at < to; at += count) {
        struct place p = {.at = 0};
        int64_t rest = at;
        for (int d = last; d >= 0; d--) {
            if (!b->stride[w->k][d]) continue;
            advance(b, &p, d, rest % b->dim[d]);
            rest /= b->dim[d];
        }
        count = b->stride[w->k][last] ? b->dim[last] - p.index[last] : 1;
        if (count > to - at) count = to - at;
        if (count > COLUMNS) count = COLUMNS;
        if (!w->reduced)
            memset(w->dx + at, 0, (size_t)count * sizeof *w->dx);
        else if (b->stride[w->k][last])
            sum_columns(w, &p, count, w->dx + at);
        else
            w->dx[at] = (float)sum_run(w, &p);
    }
}

void ot_broadcast_reduce(struct pool *pool, const struct broadcast *b, int k, ot_segment_fn *fn,
                         void *arg, float *dx) {
    struct walk w = {.b = b, .fn = fn, .arg = arg, .k = k, .dx = dx, .targets = 1, .reduced = 1};
    for (int d = 0; d < b->rank; d++) {
        if (b->stride[k][d])
            w.targets *= b->dim[d];
        else
            w.reduced *= b->dim[d];
    }
    int64_t least = b->stride[k][b->rank - 1] ? COLUMNS : 1;
    w.grain = w.reduced * least > GRAIN ? least : GRAIN / (w.reduced ? w.reduced : 1);
    ot_parallel_for(pool, ot_task_count(w.targets, w.grain), reduce_task, &w);
}
