/* transpose.c - Transpose: y[i[perm[0]], i[perm[1]], ...] = x[i[0], i[1], ...]. */
#include "ops/kernels/kernels.h"
#include "ops/walk/index.h"

enum { LANES = 128 /* at most */, GRAIN = 16384 };

/* perm of the node, checked; reversed axes where it is absent. */
static ot_status permutation(const struct op_node *n, int *perm, ot_error *err) {
    const int rank = n->x[0]->rank;
    int count;
    const int64_t *given = ot_attr_ints(n->node, "perm", &count);
    if (!ot_attr(n->node, "perm")) {
        for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
        return OT_OK;
    }
    if (count != rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'perm' has %d axes, but input 0 has rank %d", count, rank);
    uint32_t seen = 0;
    for (int i = 0; i < rank; i++) {
        if (given[i] < 0 || given[i] >= rank || (seen >> given[i] & 1))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute 'perm' is not a permutation of the axes");
        seen |= 1u << given[i];
        perm[i] = (int)given[i];
    }
    return OT_OK;
}

/* The move within samples; or, where their axes change places, whole samples that move. */
struct transpose_plan {
    struct move move; /* first, as those who run moves have it */
    int32_t *sample;  /* of x, for each of y; NULL: they stay */
    int64_t length;   /* elements of a sample */
};

static bool stays(const int *perm, int from, int to) {
    for (int i = from; i < to; i++)
        if (perm[i] != i) return false;
    return true;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    const int rank = n->x[0]->rank;
    int perm[OT_MAX_RANK];
    if (permutation(n, perm, NULL)) return false;
    return stays(perm, 0, lane_rank) ||
           (n->x[0]->type == OT_FLOAT && n->x[0]->lanes <= LANES && stays(perm, lane_rank, rank) &&
            ot_dims_product(n->x[0], 0, lane_rank) <= INT32_MAX);
}

/* ---- samples that change places ---- */

static ot_status number_samples(struct op_node *n, const int *perm, ot_error *err) {
    struct transpose_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0], *y = n->y[0];
    const int64_t samples = ot_lane_samples(y);
    plan->length = ot_sample_elements(y);
    plan->sample = ot_arena_alloc(n->arena, (size_t)samples, sizeof *plan->sample);
    if (!plan->sample) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < samples; i++) {
        int64_t rest = i, from = 0;
        for (int k = y->lane_rank - 1; k >= 0; k--) {
            from += rest % y->dim[k] * ot_dims_product(x, perm[k] + 1, x->lane_rank);
            rest /= y->dim[k];
        }
        plan->sample[i] = (int32_t)from;
    }
    return OT_OK;
}

struct exchange {
    const struct transpose_plan *plan;
    const struct tensor *at; /* for its layout */
    const float *from;
    float *to;
    bool back; /* from y to x */
};

/* The samples of one block of y. */
static void exchange_task(void *arg, int task, int worker) {
    const struct exchange *e = arg;
    const int64_t lanes = e->at->lanes, length = e->plan->length, first = task * lanes;
    const int64_t left = ot_lane_samples(e->at) - first, n = left < lanes ? left : lanes;
    int64_t place[LANES];
    (void)worker;
    for (int64_t i = 0; i < n; i++) {
        const int64_t sample = e->plan->sample[first + i];
        place[i] = sample / lanes * length * lanes + sample % lanes;
    }
    for (int64_t k = 0; k < length; k++) {
        const int64_t at = (task * length + k) * lanes, other = k * lanes;
        if (e->back)
            for (int64_t i = 0; i < n; i++) e->to[place[i] + other] = e->from[at + i];
        else
            for (int64_t i = 0; i < n; i++) e->to[at + i] = e->from[place[i] + other];
    }
}

static void exchange(struct op_node *n, const struct tensor *from, struct tensor *to, bool back) {
    struct exchange e = {n->plan, n->y[0], ot_f(from), ot_f(to), back};
    ot_parallel_for(n->pool, (int)ot_lane_blocks(n->y[0]), exchange_task, &e);
    ot_op_clear_spare(to);
}

/* ---- planes of floats that are turned: a kernel does squares of them ---- */

struct planes {
    const struct kernels *kernels;
    const float *from;
    float *to;
    const struct move *m;
    int outer; /* the dimension of planes; -1: there is one */
    int row,
        column;    /* dimensions: neighbours in `from` along the first, in `to` along the second */
    int64_t grain; /* rows of a task */
    int tasks_per_plane;
};

/* Is the move one of elements of four bytes in such planes? */
static bool find_planes(const struct move *m, size_t size, struct planes *p) {
    const int last = m->rank - 1;
    if (size != sizeof(float) || m->rank < 2 || m->rank > 3 || m->from || m->to) return false;
    p->outer = m->rank == 3 ? 0 : -1;
    p->row = m->to_stride[last] == 1 ? last - 1 : last;
    p->column = m->to_stride[last] == 1 ? last : last - 1;
    return m->to_stride[p->column] == 1 && m->from_stride[p->row] == 1 &&
           m->from_stride[p->column] > 0 && m->dim[p->column] > 0 && m->dim[p->column] <= INT32_MAX;
}

static void turn_task(void *arg, int task, int worker) {
    const struct planes *p = arg;
    const struct move *m = p->m;
    const int64_t plane = task / p->tasks_per_plane;
    int64_t from, to;
    (void)worker;
    ot_task_range(m->dim[p->row], p->grain, task % p->tasks_per_plane, &from, &to);
    const int64_t in = p->outer < 0 ? 0 : plane * m->from_stride[p->outer];
    const int64_t out = p->outer < 0 ? 0 : plane * m->to_stride[p->outer];
    const struct transpose a = {.in = p->from + in + from,
                                .out = p->to + out + from * m->to_stride[p->row],
                                .in_pitch = (size_t)m->from_stride[p->column],
                                .out_pitch = (size_t)m->to_stride[p->row],
                                .rows = (int)m->dim[p->column],
                                .columns = (int)(to - from)};
    p->kernels->transpose(&a);
}

static bool turn_planes(const struct op_node *n, const struct move *m, const struct tensor *from,
                        const struct tensor *to) {
    struct planes p = {.kernels = n->kernels, .from = from->data, .to = to->data, .m = m};
    if (!find_planes(m, ot_type_size(from->type), &p)) return false;
    p.grain = GRAIN / m->dim[p.column] > 8 ? GRAIN / m->dim[p.column] / 8 * 8 : 8;
    p.tasks_per_plane = ot_task_count(m->dim[p.row], p.grain);
    const int64_t planes = p.outer < 0 ? 1 : m->dim[p.outer];
    ot_parallel_for(n->pool, (int)planes * p.tasks_per_plane, turn_task, &p);
    return true;
}

static void forward(struct op_node *n) {
    if (((struct transpose_plan *)n->plan)->sample)
        exchange(n, n->x[0], n->y[0], false);
    else if (!turn_planes(n, &((struct transpose_plan *)n->plan)->move, n->x[0], n->y[0]))
        ot_move_forward(n);
}

static void backward(struct op_node *n) {
    const struct transpose_plan *plan = n->plan;
    const struct move back = ot_move_reverse(&plan->move);
    if (!n->dx[0]) return;
    if (plan->sample)
        exchange(n, n->dy[0], n->dx[0], true);
    else if (!turn_planes(n, &back, n->dy[0], n->dx[0]))
        ot_move_backward(n);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct tensor *y = n->y[0];
    struct move *m = &((struct transpose_plan *)ot_op_plan(n))->move;
    int perm[OT_MAX_RANK];
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(permutation(n, perm, err));
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[perm[i]];
    OT_TRY(ot_op_set(n, y, x->type, x->rank, dim, err));
    if (!stays(perm, 0, y->lane_rank)) return number_samples(n, perm, err);
    struct array from, to;
    ot_array_of(x, &from);
    ot_array_of(y, &to);
    ot_move_init(m, &to, &to, &to);
    for (int i = 0; i < to.rank; i++) m->from_stride[i] = from.stride[i];
    for (int i = y->lane_rank; i < y->rank; i++)
        m->from_stride[ot_array_axis(y, i)] = from.stride[ot_array_axis(x, perm[i])];
    ot_move_simplify(m);
    return OT_OK;
}

static const char *const cases[] = {
    "X[2,3] -> Y[3,2]",
    "X[2,3,4,5] perm=0,2,3,1 -> Y[2,4,5,3]",
    "X[3,19,5,7] perm=0,2,3,1 -> Y[3,5,7,19]",
    "X[3,5,7,19] perm=0,3,1,2 -> Y[3,19,5,7]",
    "X[37,150] -> Y[150,37]",
    "X[0,150] -> Y[150,0]",
    "X[3,0,5] perm=0,2,1 -> Y[3,5,0]",
    "X[2,3,17,21] perm=0,1,3,2 lanes -> Y[2,3,21,17]",
    "X[2,9,12,5] perm=0,2,1,3 -> Y[2,12,9,5]",
    "i32[2,3]{1,2,3,4,5,6} -> i32[3,2]{1,4,2,5,3,6}",
    "X[2,3,4,5] perm=3,1,0,2 -> Y[5,3,2,4]",
    "X[3,7,1,2] -> Y[2,1,7,3]",
    "X[5,9,4] perm=1,0,2 lanes -> Y[9,5,4]",
    "X[3,4,5,2] perm=2,0,1,3 lanes -> Y[5,3,4,2]",
    "f[2,3]{1,2,3,4,5,6} -> f[3,2]{1,4,2,5,3,6}",
    "f[2,2,2]{1,2,3,4,5,6,7,8} perm=1,2,0 -> f[2,2,2]{1,5,2,6,3,7,4,8}",
    "X[2,3] perm=0,0 -> error: not a permutation",
    "X[2,3] perm=0,2 -> error: not a permutation",
    "X[2,3] perm=1 -> error: attribute 'perm' has 1 axes, but input 0 has rank 2",
    NULL};

const struct op ot_op_Transpose = {
    .name = "Transpose",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "perm:I",
    .plan_size = sizeof(struct transpose_plan),
    .lanes = lanes,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .prepare = prepare,
    .forward = forward,
    .again = forward,
    .backward = backward,
    .cases = cases,
};
