/* unary.h - what element-wise operators of one tensor share. Rows and lanes are the same to them.
 *
 * An operator of this family is two loops over contiguous floats: y = f(x), and dx = f'(x) dy.
 */
#ifndef OT_OPS_WALK_UNARY_H
#define OT_OPS_WALK_UNARY_H

#include "ops/kernels/kernels.h"
#include "ops/op.h"

typedef void ot_unary_fn(const float *x, float *y, int64_t n, const void *state);
/* x or y holds nonsense where the operator's needs leaves it out. */
typedef void ot_unary_gradient_fn(const float *x, const float *y, const float *dy, float *dx,
                                  int64_t n, const void *state);

/* g where the gradient passes, else 0: g is read either way, so that loops need no branches. */
static inline float ot_pass(bool passes, float g) { return passes ? g : 0; }

/* y[0] has the shape and type of x[0], which must be float. */
ot_status ot_unary_prepare(struct op_node *n, ot_error *err);
/* The same where integers are allowed too. */
ot_status ot_unary_prepare_number(struct op_node *n, ot_error *err);
bool ot_unary_lanes(const struct op_node *n, int lane_rank);

void ot_unary_forward(struct op_node *n, ot_unary_fn *fn);
void ot_unary_backward(struct op_node *n, ot_unary_gradient_fn *fn);
/* The same by the kernels of a function; backward of x, or of y where the function is one of the
 * value. */
void ot_unary_forward_kernel(struct op_node *n, enum function f, struct params p);
void ot_unary_backward_kernel(struct op_node *n, enum function f, struct params p);
/* y[0] = x[z] f(x[x]), of inputs 0 and 1 of one shape and layout; both gradients in one pass. */
void ot_unary_product(struct op_node *n, enum function f, struct params p, int x, int z);
void ot_unary_product_backward(struct op_node *n, enum function f, struct params p, int x, int z);
/* For piecewise constant operators: dx = 0. */
void ot_unary_backward_zero(struct op_node *n);

/* Of an element of an integer type as ot_load_integer has it: of uint64 the same bits. */
typedef int64_t ot_integer_fn(int64_t x, ot_type type, const void *state);
/* y = f(x) for integers. */
void ot_unary_integers(struct op_node *n, ot_integer_fn *f);
/* Floats by fn, integers by f. */
void ot_unary_forward_number(struct op_node *n, ot_unary_fn *fn, ot_integer_fn *f);

/* For operators that are one function of a float, whose plan is struct params: NAME_of(x,
 * parameters) and its slope NAME_slope(x, parameters), both inline, become the loops NAME_value and
 * NAME_gradient, ... */
#define OT_UNARY_LOOPS(name)                                                                       \
    static void name##_value(const float *x, float *y, int64_t n, const void *state) {             \
        const struct params p = *(const struct params *)state;                                     \
        for (int64_t i = 0; i < n; i++) y[i] = name##_of(x[i], p);                                 \
    }                                                                                              \
    static void name##_gradient(const float *x, const float *y, const float *dy, float *dx,        \
                                int64_t n, const void *state) {                                    \
        const struct params p = *(const struct params *)state;                                     \
        (void)y;                                                                                   \
        for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * name##_slope(x[i], p);                     \
    }

/* ... and NAME_forward and NAME_backward. */
#define OT_UNARY_FUNCTION(name)                                                                    \
    OT_UNARY_LOOPS(name)                                                                           \
    static void name##_forward(struct op_node *n) { ot_unary_forward(n, name##_value); }           \
    static void name##_backward(struct op_node *n) { ot_unary_backward(n, name##_gradient); }

/* The same of a function among the kernels. */
#define OT_UNARY_KERNEL(name, f)                                                                   \
    static void name##_forward(struct op_node *n) {                                                \
        ot_unary_forward_kernel(n, f, *(const struct params *)n->plan);                            \
    }                                                                                              \
    static void name##_backward(struct op_node *n) {                                               \
        ot_unary_backward_kernel(n, f, *(const struct params *)n->plan);                           \
    }

/* Its record. */
#define OT_UNARY_OP(word, fn, first, list, make_ready, texts)                                      \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .needs = OT_X(0),                                                                          \
        .plan_size = sizeof(struct params),                                                        \
        .lanes = ot_unary_lanes,                                                                   \
        .prepare = make_ready,                                                                     \
        .forward = fn##_forward,                                                                   \
        .backward = fn##_backward,                                                                 \
        .again = fn##_forward,                                                                     \
        .cases = texts,                                                                            \
    }

#endif
