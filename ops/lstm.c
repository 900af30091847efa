/* lstm.c - LSTM: gates i, o, f and c~ of x W^T + h R^T + biases; c = f c + i c~, h = o h(c), with
 * peepholes from c to the gates (ONNX LSTM-1, 7, 14). */
#include "ops/recurrent.h"

enum { I, O, F, C, GATES };

static const float *peepholes(const struct rec_step *t) {
    const struct op_node *n = t->n;
    if (n->n_in <= OT_REC_P || !n->x[OT_REC_P]) return NULL;
    return ot_f(n->x[OT_REC_P]) + t->direction * 3 * t->s->hidden;
}

/* to += weight of peephole k * from, over a run. */
static void look(const struct rec_step *t, int k, int64_t from, int64_t count, const float *x,
                 float *to) {
    const float *p = peepholes(t);
    if (!p) return;
    for (int64_t i = 0; i < count; i++)
        to[i] += p[k * t->s->hidden + (from + i) / t->s->inner] * x[i];
}

static void forward_run(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from);
    float *gate[GATES];
    for (int g = 0; g < GATES; g++) {
        const int64_t k = ot_rec_g(t, unit, from, GATES, g);
        gate[g] = t->gate[0] + k;
        for (int64_t i = 0; i < count; i++) gate[g][i] += t->rec[k + i];
    }
    const float *before = t->c_before + at;
    float *c = t->c + at, *h = t->h + at;
    look(t, I, from, count, before, gate[I]);
    look(t, F, from, count, before, gate[F]);
    ot_gate_apply(&t->f[0], gate[I], count);
    if (!t->s->coupled) ot_gate_apply(&t->f[0], gate[F], count);
    for (int64_t i = 0; i < count && t->s->coupled; i++) gate[F][i] = 1 - gate[I][i];
    ot_gate_apply(&t->f[1], gate[C], count);
    for (int64_t i = 0; i < count; i++) c[i] = gate[F][i] * before[i] + gate[I][i] * gate[C][i];
    look(t, O, from, count, c, gate[O]);
    ot_gate_apply(&t->f[0], gate[O], count);
    for (int64_t i = 0; i < count; i++) h[i] = c[i];
    ot_gate_apply(&t->f[2], h, count);
    for (int64_t i = 0; i < count; i++) h[i] *= gate[O][i];
}

static void forward_step(const struct rec_step *t) {
    ot_rec_multiply(t->n, &t->s->r[t->direction][0], OT_REC_R, false, t->h_before, NULL, t->rec);
    ot_rec_each(t, forward_run);
}

/* From dh and dc through o, and h(c): dO, and all of dc. */
static void backward_output(const struct rec_step *t, int64_t at, int64_t from, int64_t count,
                            const float *o, float *d_o) {
    float *dh = t->dh + at, *dc = t->dc + at, *part = t->part + at;
    const float *c = t->c + at;
    for (int64_t i = 0; i < count; i++) part[i] = c[i];
    ot_gate_apply(&t->f[2], part, count);
    for (int64_t i = 0; i < count; i++) {
        d_o[i] = dh[i] * part[i];
        dh[i] *= o[i];
    }
    ot_gate_slope(&t->f[2], part, dh, count);
    ot_gate_slope(&t->f[0], o, d_o, count);
    for (int64_t i = 0; i < count; i++) dc[i] += dh[i];
    look(t, O, from, count, d_o, dc);
}

static void backward_run(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const int64_t at = ot_rec_h(t, unit, from);
    const float *gate[GATES], *before = t->c_before + at;
    float *d[GATES], *dc = t->dc + at;
    for (int g = 0; g < GATES; g++) {
        const int64_t k = ot_rec_g(t, unit, from, GATES, g);
        gate[g] = t->gate[0] + k;
        d[g] = t->dgate[0] + k;
    }
    backward_output(t, at, from, count, gate[O], d[O]);
    for (int64_t i = 0; i < count; i++) {
        const float all = dc[i], forgot = all * before[i];
        d[I][i] = all * gate[C][i] - (t->s->coupled ? forgot : 0);
        d[F][i] = t->s->coupled ? 0 : forgot;
        d[C][i] = all * gate[I][i];
        dc[i] = all * gate[F][i];
    }
    ot_gate_slope(&t->f[0], gate[I], d[I], count);
    ot_gate_slope(&t->f[0], gate[F], d[F], count);
    ot_gate_slope(&t->f[1], gate[C], d[C], count);
    look(t, I, from, count, d[I], dc);
    look(t, F, from, count, d[F], dc);
}

static void backward_step(const struct rec_step *t) {
    ot_rec_each(t, backward_run);
    ot_rec_multiply_data(t->n, &t->s->r[t->direction][0], OT_REC_R, false, t->dgate[0], t->dh);
}

static const struct rec_cell cell = {.groups = 1, .gates = {GATES, 0}, .functions = 3,
                                     .names = {"Sigmoid", "Tanh", "Tanh"}, .has_c = true,
                                     .forward = forward_step, .backward = backward_step};

static const char *const cases[] = {
    "X[4,3,5] W[1,12,5]:p R[1,12,3]:p range=-1,1 -> Y[4,1,3,3] H[1,3,3] C[1,3,3]",
    "X[3,2,4] W[1,12,4]:p R[1,12,3]:p B[1,24]:p - H[1,2,3] C[1,2,3] P[1,9]:p range=-1,1 "
    "hidden_size=3 -> Y[3,1,2,3] H[1,2,3] C[1,2,3]",
    "X[4,3,4] W[2,8,4]:p R[2,8,2]:p B[2,16]:p i32{4,2,1} H[2,3,2] C[2,3,2] P[2,6]:p range=-1,1 "
    "direction=bidirectional -> Y[4,2,3,2] H[2,3,2] C[2,3,2]",
    "X[3,4,5] W[1,8,5]:p R[1,8,2]:p B[1,16]:p L[3]:i32 range=0,1 direction=reverse layout=1 @14 "
    "-> Y[3,4,1,2] H[3,1,2] C[3,1,2]",
    "X[4,3,5] W[1,12,5]~0.4s:p R[1,12,3]~0.5s:p B[1,24]:p range=-1,1 "
    "-> Y[4,1,3,3] H[1,3,3] C[1,3,3]",
    "X[3,18,6] W[2,16,6]~0.4s:p R[2,16,4]:p B[2,32]:p L[18]:i32 H[2,18,4] C[2,18,4] P[2,12]:p "
    "range=-1,1 direction=bidirectional -> Y[3,2,18,4] H[2,18,4] C[2,18,4]",
    "X[2,5,6] W[1,16,6]:p R[1,16,4]~0.3s:p range=-1,1 direction=reverse -> - H[1,5,4]",
    "X[3,2,4] W[1,8,4]:p R[1,8,2]:p input_forget=1 range=-1,1 -> Y[3,1,2,2] H[1,2,2]:n C[1,2,2]:n",
    "X[3,2,4] W[1,8,4]:p R[1,8,2]:p activations=Softsign,Elu,Affine activation_alpha=0.7,1.3 "
    "activation_beta=0.2 range=-1,1 -> Y[3,1,2,2]",
    "X[3,2,4] W[1,8,4]:p R[1,8,2]:p activations=Softplus,ScaledTanh,LeakyRelu "
    "activation_alpha=1.1,0.3 activation_beta=0.7 clip=0.9 range=-1,1 -> Y[3,1,2,2]",
    "X[3,2,4] W[1,8,4] R[1,8,2] hidden_size=3 -> error: 'hidden_size' is 3",
    "X[3,2,4] W[1,8,3] R[1,8,2] -> error: input 1 has shape [1,8,3], expected [1,8,4]",
    "X[3,2,4] W[1,8,4] R[1,8,2] direction=both -> error: 'both'",
    "X[3,2,4] W[1,8,4] R[1,8,2] activations=Sigmoid,Tanh,Swish -> error: 'Swish'",
    "X[3,2,4] W[1,8,4] R[1,8,2] - i32{3,4} -> error: sequence_lens holds 4",
    "X[3,2,4] W[1,8,4] R[1,8,2] clip=-1 -> error: 'clip' is -1",
    NULL};

OT_RECURRENT(LSTM, 8, 3, OT_X(OT_REC_P), " input_forget:i");
