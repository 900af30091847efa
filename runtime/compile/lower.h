/* lower.h - what the files share that make steps of the nodes of a graph. */
#ifndef OT_COMPILE_LOWER_H
#define OT_COMPILE_LOWER_H

#include "runtime/compile/plan.h"

static const struct lanes OT_ROWS = {0, 0};

/* ---- sources.c ---- */

/* An input, a parameter or a constant in whatever layout it has. */
ot_status ot_lower_source(struct plan *p, int v, struct entry **e, ot_error *err);

/* ---- values.c ---- */

/* The value in whatever layout it has; in rows; in these lanes, where it is neither constant nor a
 * parameter. */
ot_status ot_lower_value(struct plan *p, int v, struct entry **e, ot_error *err);
ot_status ot_lower_rows(struct plan *p, int v, struct entry **e, ot_error *err);
ot_status ot_lower_lanes(struct plan *p, int v, struct lanes lanes, struct entry **e,
                         ot_error *err);
/* A weight with a pattern as a dense tensor. */
ot_status ot_lower_densified(struct plan *p, int v, struct entry **e, ot_error *err);
/* Value v in rows, a weight with its zeros. */
ot_status ot_lower_dense(struct plan *p, int v, struct entry **e, ot_error *err);

/* ---- layout.c ---- */

/* The width of lanes in this plan, and where convolutions stay in rows all the same. */
void ot_layout_choose_lanes(struct plan *p);
/* Corrects it before the first product with a sparse weight, whose inputs are known. */
void ot_layout_count_rows(struct plan *p, const struct op_node *n);
/* leads_to_lanes[k]: what node k computes reaches a sparse weight through operators that know
 * lanes. Shapes are not known yet, so this is a wish; the node itself decides. */
void ot_layout_find_ways(struct plan *p);

/* Sets the form of a product whose weight has a pattern. Before what follows. */
void ot_layout_choose_form(const struct plan *p, struct op_node *n);
/* Does x[i], which has a pattern, keep it though the node runs in rows? */
bool ot_layout_sparse_rows(const struct plan *p, const struct op_node *n, int i);
/* The lanes in which the node runs on its sparse weight; rows: it does not. */
struct lanes ot_layout_sparse_lanes(const struct plan *p, const struct op_node *n);
/* The layout in which it runs, these being its sparse_lanes. */
struct lanes ot_layout_of(const struct plan *p, const struct op_node *n, struct lanes sparse);

/* ---- gradient.c ---- */

/* Finds p->gradient among the needed nodes, and the value that it differentiates; -1: there is
 * none. Refuses forms that a plan does not make. */
ot_status ot_gradient_find(struct plan *p, const bool *needed, int *y, ot_error *err);
/* The values with respect to which it differentiates, before the nodes that take them. */
ot_status ot_gradient_sources(struct plan *p, const bool *needed, ot_error *err);
ot_status ot_gradient_check_y(const struct plan *p, ot_error *err);
/* Is v one of its outputs? A result for it, whose data differentiation finds. */
bool ot_gradient_makes(const struct plan *p, int v);
ot_status ot_gradient_result(struct plan *p, int v, struct entry **e, ot_error *err);

/* ---- node.c ---- */

/* Gradients are wanted of inputs that lead to a trainable parameter. */
void ot_node_find_wants(struct op_node *n);
/* Computes y of a prepared node at once, x being constant; memory comes from the node's arena. */
ot_status ot_node_fold(struct op_node *n, ot_error *err);
/* Takes a node with x and y set into the plan: as a step, or where all is constant, its results. */
ot_status ot_node_finish(struct plan *p, struct plan_node *pn, ot_error *err);

#endif
