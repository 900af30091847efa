/* integer_weight.c - weights that a file holds as integers, for a DequantizeLinear: into floats,
 * and back. */
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"
#include "ops/quantize.h"

enum { X, SCALE, ZERO, INPUTS };

/* Input i of the node, where it is constant. */
static const struct tensor *constant_input(const struct graph *g, const struct node *n, int i) {
    return n->in[i] < 0 ? NULL : g->value[n->in[i]].constant;
}

/* The axis whose places have scales of their own. */
static int64_t axis_of(const struct node *n, const struct tensor *x) {
    const int64_t axis = ot_attr_int(n, "axis", 1);
    return axis < 0 ? axis + x->rank : axis;
}

bool ot_is_integer_weight(const struct graph *g, const struct node *n) {
    if (strcmp(n->op_type, "DequantizeLinear") || *n->domain || n->n_in < INPUTS) return false;
    const struct tensor *x = constant_input(g, n, X), *scale = constant_input(g, n, SCALE);
    const struct tensor *zero = constant_input(g, n, ZERO);
    if (!x || !scale || !zero || zero->type != x->type) return false;
    if (scale->type != OT_FLOAT || scale->pattern) return false;
    if (!ot_is_quantized(x->type) && x->type != OT_INT32) return false;
    if (ot_attr_int(n, "block_size", 0) || ot_elements(zero) != ot_elements(scale)) return false;
    const int64_t axis = axis_of(n, x), count = ot_elements(scale);
    for (int64_t i = 0; i < count; i++)
        if (!(ot_f(scale)[i] > 0) || !isfinite(ot_f(scale)[i])) return false; /* no way back */
    return count == 1 || (axis >= 0 && axis < x->rank && count == x->dim[axis]);
}

struct element {
    float scale, zero;
};

static struct element element_of(const struct graph *g, const struct node *n, int64_t i) {
    const struct tensor *x = constant_input(g, n, X), *scale = constant_input(g, n, SCALE);
    const struct tensor *zero = constant_input(g, n, ZERO);
    const int64_t count = ot_elements(scale);
    if (count == 1)
        i = 0;
    else
        i = i / ot_dims_product(x, (int)axis_of(n, x) + 1, x->rank) % count;
    return (struct element){ot_f(scale)[i], (float)ot_load_integer(zero->data, zero->type, i)};
}

void ot_integer_weight_read(const struct graph *g, const struct node *n, float *values) {
    const struct tensor *x = constant_input(g, n, X);
    for (int64_t i = 0; i < ot_elements(x); i++) {
        const struct element e = element_of(g, n, i);
        values[i] = ((float)ot_load_integer(x->data, x->type, i) - e.zero) * e.scale;
    }
}

void ot_integer_weight_round(const struct graph *g, const struct node *n, float *values) {
    const struct tensor *x = constant_input(g, n, X);
    const struct range range = ot_range_of(x->type);
    for (int64_t i = 0; i < ot_elements(x); i++) {
        const struct element e = element_of(g, n, i);
        values[i] = (float)ot_saturate(range, rintf(values[i] / e.scale) + e.zero);
    }
}
