/* fold.c - reductions of float arrays.
 *
 * Two forms. Where the last dimension is kept, a task holds BLOCK accumulators, one a neighbour,
 * and walks over what is reduced. Otherwise it takes one result at a time and splits the run into
 * SPLIT interleaved accumulators, which are combined at the end: both vectorise.
 */
#include "ops/walk/fold.h"

#include <math.h>

#include "ops/kernels/exponential.h"
#include "ops/number.h"

enum { BLOCK = 64, SPLIT = 16 };

/* Dimensions of a move, kept ones and reduced ones apart. */
struct walk {
    int rank;
    int64_t dim[OT_ARRAY_RANK], from[OT_ARRAY_RANK], to[OT_ARRAY_RANK];
    int64_t count; /* product of dim */
};

struct job {
    struct walk kept, reduced; /* without the run */
    int64_t run, run_stride;   /* the innermost dimension: kept or reduced */
    bool run_kept;
    int64_t blocks; /* of a kept run */
    int64_t first_from, first_to, grain;
    enum fold kind;
    const float *x, *with;
    float scale, *y;
};

int64_t ot_fold_move(const struct tensor *x, uint32_t axes, struct move *m) {
    struct array from, to;
    int64_t reduced = 1, stride = 1;
    ot_array_of(x, &from);
    to = from;
    for (int i = x->lane_rank; i < x->rank; i++) {
        if (!(axes >> i & 1)) continue;
        to.dim[ot_array_axis(x, i)] = 1;
        reduced *= x->dim[i];
    }
    for (int i = to.rank - 1; i >= 0; i--) {
        to.stride[i] = from.dim[i] != to.dim[i] ? 0 : stride;
        stride *= to.dim[i];
    }
    ot_move_init(m, &from, &from, &to);
    ot_move_simplify(m);
    return reduced;
}

static double start_value(enum fold kind) {
    switch (kind) {
    case OT_FOLD_PROD:
    case OT_FOLD_PROD_NONZERO: return 1;
    case OT_FOLD_MAX: return -INFINITY;
    case OT_FOLD_MIN: return INFINITY;
    default: return 0;
    }
}

/* acc[j] = acc[j] folded with x[j] */
static void accumulate(enum fold kind, double *acc, const float *x, const float *with, int n) {
    switch (kind) {
    case OT_FOLD_SUM:
    case OT_FOLD_LOG_SUM:
        for (int j = 0; j < n; j++) acc[j] += x[j];
        break;
    case OT_FOLD_ABS:
        for (int j = 0; j < n; j++) acc[j] += fabsf(x[j]);
        break;
    case OT_FOLD_LOG_SUM_EXP: /* infinities too have a difference here */
        for (int j = 0; j < n; j++) acc[j] += x[j] == with[j] ? 1 : ot_exp(x[j] - with[j]);
        break;
    case OT_FOLD_SQUARES:
    case OT_FOLD_NORM:
        for (int j = 0; j < n; j++) acc[j] += (double)x[j] * x[j];
        break;
    case OT_FOLD_VARIANCE:
        for (int j = 0; j < n; j++) {
            const double d = (double)x[j] - (double)with[j];
            acc[j] += d * d;
        }
        break;
    case OT_FOLD_PROD:
        for (int j = 0; j < n; j++) acc[j] *= x[j];
        break;
    case OT_FOLD_MAX:
        for (int j = 0; j < n; j++) acc[j] = x[j] > acc[j] || x[j] != x[j] ? x[j] : acc[j];
        break;
    case OT_FOLD_MIN:
        for (int j = 0; j < n; j++) acc[j] = x[j] < acc[j] || x[j] != x[j] ? x[j] : acc[j];
        break;
    case OT_FOLD_TIES:
        for (int j = 0; j < n; j++) acc[j] += x[j] == with[j];
        break;
    case OT_FOLD_ZEROS:
        for (int j = 0; j < n; j++) acc[j] += x[j] == 0;
        break;
    case OT_FOLD_PROD_NONZERO:
        for (int j = 0; j < n; j++) acc[j] *= x[j] == 0 ? 1 : x[j];
        break;
    }
}

/* Two accumulators become one. */
static double combine_folds(enum fold kind, double a, double b) {
    switch (kind) {
    case OT_FOLD_PROD:
    case OT_FOLD_PROD_NONZERO: return a * b;
    case OT_FOLD_MAX: return b > a || b != b ? b : a;
    case OT_FOLD_MIN: return b < a || b != b ? b : a;
    default: return a + b;
    }
}

static void add_dimension(struct walk *w, int64_t dim, int64_t from, int64_t to) {
    w->dim[w->rank] = dim;
    w->from[w->rank] = from;
    w->to[w->rank++] = to;
    w->count *= dim;
}

/* Where index number i of a walk stands. */
static void find_offsets(const struct walk *w, int64_t i, int64_t *from, int64_t *to) {
    for (int k = w->rank - 1; k >= 0; k--) {
        const int64_t index = i % w->dim[k];
        i /= w->dim[k];
        *from += index * w->from[k];
        *to += index * w->to[k];
    }
}

static void finish_fold(const struct job *j, const double *acc, const float *with, int n,
                        float *y) {
    for (int i = 0; i < n; i++) {
        double value = acc[i];
        if (j->kind == OT_FOLD_NORM) value = sqrt(value);
        if (j->kind == OT_FOLD_LOG_SUM) value = log(value);
        if (j->kind == OT_FOLD_LOG_SUM_EXP) value = log(value) + (double)with[i];
        y[i] = (float)(value * j->scale);
    }
}

/* BLOCK neighbouring results. */
static void fold_block(const struct job *j, int64_t result, int64_t block) {
    double acc[BLOCK];
    int64_t from = j->first_from + block * BLOCK, to = j->first_to + block * BLOCK;
    const int64_t left = j->run - block * BLOCK;
    const int n = left < BLOCK ? (int)left : BLOCK;
    find_offsets(&j->kept, result, &from, &to);
    const float *with = j->with ? j->with + to : NULL;
    for (int i = 0; i < n; i++) acc[i] = start_value(j->kind);
    for (int64_t k = 0; k < j->reduced.count; k++) {
        int64_t at = from, unused = 0;
        find_offsets(&j->reduced, k, &at, &unused);
        accumulate(j->kind, acc, j->x + at, with, n);
    }
    finish_fold(j, acc, with, n, j->y + to);
}

/* One result; the run is reduced. */
static void fold_one(const struct job *j, int64_t result) {
    double acc[SPLIT];
    float piece[SPLIT], with[SPLIT];
    int64_t from = j->first_from, to = j->first_to;
    find_offsets(&j->kept, result, &from, &to);
    for (int i = 0; i < SPLIT; i++) {
        acc[i] = start_value(j->kind);
        with[i] = j->with ? j->with[to] : 0;
    }
    for (int64_t k = 0; k < j->reduced.count; k++) {
        int64_t at = from, unused = 0;
        find_offsets(&j->reduced, k, &at, &unused);
        for (int64_t r = 0; r < j->run; r += SPLIT) {
            const int n = j->run - r < SPLIT ? (int)(j->run - r) : SPLIT;
            const float *x = j->x + at + r * j->run_stride;
            for (int i = 0; i < n && j->run_stride != 1; i++) piece[i] = x[i * j->run_stride];
            accumulate(j->kind, acc, j->run_stride == 1 ? x : piece, with, n);
        }
    }
    for (int i = 1; i < SPLIT; i++) acc[0] = combine_folds(j->kind, acc[0], acc[i]);
    finish_fold(j, acc, with, 1, j->y + to);
}

static void fold_task(void *arg, int number, int worker) {
    (void)worker;
    const struct job *j = arg;
    int64_t from, to;
    ot_task_range(j->kept.count * j->blocks, j->grain, number, &from, &to);
    for (int64_t i = from; i < to; i++) {
        if (j->run_kept)
            fold_block(j, i / j->blocks, i % j->blocks);
        else
            fold_one(j, i);
    }
}

void ot_fold(struct pool *pool, const struct move *m, enum fold kind, const float *from,
             const float *with, float scale, float *to) {
    const int last = m->rank - 1;
    struct job j = {.kept.count = 1,
                    .reduced.count = 1,
                    .blocks = 1,
                    .first_from = m->from,
                    .first_to = m->to,
                    .kind = kind,
                    .x = from,
                    .with = with,
                    .scale = scale,
                    .y = to};
    j.run_kept = m->to_stride[last] == 1 && m->from_stride[last] == 1;
    int run = j.run_kept ? last : -1; /* else the innermost one that is reduced */
    for (int i = 0; i <= last && !j.run_kept; i++)
        if (m->to_stride[i] == 0) run = i;
    for (int i = 0; i <= last; i++)
        if (i != run)
            add_dimension(m->to_stride[i] ? &j.kept : &j.reduced, m->dim[i], m->from_stride[i],
                          m->to_stride[i]);
    j.run = run < 0 ? 1 : m->dim[run];
    j.run_stride = run < 0 ? 1 : m->from_stride[run];
    if (j.run_kept) j.blocks = (j.run + BLOCK - 1) / BLOCK;
    const int64_t work = j.reduced.count * (j.run_kept ? BLOCK : j.run) + 1;
    j.grain = work < 32768 ? 32768 / work : 1;
    ot_parallel_for(pool, ot_task_count(j.kept.count * j.blocks, j.grain), fold_task, &j);
}

/* ---- integers ---- */

struct integers {
    enum fold kind;
    const struct tensor *x;
    struct tensor *y;
};

static bool less(ot_type type, int64_t a, int64_t b) {
    return type == OT_UINT64 ? (uint64_t)a < (uint64_t)b : a < b;
}

static int64_t fold_integer(enum fold kind, ot_type type, int64_t a, int64_t x) {
    const uint64_t p = (uint64_t)a, q = (uint64_t)x;
    switch (kind) {
    case OT_FOLD_MAX: return less(type, a, x) ? x : a;
    case OT_FOLD_MIN: return less(type, x, a) ? x : a;
    case OT_FOLD_PROD: return (int64_t)(p * q);
    case OT_FOLD_SQUARES: return (int64_t)(p + q * q);
    case OT_FOLD_ABS: return (int64_t)(p + (x < 0 && type != OT_UINT64 ? 0 - q : q));
    default: return (int64_t)(p + q);
    }
}

static void integer_run(void *arg, int64_t from, int64_t to, int64_t n, int64_t from_stride,
                        int64_t to_stride) {
    const struct integers *a = arg;
    const ot_type type = a->x->type;
    for (int64_t i = 0; i < n; i++, from += from_stride, to += to_stride)
        ot_store_integer(a->y->data, type, to,
                         fold_integer(a->kind, type, ot_load_integer(a->y->data, type, to),
                                      ot_load_integer(a->x->data, type, from)));
}

/* What leaves every element as it is. */
static int64_t neutral(enum fold kind, ot_type type) {
    const int bits = type == OT_BOOL ? 1 : 8 * (int)ot_type_size(type);
    const uint64_t most = UINT64_MAX >> (64 - bits + ot_is_signed(type));
    if (kind == OT_FOLD_MAX) return ot_is_signed(type) ? (int64_t)~most : 0;
    if (kind == OT_FOLD_MIN) return (int64_t)most;
    return kind == OT_FOLD_PROD;
}

void ot_fold_integers(const struct move *m, enum fold kind, const struct tensor *from,
                      struct tensor *to) {
    struct integers a = {kind, from, to};
    for (int64_t i = 0; i < ot_count(to); i++)
        ot_store_integer(to->data, to->type, i, neutral(kind, to->type));
    ot_move_each(NULL, m, integer_run, &a);
}

/* ---- what integers give that has fractions ---- */

struct fractions {
    enum fold kind;
    const struct tensor *x;
    const struct tensor *most; /* of LOG_SUM_EXP: the maximum, at the place of the result */
    double *sum;
};

static void fraction_run(void *arg, int64_t from, int64_t to, int64_t n, int64_t from_stride,
                         int64_t to_stride) {
    const struct fractions *f = arg;
    for (int64_t i = 0; i < n; i++, from += from_stride, to += to_stride) {
        const double x = ot_load_number(f->x->data, f->x->type, from);
        double term = x;
        if (f->kind == OT_FOLD_NORM) term = x * x;
        if (f->kind == OT_FOLD_LOG_SUM_EXP)
            term = exp(x - ot_load_number(f->most->data, f->most->type, to));
        f->sum[to] += term;
    }
}

void ot_fold_fractions(const struct move *m, enum fold kind, const struct tensor *from,
                       int64_t divisor, double *sum, struct tensor *to) {
    struct fractions f = {kind, from, to, sum};
    if (kind == OT_FOLD_LOG_SUM_EXP) ot_fold_integers(m, OT_FOLD_MAX, from, to);
    for (int64_t i = 0; i < ot_count(to); i++) sum[i] = 0;
    ot_move_each(NULL, m, fraction_run, &f);
    for (int64_t i = 0; i < ot_count(to); i++) {
        double value = sum[i] / (double)divisor;
        if (kind == OT_FOLD_NORM) value = sqrt(value);
        if (kind == OT_FOLD_LOG_SUM) value = log(value);
        if (kind == OT_FOLD_LOG_SUM_EXP) value = log(value) + ot_load_number(to->data, to->type, i);
        ot_store_number(to->data, to->type, i, value);
    }
}
