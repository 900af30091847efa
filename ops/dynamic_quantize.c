/* dynamic_quantize.c - DynamicQuantizeLinear: y = x in 8 bits without sign, with the scale and the
 * zero point, outputs 1 and 2, that its own extremes ask for; 0 is always in range. Not
 * differentiable. */
#include "ops/op.h"
#include "ops/quantize.h"

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    ot_op_like(n->y[0], n->x[0]);
    n->y[0]->type = OT_UINT8;
    OT_TRY(ot_op_set(n, n->y[1], OT_FLOAT, 0, NULL, err));
    return ot_op_set(n, n->y[2], OT_UINT8, 0, NULL, err);
}

static void forward(struct op_node *n) {
    const float *x = ot_f(n->x[0]);
    const struct range range = ot_range_of(OT_UINT8);
    const int64_t count = ot_count(n->x[0]);
    uint8_t *y = n->y[0]->data;
    float least = 0, most = 0;
    for (int64_t i = 0; i < count; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    const float scale = most > least ? (most - least) / range.high : 1;
    const int64_t zero = ot_saturate(range, rintf(-least / scale));
    *ot_f(n->y[1]) = scale;
    *(uint8_t *)n->y[2]->data = (uint8_t)zero;
    for (int64_t i = 0; i < count; i++)
        y[i] = (uint8_t)ot_saturate(range, rintf(x[i] / scale) + (float)zero);
}

static const char *const cases[] = {
    "f{0,2,-3,-2.5,1.34,0.5} -> u8{153,255,0,26,221,179} f(0.0196078438) u8(153)",
    "f{-1,-2.1,-1.3,-2.5,-3.34,-4} -> u8{191,121,172,96,42,0} f(0.0156862754) u8(255)",
    "f{1,2,5} -> u8{51,102,255} f(0.0196078438) u8(0)",
    "f{0,0} -> u8{0,0} f(1) u8(0)",
    NULL,
};

const struct op ot_op_DynamicQuantizeLinear = {
    .name = "DynamicQuantizeLinear",
    .since = 11,
    .min_in = 1,
    .max_in = 1,
    .min_out = 3,
    .max_out = 3,
    .attributes = "",
    .prepare = prepare,
    .forward = forward,
    .cases = cases,
};
