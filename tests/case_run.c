/* case_run.c - one operator node as a plan would run it: tensors, layouts, poisoned memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/pattern.h"
#include "runtime/base/rng.h"
#include "tests/cases.h"

enum { POISON = 0xff }; /* NaN as float, -1 as an integer */

double ot_case_random(uint64_t s, uint64_t n) { return ot_random_u32(4711, s, n) * 0x1p-32; }

/* ---- inputs ---- */

static void store(void *data, ot_type type, int64_t k, struct number v) {
    switch (type) {
    case OT_FLOAT: ((float *)data)[k] = (float)v.f; break;
    case OT_DOUBLE: ((double *)data)[k] = v.f; break;
    case OT_INT64:
    case OT_UINT64: ((int64_t *)data)[k] = v.i; break;
    case OT_INT32:
    case OT_UINT32: ((uint32_t *)data)[k] = (uint32_t)v.i; break;
    case OT_INT16:
    case OT_UINT16: ((uint16_t *)data)[k] = (uint16_t)v.i; break;
    default: ((uint8_t *)data)[k] = (uint8_t)v.i;
    }
}

/* Floats near the middle of cells of 1/8, so that no kink at a multiple of 1/8 is near. */
static struct number draw(const struct op_case *c, const struct case_tensor *t, int stream,
                          int64_t k) {
    double u = ot_case_random((uint64_t)stream, (uint64_t)k);
    if (t->type == OT_BOOL) return (struct number){u < 0.5, 0};
    if (t->type != OT_FLOAT) {
        int64_t i = (int64_t)floor(c->low + u * (c->high - c->low + 1));
        return (struct number){i, (double)i};
    }
    double cells = fmax(1, floor((c->high - c->low) * 8));
    double jitter = ot_case_random((uint64_t)stream + 100, (uint64_t)k) - 0.5;
    double f = c->low + (floor(u * cells) + 0.5 + 0.2 * jitter) / 8;
    return (struct number){(int64_t)f, f};
}

/* A random permutation of evenly spaced values; tensors of one case interleave. */
static void draw_distinct(const struct op_case *c, int i, float *x, int64_t n) {
    for (int64_t k = 0; k < n; k++)
        x[k] = (float)(((double)(k - n / 2) + 0.3) * 0.06 * c->n_in + 0.06 * i);
    for (int64_t k = n - 1; k > 0; k--) {
        int64_t j = (int64_t)(ot_case_random((uint64_t)i, (uint64_t)k) * (double)(k + 1));
        float swap = x[k];
        x[k] = x[j];
        x[j] = swap;
    }
}

bool ot_case_has_slot(const struct case_tensor *t, int i, int64_t k) {
    int64_t inner = 1;
    for (int d = 2; d < t->rank; d++) inner *= t->dim[d];
    if (t->gaps && (k / inner % t->dim[1] % 3 == 1 || k / inner / t->dim[1] % 3 == 1)) return false;
    return ot_case_random(200 + (uint64_t)i, (uint64_t)k) < t->density;
}

static int64_t elements(const struct case_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

ot_status ot_case_draw(struct op_case *c, void **x, ot_error *err) {
    for (int i = 0; i < c->n_in; i++) {
        const struct case_tensor *t = &c->in[i];
        x[i] = NULL;
        if (t->absent) continue;
        int64_t n;
        /* larger shapes are for cases that are refused: their data stays zero */
        bool small = ot_shape_count(t->dim, t->rank, 1 << 24, &n);
        x[i] = ot_arena_alloc(&c->arena, small ? (size_t)n : 64, 8);
        if (!x[i]) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
        if (!small) continue;
        for (int64_t k = 0; k < n; k++)
            store(x[i], t->type, k, t->value ? t->value[k] : draw(c, t, i, k));
        if (c->distinct && !t->value && t->type == OT_FLOAT) draw_distinct(c, i, x[i], n);
        for (int64_t k = 0; t->sparse && k < n; k++)
            if (!ot_case_has_slot(t, i, k)) ((float *)x[i])[k] = 0;
    }
    return OT_OK;
}

/* ---- layouts ---- */

/* Where element (sample i, position s) of a lanes tensor stands. */
static int64_t lane_index(const struct tensor *t, int64_t i, int64_t s) {
    return ((i / t->lanes) * ot_sample_elements(t) + s) * t->lanes + i % t->lanes;
}

/* Dense rows -> the tensor's own form. Spare lanes get finite garbage. */
static void load(const struct tensor *t, const void *rows) {
    size_t size = ot_type_size(t->type);
    if (t->pattern) {
        ot_pattern_gather(t->pattern, rows, t->data);
    } else if (!t->lanes) {
        memcpy(t->data, rows, ot_bytes(t));
    } else {
        int64_t n = ot_lane_samples(t), plane = ot_sample_elements(t);
        memset(t->data, 1, ot_bytes(t));
        for (int64_t k = 0; t->type == OT_FLOAT && k < ot_count(t); k++)
            ((float *)t->data)[k] = (float)(6 * ot_case_random(300, (uint64_t)k) - 3);
        for (int64_t i = 0; i < n; i++)
            for (int64_t s = 0; s < plane; s++)
                memcpy((char *)t->data + (size_t)lane_index(t, i, s) * size,
                       (const char *)rows + (size_t)(i * plane + s) * size, size);
    }
}

static bool spare_finite(const struct tensor *t) {
    if (!t->lanes || t->type != OT_FLOAT) return true;
    int64_t plane = ot_sample_elements(t);
    for (int64_t i = ot_lane_samples(t); i < ot_lane_blocks(t) * t->lanes; i++)
        for (int64_t s = 0; s < plane; s++)
            if (!isfinite(ot_f(t)[lane_index(t, i, s)])) return false;
    return true;
}

void *ot_case_rows(struct case_run *r, const struct tensor *t) {
    size_t size = ot_type_size(t->type);
    int64_t n = ot_elements(t);
    char *rows = ot_arena_alloc(&r->arena, (size_t)n, size);
    if (!rows) return NULL;
    if (t->pattern) {
        ot_pattern_scatter(t->pattern, t->data, (float *)(void *)rows);
    } else if (!t->lanes) {
        memcpy(rows, t->data, ot_bytes(t));
    } else {
        int64_t plane = ot_sample_elements(t);
        for (int64_t k = 0; k < n; k++)
            memcpy(rows + (size_t)k * size,
                   (char *)t->data + (size_t)lane_index(t, k / plane, k % plane) * size, size);
        r->finite = r->finite && spare_finite(t);
    }
    return rows;
}

/* ---- building ---- */

static void *block(struct case_run *r, size_t bytes) {
    void *p = ot_block_alloc(&r->allocator, 1, bytes ? bytes : 1);
    if (p) r->block[r->blocks++] = p;
    return p;
}

static struct tensor *like(struct case_run *r, const struct case_tensor *t) {
    struct tensor *x = ot_arena_alloc(&r->arena, 1, sizeof *x);
    if (!x) return NULL;
    x->type = t->type;
    x->role = t->role;
    x->rank = t->rank;
    memcpy(x->dim, t->dim, sizeof x->dim);
    return x;
}

static ot_status make_pattern(struct case_run *r, const struct case_tensor *t, int i,
                              struct tensor *x, ot_error *err) {
    int64_t n = elements(t), k = 0;
    int64_t *position = ot_arena_alloc(&r->arena, (size_t)n, sizeof *position);
    if (!position) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t j = 0; j < n; j++)
        if (ot_case_has_slot(t, i, j)) position[k++] = j;
    struct pattern *p;
    const int64_t rows = t->dim[0] * (t->stacked ? t->dim[1] : 1);
    OT_TRY(
        ot_pattern_new(&r->allocator, rows, n / rows, t->transposed, position, k, NULL, &p, err));
    x->pattern = p;
    return OT_OK;
}

static bool in_lanes(const struct tensor *x, int lane_rank) {
    return (x->role == OT_ROLE_ACTIVATION || x->role == OT_ROLE_INPUT) && x->rank >= lane_rank;
}

static ot_status build(struct case_run *r, void *const *data, ot_error *err) {
    const struct op_case *c = r->c;
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i].absent) continue;
        struct tensor *x = r->x[i] = like(r, &c->in[i]);
        if (!x) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
        if (c->in[i].sparse && r->config.patterns) OT_TRY(make_pattern(r, &c->in[i], i, x, err));
        if (x->role == OT_ROLE_CONST || x->role == OT_ROLE_PARAM) {
            int64_t count;
            bool small = ot_shape_count(x->dim, x->rank, 1 << 24, &count);
            x->data = block(r, small ? ot_bytes(x) : 64);
            if (!x->data) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
            if (small && x->role == OT_ROLE_CONST) load(x, data[i]);
            if (small && x->role == OT_ROLE_PARAM) memset(x->data, POISON, ot_bytes(x));
        }
    }
    for (int i = 0; i < c->n_out; i++)
        if (!c->out[i].absent && !(r->y[i] = like(r, &(struct case_tensor){0})))
            return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    struct op_node *n = &r->n;
    n->op = c->op;
    n->node = &c->node;
    n->index = 3;
    n->n_in = c->n_in;
    n->n_out = c->n_out;
    n->x = r->x;
    n->y = r->y;
    n->dx = r->dx;
    n->dy = r->dy;
    n->want = r->config.want;
    n->training = c->training;
    n->bn = c->bn;
    n->batch_from = c->batch_from;
    n->batch_to = c->batch_to;
    n->plan = ot_block_alloc(&r->plan.allocator, 1, c->op->plan_size ? c->op->plan_size : 1);
    n->kernels = r->config.kernels;
    n->workers = ot_pool_workers(r->config.pool);
    n->arena = &r->plan;
    r->context = (struct step_context){.seed = 42, .step = 7};
    n->context = &r->context;
    return n->plan ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
}

/* Does the operator take its patterns, if there are any, in rows? */
static bool stays_in_rows(const struct case_run *r) {
    const struct op *op = r->c->op;
    for (int i = 0; i < r->c->n_in; i++)
        if (r->x[i] && r->x[i]->pattern && !(op->sparse_rows && op->sparse_rows(&r->n, i)))
            return false;
    return true;
}

/* Sets form, and layout of x and y, if the operator takes them. */
static bool enter_lanes(struct case_run *r) {
    const struct op_case *c = r->c;
    int lanes = r->config.lanes, lane_rank = r->config.lane_rank;
    if (r->config.form) {
        if (!ot_op_has_forms(&r->n)) return false;
        r->n.form = r->config.form;
        if (!lanes) return true;
    }
    if (!lanes) return stays_in_rows(r);
    if (!ot_op_lanes(&r->n, lanes, lane_rank)) return false;
    for (int i = 0; i < c->n_in; i++)
        if (r->x[i] && !(c->op->rows_in >> i & 1) && in_lanes(r->x[i], lane_rank)) {
            r->x[i]->lanes = lanes;
            r->x[i]->lane_rank = lane_rank;
        }
    const int in_lanes_out = c->op->statistics ? 1 : c->n_out; /* statistics have no samples */
    for (int i = 0; i < in_lanes_out; i++)
        if (r->y[i]) {
            r->y[i]->lanes = lanes;
            r->y[i]->lane_rank = lane_rank;
        }
    return true;
}

static struct tensor *gradient(struct case_run *r, const struct tensor *x) {
    struct tensor *d = ot_arena_alloc(&r->arena, 1, sizeof *d);
    if (!d) return NULL;
    *d = *x;
    d->role = OT_ROLE_ACTIVATION;
    d->data = block(r, ot_bytes(x));
    return d->data ? d : NULL;
}

/* y[0] in the memory of an input that backward does not read. */
static void share_output(struct case_run *r) {
    const struct op *op = r->c->op;
    for (int i = 0; i < r->c->n_in && !r->y_shares; i++) {
        const bool read = (op->needs & OT_X(i)) && r->n.want;
        r->y_shares = (op->y_over_x >> i & 1) && !read && in_lanes(r->x[i], 0) &&
                      ot_bytes(r->x[i]) == ot_bytes(r->y[0]);
        if (r->y_shares) r->y[0]->data = r->x[i]->data;
    }
}

/* dx[i] in that of x[i], or one of them in that of dy[0]. */
static void share_gradients(struct case_run *r) {
    const struct op *op = r->c->op;
    bool taken = false;
    for (int i = r->c->n_in - 1; i >= 0; i--) {
        if (!r->dx[i] || !r->dy[0]) continue;
        const bool x = op->dx_over_x >> i & 1, dy = !taken && (op->dx_over_dy >> i & 1);
        if (x && in_lanes(r->x[i], 0))
            r->dx[i]->data = r->x[i]->data;
        else if (dy && ot_bytes(r->dx[i]) == ot_bytes(r->dy[0])) {
            r->dx[i]->data = r->dy[0]->data;
            taken = true;
        } else
            continue;
        r->shares[i] = true;
    }
}

/* Memory of everything that prepare has sized. A view's tensors share their data. */
static ot_status allocate(struct case_run *r, ot_error *err) {
    const struct op_case *c = r->c;
    struct op_node *n = &r->n;
    bool ok = true;
    for (int i = 0; i < c->n_in; i++)
        if (r->x[i] && !r->x[i]->data) ok = ok && (r->x[i]->data = block(r, ot_bytes(r->x[i])));
    for (int i = 0; i < c->n_out; i++) {
        if (!r->y[i]) continue;
        r->y[i]->data = c->op->view ? r->x[0]->data : block(r, ot_bytes(r->y[i]));
        ok = ok && r->y[i]->data;
        if (r->y[i]->type == OT_FLOAT && !c->out[i].silent)
            ok = ok && (r->dy[i] = gradient(r, r->y[i]));
    }
    for (int i = 0; i < c->n_in; i++)
        if (r->x[i] && (n->want >> i & 1)) ok = ok && (r->dx[i] = gradient(r, r->x[i]));
    if (c->op->view && r->dx[0] && r->dy[0]) r->dx[0]->data = r->dy[0]->data;
    if (r->config.frugal && c->op->takes_more && r->dy[0])
        ok = ok && (r->more = gradient(r, r->y[0]));
    if (ok && r->config.frugal) {
        share_output(r);
        share_gradients(r);
    }
    n->more = r->more;
    n->pool = r->config.pool;
    n->save = block(r, n->save_size);
    r->scratch_forward = block(r, n->forward_scratch_size);
    r->scratch_backward = block(r, n->backward_scratch_size);
    ok = ok && n->save && r->scratch_forward && r->scratch_backward;
    return ok ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
}

ot_status ot_case_open(struct case_run *r, const struct op_case *c, struct case_config config,
                       void *const *x, bool *declined, ot_error *err) {
    *r = (struct case_run){.c = c, .config = config, .finite = true};
    r->allocator = ot_allocator_or_default(NULL);
    *declined = false;
    ot_arena_init(&r->arena, NULL, 0);
    ot_arena_init(&r->plan, config.plan_memory, 0);
    ot_status status = ot_op_check(c->op, &c->node, err);
    if (!status) status = build(r, x, err);
    if (!status) *declined = !enter_lanes(r);
    if (!status && !*declined) status = c->op->prepare(&r->n, err);
    if (!status && !*declined) status = allocate(r, err);
    if (!status && !*declined) status = ot_op_open(&r->n, &r->arena, err);
    if (status || *declined) ot_case_close(r);
    return status;
}

static struct tensor *twin(struct case_run *r, const struct tensor *t) {
    struct tensor *copy = ot_arena_alloc(&r->arena, 1, sizeof *copy);
    if (!copy) return NULL;
    *copy = *t;
    copy->data = NULL;
    return copy;
}

ot_status ot_case_copy(const struct case_run *from, struct pool *pool, struct case_run *copy,
                       ot_error *err) {
    const struct op_case *c = from->c;
    bool ok = true;
    *copy = (struct case_run){.c = c,
                              .config = from->config,
                              .finite = true,
                              .copied = true,
                              .n = from->n,
                              .context = from->context};
    copy->allocator = from->allocator;
    ot_arena_init(&copy->arena, NULL, 0);
    ot_arena_init(&copy->plan, NULL, 0);
    for (int i = 0; i < c->n_in; i++)
        if (from->x[i]) ok = (copy->x[i] = twin(copy, from->x[i])) && ok;
    for (int i = 0; i < c->n_out; i++)
        if (from->y[i]) ok = (copy->y[i] = twin(copy, from->y[i])) && ok;
    copy->n.x = copy->x;
    copy->n.y = copy->y;
    copy->n.dx = copy->dx;
    copy->n.dy = copy->dy;
    copy->n.context = &copy->context;
    copy->config.pool = pool;
    copy->n.work = NULL;
    ot_status status = ok ? allocate(copy, err) : OT_ERROR_NO_MEMORY;
    if (!status) status = ot_op_open(&copy->n, &copy->arena, err);
    if (status) ot_case_close(copy);
    return status;
}

void ot_case_close(struct case_run *r) {
    ot_op_close(&r->n);
    if (!r->copied && r->c->op->release && r->n.plan) r->c->op->release(&r->n);
    for (int i = 0; !r->copied && i < r->c->n_in; i++)
        if (r->x[i]) ot_pattern_unref(r->x[i]->pattern);
    if (!r->copied) ot_block_free(&r->plan.allocator, (void *)r->n.plan);
    ot_arena_free(&r->plan);
    for (int i = 0; i < r->blocks; i++) ot_block_free(&r->allocator, r->block[i]);
    r->blocks = 0;
    ot_arena_free(&r->arena);
}

/* ---- running ---- */

void ot_case_forward(struct case_run *r, void *const *x) {
    const struct op_case *c = r->c;
    struct op_node *n = &r->n;
    for (int i = 0; i < c->n_out; i++)
        if (r->y[i] && !c->op->view) memset(r->y[i]->data, POISON, ot_bytes(r->y[i]));
    for (int i = 0; i < c->n_in; i++) /* after y, which may share its memory with one of them */
        if (r->x[i]) load(r->x[i], x[i]);
    memset(n->save, POISON, n->save_size);
    memset(r->scratch_forward, POISON, n->forward_scratch_size);
    n->scratch = r->scratch_forward;
    if (!c->op->view) c->op->forward(n);
}

bool ot_case_again(struct case_run *r) {
    struct op_node *n = &r->n;
    if (!r->c->op->again || !r->y[0] || r->y_shares) return true;
    const size_t size = ot_bytes(r->y[0]);
    void *first = block(r, size);
    if (!first) return false;
    if (size) memcpy(first, r->y[0]->data, size);
    memset(r->y[0]->data, POISON, size);
    memset(r->scratch_forward, POISON, n->forward_scratch_size);
    n->scratch = r->scratch_forward;
    r->c->op->again(n);
    return !memcmp(first, r->y[0]->data, size);
}

/* Poisons what backward does not say it reads. Constants and weights are always there. */
static void poison_unread(struct case_run *r) {
    uint32_t needs = r->c->op->needs;
    if (r->c->op->view) return;
    for (int i = 0; i < r->c->n_in; i++)
        if (r->x[i] && !(needs & OT_X(i)) && in_lanes(r->x[i], 0) && r->x[i]->data != r->y[0]->data)
            memset(r->x[i]->data, POISON, ot_bytes(r->x[i]));
    for (int i = 0; i < r->c->n_out; i++)
        if (r->y[i] && !(needs & OT_Y(i))) memset(r->y[i]->data, POISON, ot_bytes(r->y[i]));
}

/* A quarter of dy[0] goes into the second part, the rest remains. */
static void split(struct case_run *r) {
    for (int64_t k = 0; k < ot_count(r->more); k++) {
        ot_f(r->more)[k] = 0.25f * ot_f(r->dy[0])[k];
        ot_f(r->dy[0])[k] -= ot_f(r->more)[k];
    }
}

void ot_case_backward(struct case_run *r, void *const *dy) {
    struct op_node *n = &r->n;
    poison_unread(r);
    for (int i = 0; i < r->c->n_in; i++)
        if (r->dx[i] && !r->shares[i]) memset(r->dx[i]->data, POISON, ot_bytes(r->dx[i]));
    for (int i = 0; i < r->c->n_out; i++)
        if (r->dy[i]) load(r->dy[i], dy[i]);
    if (r->more) split(r);
    memset(r->scratch_backward, POISON, n->backward_scratch_size);
    n->scratch = r->scratch_backward;
    if (!r->c->op->view) r->c->op->backward(n);
}
