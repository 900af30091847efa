/* matmul.c - MatMul: y = A B as numpy.matmul has it, batches broadcast (ONNX MatMul-1, 9, 13); of
 * integers too, which wrap around.
 *
 * dA = dy B^T and dB = A^T dy, summed over the batches where an operand was broadcast.
 */
#include <string.h>

#include "ops/number.h"
#include "ops/product/dnnl.h"
#include "ops/product/integer_gemm.h"
#include "ops/product/linear.h"

/* Products that make up a result: see struct dense_gemm. */
struct terms {
    int64_t outputs;
    int64_t *first, *a, *b;
};

struct matmul_plan {
    int64_t m, n, k;
    bool single; /* one product: no batches, or those of A merged into its rows */
    struct terms y, da, db;
    struct product product;
};

/* Which matrix of `t` stands at batch i of the result, whose batch dimensions are dim[0..rank). */
static int64_t matrix_at(const struct tensor *t, int rank, const int64_t *dim, int64_t i) {
    int64_t index = 0, step = 1;
    int batch = t->rank > 2 ? t->rank - 2 : 0;
    for (int d = rank - 1, e = batch - 1; e >= 0; d--, e--) {
        if (t->dim[e] != 1) index += step * (i % dim[d]);
        step *= t->dim[e];
        i /= dim[d];
    }
    return index;
}

/* Lists the products by the output they add to, ascending within each; out, a, b: indices of the
 * matrices of each product. */
static bool sort_terms(struct arena *arena, struct terms *t, int64_t outputs, int64_t n,
                       const int64_t *out, const int64_t *a, const int64_t *b) {
    t->outputs = outputs;
    t->first = ot_arena_alloc(arena, (size_t)outputs + 2, sizeof *t->first);
    t->a = ot_arena_alloc(arena, (size_t)n, sizeof *t->a);
    t->b = ot_arena_alloc(arena, (size_t)n, sizeof *t->b);
    if (!t->first || !t->a || !t->b) return false;
    int64_t *next = t->first + 1; /* while filling, first[o + 1] is where o's next term goes */
    for (int64_t i = 0; i < n; i++) next[out[i] + 1]++;
    for (int64_t o = 0; o < outputs; o++) next[o + 1] += next[o];
    for (int64_t i = 0; i < n; i++) {
        int64_t k = next[out[i]]++;
        t->a[k] = a[i];
        t->b[k] = b[i];
    }
    return true;
}

static ot_status prepare_batches(struct op_node *n, struct matmul_plan *plan, int rank,
                                 const int64_t *dim, int64_t batches, ot_error *err) {
    const struct tensor *a = n->x[0], *b = n->x[1];
    int64_t na = a->rank > 2 ? ot_dims_product(a, 0, a->rank - 2) : 1;
    int64_t nb = b->rank > 2 ? ot_dims_product(b, 0, b->rank - 2) : 1;
    if (na > INT32_MAX / 8 || nb > INT32_MAX / 8 || batches > INT32_MAX / 8)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the product has %lld matrices, too many",
                          (long long)batches);
    int64_t *index = ot_arena_alloc(n->arena, (size_t)batches, 3 * sizeof *index);
    if (!index) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    int64_t *ia = index, *ib = index + batches, *iy = index + 2 * batches;
    for (int64_t i = 0; i < batches; i++) {
        ia[i] = matrix_at(a, rank, dim, i);
        ib[i] = matrix_at(b, rank, dim, i);
        iy[i] = i;
    }
    if (!sort_terms(n->arena, &plan->y, batches, batches, iy, ia, ib) ||
        !sort_terms(n->arena, &plan->da, na, batches, ia, iy, ib) ||
        !sort_terms(n->arena, &plan->db, nb, batches, ib, ia, iy))
        return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    return OT_OK;
}

/* Checks the inner dimensions; sets m, n, k. A vector is a row on the left, a column on the right,
 * whose dimension of 1 the result does not have. */
static ot_status read_matrices(const struct op_node *n, struct matmul_plan *plan, ot_error *err) {
    const struct tensor *a = n->x[0], *b = n->x[1];
    char p[128], q[128];
    if (!a->rank || !b->rank)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "inputs of shapes %s and %s have no matrix product, because one is a scalar",
            ot_shape_text(a, p, sizeof p), ot_shape_text(b, q, sizeof q));
    plan->m = a->rank > 1 ? a->dim[a->rank - 2] : 1;
    plan->k = a->dim[a->rank - 1];
    plan->n = b->rank > 1 ? b->dim[b->rank - 1] : 1;
    if (b->dim[b->rank > 1 ? b->rank - 2 : 0] != plan->k)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "inputs of shapes %s and %s differ in their inner dimensions",
                          ot_shape_text(a, p, sizeof p), ot_shape_text(b, q, sizeof q));
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct matmul_plan *plan = ot_op_plan(n);
    const struct tensor *a = n->x[0], *b = n->x[1];
    if (!ot_is_integer(a->type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, a->type, err));
    OT_TRY(read_matrices(n, plan, err));
    struct tensor heads[2] = {{.rank = a->rank > 2 ? a->rank - 2 : 0},
                              {.rank = b->rank > 2 ? b->rank - 2 : 0}};
    memcpy(heads[0].dim, a->dim, sizeof a->dim);
    memcpy(heads[1].dim, b->dim, sizeof b->dim);
    int64_t dim[OT_MAX_RANK];
    int batch_rank;
    OT_TRY(ot_op_broadcast(n, &heads[0], &heads[1], &batch_rank, dim, err));
    int rank = batch_rank;
    if (a->rank > 1) dim[rank++] = plan->m;
    if (b->rank > 1) dim[rank++] = plan->n;
    OT_TRY(ot_op_set(n, n->y[0], a->type, rank, dim, err));
    const struct conv_shape shape = ot_linear_shape(n, plan->n);
    if (b->pattern) return ot_product_prepare(n, &shape, &plan->product, err);
    int64_t batches = ot_dims_product(n->y[0], 0, batch_rank);
    if (a->type == OT_FLOAT) n->kernel = "dnnl gemm";
    n->flops = 2.0 * (double)ot_elements(n->y[0]) * (double)plan->k;
    plan->single = b->rank <= 2;
    if (!plan->single) return prepare_batches(n, plan, batch_rank, dim, batches, err);
    plan->m *= batches;
    if (n->kernel && a->rank > 1 && b->rank == 2) ot_dense_describe(n, &shape, n->kernel);
    return OT_OK;
}

static bool product(const struct op_node *n, struct conv_shape *shape) {
    return ot_linear_product(n, false, shape);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    return ot_linear_lanes(n, false, lane_rank);
}

static bool sparse_rows(const struct op_node *n, int i) { return ot_linear_rows(n, false, i); }

static void multiply_matrices(struct op_node *n, struct dense_gemm g, const struct terms *t,
                              const void *a, const void *b, void *c) {
    const struct matmul_plan *plan = n->plan;
    g.alpha = 1.0f;
    if (!plan->single) {
        g.outputs = t->outputs;
        g.first = t->first;
        g.a = t->a;
        g.b = t->b;
    }
    if (n->y[0]->type == OT_FLOAT)
        ot_dense_gemm(n, &g, a, b, c);
    else
        ot_integer_gemm(n, &g, n->y[0]->type, a, b, c);
}

static void forward(struct op_node *n) {
    const struct matmul_plan *plan = n->plan;
    if (ot_product_is(&plan->product))
        ot_product_forward(n, &plan->product);
    else
        multiply_matrices(n, (struct dense_gemm){.m = plan->m, .n = plan->n, .k = plan->k},
                          &plan->y, n->x[0]->data, n->x[1]->data, n->y[0]->data);
}

static void backward(struct op_node *n) {
    const struct matmul_plan *plan = n->plan;
    const float *a = ot_f(n->x[0]), *b = ot_f(n->x[1]), *dy = ot_f(n->dy[0]);
    float *da = n->dx[0] ? ot_f(n->dx[0]) : NULL, *db = n->dx[1] ? ot_f(n->dx[1]) : NULL;
    if (ot_product_is(&plan->product)) {
        ot_product_backward(n, &plan->product);
        return;
    }
    if (da)
        multiply_matrices(n,
                          (struct dense_gemm){.tb = true, .m = plan->m, .n = plan->k, .k = plan->n},
                          &plan->da, dy, b, da);
    if (db)
        multiply_matrices(n,
                          (struct dense_gemm){.ta = true, .m = plan->k, .n = plan->n, .k = plan->m},
                          &plan->db, a, dy, db);
}

static void follow(struct op_node *n, int i) {
    const struct matmul_plan *plan = n->plan;
    ot_product_follow(&plan->product, n->x[i]->pattern);
}

static ot_status open_work(struct op_node *n, ot_error *err) {
    const struct matmul_plan *plan = n->plan;
    return ot_product_open(n, &plan->product, err);
}

static void close_work(struct op_node *n) {
    const struct matmul_plan *plan = n->plan;
    ot_product_close(n, &plan->product);
}

static void release(struct op_node *n) {
    const struct matmul_plan *plan = n->plan;
    ot_product_free(&plan->product);
}

static const char *const cases[] = {
    "A[5,3] B[3,4] -> Y[5,4]",
    "A[3] B[3] -> Y[]",
    "A[3] B[2,3,4] -> Y[2,4]",
    "A[2,5,3] B[3] -> Y[2,5]",
    "A[2,5,3] B[3,4]:p -> Y[2,5,4]",
    "A[2,1,4,3] B[5,3,2] -> Y[2,5,4,2]",
    "A[4,3] B[3,3,2] -> Y[3,4,2]",
    "A[9,20] B[20,7]~0.3t:p lanes -> Y[9,7]",
    "A[2,9,20] B[20,7]~0.3t:p lanes -> Y[2,9,7]",
    "A[2,9,20] B[20,7]~0.8tl:p lanes -> Y[2,9,7]",
    "A[2,0] B[0,3] -> Y[2,3]",
    "A[2,3] B[4,3] -> error: inputs of shapes [2,3] and [4,3] differ in their inner dimensions",
    "A[] B[4,3] -> error: inputs of shapes [] and [4,3] have no matrix product",
    "A[2,2,3] B[3,3,4] -> error: do not broadcast",
    "i64[2,3]{7,-4,-2,1,2,5} i64[3,2]{7,1,-4,2,-2,5} -> i64[2,2]{69,-11,-11,30}",
    "i32[2,1,2]{1,2,3,4} i32[2]{65536,65536} -> i32[2,1]{196608,458752}",
    "i32{65536} i32{65536} -> i32(0)",
    "u64[2,2,2]{1,2,3,4,5,6,7,8} u64[2,1]{1,18446744073709551615} -> "
    "u64[2,2,1]{18446744073709551615,18446744073709551615,18446744073709551615,"
    "18446744073709551615}",
    "i64[1,2,2]{1,2,3,4} i64[2,2,1]{1,0,0,1} -> i64[2,2,1]{1,3,2,4}",
    "i64[2,0]{} i64[0,1]{} -> i64[2,1]{0,0}",
    "i64[1,1]{2} i32[1,1]{2} -> error: input 1 is int32, expected int64",
    "b[1,1]{1} b[1,1]{1} -> error: input 0 is bool",
    NULL};

const struct op ot_op_MatMul = {
    .name = "MatMul",
    .since = 1,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0) | OT_X(1),
    .sparse_in = 2,
    .parameters = 3,
    .plan_size = sizeof(struct matmul_plan),
    .lanes = lanes,
    .product = product,
    .sparse_rows = sparse_rows,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .follow = follow,
    .open = open_work,
    .close = close_work,
    .release = release,
    .cases = cases,
};
