/* gemm.c - Gemm: y = alpha op(A) op(B) + beta C, C broadcast to y (ONNX Gemm-6, 7, 9, 11, 13), of
 * integers too; and Linear (internal): y = A B + c, a MatMul of any number of rows and the Add of
 * its bias.
 *
 * dA = alpha dy op(B)^T, dB = alpha op(A)^T dy, dC = beta dy summed where C was broadcast.
 */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/product/dnnl.h"
#include "ops/product/integer_gemm.h"
#include "ops/product/linear.h"

/* Rows or columns of y in one task. */
enum { GRAIN = 64 };

struct gemm_plan {
    bool ta, tb;
    int64_t m, n, k;
    float alpha, beta;
    int64_t c_row, c_col; /* steps of C along the rows and columns of y; 0: broadcast */
    struct product product;
};

static const struct tensor *addend(const struct op_node *n) { return n->n_in > 2 ? n->x[2] : NULL; }

static ot_status check_addend(const struct op_node *n, struct gemm_plan *plan, ot_error *err) {
    const struct tensor *c = addend(n);
    char text[128];
    if (!c) return OT_OK;
    OT_TRY(ot_op_type(n, 2, n->x[0]->type, err));
    int64_t rows = c->rank == 2 ? c->dim[0] : 1;
    int64_t cols = c->rank ? c->dim[c->rank - 1] : 1;
    bool same = c->rank == 2 && rows == plan->m && cols == plan->n;
    if (c->rank > 2 || (rows != 1 && rows != plan->m) || (cols != 1 && cols != plan->n))
        return ot_op_fail(
            n, err, OT_ERROR_INVALID, "C has shape %s, which does not broadcast to [%lld,%lld]",
            ot_shape_text(c, text, sizeof text), (long long)plan->m, (long long)plan->n);
    if (n->node->opset < 7 && !same && !ot_attr_int(n->node, "broadcast", 0))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'broadcast' is 0, but C has shape %s, expected [%lld,%lld]",
                          ot_shape_text(c, text, sizeof text), (long long)plan->m,
                          (long long)plan->n);
    plan->c_row = rows == 1 ? 0 : cols;
    plan->c_col = cols == 1 ? 0 : 1;
    return OT_OK;
}

static ot_status read_scale(const struct op_node *n, const char *name, float *out, ot_error *err) {
    *out = ot_attr_float(n->node, name, 1.0f);
    if (!isfinite(*out))
        return ot_op_fail(n, err, OT_ERROR_NUMERIC,
                          "attribute '%s' is %g, expected a finite number", name, (double)*out);
    return OT_OK;
}

static void read_transposes(const struct op_node *n, struct gemm_plan *plan) {
    plan->ta = ot_attr_int(n->node, "transA", 0) != 0;
    plan->tb = ot_attr_int(n->node, "transB", 0) != 0;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct gemm_plan *plan = ot_op_plan(n);
    char p[128], q[128];
    const struct tensor *a = n->x[0], *b = n->x[1];
    if (!ot_is_integer(a->type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, a->type, err));
    if (a->rank != 2 || b->rank != 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "A has shape %s and B has shape %s, expected two matrices",
                          ot_shape_text(a, p, sizeof p), ot_shape_text(b, q, sizeof q));
    read_transposes(n, plan);
    plan->m = a->dim[plan->ta];
    plan->k = a->dim[!plan->ta];
    plan->n = b->dim[!plan->tb];
    if (b->dim[plan->tb] != plan->k)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "A %s (transA=%d) and B %s (transB=%d) differ in their inner dimensions",
                          ot_shape_text(a, p, sizeof p), plan->ta, ot_shape_text(b, q, sizeof q),
                          plan->tb);
    OT_TRY(read_scale(n, "alpha", &plan->alpha, err));
    OT_TRY(read_scale(n, "beta", &plan->beta, err));
    OT_TRY(check_addend(n, plan, err));
    OT_TRY(ot_op_set(n, n->y[0], a->type, 2, (int64_t[]){plan->m, plan->n}, err));
    struct conv_shape shape = ot_linear_shape(n, plan->n);
    if (b->pattern || a->lanes) return ot_product_prepare(n, &shape, &plan->product, err);
    shape.n = plan->m;
    shape.c = plan->k;
    n->flops = 2.0 * (double)plan->m * (double)plan->n * (double)plan->k;
    if (a->type == OT_FLOAT) ot_dense_describe(n, &shape, "dnnl gemm");
    return OT_OK;
}

static bool product(const struct op_node *n, struct conv_shape *shape) {
    struct gemm_plan p;
    read_transposes(n, &p);
    return !p.ta && ot_linear_product(n, p.tb, shape);
}

/* The sparse product adds one bias a feature, and scales nothing. */
static bool lanes(const struct op_node *n, int lane_rank) {
    const struct tensor *c = addend(n);
    struct gemm_plan p;
    read_transposes(n, &p);
    if (p.ta || !ot_linear_lanes(n, p.tb, lane_rank)) return false;
    if (ot_attr_float(n->node, "alpha", 1.0f) != 1.0f) return false;
    if (!c) return true;
    const int64_t features = n->x[1]->dim[!p.tb];
    return ot_is_fixed(c) && c->rank >= 1 && c->rank <= 2 && c->dim[c->rank - 1] == features &&
           ot_elements(c) == features && ot_attr_float(n->node, "beta", 1.0f) == 1.0f;
}

static bool sparse_rows(const struct op_node *n, int i) {
    const struct tensor *x = n->x[0];
    struct gemm_plan p;
    read_transposes(n, &p);
    return x && lanes(n, x->rank - 1) && ot_linear_rows(n, p.tb, i);
}

/* y = beta C. */
static void fill_rows(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct gemm_plan *plan = n->plan;
    int64_t from, to;
    (void)worker;
    ot_task_range(plan->m, GRAIN, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const float *c = ot_f(n->x[2]) + i * plan->c_row;
        float *y = ot_f(n->y[0]) + i * plan->n;
        for (int64_t j = 0; j < plan->n; j++) y[j] = plan->beta * c[j * plan->c_col];
    }
}

/* Exact where nothing is scaled. */
static void forward_integers(struct op_node *n) {
    const struct gemm_plan *plan = n->plan;
    const struct tensor *c = addend(n), *y = n->y[0];
    const struct dense_gemm g = {
        .ta = plan->ta, .tb = plan->tb, .m = plan->m, .n = plan->n, .k = plan->k};
    ot_integer_gemm(n, &g, y->type, n->x[0]->data, n->x[1]->data, y->data);
    for (int64_t at = 0; at < plan->m * plan->n; at++) {
        const int64_t at_c = at / plan->n * plan->c_row + at % plan->n * plan->c_col;
        const int64_t sum = ot_load_integer(y->data, y->type, at);
        const int64_t plus = c ? ot_load_integer(c->data, c->type, at_c) : 0;
        if (plan->alpha == 1 && plan->beta == 1)
            ot_store_integer(y->data, y->type, at, (int64_t)((uint64_t)sum + (uint64_t)plus));
        else
            ot_store_number(y->data, y->type, at,
                            (double)plan->alpha * ot_real(y->type, sum) +
                                (double)plan->beta * ot_real(y->type, plus));
    }
}

static void forward(struct op_node *n) {
    const struct gemm_plan *plan = n->plan;
    const struct tensor *c = addend(n);
    if (n->y[0]->type != OT_FLOAT) {
        forward_integers(n);
        return;
    }
    if (ot_product_is(&plan->product)) {
        ot_product_forward(n, &plan->product);
        return;
    }
    if (c) ot_parallel_for(n->pool, ot_task_count(plan->m, GRAIN), fill_rows, n);
    const struct dense_gemm g = {plan->ta,  plan->tb, plan->m, plan->n, plan->k, plan->alpha,
                                 c != NULL, 1,        NULL,    NULL,    NULL};
    ot_dense_gemm(n, &g, ot_f(n->x[0]), ot_f(n->x[1]), ot_f(n->y[0]));
}

/* dC with one entry a row. */
static void sum_rows(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct gemm_plan *plan = n->plan;
    int64_t from, to;
    (void)worker;
    ot_task_range(plan->m, GRAIN, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        double sum = 0;
        for (int64_t j = 0; j < plan->n; j++) sum += ot_f(n->dy[0])[i * plan->n + j];
        ot_f(n->dx[2])[i] = (float)(plan->beta * sum);
    }
}

/* dC with one entry a column. */
static void sum_columns(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct gemm_plan *plan = n->plan;
    double sum[GRAIN] = {0};
    int64_t from, to;
    (void)worker;
    ot_task_range(plan->n, GRAIN, task, &from, &to);
    for (int64_t i = 0; i < plan->m; i++)
        for (int64_t j = from; j < to; j++) sum[j - from] += ot_f(n->dy[0])[i * plan->n + j];
    for (int64_t j = from; j < to; j++) ot_f(n->dx[2])[j] = (float)(plan->beta * sum[j - from]);
}

static void scale_rows(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct gemm_plan *plan = n->plan;
    int64_t from, to;
    (void)worker;
    ot_task_range(plan->m, GRAIN, task, &from, &to);
    for (int64_t i = from * plan->n; i < to * plan->n; i++)
        ot_f(n->dx[2])[i] = plan->beta * ot_f(n->dy[0])[i];
}

static void sum_all(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct gemm_plan *plan = n->plan;
    double sum = 0;
    (void)task;
    (void)worker;
    for (int64_t i = 0; i < plan->m * plan->n; i++) sum += ot_f(n->dy[0])[i];
    ot_f(n->dx[2])[0] = (float)(plan->beta * sum);
}

static void backward_addend(struct op_node *n) {
    const struct gemm_plan *plan = n->plan;
    int by_rows = ot_task_count(plan->m, GRAIN);
    if (plan->c_row && plan->c_col)
        ot_parallel_for(n->pool, by_rows, scale_rows, n);
    else if (plan->c_row)
        ot_parallel_for(n->pool, by_rows, sum_rows, n);
    else if (plan->c_col)
        ot_parallel_for(n->pool, ot_task_count(plan->n, GRAIN), sum_columns, n);
    else
        ot_parallel_for(n->pool, 1, sum_all, n);
}

static void backward(struct op_node *n) {
    const struct gemm_plan *plan = n->plan;
    const float *a = ot_f(n->x[0]), *b = ot_f(n->x[1]), *dy = ot_f(n->dy[0]);
    bool wants_c = addend(n) && n->dx[2];
    if (ot_product_is(&plan->product)) {
        ot_product_backward(n, &plan->product);
        return;
    }
    struct dense_gemm g = {.alpha = plan->alpha};
    if (n->dx[0]) {
        g.ta = plan->ta && plan->tb;
        g.tb = plan->ta || !plan->tb;
        g.m = plan->ta ? plan->k : plan->m;
        g.n = plan->ta ? plan->m : plan->k;
        g.k = plan->n;
        ot_dense_gemm(n, &g, plan->ta ? b : dy, plan->ta ? dy : b, ot_f(n->dx[0]));
    }
    if (n->dx[1]) {
        g.ta = plan->tb || !plan->ta;
        g.tb = plan->tb && plan->ta;
        g.m = plan->tb ? plan->n : plan->k;
        g.n = plan->tb ? plan->k : plan->n;
        g.k = plan->m;
        ot_dense_gemm(n, &g, plan->tb ? dy : a, plan->tb ? a : dy, ot_f(n->dx[1]));
    }
    if (wants_c) backward_addend(n);
}

static void follow(struct op_node *n, int i) {
    const struct gemm_plan *plan = n->plan;
    ot_product_follow(&plan->product, n->x[i]->pattern);
}

static ot_status open_work(struct op_node *n, ot_error *err) {
    const struct gemm_plan *plan = n->plan;
    return ot_product_open(n, &plan->product, err);
}

static void close_work(struct op_node *n) {
    const struct gemm_plan *plan = n->plan;
    ot_product_close(n, &plan->product);
}

static void release(struct op_node *n) {
    const struct gemm_plan *plan = n->plan;
    ot_product_free(&plan->product);
}

static const char *const cases[] = {
    "A[5,3] B[3,4] -> Y[5,4]",
    "A[3,5] B[4,3] C[4]:p transA=1 transB=1 alpha=0.5 beta=2 -> Y[5,4]",
    "A[5,3] B[3,4] C[5,4] -> Y[5,4]",
    "A[5,3] B[3,4] C[5,1] beta=0.5 -> Y[5,4]",
    "A[5,3] B[3,4] C[1,4] @9 -> Y[5,4]",
    "A[5,3] B[4,3]:p C[] transB=1 @7 -> Y[5,4]",
    "A[2,3] B[3,4] C[4] broadcast=1 @6 -> Y[2,4]",
    "A[17,20] B[9,20]~0.3:p C[9]:p transB=1 lanes -> Y[17,9]",
    "A[5,20] B[20,9]~0.3t:p C[1,9]:p lanes -> Y[5,9]",
    "A[19,20] B[9,20]:p C[9]:p transB=1 lanes -> Y[19,9]",
    "A[1,8] B[8,3]~0.5t:p lanes -> Y[1,3]",
    "A[17,20] B[9,20]~0.8l:p C[9]:p transB=1 lanes -> Y[17,9]",
    "A[5,20] B[20,70]~0.8tl:p lanes -> Y[5,70]",
    "A[5,8] B[8,3]~0.5t:p alpha=0.5 -> Y[5,3]",
    "A[2,0] B[0,3] C[3] -> Y[2,3]",
    "A[2,3] B[4,3] -> error: A [2,3] (transA=0) and B [4,3] (transB=0) differ in their inner "
    "dimensions",
    "A[2,3] B[3,4] C[3] -> error: C has shape [3], which does not broadcast to [2,4]",
    "A[2,3] B[3,4] alpha=nan -> error: 'alpha' is",
    "A[2,3,1] B[3,4] -> error: two matrices",
    "A[2,3] B[3,4] C[4] @6 -> error: 'broadcast' is 0",
    "i64[2,2]{1,2,3,4} i64[2,2]{1,0,1,1} i64{10,20} -> i64[2,2]{13,22,17,24}",
    "i32[2,2]{1,3,2,4} i32[2,2]{1,1,0,1} i32[2,1]{10,20} transA=1 transB=1 -> "
    "i32[2,2]{13,12,27,24}",
    "i32[2,3]{7,-4,-2,1,2,5} i32[3,2]{7,1,-4,2,-2,5} i32{1,2} alpha=0.5 beta=1.5 -> "
    "i32[2,2]{36,-2,-4,18}",
    "u64[1,1]{18446744073709551615} u64[1,1]{1} - alpha=2 -> u64[1,1]{18446744073709551615}",
    "i64[1,1]{2} i64[1,1]{2} f{1} -> error: input 2 is float, expected int64",
    NULL};

const struct op ot_op_Gemm = {
    .name = "Gemm",
    .since = 6,
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "alpha:f beta:f broadcast:i transA:i transB:i",
    .needs = OT_X(0) | OT_X(1),
    .sparse_in = 2,
    .parameters = 7,
    .plan_size = sizeof(struct gemm_plan),
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

/* ---- Linear ---- */

static bool linear_fits(const struct op_node *n) {
    const struct tensor *a = n->x[0], *b = n->x[1], *c = n->x[2];
    for (int i = 0; i < 3; i++)
        if (n->x[i]->type != OT_FLOAT) return false;
    return !ot_is_fixed(a) && a->rank >= 2 && ot_is_fixed(b) && b->rank == 2 && ot_is_fixed(c) &&
           c->rank == 1 && c->dim[0] == b->dim[1] && a->dim[a->rank - 1] == b->dim[0];
}

static bool linear_product(const struct op_node *n, struct conv_shape *shape) {
    return ot_linear_product(n, false, shape);
}

static bool linear_lanes(const struct op_node *n, int lane_rank) {
    return ot_linear_lanes(n, false, lane_rank);
}

static bool linear_rows(const struct op_node *n, int i) { return ot_linear_rows(n, false, i); }

static ot_status linear_prepare(struct op_node *n, ot_error *err) {
    struct gemm_plan *plan = ot_op_plan(n);
    const struct tensor *a = n->x[0], *b = n->x[1];
    int64_t dim[OT_MAX_RANK];
    *plan = (struct gemm_plan){.m = ot_dims_product(a, 0, a->rank - 1),
                               .n = b->dim[1],
                               .k = b->dim[0],
                               .alpha = 1,
                               .beta = 1,
                               .c_col = 1};
    memcpy(dim, a->dim, sizeof dim);
    dim[a->rank - 1] = plan->n;
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, a->rank, dim, err));
    const struct conv_shape shape = ot_linear_shape(n, plan->n);
    if (b->pattern) return ot_product_prepare(n, &shape, &plan->product, err);
    ot_dense_describe(n, &shape, "dnnl gemm");
    return OT_OK;
}

static const char *const linear_cases[] = {"A[5,3] B[3,4]:p C[4]:p -> Y[5,4]",
                                           "A[2,1,5,3] B[3,70]:p C[70]:p -> Y[2,1,5,70]",
                                           "A[9,20] B[20,7]~0.3t:p C[7]:p lanes -> Y[9,7]",
                                           "A[2,9,20] B[20,7]~0.3t:p C[7]:p lanes -> Y[2,9,7]",
                                           "A[2,9,20] B[20,70]~0.8tl:p C[70]:p lanes -> Y[2,9,70]",
                                           "A[2,0] B[0,3]:p C[3]:p -> Y[2,3]",
                                           NULL};

const struct op ot_op_Linear = {
    .name = "Linear",
    .since = 1,
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0) | OT_X(1),
    .sparse_in = 2,
    .internal = true,
    .plan_size = sizeof(struct gemm_plan),
    .fits = linear_fits,
    .lanes = linear_lanes,
    .product = linear_product,
    .sparse_rows = linear_rows,
    .prepare = linear_prepare,
    .forward = forward,
    .backward = backward,
    .follow = follow,
    .open = open_work,
    .close = close_work,
    .release = release,
    .cases = linear_cases,
};
