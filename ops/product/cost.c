/* cost.c - predicts the time of products from their shapes. */
#include "ops/product/cost.h"

#include <string.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/pattern.h"

/* DEPTHWISE: groups of a single channel. */
enum kind { WINDOW, POINTWISE, LINEAR, DEPTHWISE, KINDS };

/* Nanoseconds that a pass of a sparse product takes: for each multiply-add, by kind; for each float
 * that is read, and each that is written; for each nonzero, by kind, since values are brought into
 * the order of the stream, and rows begin and end in each panel; and for each float of the larger
 * image where a stride takes that apart. */
struct pass {
    double product[KINDS], in, out, slot[KINDS], strided;
    double whole; /* factor of a multiply-add with a weight without zeros: inputs are neighbours */
    double far;   /* added for each multiply-add whose input the first-level cache does not hold */
};

/* A pass of oneDNN: GFLOP/s by kind, and what remains of them for each gradient; nanoseconds for
 * each float of both images, and of the weight, to bring it into an order that oneDNN prefers. */
struct dense_pass {
    double gflops[KINDS], back[KINDS], image, weight;
};

/* gather: forward and data gradient. weight: the weight gradient, which adds up across lanes.
 * Least squares through measured times, as tests/test_cost.c has them: with AVX-512 those of a Xeon
 * at 3.7 GHz; with AVX2 those of the steps of 18 networks on a Zen 3 at 3.2 GHz (103 GFLOP/s). The
 * generic kernels have not been fitted. */
static const struct rates {
    const char *isa;
    struct pass gather, weight;
    struct dense_pass dense;
} rates[] = {
    {"avx512",
     {{0.0171, 0.0278, 0.0204, 0.0171}, 0.292, 0.082, {12.7, 0.8, 0.8, 12.7}, 0.298, 1, 0},
     {{0.0196, 0.0354, 0.0225, 0.0196}, 0.270, 0.324, {7.7, 0.8, 0.8, 7.7}, 0.200, 1, 0},
     {{205, 165, 165, 205}, {0.85, 0.85, 0.85, 0.85}, 0, 0}},
    {"avx2",
     {{0.0398, 0.0401, 0.0443, 0.3500}, 0.297, 0.054, {2.0, 5.2, 0.9, 2.0}, 0.263, 0.59, 0.0122},
     {{0.0458, 0.0486, 0.0477, 0.3740}, 0.317, 0.136, {2.6, 0.8, 0.8, 2.6}, 0.239, 0.59, 0.0277},
     {{82, 86, 93, 67}, {0.95, 0.95, 0.95, 0.07}, 0.288, 0.296}},
    {"generic",
     {{0.050, 0.054, 0.080, 0.050}, 0.4, 0.4, {0.8, 0.8, 0.8, 0.8}, 0, 1, 0},
     {{0.063, 0.068, 0.100, 0.063}, 0.4, 0.4, {0.8, 0.8, 0.8, 0.8}, 0, 1, 0},
     {{39, 33, 35, 39}, {0.85, 0.85, 0.85, 0.85}, 0, 0}},
};

/* Bytes a nanosecond: of what is written out for dense products, of dense products, of turning a
 * tensor, and of moving channels, read and written. */
static const double spread_bytes = 10, dense_bytes = 20, reorder_bytes = 4, move_bytes = 14;

/* The time of a sample in rows over that in lanes that are full: ResNet-18, ResNet-50 and
 * MobileNetV1 take 1.35 to 1.42 with AVX2 and AVX-512. */
static const double IN_ROWS = 1.4;

/* Nanoseconds of a nonzero of a linear layer over a few samples: in a pass, and for each sample of
 * one, beside features that the first-level cache holds; what is added if it holds none of them,
 * and if the second-level one does not either; and forward over one sample. What the passes do is
 * read, on every machine. */
static const double few_slot = 0.8, few_sample = 0.06, few_far = 0.6, few_farther = 1.2,
                    few_one = 0.45;

/* Nanoseconds of a probe: for each slot of a given pattern, whose stream is made; for each position
 * that is compared with the best ones so far. */
static const double follow_slot = 20, look_position = 2.5;

/* Bytes of the first- and of the second-level cache. */
enum { CACHE = 32 << 10, CACHE_2 = 512 << 10 };

/* The densest weight that sparse kernels are taken for where nothing else is known. */
static const double DENSITY = 0.4;

static const struct rates *rates_of(const struct kernels *k) {
    const struct rates *r = rates;
    while (strcmp(r->isa, k->name) && r->isa != rates[2].isa) r++;
    return r;
}

static enum kind kind_of(const struct conv_shape *s) {
    if (s->groups > 1 && s->groups == s->c) return DEPTHWISE;
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

/* The share of so many bytes that a cache does not hold. */
static double missed(double bytes, double cache) { return bytes > cache ? 1 - cache / bytes : 0; }

/* What a pass works on: floats of a sample that are read, that are written, and of the larger
 * image; channels of what is read. */
struct traffic {
    double in, out, image, channels;
};

/* Nanoseconds of a multiply-add. A unit of all channels of a pixel stays in the first-level cache
 * from row to row if it fits. */
static double product_time(const struct pass *r, const struct conv_shape *s, double nnz,
                           double channels) {
    const enum kind kind = kind_of(s);
    const double far = kind == POINTWISE || kind == LINEAR
                           ? r->far * missed(channels * OT_UNIT * sizeof(float), CACHE)
                           : 0;
    return r->product[kind] * (nnz < weights(s) ? 1 : r->whole) + far;
}

/* Milliseconds. */
static double pass_time(const struct pass *r, const struct conv_shape *s, double nnz,
                        double samples, struct traffic t) {
    const double strided = s->stride_h * s->stride_w > 1 ? r->strided * t.image : 0;
    const double product = product_time(r, s, nnz, t.channels);
    const double sample = product * nnz * positions(s) + r->in * t.in + r->out * t.out;
    return 1e-6 * (samples * (sample + strided) + r->slot[kind_of(s)] * nnz);
}

static struct cost few_cost(const struct conv_shape *s, double nnz) {
    double width = 1;
    while (width < (double)s->n) width *= 2;
    const double bytes = 4 * width * (double)s->c;
    const double far = few_far * missed(bytes, CACHE) + few_farther * missed(bytes, CACHE_2);
    const double pass = 1e-6 * nnz * (few_slot + few_sample * width + far);
    const double forward = s->n == 1 ? 1e-6 * nnz * (few_one + far) : pass;
    return (struct cost){forward, pass, pass};
}

struct cost ot_cost_sparse(const struct kernels *k, const struct conv_shape *s, int64_t nnz,
                           int lanes) {
    if (ot_sparse_few_fits(s, lanes)) return few_cost(s, (double)nnz);
    const struct rates *r = rates_of(k);
    const double n = filled(s->n, lanes), slots = (double)nnz, times = lanes ? 1 : IN_ROWS;
    const double x = inputs(s), dx = (double)ot_conv_inputs(s), y = (double)ot_conv_outputs(s);
    const struct traffic forward = {x, y, x, (double)s->c};
    const struct traffic back = {y, dx, dx, (double)s->m};
    return (struct cost){times * pass_time(&r->gather, s, slots, n, forward),
                         times * pass_time(&r->gather, s, slots, n, back),
                         times * pass_time(&r->weight, s, slots, n, forward)};
}

double ot_dense_flops(const struct conv_shape *s) {
    return 2.0 * weights(s) * (double)s->n * positions(s);
}

struct cost ot_cost_dense(const struct kernels *k, const struct conv_shape *s) {
    const struct dense_pass *r = &rates_of(k)->dense;
    const enum kind kind = kind_of(s);
    const double images = (double)s->n * (double)(ot_conv_inputs(s) + ot_conv_outputs(s));
    const double order = 1e-6 * (r->image * images + r->weight * weights(s));
    const double pass = 1e-6 * ot_dense_flops(s) / r->gflops[kind];
    const double moved = 1e-6 * (activations(s, (double)s->n) + 4 * weights(s)) / dense_bytes;
    const double forward = pass + order, back = pass / r->back[kind] + order;
    const double most = forward > moved ? forward : moved;
    const double gradient = back > moved ? back : moved;
    return (struct cost){most, gradient, gradient};
}

double ot_cost_look(double positions) { return 1e-6 * look_position * positions; }

double ot_cost_probe(const struct kernels *k, const struct conv_shape *s, int64_t slots,
                     int lanes) {
    const double all = weights(s);
    if (slots)
        return ot_cost_sparse(k, s, slots, lanes).weight + 1e-6 * follow_slot * (double)slots;
    const double look = ot_cost_look(all);
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
