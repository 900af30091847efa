/* integer_product.c - products of quantized integers: MatMulInteger and ConvInteger give
 * sum of (a - zero point of a) (b - zero point of b) as int32; QLinearMatMul and QLinearConv make
 * of it, times the scales, a quantized integer again. Forward only, plain loops.
 */
#include <string.h>

#include "ops/number.h"
#include "ops/product/window.h"
#include "ops/quantize.h"
#include "ops/walk/broadcast.h"

/* The index of each input; -1: the operator has no such input. */
struct inputs {
    const char *name;
    int a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero, bias;
};

static const struct inputs table[] = {
    {"MatMulInteger", 0, -1, 2, 1, -1, 3, -1, -1, -1},
    {"ConvInteger", 0, -1, 2, 1, -1, 3, -1, -1, -1},
    {"QLinearMatMul", 0, 1, 2, 3, 4, 5, 6, 7, -1},
    {"QLinearConv", 0, 1, 2, 3, 4, 5, 6, 7, 8},
};

struct integer_product_plan {
    struct inputs in;
    struct range range;
    int64_t m, n, k; /* MatMul: rows, columns, terms */
    struct broadcast batches;
    struct conv_shape shape;
};

static const struct tensor *input(const struct op_node *n, int i) {
    return i >= 0 && i < n->n_in ? n->x[i] : NULL;
}

/* ---- prepare ---- */

/* Scales and zero points: one, or one for each of `count`. */
static ot_status check_factor(const struct op_node *n, int i, ot_type type, int64_t count,
                              ot_error *err) {
    const struct tensor *t = input(n, i);
    if (!t) return OT_OK;
    OT_TRY(ot_op_type(n, i, type, err));
    if (ot_elements(t) == 1 || (t->rank > 0 && ot_elements(t) == count)) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                      "input %d has %lld elements, expected 1 or %lld", i,
                      (long long)ot_elements(t), (long long)count);
}

/* a_count, b_count: of scales and zero points, where there is not one alone. */
static ot_status check_inputs(struct op_node *n, int64_t a_count, int64_t b_count, ot_type *type,
                              ot_error *err) {
    struct integer_product_plan *plan = ot_op_plan(n);
    const struct inputs *in = &plan->in;
    const struct tensor *y_zero = input(n, in->y_zero);
    OT_TRY(check_factor(n, in->a_scale, OT_FLOAT, a_count, err));
    OT_TRY(check_factor(n, in->b_scale, OT_FLOAT, b_count, err));
    OT_TRY(check_factor(n, in->y_scale, OT_FLOAT, 1, err));
    OT_TRY(check_factor(n, in->a_zero, n->x[in->a]->type, a_count, err));
    OT_TRY(check_factor(n, in->b_zero, n->x[in->b]->type, b_count, err));
    OT_TRY(check_factor(n, in->bias, OT_INT32, b_count, err));
    *type = y_zero ? y_zero->type : OT_INT32;
    if (y_zero && (!ot_is_quantized(*type) || ot_elements(y_zero) != 1))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input %d is not a single quantized integer", in->y_zero);
    if (y_zero) plan->range = ot_range_of(*type);
    return OT_OK;
}

static ot_status find_inputs(struct op_node *n, ot_error *err) {
    struct integer_product_plan *plan = ot_op_plan(n);
    int row = 0;
    while (strcmp(table[row].name, n->op->name)) row++;
    plan->in = table[row];
    const int both[] = {plan->in.a, plan->in.b};
    for (int i = 0; i < 2; i++) {
        const ot_type type = n->x[both[i]]->type;
        if (type != OT_UINT8 && type != OT_INT8)
            return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                              "input %d is %s, expected integers of 8 bits", both[i],
                              ot_type_name(type));
    }
    return OT_OK;
}

static ot_status matmul_prepare(struct op_node *n, ot_error *err) {
    struct integer_product_plan *plan = ot_op_plan(n);
    OT_TRY(find_inputs(n, err));
    const struct tensor *a = n->x[plan->in.a], *b = n->x[plan->in.b];
    struct tensor heads[2] = {*a, *b}, y = {.rank = 0};
    ot_type type;
    if (a->rank < 2 || b->rank < 2 || a->dim[a->rank - 1] != b->dim[b->rank - 2]) {
        char p[128], q[128];
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "inputs of shapes %s and %s have no matrix product",
                          ot_shape_text(a, p, sizeof p), ot_shape_text(b, q, sizeof q));
    }
    plan->m = a->dim[a->rank - 2];
    plan->k = a->dim[a->rank - 1];
    plan->n = b->dim[b->rank - 1];
    OT_TRY(check_inputs(n, plan->m, plan->n, &type, err));
    heads[0].rank -= 2;
    heads[1].rank -= 2;
    OT_TRY(ot_op_broadcast(n, &heads[0], &heads[1], &y.rank, y.dim, err));
    ot_broadcast_build(&plan->batches, &y, (const struct tensor *const[]){&heads[0], &heads[1]}, 2,
                       false);
    y.dim[y.rank] = plan->m;
    y.dim[y.rank + 1] = plan->n;
    OT_TRY(ot_op_set(n, n->y[0], type, y.rank + 2, y.dim, err));
    n->flops = 2.0 * (double)ot_elements(n->y[0]) * (double)plan->k;
    return OT_OK;
}

static ot_status conv_prepare(struct op_node *n, ot_error *err) {
    struct integer_product_plan *plan = ot_op_plan(n);
    struct window window;
    ot_type type;
    OT_TRY(find_inputs(n, err));
    const struct tensor *x = n->x[plan->in.a], *w = n->x[plan->in.b];
    const int64_t groups = ot_attr_int(n->node, "group", 1);
    OT_TRY(ot_conv_window(n, w, false, &window, err));
    if (groups < 1 || groups > INT32_MAX || w->dim[0] % groups || w->dim[1] * groups != x->dim[1])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'group' is %lld, which does not fit the channels of the input "
                          "and the weight",
                          (long long)groups);
    OT_TRY(check_inputs(n, 1, w->dim[0], &type, err));
    plan->shape =
        (struct conv_shape){.n = x->dim[0], .c = x->dim[1], .m = w->dim[0], .groups = (int)groups};
    ot_window_shape(&window, &plan->shape);
    int64_t dim[2 + OT_WINDOW_MAX] = {x->dim[0], w->dim[0]};
    for (int i = 0; i < window.rank; i++) dim[i + 2] = window.out[i];
    OT_TRY(ot_op_set(n, n->y[0], type, window.rank + 2, dim, err));
    n->flops = 2.0 * (double)ot_elements(n->y[0]) * (double)ot_dims_product(w, 1, w->rank);
    return OT_OK;
}

/* ---- forward ---- */

static int64_t zero_at(const struct op_node *n, int i, int64_t k) {
    const struct tensor *t = input(n, i);
    return t ? ot_load_integer(t->data, t->type, ot_elements(t) > 1 ? k : 0) : 0;
}

static float scale_at(const struct op_node *n, int i, int64_t k) {
    return ot_f(n->x[i])[ot_elements(n->x[i]) > 1 ? k : 0];
}

/* y[at] from the sum of a row of a and a column of b. */
static void store_result(const struct op_node *n, int64_t at, int64_t sum, int64_t row,
                         int64_t column) {
    const struct integer_product_plan *plan = n->plan;
    const struct inputs *in = &plan->in;
    struct tensor *y = n->y[0];
    if (in->bias >= 0) sum += zero_at(n, in->bias, column);
    if (in->y_scale >= 0) {
        const float factor = scale_at(n, in->a_scale, row) * scale_at(n, in->b_scale, column) /
                             scale_at(n, in->y_scale, 0);
        sum =
            ot_saturate(plan->range, rintf((float)sum * factor) + (float)zero_at(n, in->y_zero, 0));
    }
    ot_store_integer(y->data, y->type, at, sum);
}

static void multiply_matrices(const struct op_node *n, int64_t y, int64_t a, int64_t b) {
    const struct integer_product_plan *plan = n->plan;
    const struct tensor *p = n->x[plan->in.a], *q = n->x[plan->in.b];
    for (int64_t i = 0; i < plan->m; i++)
        for (int64_t j = 0; j < plan->n; j++) {
            const int64_t a0 = zero_at(n, plan->in.a_zero, i), b0 = zero_at(n, plan->in.b_zero, j);
            int64_t sum = 0;
            for (int64_t k = 0; k < plan->k; k++)
                sum += (ot_load_integer(p->data, p->type, (a * plan->m + i) * plan->k + k) - a0) *
                       (ot_load_integer(q->data, q->type, (b * plan->k + k) * plan->n + j) - b0);
            store_result(n, (y * plan->m + i) * plan->n + j, sum, i, j);
        }
}

static void batch_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                          int64_t count, float *out) {
    (void)out;
    for (int64_t j = 0; j < count; j++)
        multiply_matrices(arg, at + j, offset[0] + j * step[0], offset[1] + j * step[1]);
}

static void matmul_forward(struct op_node *n) {
    const struct integer_product_plan *plan = n->plan;
    ot_broadcast_each(n->pool, &plan->batches, batch_segment, n);
}

/* One position of the output: sample i, channel m, line r, column c. */
static int64_t window_sum(const struct op_node *n, int64_t i, int64_t m, int64_t r, int64_t c) {
    const struct integer_product_plan *plan = n->plan;
    const struct conv_shape *p = &plan->shape;
    const struct tensor *x = n->x[plan->in.a], *w = n->x[plan->in.b];
    const int64_t channels = p->c / p->groups, first = m / (p->m / p->groups) * channels;
    const int64_t x0 = zero_at(n, plan->in.a_zero, 0), w0 = zero_at(n, plan->in.b_zero, m);
    int64_t sum = 0;
    for (int64_t k = 0; k < channels * p->kh * p->kw; k++) {
        const int64_t line = r * p->stride_h - p->pad_top + k / p->kw % p->kh * p->dilation_h;
        const int64_t column = c * p->stride_w - p->pad_left + k % p->kw * p->dilation_w;
        if (line < 0 || line >= p->h || column < 0 || column >= p->w) continue;
        const int64_t at = ((i * p->c + first + k / (p->kw * p->kh)) * p->h + line) * p->w + column;
        sum += (ot_load_integer(x->data, x->type, at) - x0) *
               (ot_load_integer(w->data, w->type, m * channels * p->kh * p->kw + k) - w0);
    }
    return sum;
}

static void conv_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct conv_shape *p = &((const struct integer_product_plan *)n->plan)->shape;
    const int64_t i = task / p->m, m = task % p->m;
    for (int64_t at = 0; at < p->oh * p->ow; at++)
        store_result(n, task * p->oh * p->ow + at, window_sum(n, i, m, at / p->ow, at % p->ow), 0,
                     m);
}

static void conv_forward(struct op_node *n) {
    const struct conv_shape *p = &((const struct integer_product_plan *)n->plan)->shape;
    ot_parallel_for(n->pool, (int)(p->n * p->m), conv_task, n);
}

/* ---- records ---- */

static const char *const matmul_cases[] = {
    "u8[4,3]{11,7,3,10,6,2,9,5,1,8,4,0} u8[3,2]{1,4,2,5,3,6} u8(12) u8(0) -> "
    "i32[4,2]{-38,-83,-44,-98,-50,-113,-56,-128}",
    "i8[2,1,2]{1,-2,3,4} u8[2,2]{1,2,3,4} -> i32[2,1,2]{-5,-6,15,22}",
    "i8[2,2]{1,2,3,4} i8[2,2]{1,2,3,4} i8{0,1} i8{0,1} -> i32[2,2]{7,7,11,11}",
    "X[2,3]:u8 W[4,2]:u8 -> error: inputs of shapes [2,3] and [4,2] have no matrix product",
    "X[2,3] W[3,2]:u8 -> error: input 0 is float, expected integers of 8 bits",
    "X[2,3]:u8 W[3,2]:u8 u8{1,2,3} -> error: input 2 has 3 elements, expected 1 or 2",
    NULL,
};
static const char *const qlinear_matmul_cases[] = {
    "u8[2,4]{208,236,0,238,3,214,255,29} f(0.0066) u8(113) "
    "u8[4,3]{152,51,244,60,26,255,0,127,246,127,254,247} f(0.00705) u8(114) f(0.0107) u8(118) -> "
    "u8[2,3]{168,115,255,1,66,151}",
    "i8[1,1]{100} f(1) i8(0) i8[1,1]{100} f(1) i8(0) f(1) i8(5) -> i8[1,1]{127}",
    "u8[1,1]{1} f(1) u8(0) u8[1,1]{1} f(1) u8(0) f(1) i32(5) -> error: input 7 is not a single "
    "quantized integer",
    NULL,
};
static const char *const conv_cases[] = {
    "u8[1,1,3,3]{2,3,4,5,6,7,8,9,10} u8[1,1,2,2]{1,1,1,1} u8(1) -> i32[1,1,2,2]{12,16,24,28}",
    "u8[1,1,3,3]{2,3,4,5,6,7,8,9,10} u8[1,1,2,2]{1,1,1,1} u8(1) pads=1,1,1,1 -> "
    "i32[1,1,4,4]{1,3,5,3,5,12,16,9,11,24,28,15,7,15,17,9}",
    "i8[1,2,3]{1,2,3,4,5,6} i8[2,1,2]{1,-1,2,3} group=2 strides=2, -> i32[1,2,1]{-1,23}",
    "X[1,3,4]:u8 W[2,2,2]:u8 -> error: attribute 'group' is 1",
    NULL,
};
static const char *const qlinear_conv_cases[] = {
    "u8[1,1,1,2]{255,174} f(0.00369205) u8(132) u8[1,1,1,1]{0} f(0.00172795) u8(255) "
    "f(0.00162681) u8(123) -> u8[1,1,1,2]{0,81}",
    "u8[1,1,2]{1,2} f(1) u8(0) i8[2,1,1]{1,2} f{1,0.5} i8{0,0} f(1) u8(3) i32{10,4} -> "
    "u8[1,2,2]{14,15,6,7}",
    NULL,
};

#define WINDOW "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I"
#define PRODUCT(word, fn, least, most, list, texts)                                                \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 10,                                                                               \
        .min_in = least,                                                                           \
        .max_in = most,                                                                            \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .plan_size = sizeof(struct integer_product_plan),                                          \
        .prepare = fn##_prepare,                                                                   \
        .forward = fn##_forward,                                                                   \
        .cases = texts,                                                                            \
    }
PRODUCT(MatMulInteger, matmul, 2, 4, "", matmul_cases);
PRODUCT(QLinearMatMul, matmul, 8, 8, "", qlinear_matmul_cases);
PRODUCT(ConvInteger, conv, 2, 4, WINDOW, conv_cases);
PRODUCT(QLinearConv, conv, 8, 9, WINDOW, qlinear_conv_cases);
