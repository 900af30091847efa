/* cost.h - what the passes of a product are predicted to take, sparse and dense.
 *
 * Linear in what has to be done: multiply-adds of a kind (windows, 1x1 convolutions, linear
 * layers), floats that are read and written, nonzeros; each at a rate of the instruction set, as
 * `onnx-train bench --kernels` measures them. Machines differ more in speed than in what is faster:
 * predictions serve choices and readers of plans. They depend on shapes alone, so that every run
 * chooses the same.
 */
#ifndef OT_OPS_PRODUCT_COST_H
#define OT_OPS_PRODUCT_COST_H

#include "ops/product/live.h"

/* Milliseconds of one thread. */
struct cost {
    double forward, data, weight;
};

/* nnz nonzeros in the weight; lanes as in ot_sparse_prepare. */
struct cost ot_cost_sparse(const struct kernels *k, const struct conv_shape *s, int64_t nnz,
                           int lanes);
/* The same product on oneDNN. */
struct cost ot_cost_dense(const struct kernels *k, const struct conv_shape *s);
/* On oneDNN with what is left of it, from nnz slots and back. */
struct cost ot_cost_live(const struct kernels *k, const struct conv_shape *s,
                         const struct live *live, int64_t nnz);
/* Milliseconds of a probe (probe.h) of so many slots, or of all positions (0), told and looked at.
 */
double ot_cost_probe(const struct kernels *k, const struct conv_shape *s, int64_t slots, int lanes);
/* Of looking at so many gradients that are there. */
double ot_cost_look(double positions);
double ot_dense_flops(const struct conv_shape *s); /* of forward */

/* Turning so many floats from rows into lanes, or back. */
double ot_cost_reorder(double floats);

/* Notes a prediction for readers of the plan. */
void ot_cost_note(struct op_node *n, struct cost c);

#endif
