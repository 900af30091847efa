/* lstm.c - LSTM: gates i, o, f and c~ of x W^T + h R^T + biases; c = f c + i c~, h = o h(c), with
 * peepholes from c to the gates (ONNX LSTM-1, 7, 14). */
#include "ops/kernels/kernels.h"
#include "ops/recurrent/recurrent.h"

/* Weights of peepholes follow each other as i, o and f. */
static void set_peepholes(const struct rec_step *t, int64_t from, struct lstm_cells *a) {
    const struct op_node *n = t->n;
    const int64_t hidden = t->s->hidden, feature = from / t->s->inner;
    if (n->n_in <= OT_REC_P || !n->x[OT_REC_P]) return;
    for (int k = 0; k < 3; k++)
        a->peephole[k] = ot_f(n->x[OT_REC_P]) + (t->direction * 3 + k) * hidden + feature;
    a->peephole_step = t->s->inner == 1;
}

static struct lstm_cells cells_at(const struct rec_step *t, int64_t unit, int64_t from) {
    const int64_t at = ot_rec_h(t, unit, from), gate = ot_rec_g(t, unit, from, OT_LSTM_GATES, 0);
    struct lstm_cells a = {.coupled = t->s->coupled,
                           .pitch = (size_t)(t->s->hidden * t->s->inner),
                           .gate = t->gate[0] + gate,
                           .rec = t->rec + gate,
                           .c_before = t->c_before + at,
                           .c = t->c + at,
                           .h = t->h + at,
                           .dh = t->dh + at,
                           .dc = t->dc + at,
                           .dgate = t->gate[0] + gate};
    for (int k = 0; k < 3; k++) a.f[k] = t->f[k];
    set_peepholes(t, from, &a);
    return a;
}

/* With peepholes side by side in lanes, each feature's cells have weights of their own. */
static int64_t piece_of(const struct rec_step *t, const struct lstm_cells *a, int64_t count) {
    return a->peephole[0] && !a->peephole_step ? t->s->inner : count;
}

static void forward_run(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    for (const int64_t end = from + count; from < end;) {
        const struct lstm_cells a = cells_at(t, unit, from);
        const int64_t piece = piece_of(t, &a, end - from);
        t->n->kernels->lstm_forward(&a, (size_t)piece);
        from += piece;
    }
}

static void forward_step(const struct rec_step *t) {
    ot_rec_multiply(t->n, &t->s->r[t->direction][0], OT_REC_R, false, t->h_before, NULL, t->rec);
    ot_rec_each(t, forward_run);
}

static void backward_run(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const float *dy = ot_rec_dy(t, unit, from, count);
    for (const int64_t end = from + count; from < end;) {
        struct lstm_cells a = cells_at(t, unit, from);
        const int64_t piece = piece_of(t, &a, end - from);
        a.dy = dy;
        t->n->kernels->lstm_back(&a, (size_t)piece);
        from += piece;
        dy += dy ? piece : 0;
    }
}

static void backward_step(const struct rec_step *t) {
    ot_rec_each(t, backward_run);
    ot_rec_multiply_data(t->n, &t->s->r[t->direction][0], OT_REC_R, false, t->gate[0], t->dh);
}

static const struct rec_cell cell = {.groups = 1,
                                     .gates = {OT_LSTM_GATES, 0},
                                     .functions = 3,
                                     .names = {"Sigmoid", "Tanh", "Tanh"},
                                     .has_c = true,
                                     .forward = forward_step,
                                     .backward = backward_step};

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
    "X[3,2,4] W[1,8,4] R[1,8,2] - i32{3,4} -> error: input 4 (sequence_lens) contains 4",
    "X[3,2,4] W[1,8,4] R[1,8,2] clip=-1 -> error: 'clip' is -1",
    NULL};

OT_RECURRENT(LSTM, 8, 3, OT_X(OT_REC_P), " input_forget:i");
