/* binary.h - what arithmetic of two broadcast tensors shares: Add, Sub, Mul, Div, Pow, Mod,
 * PRelu, and operations on bits. */
#ifndef OT_OPS_WALK_BINARY_H
#define OT_OPS_WALK_BINARY_H

#include "ops/walk/broadcast.h"

/* Loops over n contiguous floats. da, db: gradients of the two inputs for the gradient dy of the
 * result; a and b are NULL there where op.needs leaves them out. All NULL: integers only. */
struct binary {
    void (*value)(const float *a, const float *b, float *y, int64_t n);
    void (*da)(const float *a, const float *b, const float *dy, float *da, int64_t n);
    void (*db)(const float *a, const float *b, const float *dy, float *db, int64_t n);
    int64_t (*integer)(int64_t a, int64_t b); /* NULL: float only */
    double (*mixed)(double a, double b);      /* of two types, without gradient; NULL: refused */
    uint64_t (*of_uint64)(uint64_t a, uint64_t b); /* NULL: the bits that `integer` gives */
};

/* The operator's plan; ot_binary_prepare keeps the pointer that it is given. */
struct binary_plan {
    const struct binary *f;
    struct broadcast whole, split;
    bool full[2]; /* the input has the shape of the result */
    bool mixed;
    const float *converted; /* an integer exponent as floats; NULL: x[1] itself */
};

ot_status ot_binary_prepare(struct op_node *n, const struct binary *f, ot_error *err);
void ot_binary_forward(struct op_node *n);
void ot_binary_backward(struct op_node *n);

/* The record of an operator, whose file has `functions` and `cases`. */
#define OT_ARITHMETIC(word, reads)                                                                 \
    static ot_status prepare(struct op_node *n, ot_error *err) {                                   \
        return ot_binary_prepare(n, &functions, err);                                              \
    }                                                                                              \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 6,                                                                                \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "broadcast:i axis:i",                                                        \
        .needs = reads,                                                                            \
        .parameters = OT_X(0) | OT_X(1),                                                           \
        .plan_size = sizeof(struct binary_plan),                                                   \
        .lanes = ot_broadcast_lanes,                                                               \
        .prepare = prepare,                                                                        \
        .forward = ot_binary_forward,                                                              \
        .backward = ot_binary_backward,                                                            \
        .again = ot_binary_forward,                                                                \
        .cases = cases,                                                                            \
    }

#endif
