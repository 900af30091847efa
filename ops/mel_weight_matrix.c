/* mel_weight_matrix.c - MelWeightMatrix: triangles over the bins of a spectrum, evenly spread on
 * the mel scale, m(f) = 2595 log10(1 + f / 700): what a spectrum is multiplied by. All inputs are
 * constant. */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"

enum { BANDS, LENGTH, RATE, LOWEST, HIGHEST, INPUTS };

struct mel_weight_matrix_plan {
    double value[INPUTS]; /* numbers of bands, of samples, a second; both edges in Hz */
};

static ot_status read_number(const struct op_node *n, int i, double *value, ot_error *err) {
    const struct tensor *t = n->x[i];
    const int64_t *whole;
    int count;
    if (t->type == OT_FLOAT && i >= LOWEST) {
        if (t->role != OT_ROLE_CONST || ot_elements(t) != 1)
            return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a single constant", i);
        *value = (double)ot_f(t)[0];
        return OT_OK;
    }
    OT_TRY(ot_op_ints(n, i, &whole, &count, err));
    if (count != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a single number", i);
    *value = (double)whole[0];
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const ot_type type = ot_op_asked_type(n, "output_datatype", OT_FLOAT);
    struct mel_weight_matrix_plan *plan = ot_op_plan(n);
    for (int i = 0; i < INPUTS; i++) OT_TRY(read_number(n, i, &plan->value[i], err));
    if (!ot_is_number(type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'output_datatype' is %lld, which is not supported",
                          (long long)ot_attr_int(n->node, "output_datatype", OT_FLOAT));
    const double *v = plan->value;
    if (!(v[BANDS] >= 1 && v[BANDS] < 0x1p31 && v[LENGTH] >= 1 && v[LENGTH] < 0x1p31 &&
          v[RATE] >= 1 && v[LOWEST] >= 0 && v[LOWEST] < v[HIGHEST] && v[HIGHEST] <= v[RATE] / 2))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "%g bands from %g to %g Hz cannot be made of %g samples at %g Hz",
                          v[BANDS], v[LOWEST], v[HIGHEST], v[LENGTH], v[RATE]);
    const int64_t dim[] = {(int64_t)v[LENGTH] / 2 + 1, (int64_t)v[BANDS]};
    return ot_op_set(n, n->y[0], type, 2, dim, err);
}

static double mel_of(double hertz) { return 2595 * log1p(hertz / 700) / log(10); }

/* The bin of edge k: bands lie between edges k, k + 1 and k + 2. */
static int64_t edge(const struct mel_weight_matrix_plan *plan, int64_t k) {
    const double *v = plan->value, low = mel_of(v[LOWEST]), high = mel_of(v[HIGHEST]);
    const double mel = low + (high - low) / (v[BANDS] + 2) * (double)k;
    return (int64_t)floor((v[LENGTH] + 1) * 700 * expm1(mel / 2595 * log(10)) / v[RATE]);
}

static void forward(struct op_node *n) {
    const struct mel_weight_matrix_plan *plan = n->plan;
    const struct tensor *y = n->y[0];
    const int64_t bins = y->dim[0], bands = y->dim[1];
    memset(y->data, 0, ot_bytes(y));
    for (int64_t k = 0; k < bands; k++) {
        const int64_t low = edge(plan, k), middle = edge(plan, k + 1), high = edge(plan, k + 2);
        for (int64_t i = low; i < high && i < bins; i++)
            ot_store_number(y->data, y->type, i * bands + k,
                            i < middle ? (double)(i - low) / (double)(middle - low)
                                       : (double)(high - i) / (double)(high - middle));
        if (middle < bins && middle == high)
            ot_store_number(y->data, y->type, middle * bands + k, 1);
    }
}

static const char *const cases[] = {
    "i32(3) i64(8) i32(100) f(0) f(50) -> f[5,3]{1,0,0,0,1,0,0,0,1,0,0,0,0,0,0}",
    "i32(2) i64(15) i32(1000) f(100) f(500) -> "
    "f[8,2]{0,0,0,0,1,0,0.5,0.5,0,1,0,0.5,0,0,0,0}",
    "i64(2) i64(16) i64(8192) i32(100) i32(4096) output_datatype=11 -> Y[9,2]",
    "i32(2) i64(15) i32(1000) f(100) f(500) output_datatype=6 -> "
    "i32[8,2]{0,0,0,0,1,0,0,0,0,1,0,0,0,0,0,0}",
    "i32(3) i64(8) i32(100) f(0) f(60) -> error: 3 bands from 0 to 60 Hz",
    "i32(0) i64(8) i32(100) f(0) f(50) -> error: 0 bands",
    "i32{3,4} i64(8) i32(100) f(0) f(50) -> error: input 0 is not a single number",
    "i32(3) i64(8) i32(100) f(0) F[] -> error: input 4 is not a single constant",
    NULL,
};

const struct op ot_op_MelWeightMatrix = {
    .name = "MelWeightMatrix",
    .since = 17,
    .min_in = 5,
    .max_in = 5,
    .min_out = 1,
    .max_out = 1,
    .attributes = "output_datatype:i",
    .plan_size = sizeof(struct mel_weight_matrix_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "all inputs must be constant",
    .cases = cases,
};
