/* gates.h - what kernels of recurrent cells work on: activation functions of gates, and some
 * elements of one step. */
#ifndef OT_OPS_KERNELS_GATES_H
#define OT_OPS_KERNELS_GATES_H

#include <stdbool.h>
#include <stddef.h>

enum gate_kind {
    OT_GATE_SIGMOID,
    OT_GATE_TANH,
    OT_GATE_RELU,
    OT_GATE_AFFINE,
    OT_GATE_LEAKY_RELU,
    OT_GATE_THRESHOLDED_RELU,
    OT_GATE_SCALED_TANH,
    OT_GATE_HARD_SIGMOID,
    OT_GATE_ELU,
    OT_GATE_SOFTSIGN,
    OT_GATE_SOFTPLUS,
    OT_GATE_KINDS
};

struct gate_function {
    enum gate_kind kind;
    float alpha, beta;
    float clip;      /* x is limited to [-clip, clip] first; INFINITY: it is not */
    float low, high; /* f at these limits */
};

/* Elements of a step of LSTM. Gates i, o, f and c~ stand `pitch` floats apart: before the forward
 * pass they hold what W and the biases give, and rec what R gives; behind it their values. */
enum { OT_LSTM_I, OT_LSTM_O, OT_LSTM_F, OT_LSTM_C, OT_LSTM_GATES };

struct lstm_cells {
    struct gate_function f[3]; /* of i, o and f; of c~; of h(c) */
    bool coupled;              /* f = 1 - i */
    size_t pitch;
    float *gate;
    const float *rec;
    const float *peephole[3]; /* of i, o and f; all NULL: there are none */
    size_t peephole_step;     /* 1: each element has its own; 0: all have the first */
    const float *c_before;
    float *c, *h;
    /* Back: from dh + dy and dc to dgate; dc becomes the gradient of c_before. */
    const float *dh, *dy; /* dy NULL: zero */
    float *dc, *dgate;
};

/* Elements of a step of GRU: gates z and r stand `pitch` floats apart, n by itself. inside:
 * n = f(W.. + r extra), extra being what R and its bias give; else n = f(W.. + rec). */
enum { OT_GRU_Z, OT_GRU_R };

struct gru_cells {
    struct gate_function f[2]; /* of z and r; of n */
    bool inside;
    size_t pitch;
    float *zr, *n;
    const float *rec, *extra, *h_before;
    float *h, *part; /* part: r h_before; back, the gradient of what R_h multiplied */
    const float *dy; /* NULL: zero */
    float *dh, *dzr, *dn, *aux;
};

/* Elements of a step of RNN: h = gate = f(gate + rec); dgate = (dh + dy) f'. */
struct rnn_cells {
    struct gate_function f;
    float *gate;
    const float *rec;
    float *h;
    const float *dh, *dy; /* dy NULL: zero */
    float *dgate;
};

/* x = f(x) for n floats. */
typedef void gate_apply_fn(const struct gate_function *f, float *x, size_t n);
/* n elements, which no other one's results touch. */
typedef void lstm_fn(const struct lstm_cells *a, size_t n);
/* Forward: gru_reset gives z, r and part, then gru_state n and h. Back: gru_state_back gives dz,
 * dn and aux (what R_h multiplied; inside, its gradient), then gru_reset_back dr; dh ends as what
 * goes to h_before by itself, and inside with part added. */
typedef void gru_fn(const struct gru_cells *a, size_t n);
typedef void rnn_fn(const struct rnn_cells *a, size_t n);
/* sum[i] += the sum over n floats of x[i * n + j], times z[i * n + j] if z is not NULL. */
typedef void row_sums_fn(const float *x, const float *z, int rows, size_t n, double *sum);

#endif
