/* gru.c - GRU: z and r of x W^T + h R^T + biases; n of x W^T + (r h) R^T, or, inside
 * (linear_before_reset), of x W^T + r (h R^T + bias); h = (1 - z) n + z h (ONNX GRU-3, 7, 14). */
#include "ops/kernels/kernels.h"
#include "ops/recurrent/recurrent.h"

enum { TWO = 2 }; /* gates of the first group: z and r */

static struct gru_cells cells_at(const struct rec_step *t, int64_t unit, int64_t from) {
    const int64_t at = ot_rec_h(t, unit, from), two = ot_rec_g(t, unit, from, TWO, 0);
    return (struct gru_cells){.f = {t->f[0], t->f[1]},
                              .inside = t->s->inside,
                              .pitch = (size_t)(t->s->hidden * t->s->inner),
                              .zr = t->gate[0] + two,
                              .n = t->gate[1] + at,
                              .extra = t->extra + at,
                              .h_before = t->h_before + at,
                              .h = t->h + at,
                              .part = t->part + at,
                              .dh = t->dh + at,
                              .dzr = t->gate[0] + two,
                              .dn = t->gate[1] + at,
                              .aux = t->aux + at};
}

static void forward_reset(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    struct gru_cells a = cells_at(t, unit, from);
    a.rec = t->rec + ot_rec_g(t, unit, from, TWO, 0);
    t->n->kernels->gru_reset(&a, (size_t)count);
}

static void forward_state(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    struct gru_cells a = cells_at(t, unit, from);
    a.rec = t->rec + ot_rec_h(t, unit, from);
    t->n->kernels->gru_state(&a, (size_t)count);
}

static void forward_step(const struct rec_step *t) {
    const struct rec_product *r = t->s->r[t->direction];
    const bool inside = t->s->inside;
    ot_rec_multiply(t->n, &r[0], OT_REC_R, false, t->h_before, NULL, t->rec);
    ot_rec_each(t, forward_reset);
    ot_rec_multiply(t->n, &r[1], OT_REC_R, false, inside ? t->h_before : t->part,
                    inside ? t->rec_bias : NULL, inside ? t->extra : t->rec);
    ot_rec_each(t, forward_state);
}

static void backward_state(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    struct gru_cells a = cells_at(t, unit, from);
    a.dy = ot_rec_dy(t, unit, from, count);
    t->n->kernels->gru_state_back(&a, (size_t)count);
}

static void backward_reset(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const struct gru_cells a = cells_at(t, unit, from);
    t->n->kernels->gru_reset_back(&a, (size_t)count);
}

static void add_part(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from);
    for (int64_t i = at; i < at + count; i++) t->dh[i] += t->part[i];
}

static void backward_step(const struct rec_step *t) {
    const struct rec_product *r = t->s->r[t->direction];
    ot_rec_each(t, backward_state);
    ot_rec_multiply_data(t->n, &r[1], OT_REC_R, false, t->s->inside ? t->aux : t->gate[1], t->part);
    ot_rec_each(t, backward_reset);
    ot_rec_multiply_data(t->n, &r[0], OT_REC_R, false, t->gate[0], t->part);
    ot_rec_each(t, add_part);
}

static const struct rec_cell cell = {.groups = 2,
                                     .gates = {TWO, 1},
                                     .functions = 2,
                                     .names = {"Sigmoid", "Tanh"},
                                     .forward = forward_step,
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
