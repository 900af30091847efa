/* rnn.c - RNN: h = f(x W^T + h R^T + biases) (ONNX RNN-1, 7, 14). */
#include "ops/kernels/kernels.h"
#include "ops/recurrent/recurrent.h"

static struct rnn_cells cells_at(const struct rec_step *t, int64_t unit, int64_t from) {
    const int64_t at = ot_rec_h(t, unit, from);
    return (struct rnn_cells){.f = t->f[0],
                              .gate = t->gate[0] + at,
                              .rec = t->rec + at,
                              .h = t->h + at,
                              .dh = t->dh + at,
                              .dgate = t->gate[0] + at};
}

static void forward_run(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const struct rnn_cells a = cells_at(t, unit, from);
    t->n->kernels->rnn_forward(&a, (size_t)count);
}

static void forward_step(const struct rec_step *t) {
    ot_rec_multiply(t->n, &t->s->r[t->direction][0], OT_REC_R, false, t->h_before, NULL, t->rec);
    ot_rec_each(t, forward_run);
}

static void backward_run(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    struct rnn_cells a = cells_at(t, unit, from);
    a.dy = ot_rec_dy(t, unit, from, count);
    t->n->kernels->rnn_back(&a, (size_t)count);
}

static void backward_step(const struct rec_step *t) {
    ot_rec_each(t, backward_run);
    ot_rec_multiply_data(t->n, &t->s->r[t->direction][0], OT_REC_R, false, t->gate[0], t->dh);
}

static const struct rec_cell cell = {.groups = 1,
                                     .gates = {1, 0},
                                     .functions = 1,
                                     .names = {"Tanh"},
                                     .forward = forward_step,
                                     .backward = backward_step};

static const char *const cases[] = {
    "X[4,3,5] W[1,3,5]:p R[1,3,3]:p range=-1,1 -> Y[4,1,3,3] H[1,3,3]",
    "X[4,3,5] W[2,3,5]:p R[2,3,3]:p B[2,6]:p i32{2,0,4} H[2,3,3] direction=bidirectional "
    "range=-1,1 -> Y[4,2,3,3] H[2,3,3]",
    "X[3,18,6] W[1,7,6]~0.4s:p R[1,7,7]~0.4s:p B[1,14]:p - H[1,18,7] range=-1,1 "
    "-> Y[3,1,18,7] H[1,18,7]",
    "X[2,2,4] W[1,3,4]:p R[1,3,3]:p activations=HardSigmoid activation_alpha=0.3 layout=1 "
    "direction=reverse range=-1,1 @14 -> Y[2,2,1,3]",
    "X[2,2,4] W[1,3,4]:p R[1,3,3]:p activations=Affine activation_alpha=0.8 activation_beta=0.1 "
    "clip=0.7 range=-1,1 -> Y[2,1,2,3]",
    NULL};

OT_RECURRENT(RNN, 6, 2, 0, "");
