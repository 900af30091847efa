/* probe.c - the weight gradient of a product at positions that its weight has no slots for.
 *
 * A strip of rows is a sparse product of its own whose weight has every slot: the kernel of weight
 * gradients reads offsets that are the same for each strip, so one stream serves all of them. A
 * strip never leaves its group; the last one of a group begins early enough to be whole, and the
 * rows that the strip before has told are not told again. A linear layer, whose operands are
 * matrices as they stand, has dense products of tiles instead, each of one thread. So the number of
 * threads changes no bit.
 */
#include "ops/product/probe.h"

#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/product/cost.h"
#include "ops/product/dnnl.h"
#include "ops/product/sparse_product.h"

/* Positions of a strip: their sums and offsets stay in a second-level cache for all tiles of the
 * image. Rows and columns of a tile of a linear layer. Rows that one task tells. */
enum { STRIP = 1 << 16, TILE_ROWS = 64, TILE_COLS = 1024, GRAIN = 4 };

static size_t whole_units(size_t floats) { return (floats + OT_UNIT - 1) / OT_UNIT * OT_UNIT; }

static int least(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

/* ---- prepare ---- */

static bool is_linear(const struct conv_shape *s) {
    return s->h * s->w * s->oh * s->ow * s->kh * s->kw == 1 && s->groups == 1 && !s->stacked &&
           !(s->pad_top | s->pad_left | s->pad_bottom | s->pad_right);
}

static ot_status find_shape(const struct op_node *n, struct probe *p, ot_error *err) {
    const struct op *op = n->op;
    const struct pattern *w = n->n_in > 1 && n->x[1] ? n->x[1]->pattern : NULL;
    p->swapped = !op->product && op->product_of_y;
    const bool found = w && ((op->product && op->product(n, &p->shape)) ||
                             (p->swapped && op->product_of_y(n, &p->shape)));
    const struct conv_shape *s = &p->shape;
    if (!found || s->depth.in || s->m != w->rows || s->c / s->groups * s->kh * s->kw != w->cols)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "gradients at positions outside a mask are not available for this "
                          "operator, or not for its shapes");
    return OT_OK;
}

/* How x and dy stand. Dense kernels may have them in lanes of channels: then both are copied. */
static void find_layout(const struct op_node *n, struct probe *p) {
    const struct conv_shape *s = &p->shape;
    const struct tensor *x = n->x[0];
    p->copies = x->lanes && n->form != OT_FORM_SPARSE && !is_linear(s);
    p->lanes = n->form == OT_FORM_SPARSE ? x->lanes : 0;
    const size_t pixel = p->lanes ? (size_t)p->lanes : 1;
    p->channel = (size_t)(s->h * s->w) * pixel;
    p->row = (size_t)(s->oh * s->ow) * pixel;
    p->x = (struct probe_copy){.channels = s->c, .pixels = s->h * s->w};
    p->dy = (struct probe_copy){.channels = s->m, .pixels = s->oh * s->ow};
}

/* A matrix with every slot, or with none. */
static ot_status make_pattern(const struct op_node *n, int rows, int cols, bool full,
                              struct pattern **pattern, ot_error *err) {
    const int64_t slots = full ? (int64_t)rows * cols : 0;
    OT_TRY(ot_pattern_alloc(&n->arena->allocator, rows, cols, false, slots, pattern, err));
    struct pattern *w = *pattern;
    w->nnz = (int)slots;
    for (int r = 0; r <= rows; r++) w->row[r] = full ? r * cols : 0;
    for (int64_t k = 0; k < slots; k++) w->col[k] = (int)(k % cols);
    return OT_OK;
}

/* The product of such a pattern; what it asks of the node is not needed, for it has no values. */
static ot_status prepare_product(const struct op_node *n, struct probe *p, struct pattern *pattern,
                                 int slots, const struct conv_shape *s, size_t *scratch,
                                 ot_error *err) {
    struct op_node node = *n;
    const struct sparse_room room = {slots, slots};
    size_t forward;
    node.patterns_change = p->given;
    return ot_sparse_prepare_room(&node, pattern, room, s, p->lanes, OT_SPARSE_WEIGHT, &p->product,
                                  &forward, scratch, err);
}

static ot_status prepare_strip(const struct op_node *n, struct probe *p, size_t *scratch,
                               ot_error *err) {
    const struct conv_shape *s = &p->shape;
    struct conv_shape strip = *s;
    struct pattern *pattern = NULL;
    const int64_t group = s->m / s->groups, most = p->cols < STRIP ? STRIP / p->cols : 1;
    const int64_t strips = (group + most - 1) / most;
    p->rows = (int)((group + strips - 1) / strips);
    strip.m = p->rows;
    strip.c = s->c / s->groups;
    strip.groups = 1;
    OT_TRY(make_pattern(n, p->rows, p->cols, true, &pattern, err));
    const ot_status status = prepare_product(n, p, pattern, pattern->nnz, &strip, scratch, err);
    ot_pattern_unref(pattern);
    if (status) return status;
    struct sparse_product *q = (struct sparse_product *)p->product;
    const size_t samples = p->lanes ? (size_t)p->lanes : 1;
    q->x_block = (size_t)ot_conv_inputs(s) * samples; /* those of the whole product */
    q->y_block = (size_t)ot_conv_outputs(s) * samples;
    p->gradient = (size_t)p->rows * (size_t)p->cols;
    return OT_OK;
}

static ot_status prepare_given(const struct op_node *n, struct probe *p, int slots, size_t *scratch,
                               ot_error *err) {
    const struct conv_shape *s = &p->shape;
    struct pattern *none = ot_arena_alloc(n->arena, 1, sizeof *none);
    int *row = ot_arena_alloc(n->arena, (size_t)s->m + 1, sizeof *row);
    if (!none || !row) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    *none = (struct pattern){.references = 1, .rows = (int)s->m, .cols = p->cols, .row = row};
    p->given = true;
    p->gradient = (size_t)slots;
    return prepare_product(n, p, none, slots, s, scratch, err);
}

static void prepare_linear(const struct op_node *n, struct probe *p) {
    p->rows = least(p->shape.m, TILE_ROWS);
    p->cols = least(p->cols, TILE_COLS);
    p->gradient = whole_units((size_t)p->rows * (size_t)p->cols) * (size_t)n->workers;
}

/* Scratch: gradients, copies of x and dy, then what the product needs. */
static void lay_out(struct op_node *n, struct probe *p, size_t product) {
    size_t floats = whole_units(p->gradient);
    struct probe_copy *const copies[] = {&p->x, &p->dy};
    for (int i = 0; i < 2 && p->copies; i++) {
        copies[i]->at = floats;
        floats += whole_units((size_t)(p->shape.n * copies[i]->channels * copies[i]->pixels));
    }
    p->gradient = floats;
    n->probe_scratch_size = floats * sizeof(float) + product;
}

ot_status ot_op_prepare_probe(struct op_node *n, int slots, ot_error *err) {
    if (n->op->probe) {
        n->probe_predicted = ot_cost_look(slots ? (double)slots : (double)ot_elements(n->x[0]));
        return OT_OK;
    }
    struct probe *p = ot_arena_alloc(n->arena, 1, sizeof *p);
    size_t product = 0;
    if (!p) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    OT_TRY(find_shape(n, p, err));
    find_layout(n, p);
    p->cols = n->x[1]->pattern->cols;
    if (slots)
        OT_TRY(prepare_given(n, p, slots, &product, err));
    else if (is_linear(&p->shape))
        prepare_linear(n, p);
    else
        OT_TRY(prepare_strip(n, p, &product, err));
    lay_out(n, p, product);
    n->probe_predicted = ot_cost_probe(n->kernels, &p->shape, slots, p->lanes);
    n->probe = p;
    return OT_OK;
}

/* ---- from lanes of channels to rows ---- */

struct copy_job {
    const struct op_node *n;
    const struct probe_copy *copy;
    const float *from;
    float *to;
};

static void copy_task(void *arg, int task, int worker) {
    const struct copy_job *job = arg;
    const size_t at = (size_t)task * OT_CHANNEL_LANES * (size_t)job->copy->pixels;
    const struct transpose t = {.in = job->from + at,
                                .out = job->to + at,
                                .in_pitch = OT_CHANNEL_LANES,
                                .out_pitch = (size_t)job->copy->pixels,
                                .rows = (int)job->copy->pixels,
                                .columns = OT_CHANNEL_LANES};
    (void)worker;
    job->n->kernels->transpose(&t);
}

static const float *in_rows(const struct op_node *n, const struct probe *p,
                            const struct probe_copy *copy, const float *from) {
    float *to = (float *)n->scratch + copy->at;
    struct copy_job job = {n, copy, from, to};
    if (!p->copies) return from;
    ot_parallel_for(n->pool, (int)(p->shape.n * copy->channels / OT_CHANNEL_LANES), copy_task,
                    &job);
    return to;
}

/* ---- a linear layer ---- */

struct probe_job {
    struct op_node *n;
    const struct probe *p;
    const struct probe_sink *sink;
    const float *x, *dy;
    float *gradient; /* of a strip; of a linear layer, of each worker's tile */
    int row, from;   /* of a strip: its first row, and the first one that is told */
};

/* One tile: the sum over blocks of lanes, whose spare lanes are left out, or over all samples. */
static void multiply_tile(const struct probe_job *job, int row, int rows, int col, int cols,
                          float *gradient) {
    const struct conv_shape *s = &job->p->shape;
    const int64_t lanes = job->p->lanes, each = lanes ? lanes : s->n;
    struct sgemm_call call = {.ta = !lanes,
                              .tb = lanes,
                              .m = rows,
                              .n = cols,
                              .lda = lanes ? lanes : s->m,
                              .ldb = lanes ? lanes : s->c,
                              .alpha = 1,
                              .c = gradient,
                              .ldc = cols};
    if (!s->n) memset(gradient, 0, (size_t)rows * (size_t)cols * sizeof *gradient);
    for (int64_t from = 0; from < s->n; from += each) {
        call.k = least(each, s->n - from);
        call.a = job->dy + from * s->m + row * (lanes ? lanes : 1);
        call.b = job->x + from * s->c + col * (lanes ? lanes : 1);
        call.beta = from ? 1.0f : 0.0f;
        ot_dense_sgemm(job->n, &call);
    }
}

static void linear_task(void *arg, int task, int worker) {
    const struct probe_job *job = arg;
    const struct probe *p = job->p;
    const int row = task * p->rows, rows = least(p->rows, p->shape.m - row);
    float *gradient =
        job->gradient + whole_units((size_t)p->rows * (size_t)p->cols) * (size_t)worker;
    for (int col = 0, cols; col < p->shape.c; col += cols) {
        cols = least(p->cols, p->shape.c - col);
        multiply_tile(job, row, rows, col, cols, gradient);
        for (int r = 0; r < rows; r++)
            job->sink->take(job->sink->to, worker, row + r, col, gradient + (size_t)r * cols, cols);
    }
}

/* ---- strips ---- */

static void tell_task(void *arg, int task, int worker) {
    const struct probe_job *job = arg;
    int64_t from, to;
    ot_task_range(job->row + job->p->rows - job->from, GRAIN, task, &from, &to);
    for (int64_t r = job->from + from; r < job->from + to; r++)
        job->sink->take(job->sink->to, worker, (int)r, 0,
                        job->gradient + (r - job->row) * job->p->cols, job->p->cols);
}

static void run_strips(struct probe_job *job, float *scratch) {
    const struct probe *p = job->p;
    const struct conv_shape *s = &p->shape;
    const int group = (int)(s->m / s->groups), channels = (int)(s->c / s->groups);
    for (int g = 0; g < s->groups; g++)
        for (int r = 0; r < group; r += p->rows) {
            job->from = g * group + r;
            job->row = g * group + least(r, group - p->rows);
            ot_sparse_weight(job->n, p->product, job->x + (size_t)(g * channels) * p->channel,
                             job->dy + (size_t)job->row * p->row, job->gradient, NULL, NULL,
                             scratch);
            ot_parallel_for(job->n->pool, ot_task_count(job->row + p->rows - job->from, GRAIN),
                            tell_task, job);
        }
}

/* ---- given patterns ---- */

struct add_job {
    const float *from;
    float *to;
    int64_t n;
};

static void add_task(void *arg, int task, int worker) {
    enum { FLOATS = 1 << 14 };
    const struct add_job *job = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(job->n, FLOATS, task, &from, &to);
    for (int64_t i = from; i < to; i++) job->to[i] += job->from[i];
}

static void run_given(const struct probe_job *job, float *scratch) {
    enum { FLOATS = 1 << 14 };
    const struct pattern *pattern = job->sink->pattern;
    struct add_job add = {job->gradient, job->sink->sum, pattern->nnz};
    ot_sparse_follow(job->p->product, pattern);
    ot_sparse_backward(job->n, job->p->product, job->x, NULL, job->dy, NULL, job->gradient, NULL,
                       scratch);
    ot_parallel_for(job->n->pool, ot_task_count(add.n, FLOATS), add_task, &add);
}

/* ---- the call ---- */

void ot_op_probe(struct op_node *n, const struct probe_sink *sink) {
    const struct probe *p = n->probe;
    if (n->op->probe) {
        n->op->probe(n, sink);
        return;
    }
    const float *x = ot_f(n->x[0]), *dy = ot_f(n->dy[0]);
    float *scratch = (float *)n->scratch + p->gradient;
    struct probe_job job = {n, p, sink, NULL, NULL, n->scratch, 0, 0};
    job.x = in_rows(n, p, &p->x, p->swapped ? dy : x);
    job.dy = in_rows(n, p, &p->dy, p->swapped ? x : dy);
    if (p->given)
        run_given(&job, scratch);
    else if (p->product)
        run_strips(&job, scratch);
    else
        ot_parallel_for(n->pool, ot_task_count(p->shape.m, p->rows), linear_task, &job);
}
