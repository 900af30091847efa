/* cost.c - predicts the time of products from their shapes. */
#include "ops/cost.h"

#include <string.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/pattern.h"

enum kind { WINDOW, POINTWISE, LINEAR, KINDS };

/* GFLOP/s of useful work where nothing waits for memory, and of dense products; fitted to figures
 * of one core of a Xeon with AVX-512 at 3.7 GHz, kept to the instruction set, oneDNN 2.6.3. */
static const struct rates {
    const char *isa;
    double sparse[KINDS], dense[KINDS];
} rates[] = {
    {"avx512", {150, 90, 68}, {205, 165, 165}},
    {"avx2", {86, 80, 51}, {114, 85, 97}},
    {"generic", {40, 37, 25}, {39, 33, 35}},
};

/* Bytes a nanosecond: of sparse products, which read strips of channels, and of dense ones. The
 * weight gradient adds up across lanes: its rate is lower. */
static const double sparse_bytes = 10, dense_bytes = 20, weight_rate = 0.8;

/* The densest weight that sparse kernels are taken for where nothing else is known. */
static const double DENSITY = 0.4;

static const struct rates *rates_of(const struct kernels *k) {
    const struct rates *r = rates;
    while (strcmp(r->isa, k->name) && r->isa != rates[2].isa) r++;
    return r;
}

static enum kind kind_of(const struct conv_shape *s) {
    if (s->kh * s->kw > 1) return WINDOW;
    return s->h * s->w > 1 ? POINTWISE : LINEAR;
}

/* Bytes of x and y. */
static double activations(const struct conv_shape *s, double samples) {
    return 4 * samples * ((double)ot_conv_inputs(s) + (double)ot_conv_outputs(s));
}

/* Multiplications of one sample and slot of a row of W. */
static double positions(const struct conv_shape *s) {
    return s->m ? (double)(ot_conv_outputs(s) / s->m) : 0;
}

struct cost ot_cost_sparse(const struct kernels *k, const struct conv_shape *s, int64_t nnz,
                           int lanes) {
    const double rate = rates_of(k)->sparse[kind_of(s)];
    const double blocks = lanes ? (double)((s->n + lanes - 1) / lanes * lanes) : (double)s->n;
    const double flops = 2.0 * (double)nnz * blocks * positions(s);
    const double bytes = activations(s, blocks) + (double)nnz * sizeof(struct entry);
    const double moved = 1e-6 * bytes / sparse_bytes, pass = 1e-6 * flops / rate;
    return (struct cost){pass + moved, pass + moved, pass / weight_rate + moved};
}

struct cost ot_cost_dense(const struct kernels *k, const struct conv_shape *s, bool turned) {
    const double weight = (double)s->m * (double)(s->c / s->groups) * s->kh * s->kw *
                          (s->depth.kernel ? s->depth.kernel : 1);
    const double flops = 2.0 * weight * (double)s->n * positions(s);
    const double pass = 1e-6 * flops / rates_of(k)->dense[kind_of(s)];
    const double bytes = activations(s, (double)s->n);
    const double moved = 1e-6 * (bytes + 4 * weight) / dense_bytes;
    const double most = (pass > moved ? pass : moved) + (turned ? 1e-6 * bytes / sparse_bytes : 0);
    return (struct cost){most, most, most};
}

bool ot_pattern_is_sparse(const struct pattern *p) {
    return p->nnz <= DENSITY * (double)p->rows * p->cols;
}

bool ot_op_sparse_pays(const struct op_node *n, int i, int lanes) {
    struct conv_shape s;
    if (i != 1 || !n->op->product || !n->op->product(n, &s))
        return ot_pattern_is_sparse(n->x[i]->pattern);
    const struct cost a = ot_cost_sparse(n->kernels, &s, n->x[i]->pattern->nnz, lanes);
    /* lanes of channels are as good to dense kernels as rows */
    const bool turned = n->x[0]->lanes && !(n->op->channel_lanes && n->x[0]->lane_rank == 2);
    const struct cost b = ot_cost_dense(n->kernels, &s, turned);
    return a.forward + a.data + a.weight <= b.forward + b.data + b.weight;
}

void ot_cost_note(struct op_node *n, struct cost c) {
    n->predicted[0] = c.forward;
    n->predicted[1] = (ot_training_wants(n, 0) ? c.data : 0) +
                      (ot_training_wants(n, 1) ? c.weight : 0);
}
