/* reorder.c - Reorder (internal): y = x in another layout, rows to lanes or back; dx = dy undone.
 *
 * Plans insert it between operators of different layouts; no file can name it. Spare lanes are
 * written as zeros. Elements may be of any type of fixed size: conditions travel too.
 */
#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/product/cost.h"

/* STRIP elements of each of L samples are turned at a time, so that what is written stays in L1. */
enum { STRIP = 16, GRAIN = 1 << 14 };

struct turn {
    const struct kernels *kernels;
    const char *in;
    char *out;
    size_t width;          /* bytes of an element */
    int64_t samples, size; /* samples, and elements of one */
    int lanes;
    bool to_lanes;
    int64_t grain; /* elements of a sample in one task */
    int tasks_per_block;
};

/* rows [samples][size] -> one block [size][lanes], for elements [from, to) of each sample. Inlined
 * for each width, so that memcpy is one load and one store. */
static inline void fill_block(const struct turn *t, int64_t block, int64_t from, int64_t to,
                              size_t width) {
    static const uint64_t zero = 0;
    const char *in = t->in + (size_t)(block * t->lanes * t->size) * width;
    char *out = t->out + (size_t)(block * t->lanes * t->size) * width;
    int64_t left = t->samples - block * t->lanes;
    int full = left < t->lanes ? (int)left : t->lanes;
    for (int64_t s = from; s < to; s += STRIP) {
        int64_t end = s + STRIP < to ? s + STRIP : to;
        for (int l = 0; l < t->lanes; l++)
            for (int64_t k = s; k < end; k++)
                memcpy(out + (size_t)(k * t->lanes + l) * width,
                       l < full ? in + (size_t)(l * t->size + k) * width : (const char *)&zero,
                       width);
    }
}

/* The inverse; spare lanes are not looked at. */
static inline void empty_block(const struct turn *t, int64_t block, int64_t from, int64_t to,
                               size_t width) {
    const char *in = t->in + (size_t)(block * t->lanes * t->size) * width;
    char *out = t->out + (size_t)(block * t->lanes * t->size) * width;
    int64_t left = t->samples - block * t->lanes;
    int full = left < t->lanes ? (int)left : t->lanes;
    for (int64_t s = from; s < to; s += STRIP) {
        int64_t end = s + STRIP < to ? s + STRIP : to;
        for (int l = 0; l < full; l++)
            for (int64_t k = s; k < end; k++)
                memcpy(out + (size_t)(l * t->size + k) * width,
                       in + (size_t)(k * t->lanes + l) * width, width);
    }
}

static inline void turn_block(const struct turn *t, int64_t block, int64_t from, int64_t to,
                              size_t width) {
    if (t->to_lanes)
        fill_block(t, block, from, to, width);
    else
        empty_block(t, block, from, to, width);
}

/* Elements of four bytes: a kernel turns squares of them. */
static void turn_floats(const struct turn *t, int64_t block, int64_t from, int64_t to) {
    const int64_t first = block * t->lanes * t->size, left = t->samples - block * t->lanes;
    const int full = left < t->lanes ? (int)left : t->lanes;
    const int64_t rows = first + from, lanes = first + from * t->lanes;
    const float *in = (const float *)(const void *)t->in + (t->to_lanes ? rows : lanes);
    float *out = (float *)(void *)t->out + (t->to_lanes ? lanes : rows);
    const struct transpose a = {.in = in,
                                .out = out,
                                .in_pitch = (size_t)(t->to_lanes ? t->size : t->lanes),
                                .out_pitch = (size_t)(t->to_lanes ? t->lanes : t->size),
                                .rows = t->to_lanes ? full : (int)(to - from),
                                .columns = t->to_lanes ? (int)(to - from) : full};
    t->kernels->transpose(&a);
    for (int64_t k = 0; t->to_lanes && full < t->lanes && k < to - from; k++)
        memset(out + k * t->lanes + full, 0, (size_t)(t->lanes - full) * sizeof *out);
}

static void run_turn(void *arg, int task, int worker) {
    const struct turn *t = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(t->size, t->grain, task % t->tasks_per_block, &from, &to);
    int64_t block = task / t->tasks_per_block;
    if (t->width == 4)
        turn_floats(t, block, from, to);
    else if (t->width == 8)
        turn_block(t, block, from, to, 8);
    else
        turn_block(t, block, from, to, t->width);
}

/* out = in; their shapes are the same, one is in lanes. */
static void reorder(struct op_node *n, const struct tensor *in, const struct tensor *out) {
    const struct tensor *lanes = out->lanes ? out : in;
    struct turn t = {.kernels = n->kernels,
                     .in = in->data,
                     .out = out->data,
                     .width = ot_type_size(in->type),
                     .samples = ot_lane_samples(lanes),
                     .size = ot_sample_elements(lanes),
                     .lanes = lanes->lanes,
                     .to_lanes = out->lanes != 0};
    t.grain = GRAIN / t.lanes;
    t.tasks_per_block = ot_task_count(t.size, t.grain);
    ot_parallel_for(n->pool, (int)ot_lane_blocks(lanes) * t.tasks_per_block, run_turn, &t);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *y = n->y[0];
    if (!ot_type_size(x->type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, which is not supported",
                          ot_type_name(x->type));
    if (!x->lanes == !y->lanes || x->pattern)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 has %d lanes and the result %d, expected lanes on one side",
                          x->lanes, y->lanes);
    const struct tensor *lanes = y->lanes ? y : x;
    if (lanes->lane_rank > x->rank || lanes->lanes > GRAIN)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "%d dimensions cannot be merged into %d lanes",
                          lanes->lane_rank, lanes->lanes);
    ot_op_like(n->y[0], x);
    if (ot_count(lanes) / lanes->lanes > INT32_MAX)
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "input 0 has more than 2^31 elements for each lane");
    n->kernel = y->lanes ? "rows to lanes" : "lanes to rows";
    const double ms = ot_cost_reorder((double)ot_count(lanes));
    ot_cost_note(n, (struct cost){ms, ms, 0});
    return OT_OK;
}

static void forward(struct op_node *n) { reorder(n, n->x[0], n->y[0]); }

static void backward(struct op_node *n) {
    if (n->dx[0]) reorder(n, n->dy[0], n->dx[0]);
}

const struct op ot_op_Reorder = {
    .name = "Reorder",
    .since = 1,
    .straight = OT_STRAIGHT_THROUGH,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .internal = true,
    .prepare = prepare,
    .forward = forward,
    .again = forward,
    .backward = backward,
};
