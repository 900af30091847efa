/* cost.c - predicts the time of products from their shapes. */
#include "ops/product/cost.h"

#include <string.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/pattern.h"

enum kind { WINDOW, POINTWISE, LINEAR, KINDS };

/* Nanoseconds that a pass of a sparse product takes: for each multiply-add, by kind; for each float
 * that is read, and each that is written; for each nonzero, by kind, since values are brought into
 * the order of the stream, and rows begin and end in each panel; and for each float of the larger
 * image where a stride takes that apart. */
struct pass {
    double product[KINDS], in, out, slot[KINDS], strided;
};

/* gather: forward and data gradient. weight: the weight gradient, which adds up across lanes.
 * dense: GFLOP/s of oneDNN where nothing waits for memory. Least squares through measured times, as
 * tests/test_cost.c has them: with AVX-512 those of a Xeon at 3.7 GHz; with AVX2 those of a Zen 3
 * whose speed varied by a factor of two, beside dense ones of the same seconds. The generic kernels
 * have not been fitted. */
static const struct rates {
    const char *isa;
    struct pass gather, weight;
    double dense[KINDS];
} rates[] = {
    {"avx512",
     {{0.0171, 0.0278, 0.0204}, 0.292, 0.082, {12.7, 0.8, 0.8}, 0.298},
     {{0.0196, 0.0354, 0.0225}, 0.270, 0.324, {7.7, 0.8, 0.8}, 0.200},
     {205, 165, 165}},
    {"avx2",
     {{0.0285, 0.0400, 0.0410}, 0.320, 0.060, {3, 0.8, 0.8}, 0.100},
     {{0.0315, 0.0500, 0.0520}, 0.310, 0.430, {3, 0.8, 0.8}, 0.030},
     {114, 85, 97}},
    {"generic",
     {{0.050, 0.054, 0.080}, 0.4, 0.4, {0.8, 0.8, 0.8}, 0},
     {{0.063, 0.068, 0.100}, 0.4, 0.4, {0.8, 0.8, 0.8}, 0},
     {39, 33, 35}},
};

/* Bytes a nanosecond: of what is written out for dense products, of dense products, of turning a
 * tensor, and of moving channels, read and written. Both gradients of dense products have a lower
 * rate. */
static const double spread_bytes = 10, dense_bytes = 20, reorder_bytes = 4, move_bytes = 14,
                    dense_back_rate = 0.85;

/* The time of a sample in rows over that in lanes that are full: ResNet-18, ResNet-50 and
 * MobileNetV1 take 1.35 to 1.42 with AVX2 and AVX-512. */
static const double IN_ROWS = 1.4;

/* Nanoseconds of a nonzero of a linear layer over a few samples: in a pass, and for each sample of
 * one, beside features that the first-level cache holds; what is added if it holds none of them,
 * and if the second-level one does not either. What the passes do is read, on every machine. */
static const double few_slot = 0.8, few_sample = 0.06, few_far = 0.6, few_farther = 1.2;

/* Nanoseconds of a probe: for each slot of a given pattern, whose stream is made; for each position
 * that is compared with the best ones so far. */
static const double follow_slot = 20, look_position = 0.8;

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

/* Of an axis of x, what is read. */
static double reads(int64_t size, int64_t out, int taps) {
    const double all = (double)out * taps;
    return all < (double)size ? all : (double)size;
}

/* Floats of x, for each sample, that a product reads. */
static double inputs(const struct conv_shape *s) {
    const double depth = s->depth.in ? reads(s->depth.in, s->depth.out, s->depth.kernel) : 1;
    return (double)s->c * depth * reads(s->h, s->oh, s->kh) * reads(s->w, s->ow, s->kw);
}

/* Bytes of x and y. */
static double activations(const struct conv_shape *s, double samples) {
    return 4 * samples * (inputs(s) + (double)ot_conv_outputs(s));
}

/* Multiplications of one sample and slot of a row of W. */
static double positions(const struct conv_shape *s) {
    return s->m ? (double)(ot_conv_outputs(s) / s->m) : 0;
}

/* Elements of W. */
static double weights(const struct conv_shape *s) {
    return (double)s->m * (double)(s->c / s->groups) * s->kh * s->kw *
           (s->depth.kernel ? s->depth.kernel : 1);
}

/* Samples, spare lanes among them. */
static double filled(int64_t samples, int lanes) {
    return (double)(lanes ? (samples + lanes - 1) / lanes * lanes : samples);
}

bool ot_op_rows_pay(int64_t samples, int lanes) {
    return IN_ROWS * (double)samples < filled(samples, lanes);
}

bool ot_op_few_pay(const struct op_node *n) {
    struct conv_shape s;
    return n->op->product && n->op->product(n, &s) && ot_sparse_few_fits(&s, 0);
}

/* Milliseconds; in, out, image: floats of a sample that are read, written, in the larger image. */
static double pass_time(const struct pass *r, const struct conv_shape *s, double nnz,
                        double samples, double in, double out, double image) {
    const enum kind kind = kind_of(s);
    const double strided = s->stride_h * s->stride_w > 1 ? r->strided * image : 0;
    const double sample = r->product[kind] * nnz * positions(s) + r->in * in + r->out * out;
    return 1e-6 * (samples * (sample + strided) + r->slot[kind] * nnz);
}

/* The share of so many bytes that a cache does not hold. */
static double missed(double bytes, double cache) { return bytes > cache ? 1 - cache / bytes : 0; }

static struct cost few_cost(const struct conv_shape *s, double nnz) {
    enum { CACHE = 32 << 10, CACHE_2 = 512 << 10 };
    double width = 1;
    while (width < (double)s->n) width *= 2;
    const double bytes = 4 * width * (double)s->c;
    const double far = few_far * missed(bytes, CACHE) + few_farther * missed(bytes, CACHE_2);
    const double pass = 1e-6 * nnz * (few_slot + few_sample * width + far);
    return (struct cost){pass, pass, pass};
}

struct cost ot_cost_sparse(const struct kernels *k, const struct conv_shape *s, int64_t nnz,
                           int lanes) {
    if (ot_sparse_few_fits(s, lanes)) return few_cost(s, (double)nnz);
    const struct rates *r = rates_of(k);
    const double n = filled(s->n, lanes), slots = (double)nnz, times = lanes ? 1 : IN_ROWS;
    const double x = inputs(s), dx = (double)ot_conv_inputs(s), y = (double)ot_conv_outputs(s);
    return (struct cost){times * pass_time(&r->gather, s, slots, n, x, y, x),
                         times * pass_time(&r->gather, s, slots, n, y, dx, dx),
                         times * pass_time(&r->weight, s, slots, n, x, y, x)};
}

double ot_dense_flops(const struct conv_shape *s) {
    return 2.0 * weights(s) * (double)s->n * positions(s);
}

struct cost ot_cost_dense(const struct kernels *k, const struct conv_shape *s) {
    const double pass = 1e-6 * ot_dense_flops(s) / rates_of(k)->dense[kind_of(s)];
    const double moved = 1e-6 * (activations(s, (double)s->n) + 4 * weights(s)) / dense_bytes;
    const double most = pass > moved ? pass : moved, back = pass / dense_back_rate;
    const double gradient = back > moved ? back : moved;
    return (struct cost){most, gradient, gradient};
}

double ot_cost_probe(const struct kernels *k, const struct conv_shape *s, int64_t slots,
                     int lanes) {
    const double all = weights(s);
    if (slots)
        return ot_cost_sparse(k, s, slots, lanes).weight + 1e-6 * follow_slot * (double)slots;
    const double look = 1e-6 * look_position * all;
    if (kind_of(s) == LINEAR && s->groups == 1) return ot_cost_dense(k, s).data + look;
    return ot_cost_sparse(k, s, (int64_t)all, lanes).weight + look;
}

/* Some channels of x, or of y, to or from all of them. */
static double moving(const struct conv_shape *s, const struct conv_shape *part, bool y) {
    const double n = 4 * (double)s->n;
    const double all = (double)(y ? ot_conv_outputs(s) : ot_conv_inputs(s));
    const double some = (double)(y ? ot_conv_outputs(part) : ot_conv_inputs(part));
    return 1e-6 * n * (all + some) / move_bytes;
}

struct cost ot_cost_live(const struct kernels *k, const struct conv_shape *s,
                         const struct live *live, int64_t nnz) {
    struct cost c = ot_cost_dense(k, &live->part);
    const double x = live->channel ? moving(s, &live->part, false) : 0;
    const double y = live->row ? moving(s, &live->part, true) : 0;
    const double w = 1e-6 * (4 * weights(&live->part) + 12 * (double)nnz) / spread_bytes;
    c.forward += x + y + w;
    c.data += x + y;
    c.weight += x + w;
    return c;
}

double ot_cost_reorder(double floats) { return 4e-6 * floats / reorder_bytes; }

/* ---- choosing ---- */

bool ot_pattern_is_sparse(const struct pattern *p) {
    return p->nnz <= DENSITY * (double)p->rows * p->cols;
}

/* How often x is turned to come into a layout: lanes to other lanes go through rows. */
static int reorders(const struct tensor *x, struct lanes to) {
    if (x->lanes == to.count && x->lane_rank == to.rank) return 0;
    return 1 + (x->lanes && to.count);
}

/* With the time to bring x into this layout, and dx back. Where x is in lanes of samples, so will y
 * be wanted. */
static double total_cost(const struct op_node *n, const struct conv_shape *s, struct cost c,
                         struct lanes to, bool dense) {
    const double gradient = ot_training_wants(n, 0) ? 1 : 0;
    const bool leaves = n->x[0]->lanes && n->x[0]->lane_rank == 1 && dense;
    const int times = reorders(n->x[0], to);
    const double floats =
        (double)s->n * (double)(ot_conv_inputs(s) + (leaves ? ot_conv_outputs(s) : 0));
    return c.forward + gradient * c.data + (ot_training_wants(n, 1) ? c.weight : 0) +
           (1 + gradient) * times * ot_cost_reorder(floats);
}

static bool product_shape(const struct op_node *n, struct conv_shape *s) {
    return n->n_in > 1 && n->x[1] && n->x[1]->pattern && n->op->product && n->op->product(n, s) &&
           s->n > 0 && s->c > 0 && s->m > 0;
}

bool ot_op_has_forms(const struct op_node *n) {
    struct conv_shape s;
    bool sparse = false;
    for (int rank = 1; rank < n->x[0]->rank; rank++)
        sparse = sparse || ot_op_lanes(n, OT_CHANNEL_LANES, rank);
    return sparse && product_shape(n, &s);
}

void ot_op_choose_form(struct op_node *n, struct lanes sparse, struct lanes dense) {
    const struct kernels *k = n->kernels;
    struct conv_shape s;
    struct live live;
    n->form = OT_FORM_SPARSE;
    if (!product_shape(n, &s)) return;
    const int64_t nnz = n->x[1]->pattern->nnz;
    const struct live all = {s, NULL, NULL};
    if (n->patterns_change) /* other rows and channels may be live tomorrow */
        live = all;
    else if (!ot_live_find(n->arena, n->x[1]->pattern, &s, dense.count, &live))
        return;
    double *ms = n->choice;
    ms[OT_FORM_SPARSE] = total_cost(n, &s, ot_cost_sparse(k, &s, nnz, sparse.count), sparse, false);
    ms[OT_FORM_LIVE] = total_cost(n, &s, ot_cost_live(k, &s, &live, nnz), dense, true);
    ms[OT_FORM_DENSE] = total_cost(n, &s, ot_cost_live(k, &s, &all, nnz), dense, true);
    for (enum ot_form f = OT_FORM_DENSE; f < OT_FORMS; f++)
        if (ms[f] < ms[n->form]) n->form = f;
}

void ot_cost_note(struct op_node *n, struct cost c) {
    n->predicted[0] = c.forward;
    n->predicted[1] =
        (ot_training_wants(n, 0) ? c.data : 0) + (ot_training_wants(n, 1) ? c.weight : 0);
}
