/* densify.c - Densify (internal): y = x with its zeros written out; dx = dy at the slots of x.
 *
 * Plans insert it before operators that compute with a weight densely; no file can name it.
 */
#include <string.h>

#include "ops/op.h"
#include "runtime/base/pattern.h"

/* Elements of the dense matrix that one task covers. */
enum { GRAIN = 1 << 16 };

struct move {
    const struct pattern *pattern;
    const float *in;
    float *out;
    int64_t rows; /* of the pattern in one task */
};

static int64_t task_rows(const struct pattern *p) {
    int64_t rows = GRAIN / (p->cols + 1);
    return rows ? rows : 1;
}

static void scatter_rows(void *arg, int task, int worker) {
    const struct move *m = arg;
    const struct pattern *p = m->pattern;
    int64_t from, to;
    (void)worker;
    ot_task_range(p->rows, m->rows, task, &from, &to);
    if (p->transposed)
        for (int64_t c = 0; c < p->cols; c++)
            memset(m->out + c * p->rows + from, 0, (size_t)(to - from) * sizeof(float));
    else
        memset(m->out + from * p->cols, 0, (size_t)((to - from) * p->cols) * sizeof(float));
    for (int r = (int)from; r < to; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            m->out[ot_pattern_position(p, r, k)] = m->in[k];
}

static void gather_rows(void *arg, int task, int worker) {
    const struct move *m = arg;
    const struct pattern *p = m->pattern;
    int64_t from, to;
    (void)worker;
    ot_task_range(p->rows, m->rows, task, &from, &to);
    for (int r = (int)from; r < to; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            m->out[k] = m->in[ot_pattern_position(p, r, k)];
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    const struct tensor *x = n->x[0];
    const struct pattern *p = x->pattern;
    if (!p || (int64_t)p->rows * p->cols != ot_elements(x))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the input has no pattern of its shape");
    ot_op_like(n->y[0], x);
    n->kernel = "scatter";
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct pattern *p = n->x[0]->pattern;
    struct move m = {p, n->x[0]->data, n->y[0]->data, task_rows(p)};
    ot_parallel_for(n->pool, ot_task_count(p->rows, m.rows), scatter_rows, &m);
}

static void backward(struct op_node *n) {
    if (!n->dx[0]) return;
    const struct pattern *p = n->x[0]->pattern;
    struct move m = {p, n->dy[0]->data, n->dx[0]->data, task_rows(p)};
    ot_parallel_for(n->pool, ot_task_count(p->rows, m.rows), gather_rows, &m);
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
};
