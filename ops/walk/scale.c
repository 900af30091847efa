/* scale.c - walks a tensor and the factors of its pieces.
 *
 * Sums are made in float over at most MOST units, those in double, in one order. */
#include "ops/walk/scale.h"

#include <string.h>

#include "ops/kernels/kernels.h"

enum { MOST = 64, GRAIN = 16384, TOGETHER = 16 /* groups of a task that sums over `outer` */ };

/* ---- the view ---- */

static int64_t dims_product(const struct tensor *t, int from, int to) {
    return ot_dims_product(t, from, to);
}

/* Dimension d of b, broadcast to the rank of x. */
static int64_t dim_of(const struct tensor *x, const struct tensor *b, int d) {
    const int own = d - (x->rank - b->rank);
    return own < 0 ? 1 : b->dim[own];
}

/* b has the leading axes of x, up to `end`, and is in its layout. */
static bool find_leading(const struct tensor *x, const struct tensor *b, struct scale_view *v) {
    int end = 0;
    if (x->rank != b->rank || x->lanes != b->lanes || x->lane_rank != b->lane_rank) return false;
    while (end < x->rank && b->dim[end] == x->dim[end]) end++;
    for (int d = end; d < b->rank; d++)
        if (b->dim[d] != 1) return false;
    if (end < x->lane_rank || end < 1 || end == x->rank) return false;
    v->outer = v->blocks * dims_product(x, x->lane_rank, end);
    v->inner = dims_product(x, end, x->rank);
    v->groups = 1;
    return true;
}

/* b has one axis of x, and does not change from sample to sample. */
static bool find_axis(const struct tensor *x, const struct tensor *b, struct scale_view *v) {
    int axis = -1;
    if (b->lanes || b->rank > x->rank) return false;
    for (int d = 0; d < x->rank; d++) {
        if (dim_of(x, b, d) == 1) continue;
        if (axis >= 0 || dim_of(x, b, d) != x->dim[d]) return false;
        axis = d;
    }
    if (axis < 0) return false;
    v->by_group = true;
    v->units = x->lane_rank == 2 && axis == 1 && x->lanes && x->dim[1] % x->lanes == 0;
    if (axis < x->lane_rank && !v->units) return false;
    v->inner = dims_product(x, axis + 1, x->rank);
    v->groups = v->units ? x->dim[1] / x->lanes : x->dim[axis];
    v->outer = v->units ? x->dim[0] : v->blocks * dims_product(x, x->lane_rank, axis);
    return true;
}

bool ot_scale_find(const struct tensor *x, const struct tensor *b, struct scale_view *v) {
    const struct scale_view start = {.width = x->lanes ? x->lanes : 1,
                                     .samples = ot_lane_samples(x),
                                     .blocks = ot_lane_blocks(x)};
    if (x->type != OT_FLOAT || b->type != OT_FLOAT || b->pattern || x->lanes % OT_UNIT ||
        !ot_count(x))
        return false;
    *v = start;
    if (find_leading(x, b, v)) return true;
    *v = start;
    return find_axis(x, b, v);
}

bool ot_scale_pays(const struct scale_view *v) { return v->inner * v->width >= OT_UNIT; }

/* ---- pieces ---- */

struct job {
    const struct op_node *n;
    const struct scale_view *v;
    const float *x, *b, *g;
    float *out, *db;
    bool past_cache;
    int64_t grain; /* pieces of a task */
};

static int64_t piece_floats(const struct scale_view *v) { return v->inner * v->width; }

/* `pieces` neighbours from number p on, of the unit of lanes `u`; sum: NULL, or OT_UNIT floats
 * for each. */
static struct scale scale_of(const struct job *job, int64_t p, int pieces, int u) {
    const struct scale_view *v = job->v;
    const size_t at = (size_t)(p * piece_floats(v)) + (size_t)u * OT_UNIT;
    const int64_t factor =
        !v->by_group ? p * v->width + u * OT_UNIT : p % v->groups * (v->units ? v->width : 1);
    struct scale a = {.pieces = pieces,
                      .piece = (size_t)piece_floats(v),
                      .pitch = (size_t)v->width,
                      .units = (size_t)v->inner,
                      .one = v->width == 1 || (v->by_group && !v->units),
                      .factor_step = v->by_group && !v->units ? 1 : (size_t)v->width,
                      .past_cache = job->past_cache};
    if (v->width == 1) {
        a.pitch = OT_UNIT;
        a.units = (size_t)(v->inner / OT_UNIT);
        a.rest = (size_t)(v->inner % OT_UNIT);
    }
    a.g = job->g ? job->g + at : NULL;
    a.x = job->x ? job->x + at : NULL;
    a.out = job->out ? job->out + at : NULL;
    a.factor = job->b ? job->b + factor : NULL;
    return a;
}

static int units_of(const struct scale_view *v) {
    return v->width < OT_UNIT ? 1 : v->width / OT_UNIT;
}

/* Runs a over its units, at most MOST at a time, and adds the sums of each of its pieces up. */
static void run_sums(const struct job *job, struct scale a, double *sum) {
    float part[TOGETHER * OT_UNIT];
    const size_t units = a.units, rest = a.rest;
    for (size_t i = 0; i < units || i == 0; i += MOST) {
        struct scale some = a;
        some.units = units - i < MOST ? units - i : MOST;
        some.rest = i + some.units == units ? rest : 0;
        some.g += i * a.pitch;
        some.x = a.x ? a.x + i * a.pitch : NULL;
        some.out = a.out ? a.out + i * a.pitch : NULL;
        some.sum = part;
        memset(part, 0, (size_t)a.pieces * OT_UNIT * sizeof *part);
        job->n->kernels->scale(&some);
        for (int k = 0; k < a.pieces * OT_UNIT; k++) sum[k] += (double)part[k];
    }
}

static double sum_lanes(const double *sum, int64_t used) {
    double all = 0;
    for (int k = 0; k < used && k < OT_UNIT; k++) all += sum[k];
    return all;
}

/* Sums of pieces, each of which is an element of db, or a unit of lanes. */
static void put_sums(const struct job *job, int64_t p, int pieces, int u, double sum[][OT_UNIT]) {
    const int width = job->v->width;
    for (int i = 0; i < pieces; i++) {
        float *db = job->db + (p + i) * width + u * OT_UNIT;
        if (width == 1) *db = (float)sum_lanes(sum[i], OT_UNIT);
        for (int k = 0; width > 1 && k < OT_UNIT; k++) db[k] = (float)sum[i][k];
    }
}

/* So many pieces from number p on may go in one call: their factors stand in a row. */
static int pieces_in_call(const struct job *job, int64_t p, int64_t to) {
    const struct scale_view *v = job->v;
    const int64_t most = !job->db ? INT32_MAX : v->inner > MOST ? 1 : TOGETHER;
    int64_t n = to - p;
    if (v->by_group && n > v->groups - p % v->groups) n = v->groups - p % v->groups;
    return (int)(n < most ? n : most);
}

/* Pieces whose sums, if any, are of their own. */
static void own_task(void *arg, int task, int worker) {
    const struct job *job = arg;
    const struct scale_view *v = job->v;
    double sum[TOGETHER][OT_UNIT];
    int64_t p, to;
    (void)worker;
    ot_task_range(v->outer * v->groups, job->grain, task, &p, &to);
    for (int count; p < to; p += count) {
        count = pieces_in_call(job, p, to);
        for (int u = 0; u < units_of(v); u++) {
            const struct scale a = scale_of(job, p, count, u);
            if (!job->db) {
                job->n->kernels->scale(&a);
                continue;
            }
            memset(sum, 0, sizeof sum);
            run_sums(job, a, sum[0]);
            put_sums(job, p, count, u, sum);
        }
    }
}

/* Samples in unit u of the lanes where piece (o, ..) stands. */
static int64_t used_lanes(const struct scale_view *v, int64_t o, int u) {
    const int64_t block = o / (v->outer / v->blocks);
    return v->width == 1 ? OT_UNIT : v->samples - block * v->width - u * OT_UNIT;
}

/* Sums of some groups over all of `outer`. */
static void group_task(void *arg, int task, int worker) {
    const struct job *job = arg;
    const struct scale_view *v = job->v;
    double sum[TOGETHER][OT_UNIT], all[TOGETHER][OT_UNIT] = {{0}};
    int64_t from, to;
    (void)worker;
    ot_task_range(v->groups, TOGETHER, task, &from, &to);
    const int count = (int)(to - from);
    for (int64_t o = 0; o < v->outer; o++)
        for (int u = 0; u < units_of(v); u++) {
            memset(sum, 0, sizeof sum);
            run_sums(job, scale_of(job, o * v->groups + from, count, u), sum[0]);
            for (int g = 0; g < count; g++) {
                if (!v->units) all[g][0] += sum_lanes(sum[g], used_lanes(v, o, u));
                for (int k = 0; v->units && k < OT_UNIT; k++) all[g][k] += sum[g][k];
            }
        }
    for (int g = 0; g < count; g++)
        for (int k = 0; k < (v->units ? OT_UNIT : 1); k++)
            job->db[(from + g) * (v->units ? OT_UNIT : 1) + k] = (float)all[g][k];
}

static void run_scale(struct job *job) {
    const struct scale_view *v = job->v;
    const int64_t pieces = v->outer * v->groups, floats = piece_floats(v);
    job->past_cache = job->out && (uint64_t)(pieces * floats) * sizeof(float) > OT_PAST_CACHE &&
                      (uintptr_t)job->out % (OT_UNIT * sizeof(float)) == 0 && floats % OT_UNIT == 0;
    if (job->db && v->by_group) {
        ot_parallel_for(job->n->pool, ot_task_count(v->groups, TOGETHER), group_task, job);
        return;
    }
    job->grain = GRAIN / floats > 0 ? GRAIN / floats : 1;
    ot_parallel_for(job->n->pool, ot_task_count(pieces, job->grain), own_task, job);
}

void ot_scale_forward(const struct op_node *n, const struct scale_view *v, const float *x,
                      const float *b, float *y) {
    struct job job = {.n = n, .v = v, .g = x, .b = b, .out = y};
    run_scale(&job);
}

void ot_scale_backward(const struct op_node *n, const struct scale_view *v, const float *x,
                       const float *b, const float *dy, float *dx, float *db) {
    struct job job = {.n = n, .v = v, .g = dy, .x = x, .b = b, .out = dx, .db = db};
    if (dx || db) run_scale(&job);
}
