/* unary.h - what element-wise operators of one tensor share. Rows and lanes are the same to them.
 *
 * An operator of this family is two loops over contiguous floats: y = f(x), and dx = f'(x) dy.
 */
#ifndef OT_OPS_UNARY_H
#define OT_OPS_UNARY_H

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
/* For piecewise constant operators: dx = 0. */
void ot_unary_backward_zero(struct op_node *n);
/* y = f(x) for integers. */
void ot_unary_integers(struct op_node *n, int64_t (*f)(int64_t x));

#endif
