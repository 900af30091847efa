/* bit_cast.c - BitCast: the bits of x read as another type of the same width. float16 and bfloat16
 * are floats here, whose bits are made and read; doubles are too, so that only bits that become a
 * double can be. Not differentiable. */
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"
#include "runtime/base/half.h"

struct bit_cast_plan {
    ot_type from, to; /* types in the file */
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct bit_cast_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0];
    const int64_t to = ot_attr_int(n->node, "to", 0);
    plan->from = x->half ? x->half : x->type;
    plan->to = to > 0 && to < 256 ? (ot_type)to : OT_UNDEFINED;
    const size_t size = plan->to == OT_STRING ? 0 : ot_type_size(plan->to);
    if (!size)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'to' asks for type %s (%d), which is not supported",
                          ot_type_name(plan->to), (int)to);
    if (plan->from == OT_FLOAT && size == 8)
        return ot_op_fail(
            n, err, OT_ERROR_UNSUPPORTED,
            "the bits of doubles are not supported, because doubles are computed as floats");
    if (size != ot_type_size(plan->from))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "%s cannot become %s, which has another width",
                          ot_type_name(plan->from), ot_type_name(plan->to));
    ot_op_like(n->y[0], x);
    n->y[0]->half = ot_half_of(plan->to);
    n->y[0]->type = n->y[0]->half || plan->to == OT_DOUBLE ? OT_FLOAT : plan->to;
    return OT_OK;
}

static uint64_t load_bits(ot_type type, const void *data, int64_t i) {
    uint64_t bits = 0;
    if (type == OT_FLOAT16) return ot_float16_of_float(((const float *)data)[i]);
    if (type == OT_BFLOAT16) return ot_bfloat16_of_float(((const float *)data)[i]);
    const size_t size = ot_type_size(type);
    memcpy(&bits, (const char *)data + (size_t)i * size, size); /* little-endian */
    return bits;
}

static void store_bits(ot_type type, void *data, int64_t i, uint64_t bits) {
    double wide;
    const size_t size = ot_type_size(type);
    memcpy(&wide, &bits, sizeof wide);
    if (type == OT_FLOAT16)
        ((float *)data)[i] = ot_float16_to_float((uint16_t)bits);
    else if (type == OT_BFLOAT16)
        ((float *)data)[i] = ot_bfloat16_to_float((uint16_t)bits);
    else if (type == OT_DOUBLE)
        ((float *)data)[i] = (float)wide;
    else
        memcpy((char *)data + (size_t)i * size, &bits, size);
}

static void forward(struct op_node *n) {
    const struct bit_cast_plan *plan = n->plan;
    for (int64_t i = 0, count = ot_count(n->x[0]); i < count; i++)
        store_bits(plan->to, n->y[0]->data, i, load_bits(plan->from, n->x[0]->data, i));
}

static const char *const cases[] = {
    "f{1,-2} to=6 -> i32{1065353216,-1073741824}",
    "i32[1,2]{1065353216,-1073741824} to=1 -> f[1,2]{1,-2}",
    "i16{15360,-16384} to=10 -> f{1,-2}",
    "u16{16256,49152} to=16 -> f{1,-2}",
    "i64{4607182418800017408} to=11 -> f{1}",
    "u8{1,200} to=3 -> i8{1,-56}",
    "f{1} to=7 -> error: the bits of doubles",
    "i32{1} to=3 -> error: another width",
    "i32{1} to=8 -> error: attribute 'to' asks for type string (8)",
    NULL,
};

const struct op ot_op_BitCast = {
    .name = "BitCast",
    .since = 26,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "to:i",
    .plan_size = sizeof(struct bit_cast_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "doubles are not supported",
    .cases = cases,
};
