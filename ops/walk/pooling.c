/* pooling.c - what MaxPool and AveragePool share: planes, windows, and their taps. */
#include "ops/walk/pooling.h"

/* [columns], [rows, columns] or [depth, rows, columns] becomes [rows, columns, depth]. */
static void add_dimensions(struct window *w) {
    int64_t *const list[] = {w->in, w->out, w->kernel, w->stride, w->dilation, w->begin, w->end};
    const int64_t neutral[] = {1, 1, 1, 1, 1, 0, 0};
    for (int i = 0; i < 7; i++) {
        int64_t *v = list[i];
        const int64_t columns = v[w->rank - 1];
        const int64_t rows = w->rank > 1 ? v[w->rank - 2] : neutral[i];
        v[2] = w->rank > 2 ? v[0] : neutral[i];
        v[0] = rows;
        v[1] = columns;
    }
    w->rank = 3;
}

ot_status ot_pooling_prepare(struct op_node *n, struct pooling *p, ot_error *err) {
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    return ot_pooling_shape(n, p, err);
}

ot_status ot_pooling_shape(struct op_node *n, struct pooling *p, ot_error *err) {
    const struct tensor *x = n->x[0];
    const int64_t ceil_mode = ot_attr_int(n->node, "ceil_mode", 0);
    if (ceil_mode != 0 && ceil_mode != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'ceil_mode' is %lld, expected 0 or 1", (long long)ceil_mode);
    OT_TRY(ot_conv_window(n, NULL, ceil_mode, &p->w, err));
    int64_t dim[OT_MAX_RANK] = {x->dim[0], x->dim[1]};
    for (int i = 0; i < p->w.rank; i++) dim[i + 2] = p->w.out[i];
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, dim, err));
    add_dimensions(&p->w);
    const double image = (double)p->w.in[0] * (double)p->w.in[1] * (double)p->w.in[2];
    const double kernel = (double)p->w.kernel[0] * (double)p->w.kernel[1] * (double)p->w.kernel[2];
    if (image > INT32_MAX || kernel > INT32_MAX)
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "the image or the kernel has 2^31 elements or more");
    p->planes = (x->lanes ? ot_lane_blocks(x) : 1) * ot_dims_product(x, x->lane_rank, 2);
    p->inner = x->lanes ? x->lanes : 1;
    n->flops = (double)ot_elements(n->y[0]) * kernel;
    const double work = (double)ot_pooling_out(p) * kernel * (double)p->inner + 1;
    p->grain = work < 32768 ? (int64_t)(32768 / work) : 1;
    return OT_OK;
}

void ot_pooling_span(const struct pooling *p, int d, int64_t k, int64_t *from, int64_t *to) {
    const int64_t stride = p->w.stride[d], first = ot_pooling_at(p, d, 0, k);
    *from = first < 0 ? (stride - 1 - first) / stride : 0;
    *to = first < p->w.in[d] ? (p->w.in[d] - 1 - first) / stride + 1 : 0;
    if (*to > p->w.out[d]) *to = p->w.out[d];
}

int64_t ot_pooling_taps(const struct pooling *p, int d, int64_t o, bool padding) {
    const int64_t step = p->w.dilation[d], start = ot_pooling_at(p, d, o, 0);
    const int64_t limit = p->w.in[d] + (padding ? p->w.end[d] : 0);
    int64_t first = padding || start >= 0 ? 0 : (step - 1 - start) / step;
    int64_t behind = start < limit ? (limit - 1 - start) / step + 1 : 0;
    if (behind > p->w.kernel[d]) behind = p->w.kernel[d];
    return behind > first ? behind - first : 0;
}

struct run {
    const struct op_node *n;
    const struct pooling *p;
    ot_plane_fn *fn;
};

static void plane_task(void *arg, int number, int worker) {
    (void)worker;
    const struct run *r = arg;
    int64_t from, to;
    ot_task_range(r->p->planes, r->p->grain, number, &from, &to);
    for (int64_t plane = from; plane < to; plane++) r->fn(r->n, plane);
}

void ot_pooling_run(struct op_node *n, const struct pooling *p, ot_plane_fn *fn) {
    struct run r = {n, p, fn};
    ot_parallel_for(n->pool, ot_task_count(p->planes, p->grain), plane_task, &r);
}

bool ot_pooling_lanes(const struct op_node *n, int lane_rank) {
    const int rank = n->x[0]->rank;
    return lane_rank <= 2 && (rank == 3 || rank == 4) &&
           (n->node->n_out < 2 || n->node->out[1] < 0);
}
