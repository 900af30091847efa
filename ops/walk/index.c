/* index.c - moving parts of arrays: strided copies, their gradients, and loops over two arrays. */
#include "ops/walk/index.h"

#include <string.h>

#define GRAIN 16384 /* elements of a task: about 10 us of work */

void ot_array_of(const struct tensor *t, struct array *a) {
    int k = 0;
    if (t->lanes) a->dim[k++] = ot_lane_blocks(t);
    for (int i = t->lane_rank; i < t->rank; i++) a->dim[k++] = t->dim[i];
    if (t->lanes) a->dim[k++] = t->lanes;
    a->rank = k;
    int64_t stride = 1;
    while (k-- > 0) {
        a->stride[k] = stride;
        stride *= a->dim[k];
    }
}

int64_t ot_array_product(const struct array *a, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= a->dim[i];
    return n;
}

void ot_move_init(struct move *m, const struct array *box, const struct array *from,
                  const struct array *to) {
    m->rank = box->rank;
    m->from = m->to = 0;
    memcpy(m->dim, box->dim, sizeof m->dim);
    memcpy(m->from_stride, from->stride, sizeof m->from_stride);
    memcpy(m->to_stride, to->stride, sizeof m->to_stride);
}

void ot_move_simplify(struct move *m) {
    int k = 0; /* dimensions kept */
    for (int i = 0; i < m->rank; i++) {
        if (m->dim[i] == 1) continue;
        bool merge = k && m->from_stride[k - 1] == m->from_stride[i] * m->dim[i] &&
                     m->to_stride[k - 1] == m->to_stride[i] * m->dim[i];
        if (merge) k--;
        m->dim[k] = merge ? m->dim[k] * m->dim[i] : m->dim[i];
        m->from_stride[k] = m->from_stride[i];
        m->to_stride[k] = m->to_stride[i];
        k++;
    }
    if (!k) {
        m->dim[0] = m->from_stride[0] = m->to_stride[0] = 1;
        k = 1;
    }
    m->rank = k;
}

struct move ot_move_reverse(const struct move *m) {
    struct move back = *m;
    memcpy(back.from_stride, m->to_stride, sizeof back.from_stride);
    memcpy(back.to_stride, m->from_stride, sizeof back.to_stride);
    back.from = m->to;
    back.to = m->from;
    return back;
}

struct each {
    const struct move *move;
    ot_run_fn *fn;
    void *arg;
    int64_t runs, grain; /* runs of the last dimension, and how many make a task */
};

static void each_task(void *arg, int task, int worker) {
    (void)worker;
    const struct each *e = arg;
    const struct move *m = e->move;
    const int last = m->rank - 1;
    int64_t first, end, index[OT_ARRAY_RANK], from = m->from, to = m->to;
    ot_task_range(e->runs, e->grain, task, &first, &end);
    int64_t rest = first;
    for (int i = last - 1; i >= 0; i--) {
        index[i] = rest % m->dim[i];
        rest /= m->dim[i];
        from += index[i] * m->from_stride[i];
        to += index[i] * m->to_stride[i];
    }
    for (int64_t run = first; run < end; run++) {
        e->fn(e->arg, from, to, m->dim[last], m->from_stride[last], m->to_stride[last]);
        for (int i = last - 1; i >= 0; i--) {
            from += m->from_stride[i];
            to += m->to_stride[i];
            if (++index[i] < m->dim[i]) break;
            from -= m->dim[i] * m->from_stride[i];
            to -= m->dim[i] * m->to_stride[i];
            index[i] = 0;
        }
    }
}

/* One long run is cut in two dimensions, so that it becomes several tasks. */
static struct move cut_long_run(const struct move *m) {
    struct move cut = *m;
    int64_t n = m->dim[m->rank - 1];
    int64_t parts = 1;
    while (n % 2 == 0 && n > GRAIN && parts < 1024) {
        n /= 2;
        parts *= 2;
    }
    if (parts == 1 || m->rank == OT_ARRAY_RANK) return cut;
    int k = cut.rank++;
    cut.dim[k] = n;
    cut.from_stride[k] = m->from_stride[k - 1];
    cut.to_stride[k] = m->to_stride[k - 1];
    cut.dim[k - 1] = parts;
    cut.from_stride[k - 1] *= n;
    cut.to_stride[k - 1] *= n;
    return cut;
}

void ot_move_each(struct pool *pool, const struct move *m, ot_run_fn *fn, void *arg) {
    struct move cut = cut_long_run(m);
    struct each e = {&cut, fn, arg, 1, 1};
    for (int i = 0; i < cut.rank - 1; i++) e.runs *= cut.dim[i];
    int64_t n = cut.dim[cut.rank - 1];
    if (n == 0 || e.runs == 0) return;
    e.grain = n < GRAIN ? GRAIN / n : 1;
    const int tasks = ot_task_count(e.runs, e.grain);
    for (int i = 0; !pool && i < tasks; i++) each_task(&e, i, 0);
    if (pool) ot_parallel_for(pool, tasks, each_task, &e);
}

struct copy {
    const char *from;
    char *to;
    size_t size;
};

/* Inlined for each size, so that memcpy is one load and one store. */
static inline void copy_strided(const char *from, char *to, int64_t n, int64_t from_stride,
                                int64_t to_stride, size_t size) {
    const ptrdiff_t f = (ptrdiff_t)(from_stride * (int64_t)size);
    const ptrdiff_t t = (ptrdiff_t)(to_stride * (int64_t)size);
    for (int64_t i = 0; i < n; i++) memcpy(to + i * t, from + i * f, size);
}

static void copy_run(void *arg, int64_t from, int64_t to, int64_t n, int64_t from_stride,
                     int64_t to_stride) {
    const struct copy *c = arg;
    const char *a = c->from + from * (ptrdiff_t)c->size;
    char *b = c->to + to * (ptrdiff_t)c->size;
    if (from_stride == 1 && to_stride == 1)
        memcpy(b, a, (size_t)n * c->size);
    else if (c->size == 4)
        copy_strided(a, b, n, from_stride, to_stride, 4);
    else if (c->size == 8)
        copy_strided(a, b, n, from_stride, to_stride, 8);
    else
        copy_strided(a, b, n, from_stride, to_stride, c->size);
}

void ot_move_run(struct pool *pool, const struct move *m, size_t size, const void *from, void *to) {
    struct copy c = {from, to, size};
    ot_move_each(pool, m, copy_run, &c);
}

void ot_fill(struct pool *pool, void *to, int64_t n, size_t size, const void *value) {
    static const uint64_t zero = 0;
    struct move m = {.rank = 1, .dim = {n}, .from_stride = {0}, .to_stride = {1}};
    ot_move_run(pool, &m, size, value ? value : &zero, to);
}

ot_status ot_movable(const struct op_node *n, int i, ot_error *err) {
    if (i < n->n_in && n->x[i] && ot_type_size(n->x[i]->type)) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is %s, which is not supported", i,
                      i < n->n_in && n->x[i] ? ot_type_name(n->x[i]->type) : "missing");
}

static void move_into(struct pool *pool, const struct move *m, const struct tensor *from,
                      struct tensor *to) {
    const size_t size = ot_type_size(from->type);
    int64_t moved = 1;
    for (int i = 0; i < m->rank; i++) moved *= m->dim[i];
    if (moved < ot_count(to)) ot_fill(pool, to->data, ot_count(to), size, NULL);
    ot_move_run(pool, m, size, from->data, to->data);
}

void ot_move_forward(struct op_node *n) { move_into(n->pool, n->plan, n->x[0], n->y[0]); }

void ot_move_backward(struct op_node *n) {
    const struct move back = ot_move_reverse(n->plan);
    if (n->dx[0]) move_into(n->pool, &back, n->dy[0], n->dx[0]);
}

static void copy_all(struct pool *pool, const struct tensor *from, struct tensor *to) {
    if (from->data == to->data) return;
    struct move m = {.rank = 1, .dim = {ot_count(from)}, .from_stride = {1}, .to_stride = {1}};
    ot_move_run(pool, &m, ot_type_size(from->type), from->data, to->data);
}

void ot_view_forward(struct op_node *n) { copy_all(n->pool, n->x[0], n->y[0]); }

void ot_view_backward(struct op_node *n) {
    if (n->dx[0]) copy_all(n->pool, n->dy[0], n->dx[0]);
}
