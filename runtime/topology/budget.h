/* budget.h - how many weights each layer may keep: a density for each layer from one number. */
#ifndef OT_TOPOLOGY_BUDGET_H
#define OT_TOPOLOGY_BUDGET_H

#include "runtime/base/error.h"

/* A layer that is to be sparse. */
struct budget_layer {
    const char *name;
    int64_t rows, cols; /* of its matrix: outputs, and inputs of one output */
    int64_t dims;       /* sum of all dimensions of its weight */
    double density;     /* the result, in (0, 1] */
};

/* The same density everywhere. */
ot_status ot_budget_uniform(struct budget_layer *layer, int n, double density, ot_error *err);

/* Erdos-Renyi-Kernel (RigL): densities are proportional to the sum of a weight's dimensions divided
 * by their product, such that all layers together have this density. Layers that would get more
 * than 1 are dense. */
ot_status ot_budget_erk(struct budget_layer *layer, int n, double density, ot_error *err);

/* Erdos-Renyi (SET): epsilon (rows + cols) / (rows cols), at most 1. At least one layer has to
 * become sparse. */
ot_status ot_budget_er(struct budget_layer *layer, int n, double epsilon, ot_error *err);

/* Of a layer's elements: those that it keeps. */
static inline int64_t ot_budget_count(const struct budget_layer *l) {
    return (int64_t)((double)(l->rows * l->cols) * l->density);
}

/* Slots of each row where all rows have the same number. */
static inline int64_t ot_budget_fan_in(const struct budget_layer *l) {
    return l->rows ? ot_budget_count(l) / l->rows : 0;
}

#endif
