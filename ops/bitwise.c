/* bitwise.c - BitwiseAnd, BitwiseOr, BitwiseXor and BitShift of two broadcast integer tensors, and
 * BitwiseNot of one. Not differentiable. */
#include <string.h>

#include "ops/number.h"
#include "ops/walk/binary.h"
#include "ops/walk/unary.h"

static int64_t and (int64_t a, int64_t b) { return a & b; }
static int64_t or (int64_t a, int64_t b) { return a | b; }
static int64_t xor (int64_t a, int64_t b) { return a ^ b; } static int64_t
    not(int64_t x, ot_type type, const void *plan) {
    (void)type;
    (void)plan;
    return ~x;
}

/* Shifts by less than 0, or by more than there are bits, leave what extends the sign: -1 where a
 * negative number goes to the right, else 0 (BitShift-28). */
static int64_t left(int64_t a, int64_t b) {
    return (uint64_t)b < 64 ? (int64_t)((uint64_t)a << b) : 0;
}
static int64_t right(int64_t a, int64_t b) {
    const uint64_t sign = a < 0 ? UINT64_MAX : 0;
    if ((uint64_t)b >= 64) return (int64_t)sign;
    return (int64_t)(((uint64_t)a ^ sign) >> b ^ sign);
}
static uint64_t right_of_uint64(uint64_t a, uint64_t b) { return b < 64 ? a >> b : 0; }

static const struct {
    const char *name, *direction;
    struct binary functions;
} table[] = {
    {"BitwiseAnd", NULL, {.integer = and}},
    {"BitwiseOr", NULL, {.integer = or }},
    {"BitwiseXor", NULL, {.integer = xor}},
    {"BitShift", "LEFT", {.integer = left}},
    {"BitShift", "RIGHT", {.integer = right, .of_uint64 = right_of_uint64}},
};

static const struct binary *functions_of(const struct op_node *n) {
    const char *direction = ot_attr_string(n->node, "direction", "");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, n->op->name) &&
            (!table[i].direction || !strcmp(table[i].direction, direction)))
            return &table[i].functions;
    return NULL;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct binary *f = functions_of(n);
    if (!f)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'direction' is '%.40s', expected 'LEFT' or 'RIGHT'",
                          ot_attr_string(n->node, "direction", ""));
    return ot_binary_prepare(n, f, err);
}

static ot_status not_prepare(struct op_node *n, ot_error *err) {
    if (!ot_is_integer(n->x[0]->type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, expected integers",
                          ot_type_name(n->x[0]->type));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

static void not_forward(struct op_node *n) { ot_unary_integers(n, not ); }

static const char *const and_cases[] = {"i32{12,-1} i32{10,5} -> i32{8,5}",
                                        "u8[2,1]{6,3} u8{4,1} -> u8[2,2]{4,0,0,1}",
                                        "f{1} f{1} -> error: input 0 is float", NULL};
static const char *const or_cases[] = {"i16{12,-2} i16{10,1} -> i16{14,-1}", NULL};
static const char *const xor_cases[] = {"u64{12,5} u64{10,5} -> u64{6,0}", NULL};
static const char *const shift_cases[] = {
    "u8{16,4,1} u8{1,2,3} direction=RIGHT -> u8{8,1,0}",
    "u8{16,4,129} u8{1,2,1} direction=LEFT -> u8{32,16,2}",
    "u64{1,9} u64{64,3} direction=RIGHT -> u64{0,1}",
    "i8{-7,-7,100,1} i8{1,9,2,-1} direction=RIGHT @28 -> i8{-4,-1,25,0}",
    "i32{3,-3,1,1} i32{30,1,32,-1} direction=LEFT @28 -> i32{-1073741824,-6,0,0}",
    "i64{-9223372036854775808} i64{63} direction=RIGHT @28 -> i64{-1}",
    "u64{18446744073709551615} u64{63} direction=RIGHT @28 -> u64{1}",
    "u8{1} u8{1} direction=UP -> error: attribute 'direction' is 'UP'",
    NULL};
static const char *const not_cases[] = {"i32{12,-1} -> i32{-13,0}", "u8{0,254} -> u8{255,1}",
                                        "f{1} -> error: input 0 is float", NULL};

#define BITWISE(word, first, list, texts)                                                          \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .plan_size = sizeof(struct binary_plan),                                                   \
        .prepare = prepare,                                                                        \
        .forward = ot_binary_forward,                                                              \
        .cases = texts,                                                                            \
    }
BITWISE(BitwiseAnd, 18, "", and_cases);
BITWISE(BitwiseOr, 18, "", or_cases);
BITWISE(BitwiseXor, 18, "", xor_cases);
BITWISE(BitShift, 11, "direction:s", shift_cases);

const struct op ot_op_BitwiseNot = {
    .name = "BitwiseNot",
    .since = 18,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .prepare = not_prepare,
    .forward = not_forward,
    .cases = not_cases,
};
