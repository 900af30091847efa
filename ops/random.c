/* random.c - RandomNormal, RandomUniform, their Like forms, Bernoulli and Multinomial: numbers of
 * (seed, step, node, element) alone, so that they are the same for any number of threads. Attribute
 * `seed` takes the place of the session's.
 */
#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "runtime/base/rng.h"

enum { GRAIN = 4096 };
enum kind { NORMAL, UNIFORM, BERNOULLI, MULTINOMIAL };

struct random_plan {
    enum kind kind;
    float a, b; /* mean and scale, or low and high */
    int64_t classes;
};

static uint64_t seed_of(const struct op_node *n) {
    const struct attr *a = ot_attr(n->node, "seed");
    uint32_t bits;
    if (!a) return n->context->seed;
    memcpy(&bits, &a->f, sizeof bits);
    return bits;
}

/* Which numbers of the stream a step of this node takes. */
static uint64_t stream_of(const struct op_node *n) {
    return ((uint64_t)(uint32_t)n->index << 40) ^ n->context->step ^ (uint64_t)1 << 63;
}

static ot_status set_shape(struct op_node *n, ot_type type, ot_error *err) {
    int count;
    if (n->n_in) return ot_op_set(n, n->y[0], type, n->x[0]->rank, n->x[0]->dim, err);
    const int64_t *shape = ot_attr_ints(n->node, "shape", &count);
    if (!shape) return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'shape' is missing");
    return ot_op_set(n, n->y[0], type, count, shape, err);
}

static ot_status prepare_numbers(struct op_node *n, ot_error *err) {
    struct random_plan *plan = ot_op_plan(n);
    const bool normal = !strncmp(n->op->name, "RandomNormal", 12);
    const ot_type type = ot_op_asked_type(n, "dtype", n->n_in ? n->x[0]->type : OT_FLOAT);
    plan->kind = normal ? NORMAL : UNIFORM;
    plan->a = normal ? ot_attr_float(n->node, "mean", 0) : ot_attr_float(n->node, "low", 0);
    plan->b = normal ? ot_attr_float(n->node, "scale", 1) : ot_attr_float(n->node, "high", 1);
    if (type != OT_FLOAT)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "random numbers of type %s are not supported", ot_type_name(type));
    return set_shape(n, type, err);
}

static ot_status prepare_bernoulli(struct op_node *n, ot_error *err) {
    struct random_plan *plan = ot_op_plan(n);
    const ot_type type = ot_op_asked_type(n, "dtype", n->x[0]->type);
    plan->kind = BERNOULLI;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (type == OT_UNDEFINED)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'dtype' is %lld, which is not supported",
                          (long long)ot_attr_int(n->node, "dtype", 0));
    return set_shape(n, type, err);
}

static ot_status prepare_multinomial(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct random_plan *plan = ot_op_plan(n);
    const ot_type type = (ot_type)ot_attr_int(n->node, "dtype", OT_INT32);
    const int64_t size = ot_attr_int(n->node, "sample_size", 1);
    plan->kind = MULTINOMIAL;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (x->rank != 2 || x->dim[1] < 1 || size < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'sample_size' is %lld for an input of rank %d, expected at "
                          "least 1 and a matrix that is not empty",
                          (long long)size, x->rank);
    if (type != OT_INT32 && type != OT_INT64)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'dtype' asks for %s, which is not supported",
                          ot_type_name(type));
    plan->classes = x->dim[1];
    return ot_op_set(n, n->y[0], type, 2, (int64_t[]){x->dim[0], size}, err);
}

/* The class in whose part of the whole u falls; x holds logarithms of weights. */
static int64_t choose_class(const float *x, int64_t classes, float u) {
    float most = x[0];
    double all = 0, sum = 0;
    for (int64_t c = 1; c < classes; c++) most = x[c] > most ? x[c] : most;
    for (int64_t c = 0; c < classes; c++) all += exp((double)x[c] - (double)most);
    for (int64_t c = 0; c < classes; c++) {
        sum += exp((double)x[c] - (double)most);
        if (sum > (double)u * all) return c;
    }
    return classes - 1;
}

static void put_whole(const struct tensor *y, int64_t k, int64_t value) {
    static const double one = 1;
    char *to = (char *)y->data + (size_t)k * ot_type_size(y->type);
    if (y->type == OT_FLOAT)
        *(float *)(void *)to = (float)value;
    else if (y->type == OT_DOUBLE)
        memcpy(to, value ? &one : &(double){0}, sizeof one);
    else
        memcpy(to, &value, ot_type_size(y->type)); /* little-endian */
}

static void fill_task(void *arg, int number, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct random_plan *plan = n->plan;
    const struct tensor *y = n->y[0];
    const uint64_t seed = seed_of(n), stream = stream_of(n);
    int64_t k, to;
    ot_task_range(ot_elements(y), GRAIN, number, &k, &to);
    for (; k < to; k++) {
        if (plan->kind == NORMAL) {
            ot_f(y)[k] = plan->a + plan->b * ot_random_normal(seed, stream, (uint64_t)k);
            continue;
        }
        const float u = ot_random_float(seed, stream, (uint64_t)k);
        if (plan->kind == UNIFORM)
            ot_f(y)[k] = plan->a + (plan->b - plan->a) * u;
        else if (plan->kind == BERNOULLI)
            put_whole(y, k, u < ot_f(n->x[0])[k]);
        else
            put_whole(
                y, k,
                choose_class(ot_f(n->x[0]) + k / y->dim[1] * plan->classes, plan->classes, u));
    }
}

static void forward(struct op_node *n) {
    const int64_t count = ot_elements(n->y[0]);
    if (count > 0) ot_parallel_for(n->pool, ot_task_count(count, GRAIN), fill_task, n);
}

static const char *const normal_cases[] = {"shape=2,3 -> Y[2,3]", "shape=90,90 mean=1 -> Y[90,90]",
                                           "-> error: 'shape' is missing",
                                           "shape=2 dtype=7 -> error: int64", NULL};
static const char *const uniform_cases[] = {"shape=2,3 low=-1 high=2 -> Y[2,3]",
                                            "shape=2 low=0.5 high=0.5 -> f{0.5,0.5}", NULL};
static const char *const like_cases[] = {"X[2,3] seed=4 -> Y[2,3]", "X[2]:i64 dtype=1 -> Y[2]",
                                         "X[2]:i64 -> error: int64", NULL};
static const char *const bernoulli_cases[] = {
    "f{0,1,-3,2} -> f{0,1,0,1}", "f{0,1} dtype=7 -> i64{0,1}", "f{0,1} dtype=9 -> b{0,1}",
    "X[2] dtype=8 -> error: 'dtype'", NULL};
static const char *const multinomial_cases[] = {
    "f[2,3]{-99,0,-99,3,-99,-99} sample_size=4 -> i32[2,4]{1,1,1,1,0,0,0,0}",
    "f[1,1]{5} dtype=7 -> i64[1,1]{0}", "X[2] -> error: rank 1",
    "X[2,3] dtype=1 -> error: attribute 'dtype' asks for float", NULL};

#define RANDOM(Name, first, inputs, prepares, list, texts)                                         \
    const struct op ot_op_##Name = {                                                               \
        .name = #Name,                                                                             \
        .since = first,                                                                            \
        .min_in = inputs,                                                                          \
        .max_in = inputs,                                                                          \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .random = true,                                                                            \
        .plan_size = sizeof(struct random_plan),                                                   \
        .prepare = prepares,                                                                       \
        .forward = forward,                                                                        \
        .cases = texts,                                                                            \
    };

RANDOM(RandomNormal, 1, 0, prepare_numbers, "dtype:i mean:f scale:f seed:f shape:I", normal_cases)
RANDOM(RandomUniform, 1, 0, prepare_numbers, "dtype:i low:f high:f seed:f shape:I", uniform_cases)
RANDOM(RandomNormalLike, 1, 1, prepare_numbers, "dtype:i mean:f scale:f seed:f", like_cases)
RANDOM(RandomUniformLike, 1, 1, prepare_numbers, "dtype:i low:f high:f seed:f", like_cases)
RANDOM(Bernoulli, 15, 1, prepare_bernoulli, "dtype:i seed:f", bernoulli_cases)
RANDOM(Multinomial, 7, 1, prepare_multinomial, "dtype:i sample_size:i seed:f", multinomial_cases)
