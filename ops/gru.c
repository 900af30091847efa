/* gru.c - GRU: z and r of x W^T + h R^T + biases; n of x W^T + (r h) R^T, or, inside
 * (linear_before_reset), of x W^T + r (h R^T + bias); h = (1 - z) n + z h (ONNX GRU-3, 7, 14). */
#include "ops/recurrent.h"

enum { Z, R, TWO };

static void forward_zr(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from);
    for (int g = 0; g < TWO; g++) {
        const int64_t k = ot_rec_g(t, unit, from, TWO, g);
        for (int64_t i = k; i < k + count; i++) t->gate[0][i] += t->rec[i];
        ot_gate_apply(&t->f[0], t->gate[0] + k, count);
    }
    const float *r = t->gate[0] + ot_rec_g(t, unit, from, TWO, R);
    for (int64_t i = 0; i < count; i++) t->part[at + i] = r[i] * t->h_before[at + i];
}

static void forward_n(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from);
    const float *z = t->gate[0] + ot_rec_g(t, unit, from, TWO, Z), *before = t->h_before + at;
    const float *r = t->gate[0] + ot_rec_g(t, unit, from, TWO, R);
    float *n = t->gate[1] + at, *h = t->h + at;
    for (int64_t i = 0; i < count; i++)
        n[i] += t->s->inside ? r[i] * t->extra[at + i] : t->rec[at + i];
    ot_gate_apply(&t->f[1], n, count);
    for (int64_t i = 0; i < count; i++) h[i] = (1 - z[i]) * n[i] + z[i] * before[i];
}

static void forward_step(const struct rec_step *t) {
    const struct rec_product *r = t->s->r[t->direction];
    const bool inside = t->s->inside;
    ot_rec_multiply(t->n, &r[0], OT_REC_R, false, t->h_before, NULL, t->rec);
    ot_rec_each(t, forward_zr);
    ot_rec_multiply(t->n, &r[1], OT_REC_R, false, inside ? t->h_before : t->part,
                    inside ? t->rec_bias : NULL, inside ? t->extra : t->rec);
    ot_rec_each(t, forward_n);
}

/* dz and dn; dh keeps what goes straight to h_before. Inside: what R_h made gets aux. */
static void backward_n(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from), kz = ot_rec_g(t, unit, from, TWO, Z);
    const int64_t kr = ot_rec_g(t, unit, from, TWO, R);
    const float *z = t->gate[0] + kz, *r = t->gate[0] + kr, *n = t->gate[1] + at;
    const float *before = t->h_before + at;
    float *dz = t->dgate[0] + kz, *dn = t->dgate[1] + at, *dh = t->dh + at;
    for (int64_t i = 0; i < count; i++) {
        dz[i] = dh[i] * (before[i] - n[i]);
        dn[i] = dh[i] * (1 - z[i]);
        dh[i] *= z[i];
    }
    ot_gate_slope(&t->f[0], z, dz, count);
    ot_gate_slope(&t->f[1], n, dn, count);
    for (int64_t i = 0; i < count; i++)
        t->aux[at + i] = r[i] * (t->s->inside ? dn[i] : before[i]);
}

/* dr, of part = the gradient of what R_h multiplied: r h, or, inside, h. */
static void backward_r(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from), kr = ot_rec_g(t, unit, from, TWO, R);
    const float *r = t->gate[0] + kr, *part = t->part + at;
    float *dr = t->dgate[0] + kr, *dh = t->dh + at;
    for (int64_t i = 0; i < count; i++) {
        dr[i] = t->s->inside ? t->dgate[1][at + i] * t->extra[at + i]
                             : part[i] * t->h_before[at + i];
        dh[i] += t->s->inside ? part[i] : part[i] * r[i];
    }
    ot_gate_slope(&t->f[0], r, dr, count);
}

static void add_part(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from);
    for (int64_t i = at; i < at + count; i++) t->dh[i] += t->part[i];
}

static void backward_step(const struct rec_step *t) {
    const struct rec_product *r = t->s->r[t->direction];
    ot_rec_each(t, backward_n);
    ot_rec_multiply_data(t->n, &r[1], OT_REC_R, false, t->s->inside ? t->aux : t->dgate[1],
                         t->part);
    ot_rec_each(t, backward_r);
    ot_rec_multiply_data(t->n, &r[0], OT_REC_R, false, t->dgate[0], t->part);
    ot_rec_each(t, add_part);
}

static const struct rec_cell cell = {.groups = 2, .gates = {TWO, 1}, .functions = 2,
                                     .names = {"Sigmoid", "Tanh"}, .forward = forward_step,
                                     .backward = backward_step};

static const char *const cases[] = {
    "X[4,3,5] W[1,9,5]:p R[1,9,3]:p range=-1,1 -> Y[4,1,3,3] H[1,3,3]",
    "X[4,3,5] W[1,9,5]:p R[1,9,3]:p B[1,18]:p i32{2,4,1} H[1,3,3] linear_before_reset=1 "
    "range=-1,1 -> Y[4,1,3,3] H[1,3,3]",
    "X[4,2,3] W[2,6,3]:p R[2,6,2]:p B[2,12]:p - H[2,2,2] direction=bidirectional range=-1,1 "
    "-> Y[4,2,2,2] H[2,2,2]",
    "X[3,2,4] W[1,6,4]:p R[1,6,2]:p B[1,12]:p direction=reverse layout=1 linear_before_reset=1 "
    "range=-1,1 @14 -> Y[3,2,1,2] H[3,1,2]",
    "X[3,18,6] W[2,12,6]~0.4s:p R[2,12,4]~0.4s:p B[2,24]:p L[18]:i32 H[2,18,4] range=-1,1 "
    "direction=bidirectional -> Y[3,2,18,4] H[2,18,4]",
    "X[3,3,6] W[1,12,6]~0.4s:p R[1,12,4]~0.4s:p B[1,24]:p linear_before_reset=1 range=-1,1 "
    "-> Y[3,1,3,4] H[1,3,4]:n",
    "X[3,2,4] W[1,6,4]:p R[1,6,2]:p activations=HardSigmoid,Softsign activation_alpha=0.3 "
    "activation_beta=0.4 range=-1,1 -> - H[1,2,2]",
    "X[3,2,4] W[1,8,4] R[1,6,2] -> error: input 1 has shape [1,8,4], expected [1,6,4]",
    NULL};

OT_RECURRENT(GRU, 6, 2, 0, " linear_before_reset:i");
