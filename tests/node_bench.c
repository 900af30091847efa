/* node_bench.c - runs one operator node on random data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/pattern.h"
#include "runtime/base/rng.h"
#include "tests/node_bench.h"

void open_bench(struct bench *b, int threads) {
    memset(b, 0, sizeof *b);
    ot_arena_init(&b->arena, NULL, 0);
    assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &b->pool, &b->err), OT_OK);
}

void close_bench(struct bench *b) {
    ot_pool_free(b->pool);
    ot_arena_free(&b->arena);
}

void *take(struct bench *b, size_t count, size_t size) {
    void *p = ot_arena_alloc(&b->arena, count, size);
    assert_non_null(p);
    return p;
}

/* Memory whose contents nobody may rely on: NaN. */
static void *take_dirty(struct bench *b, size_t bytes) {
    return memset(take(b, bytes, 1), 0xff, bytes);
}

struct tensor *new_tensor(struct bench *b, int rank, const int64_t *dim) {
    struct tensor *t = take(b, 1, sizeof *t);
    t->type = OT_FLOAT;
    t->role = OT_ROLE_PARAM;
    t->rank = rank;
    memcpy(t->dim, dim, (size_t)rank * sizeof *dim);
    return t;
}

struct tensor *random_tensor(struct bench *b, int stream, int rank, const int64_t *dim) {
    struct tensor *t = new_tensor(b, rank, dim);
    int64_t n = ot_elements(t);
    float *x = t->data = take(b, (size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = ot_random_float(7, (uint64_t)stream, (uint64_t)i) * 2 - 1;
    return t;
}

struct op_node *new_node(struct bench *b, const char *op, const struct attr *attr, int n_attr,
                         int n_in, struct tensor *const *x) {
    struct op_node *n = take(b, 1, sizeof *n);
    struct node *node = take(b, 1, sizeof *node);
    n->op = ot_op_find(op);
    assert_non_null(n->op);
    *node = (struct node){.name = "n",
                          .op_type = op,
                          .domain = "",
                          .opset = 13,
                          .n_in = n_in,
                          .n_out = 1,
                          .n_attr = n_attr};
    node->attr = take(b, MOST_ATTR, sizeof *attr);
    if (n_attr) memcpy(node->attr, attr, (size_t)n_attr * sizeof *attr);
    n->node = node;
    n->n_in = n_in;
    n->n_out = 1;
    n->x = take(b, MOST_IN, sizeof *n->x);
    n->dx = take(b, MOST_IN, sizeof *n->dx);
    n->y = take(b, 1, sizeof *n->y);
    n->dy = take(b, 1, sizeof *n->dy);
    memcpy(n->x, x, (size_t)n_in * sizeof *x);
    n->y[0] = take(b, 1, sizeof *n->y[0]);
    n->training = true;
    n->plan = take(b, 1, n->op->plan_size);
    n->kernels = ot_kernels_at(0);
    n->pool = b->pool;
    n->workers = ot_pool_workers(b->pool);
    n->arena = &b->arena;
    n->context = &b->context;
    for (int i = 0; i < n_in; i++)
        if (x[i]) n->want |= 1u << i;
    return n;
}

void run_forward(struct bench *b, struct op_node *n) {
    ot_status status = n->op->prepare(n, &b->err);
    if (status) print_error("%s\n", b->err.message);
    assert_int_equal(status, OT_OK);
    n->y[0]->data = take_dirty(b, ot_bytes(n->y[0]));
    n->save = take_dirty(b, n->save_size);
    n->scratch = take_dirty(b, n->forward_scratch_size);
    assert_int_equal(ot_op_open(n, &b->arena, &b->err), OT_OK);
    n->op->forward(n);
}

void run_backward(struct bench *b, struct op_node *n, struct tensor *dy) {
    n->dy[0] = dy;
    for (int i = 0; i < n->n_in; i++) {
        if (!n->x[i] || !((n->want >> i) & 1)) continue;
        n->dx[i] = take(b, 1, sizeof *n->dx[i]);
        *n->dx[i] = *n->x[i];
        n->dx[i]->data = take_dirty(b, ot_bytes(n->x[i]));
    }
    n->scratch = take_dirty(b, n->backward_scratch_size);
    n->op->backward(n);
    assert_int_equal(ot_op_fault(n, &b->err), OT_OK);
    ot_op_close(n);
    if (n->op->release) n->op->release(n);
}

struct tensor *reordered(struct bench *b, struct tensor *x, int lanes, int lane_rank) {
    struct op_node *n = new_node(b, "Reorder", NULL, 0, 1, &x);
    n->y[0]->lanes = lanes;
    n->y[0]->lane_rank = lane_rank;
    run_forward(b, n);
    return n->y[0];
}

struct tensor *sparsified(struct bench *b, const struct tensor *w, bool transposed, float density) {
    int64_t n = ot_elements(w), count = 0, *position = take(b, (size_t)n, sizeof *position);
    for (int64_t i = 0; i < n; i++)
        if (ot_random_float(3, 99, (uint64_t)i) < density) position[count++] = i;
    struct pattern *pattern;
    assert_int_equal(ot_pattern_new(NULL, w->dim[0], n / w->dim[0], transposed, position, count,
                                    NULL, &pattern, &b->err),
                     OT_OK);
    struct tensor *t = new_tensor(b, w->rank, w->dim);
    t->pattern = pattern;
    t->data = take(b, (size_t)count, sizeof(float));
    ot_pattern_gather(pattern, w->data, t->data);
    return t;
}

struct tensor *densified(struct bench *b, struct tensor *w) {
    struct op_node *n = new_node(b, "Densify", NULL, 0, 1, &w);
    run_forward(b, n);
    return n->y[0];
}

double *at_slots(struct bench *b, const struct pattern *p, double *dense) {
    double *value = p ? take(b, (size_t)p->nnz, sizeof *value) : dense;
    for (int row = 0; p && row < p->rows; row++)
        for (int s = p->row[row]; s < p->row[row + 1]; s++)
            value[s] = dense[ot_pattern_position(p, row, s)];
    return value;
}

void assert_close(const float *found, const double *expected, int64_t n) {
    double most = 1e-3;
    for (int64_t i = 0; i < n; i++)
        if (fabs(expected[i]) > most) most = fabs(expected[i]);
    for (int64_t i = 0; i < n; i++) {
        if (fabs(found[i] - expected[i]) <= 1e-5 * most) continue;
        print_error("element %lld: found %.9g, expected %.9g\n", (long long)i, (double)found[i],
                    expected[i]);
        fail();
    }
}

struct attr int_attr(const char *name, int64_t i) {
    return (struct attr){.name = name, .kind = OT_ATTR_INT, .i = i};
}

struct attr float_attr(const char *name, float f) {
    return (struct attr){.name = name, .kind = OT_ATTR_FLOAT, .f = f};
}

struct attr ints_attr(const char *name, const int64_t *ints, int n) {
    return (struct attr){.name = name, .kind = OT_ATTR_INTS, .n = n, .ints = ints};
}

struct attr text_attr(const char *name, const char *s) {
    return (struct attr){.name = name, .kind = OT_ATTR_STRING, .s = s, .n = (int64_t)strlen(s)};
}
