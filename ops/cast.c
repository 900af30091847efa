/* cast.c - Cast and CastLike: y = x as another element type.
 *
 * Every floating-point type is float here; to float16 or bfloat16, numbers are rounded to what
 * those can say, to nearest, ties to even. float to integer rounds towards zero and saturates, NaN
 * gives 0; integers that do not fit lose their high bits; bool is x != 0 (ONNX Cast-13).
 *
 * Rounding passes its gradient straight through; so do integers that have one.
 */
#include "ops/number.h"
#include "ops/walk/index.h"
#include "runtime/base/half.h"

struct cast_plan {
    ot_type half; /* narrow type that floats are rounded to; OT_UNDEFINED: none */
};

enum { GRAIN = 16384, CHUNK = 256 };

static bool is_floating(ot_type t) { return t == OT_FLOAT || t == OT_DOUBLE; }

static bool is_known(ot_type t) {
    static const bool known[] = {
        [OT_FLOAT] = true,  [OT_DOUBLE] = true, [OT_UINT8] = true,  [OT_INT8] = true,
        [OT_UINT16] = true, [OT_INT16] = true,  [OT_UINT32] = true, [OT_INT32] = true,
        [OT_UINT64] = true, [OT_INT64] = true,  [OT_BOOL] = true};
    return (unsigned)t < sizeof known && known[t];
}

/* The type that the node asks for, and what its floats are rounded to. */
static ot_status find_type(const struct op_node *n, ot_type *type, ot_type *half, ot_error *err) {
    if (n->n_in > 1) {
        *type = n->x[1]->half ? n->x[1]->half : n->x[1]->type;
    } else {
        const struct attr *to = ot_attr(n->node, "to");
        if (!to) return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'to' is missing");
        *type = to->i < 0 || to->i > 255 ? OT_UNDEFINED : (ot_type)to->i;
    }
    *half = ot_half_of(*type);
    if (*type == OT_DOUBLE || *type == OT_FLOAT16 || *type == OT_BFLOAT16) *type = OT_FLOAT;
    if (!is_known(*type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'to' asks for type %s (%d), which is not supported",
                          ot_type_name(*type), (int)*type);
    return OT_OK;
}

/* Integers in lanes are of no use to anybody. */
static bool lanes(const struct op_node *n, int lane_rank) {
    (void)lane_rank;
    ot_type type = OT_UNDEFINED, half;
    return n->x[0]->type == OT_FLOAT && !find_type(n, &type, &half, NULL) && type == OT_FLOAT;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct cast_plan *plan = ot_op_plan(n);
    ot_type type = OT_UNDEFINED;
    if (!is_known(n->x[0]->type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, which is not supported",
                          ot_type_name(n->x[0]->type));
    OT_TRY(find_type(n, &type, &plan->half, err));
    ot_op_like(n->y[0], n->x[0]);
    n->y[0]->type = type;
    n->y[0]->half = plan->half;
    n->rounds = plan->half != OT_UNDEFINED;
    return OT_OK;
}

#define LOAD(T)                                                                                    \
    for (int64_t i = 0; i < n; i++) out[i] = ((const T *)data)[at + i]
#define STORE(T)                                                                                   \
    for (int64_t i = 0; i < n; i++) ((T *)data)[at + i] = (T)in[i]

static void load_floats(ot_type type, const void *data, int64_t at, int64_t n, double *out) {
    if (type == OT_FLOAT)
        LOAD(float);
    else
        LOAD(double);
}

static void load_integers(ot_type type, const void *data, int64_t at, int64_t n, int64_t *out) {
    switch (type) {
    case OT_INT8: LOAD(int8_t); break;
    case OT_INT16: LOAD(int16_t); break;
    case OT_INT32: LOAD(int32_t); break;
    case OT_UINT16: LOAD(uint16_t); break;
    case OT_UINT32: LOAD(uint32_t); break;
    case OT_INT64:
    case OT_UINT64: LOAD(int64_t); break; /* the same bits */
    default: LOAD(uint8_t); break;
    }
}

static void store_integers(ot_type type, void *data, int64_t at, int64_t n, const int64_t *in) {
    switch (type) {
    case OT_INT8:
    case OT_UINT8: STORE(uint8_t); break; /* keeping the low bits is the same for both */
    case OT_INT16:
    case OT_UINT16: STORE(uint16_t); break;
    case OT_INT32:
    case OT_UINT32: STORE(uint32_t); break;
    case OT_BOOL:
        for (int64_t i = 0; i < n; i++) ((uint8_t *)data)[at + i] = in[i] != 0;
        break;
    default: STORE(int64_t); break;
    }
}

static void round_floats(ot_type half, float *y, int64_t n) {
    if (half == OT_FLOAT16)
        for (int64_t i = 0; i < n; i++) y[i] = ot_float16_to_float(ot_float16_of_float(y[i]));
    if (half == OT_BFLOAT16)
        for (int64_t i = 0; i < n; i++) y[i] = ot_bfloat16_to_float(ot_bfloat16_of_float(y[i]));
}

static void cast_chunk(const struct tensor *x, struct tensor *y, int64_t at, int64_t n) {
    int64_t integer[CHUNK];
    double real[CHUNK];
    if (is_floating(x->type)) {
        load_floats(x->type, x->data, at, n, real);
        for (int64_t i = 0; i < n && y->type != OT_FLOAT; i++)
            integer[i] = ot_whole(y->type, real[i]);
    } else {
        load_integers(x->type, x->data, at, n, integer);
        const bool huge = x->type == OT_UINT64;
        for (int64_t i = 0; i < n; i++)
            real[i] = huge ? (double)(uint64_t)integer[i] : (double)integer[i];
    }
    if (y->type == OT_FLOAT)
        for (int64_t i = 0; i < n; i++) ot_f(y)[at + i] = (float)real[i];
    else
        store_integers(y->type, y->data, at, n, integer);
}

static void cast_task(void *arg, int number, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    int64_t from, to;
    ot_task_range(ot_count(n->x[0]), GRAIN, number, &from, &to);
    for (int64_t at = from; at < to; at += CHUNK)
        cast_chunk(n->x[0], n->y[0], at, to - at < CHUNK ? to - at : CHUNK);
    const struct cast_plan *plan = n->plan;
    if (plan->half) round_floats(plan->half, ot_f(n->y[0]) + from, to - from);
}

static void forward(struct op_node *n) {
    const struct cast_plan *plan = n->plan;
    if (n->x[0]->type == n->y[0]->type && !plan->half)
        ot_view_forward(n);
    else
        ot_parallel_for(n->pool, ot_task_count(ot_count(n->x[0]), GRAIN), cast_task, n);
}

/* Integers made of floats have no gradient. */
static void backward(struct op_node *n) {
    if (n->dy[0])
        ot_view_backward(n);
    else if (n->dx[0])
        ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
}

static const char *const cases[] = {
    "X[2,3] to=1 -> Y[2,3]",
    "f[2,3]{1.0004,-1.0006,70000,-1e-9,5.9e-8,nan}:x to=10 lanes -> "
    "f[2,3]{1,-1.0009766,inf,0,5.9604645e-8,nan} d0=f[2,3]{1,1,1,1,1,1}",
    "f{1.0078125,1.01171875,-3e38,1e-40}:x to=16 -> "
    "f{1.0078125,1.015625,-3.0040553e38,9.18355e-41} d0=f{1,1,1,1}",
    "i32{2049,2051,-70000} to=10 -> f{2048,2052,-inf}",
    "i32{257,259} to=16 -> f{256,260}",
    "f{1.9,-1.9,nan,1e30,-1e30} to=7 -> i64{1,-1,0,9223372036854775807,-9223372036854775808}",
    "X[3] to=7 range=0,0.9 -> i64{0,0,0}",
    "f{1.9,-1.9,nan,1e30,-1e30} to=6 -> i32{1,-1,0,2147483647,-2147483648}",
    "f{300,-1,255.5} to=2 -> u8{255,0,255}",
    "f{300,-300,-5} to=3 -> i8{127,-128,-5}",
    "f{0,0.5,nan} to=9 -> b{0,1,1}",
    "i64{200,-1,256} to=3 -> i8{-56,-1,0}",
    "i64{3,0,-2} to=9 -> b{1,0,1}",
    "i64{3,-2} to=1 -> f{3,-2}",
    "b{1,0} to=7 -> i64{1,0}",
    "i64{3,-2} to=11 -> f{3,-2}",
    "f{1} to=8 -> error: attribute 'to' asks for type string (8)",
    "f{1} to=99 -> error: attribute 'to' asks for type unknown (99)",
    "f{1} -> error: 'to'",
    NULL};

const struct op ot_op_Cast = {
    .name = "Cast",
    .since = 6,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "to:i saturate:i round_mode:s",
    .straight = OT_STRAIGHT_THROUGH,
    .plan_size = sizeof(struct cast_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};

static const char *const like_cases[] = {"f{1.5,2} i64{0} -> i64{1,2}", "X[2,3] Z[1]:c -> Y[2,3]",
                                         "X[2,3,4] Z[1]:c lanes -> Y[2,3,4]", NULL};

const struct op ot_op_CastLike = {
    .name = "CastLike",
    .since = 15,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "saturate:i round_mode:s",
    .straight = OT_STRAIGHT_THROUGH,
    .plan_size = sizeof(struct cast_plan),
    .type_only = OT_X(1),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = like_cases,
};
