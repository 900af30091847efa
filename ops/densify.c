/* densify.c - Densify (internal): y = x with its zeros written out; dx = dy at the slots of x.
 *
 * Plans insert it before operators that compute with a weight densely; no file can name it.
 */
#include <string.h>

#include "ops/op.h"
#include "runtime/base/pattern.h"

/* Elements of the dense matrix that one task covers; rows of a block: a line of the cache. */
enum { GRAIN = 1 << 16, BLOCK = 16 };

struct move {
    const struct pattern *pattern;
    const float *in;
    float *out;
    int64_t rows; /* of the pattern in one task */
    bool gather;  /* the values of the slots, else all of the dense matrix */
};

static int64_t task_rows(const struct pattern *p) {
    int64_t rows = GRAIN / (p->cols + 1);
    if (p->transposed) rows -= rows % BLOCK;
    return rows ? rows : p->transposed ? BLOCK : 1;
}

/* A part of the dense matrix: it goes to and from memory by whole lines of the cache. */
struct tile {
    int64_t row, column; /* of the pattern */
    int rows, columns;
    float value[BLOCK][BLOCK];
};

static void move_lines(const struct move *m, struct tile *t) {
    for (int c = 0; c < t->columns; c++) {
        const int64_t at = (t->column + c) * m->pattern->rows + t->row;
        const size_t bytes = (size_t)t->rows * sizeof(float);
        if (m->gather)
            memcpy(t->value[c], m->in + at, bytes);
        else
            memcpy(m->out + at, t->value[c], bytes);
    }
}

/* The slots of row i of a tile, from k on; returns the next one. */
static int move_slots(const struct move *m, struct tile *t, int i, int k) {
    const struct pattern *p = m->pattern;
    const int end = p->row[t->row + i + 1];
    const int64_t behind = t->column + t->columns;
    for (; k < end && p->col[k] < behind; k++) {
        float *value = &t->value[p->col[k] - t->column][i];
        if (m->gather)
            m->out[k] = *value;
        else
            *value = m->in[k];
    }
    return k;
}

/* At most BLOCK rows of a transposed pattern. */
static void move_block(const struct move *m, int64_t from, int64_t to) {
    const struct pattern *p = m->pattern;
    struct tile t = {.row = from, .rows = (int)(to - from)};
    int slot[BLOCK];
    for (int i = 0; i < t.rows; i++) slot[i] = p->row[from + i];
    for (; t.column < p->cols; t.column += BLOCK) {
        t.columns = p->cols - t.column < BLOCK ? (int)(p->cols - t.column) : BLOCK;
        if (m->gather)
            move_lines(m, &t);
        else
            memset(t.value, 0, sizeof t.value);
        for (int i = 0; i < t.rows; i++) slot[i] = move_slots(m, &t, i, slot[i]);
        if (!m->gather) move_lines(m, &t);
    }
}

static void scatter_row(const struct move *m, int64_t row) {
    const struct pattern *p = m->pattern;
    float *out = m->out + row * p->cols;
    memset(out, 0, (size_t)p->cols * sizeof *out);
    for (int k = p->row[row]; k < p->row[row + 1]; k++) out[p->col[k]] = m->in[k];
}

static void gather_row(const struct move *m, int64_t row) {
    const struct pattern *p = m->pattern;
    const float *in = m->in + row * p->cols;
    for (int k = p->row[row]; k < p->row[row + 1]; k++) m->out[k] = in[p->col[k]];
}

static void move_rows(void *arg, int task, int worker) {
    const struct move *m = arg;
    const bool transposed = m->pattern->transposed;
    int64_t from, to;
    (void)worker;
    ot_task_range(m->pattern->rows, m->rows, task, &from, &to);
    for (int64_t r = from; r < to; r += transposed ? BLOCK : 1) {
        if (transposed)
            move_block(m, r, r + BLOCK < to ? r + BLOCK : to);
        else
            (m->gather ? gather_row : scatter_row)(m, r);
    }
}

static void move_all(struct op_node *n, const float *in, float *out, bool gather) {
    const struct pattern *p = n->x[0]->pattern;
    struct move m = {p, in, out, task_rows(p), gather};
    ot_parallel_for(n->pool, ot_task_count(p->rows, m.rows), move_rows, &m);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    const struct tensor *x = n->x[0];
    const struct pattern *p = x->pattern;
    if (!p || (int64_t)p->rows * p->cols != ot_elements(x))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has no pattern that fits its shape");
    ot_op_like(n->y[0], x);
    n->kernel = "scatter";
    return OT_OK;
}

static void forward(struct op_node *n) { move_all(n, ot_f(n->x[0]), ot_f(n->y[0]), false); }

static void backward(struct op_node *n) {
    if (n->dx[0]) move_all(n, ot_f(n->dy[0]), ot_f(n->dx[0]), true);
}

/* ---- gradients outside the mask: the dense gradient is there ---- */

struct told {
    const struct pattern *pattern;
    const struct probe_sink *sink;
    const float *dy;
};

/* A row of the pattern is a column in memory where that is transposed. */
static void tell_column(const struct told *t, int row, int worker) {
    enum { PIECE = 1024 };
    const struct pattern *p = t->pattern;
    float gradient[PIECE];
    for (int from = 0, n; from < p->cols; from += n) {
        n = p->cols - from < PIECE ? p->cols - from : PIECE;
        for (int i = 0; i < n; i++) gradient[i] = t->dy[(int64_t)(from + i) * p->rows + row];
        t->sink->take(t->sink->to, worker, row, from, gradient, n);
    }
}

/* Slots of the pattern that is asked for, which stand as those of the weight's own do. */
static void add_slots(const struct told *t, int row) {
    const struct pattern *p = t->pattern, *q = t->sink->pattern;
    for (int k = q->row[row]; k < q->row[row + 1]; k++)
        t->sink->sum[k] += t->dy[p->transposed ? (int64_t)q->col[k] * p->rows + row
                                               : (int64_t)row * p->cols + q->col[k]];
}

static void tell_rows(void *arg, int task, int worker) {
    const struct told *t = arg;
    const struct pattern *p = t->pattern;
    int64_t from, to;
    ot_task_range(p->rows, task_rows(p), task, &from, &to);
    for (int r = (int)from; r < to; r++) {
        if (t->sink->pattern)
            add_slots(t, r);
        else if (p->transposed)
            tell_column(t, r, worker);
        else
            t->sink->take(t->sink->to, worker, r, 0, t->dy + (int64_t)r * p->cols, p->cols);
    }
}

static void probe(struct op_node *n, const struct probe_sink *sink) {
    const struct pattern *p = n->x[0]->pattern;
    struct told t = {p, sink, ot_f(n->dy[0])};
    ot_parallel_for(n->pool, ot_task_count(p->rows, task_rows(p)), tell_rows, &t);
}

/* Passes read the pattern itself. */
static void follow(struct op_node *n, int i) {
    (void)n;
    (void)i;
}

const struct op ot_op_Densify = {
    .name = "Densify",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .internal = true,
    .sparse_in = 1,
    .parameters = 1,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .probe = probe,
    .follow = follow,
};
