/* gate.c - Gate (internal): y = x f(g), with f = Sigmoid, HardSigmoid or another function of one
 * float, for exports that spell the product out. g has the shape of x (GLU: Dauphin et al., arXiv
 * 1612.08083), or one element for all that stands behind the leading axes of x, as in
 * squeeze-and-excite blocks (Hu et al., arXiv 1709.01507). dx = dy f(g), dg = f'(g) sum of dy x.
 */
#include <string.h>

#include "ops/walk/broadcast.h"
#include "ops/walk/scale.h"
#include "ops/walk/unary.h"

enum { X, G };

struct gate_plan {
    enum function f;
    struct params p;
    bool scales; /* an element of g holds for several of x */
    struct scale_view view;
};

static const struct {
    const char *name;
    enum function f;
    float alpha, beta;
} functions[] = {
    {"Sigmoid", OT_SIGMOID, 0, 0},
    {"HardSigmoid", OT_HARD_SIGMOID, 0.2f, 0.5f},
    {"Tanh", OT_TANH, 0, 0},
    {"Swish", OT_SWISH, 1, 0},
    {"HardSwish", OT_HARD_SWISH, 0, 0},
    {"Gelu", OT_GELU, 0, 0},
    {"GeluTanh", OT_GELU_TANH, 0, 0},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* Does it take these shapes? In lanes x and g share their layout. */
static bool find_shapes(const struct op_node *n, struct scale_view *view, bool *scales) {
    const struct tensor *x = n->x[X], *g = n->x[G];
    if (x->type != OT_FLOAT || g->type != OT_FLOAT || x->pattern || g->pattern) return false;
    *scales = !ot_same_shape(x, g);
    return !*scales || (ot_scale_find(x, g, view) && !view->by_group);
}

static bool fits(const struct op_node *n) {
    struct op_node rows = *n;
    struct tensor x = *n->x[X], g = *n->x[G], *const both[] = {&x, &g};
    struct scale_view view;
    bool scales;
    if (ot_is_fixed(&x) || ot_is_fixed(&g)) return false;
    x.lanes = x.lane_rank = g.lanes = g.lane_rank = 0;
    rows.x = (struct tensor **)both;
    return find_shapes(&rows, &view, &scales);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct gate_plan *plan = ot_op_plan(n);
    char x[128], g[128];
    const char *name = ot_attr_string(n->node, "function", "Sigmoid");
    int k = 0;
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, G, OT_FLOAT, err));
    while (k < FUNCTIONS && strcmp(functions[k].name, name)) k++;
    if (k == FUNCTIONS)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'function' is '%.40s', which is not a known gate", name);
    if (!find_shapes(n, &plan->view, &plan->scales))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the gate has shape %s, which does not fit values of shape %s",
                          ot_shape_text(n->x[G], g, sizeof g), ot_shape_text(n->x[X], x, sizeof x));
    plan->f = functions[k].f;
    plan->p.a = ot_attr_float(n->node, "alpha", functions[k].alpha);
    plan->p.b = ot_attr_float(n->node, "beta", functions[k].beta);
    n->kernel = n->kernels->name;
    if (plan->scales) n->save_size = n->backward_scratch_size = ot_bytes(n->x[G]);
    ot_op_like(n->y[0], n->x[X]);
    return OT_OK;
}

/* What of g is as large as x takes one pass; else f(g) is saved, which is small. */
static void multiply_scales(struct op_node *n) {
    const struct gate_plan *plan = n->plan;
    ot_scale_forward(n, &plan->view, ot_f(n->x[X]), n->save, ot_f(n->y[0]));
    ot_op_clear_spare(n->y[0]);
}

static void forward(struct op_node *n) {
    const struct gate_plan *plan = n->plan;
    const struct function_value a = {.x = ot_f(n->x[G]), .y = n->save, .p = plan->p};
    if (!plan->scales) {
        ot_unary_product(n, plan->f, plan->p, G, X);
        return;
    }
    n->kernels->value[plan->f](&a, (size_t)ot_count(n->x[G]));
    multiply_scales(n);
}

static void again(struct op_node *n) {
    const struct gate_plan *plan = n->plan;
    if (plan->scales)
        multiply_scales(n);
    else
        forward(n);
}

static void backward(struct op_node *n) {
    const struct gate_plan *plan = n->plan;
    struct tensor *dx = n->dx[X], *dg = n->dx[G];
    if (!plan->scales) {
        ot_unary_product_backward(n, plan->f, plan->p, G, X);
        return;
    }
    ot_scale_backward(n, &plan->view, ot_f(n->x[X]), n->save, ot_f(n->dy[0]), dx ? ot_f(dx) : NULL,
                      dg ? n->scratch : NULL);
    if (dx) ot_op_clear_spare(dx);
    if (!dg) return;
    const struct function_gradient a = {
        .x = ot_f(n->x[G]), .dy = n->scratch, .dx = ot_f(dg), .p = plan->p};
    n->kernels->gradient[plan->f](&a, (size_t)ot_count(dg));
    ot_op_clear_spare(dg);
}

static const char *const cases[] = {
    "X[2,3,5] G[2,3,5] lanes -> Y[2,3,5]",
    "X[2,3,4,5] G[2,3,1,1] lanes -> Y[2,3,4,5]",
    "X[19,5,9,31] G[19,5,1,1] function=HardSigmoid alpha=0.4 lanes -> Y[19,5,9,31]",
    "X[3,16,5,7] G[3,16,1,1] function=Swish lanes -> Y[3,16,5,7]",
    "X[3,16,5,7] G[3,16,5,7] function=GeluTanh lanes -> Y[3,16,5,7]",
    "X[3,5,33] G[3,5,1] function=Tanh lanes -> Y[3,5,33]",
    "X[5,33] G[5,33] function=Gelu lanes -> Y[5,33]",
    "f{1,2,-3} f{0,1,-100} -> f{0.5,1.4621172,0}",
    "X[2,3] G[3] -> error: the gate has shape [3], which does not fit values of shape [2,3]",
    "X[2,3] G[2,3] function=Relu -> error: 'function' is 'Relu'",
    NULL,
};

const struct op ot_op_Gate = {
    .name = "Gate",
    .since = 1,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "function:s alpha:f beta:f",
    .needs = OT_X(X) | OT_X(G),
    .internal = true,
    .plan_size = sizeof(struct gate_plan),
    .fits = fits,
    .lanes = ot_broadcast_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = again,
    .cases = cases,
};
