/* recurrent.h - what LSTM, GRU and RNN share: shapes, products with W and R, the way through the
 * steps and back.
 *
 * Inside, one step of F features is [units][F][inner]. With dense weights a unit is a sample and
 * inner is 1: rows, products on oneDNN. With a pattern in W or R, inner samples stand side by side
 * as in lanes layout, and products with sparse weights are sparse ones. Code of the cells sees
 * runs of floats and is the same for both. Steps are numbered in the order in which a direction
 * takes them.
 *
 * Samples that have ended, and spare lanes, keep their state: their gates are computed, but neither
 * these nor their gradients go anywhere.
 */
#ifndef OT_OPS_RECURRENT_RECURRENT_H
#define OT_OPS_RECURRENT_RECURRENT_H

#include "ops/recurrent/gate_function.h"

enum { OT_REC_WIDEST = 128 }; /* samples side by side */

enum {
    OT_REC_GROUPS = 2,
    OT_REC_FUNCTIONS = 3,
    OT_REC_X = 0,
    OT_REC_W,
    OT_REC_R,
    OT_REC_B,
    OT_REC_LENGTHS,
    OT_REC_H,
    OT_REC_C,
    OT_REC_P
};

struct sparse_product;
struct rec_step;

/* The operator. Gates come in groups, each with products of its own. */
struct rec_cell {
    int groups, gates[OT_REC_GROUPS];
    int functions; /* activations of a direction */
    const char *names[OT_REC_FUNCTIONS];
    bool has_c; /* a second state */
    /* h, c and gates of one step; gates hold what W and the biases give. */
    void (*forward)(const struct rec_step *t);
    /* Gradients of the gates from dh and dc, which become those of h_before and c_before. */
    void (*backward)(const struct rec_step *t);
};

/* Some rows of W or R of one direction. */
struct rec_product {
    int direction;
    int64_t rows, cols, from;                /* from: its first value */
    struct pattern *part;                    /* these rows of the weight's pattern; or NULL */
    const struct sparse_product *step, *all; /* over one step, over all; NULL: dense */
    int64_t units; /* of one step; inner > 1 and dense: lists of matrices */
    const int64_t *first, *same, *next;
};

struct recurrent {
    const struct rec_cell *cell;
    int64_t steps, batch, input, hidden;
    int directions;
    bool batch_first, reverse[2];
    bool inside;  /* GRU linear_before_reset */
    bool coupled; /* LSTM input_forget */
    int64_t units, inner;
    int64_t h_size, x_size, g_size[OT_REC_GROUPS]; /* floats of a step */
    struct gate_function f[2 * OT_REC_FUNCTIONS];
    struct rec_product w[2][OT_REC_GROUPS], r[2][OT_REC_GROUPS];
    /* In save, in floats: by direction h and c (steps + 1 each), gates, extra. Backward writes the
     * gradients of the gates over the gates. */
    size_t direction_size, h_at, c_at, g_at[OT_REC_GROUPS], extra_at, lengths_at;
    /* In scratch, in floats; xs and all_at are of one direction at a time. */
    size_t xs_at, all_at;                         /* all_at: of products over all steps */
    size_t part_at[2][6], bias_at[2], step_at[2]; /* step_at: of products over one step */
    size_t aux_at[2];
};

/* One step on its way; arrays are those of this step. */
struct rec_step {
    struct op_node *n;
    const struct recurrent *s;
    const struct gate_function *f; /* of the direction */
    int direction;
    int64_t time;
    const float *dy; /* the gradient of Y; NULL: zero */
    const float *h_before, *c_before;
    float *h, *c;
    float *gate[OT_REC_GROUPS]; /* backward leaves their gradients here */
    float *extra;               /* GRU inside: h R_h^T + its bias */
    float *rec, *part;          /* scratch: the widest group; h */
    const float *rec_bias;      /* GRU inside: the bias within */
    float *dh, *dc;
    float *aux; /* GRU: what R_h meets, or its gradient, for all steps */
};

/* Prepares x, y, save and scratch of an operator whose plan is a struct recurrent. */
ot_status ot_rec_prepare(struct op_node *n, const struct rec_cell *cell, ot_error *err);
bool ot_rec_sparse_rows(const struct op_node *n, int i);
void ot_rec_forward(struct op_node *n);
void ot_rec_backward(struct op_node *n);
void ot_rec_follow(struct op_node *n, int i);

/* The record of an operator, whose file has `cell` and `cases`. most_in, most_out: inputs and
 * outputs; peepholes: the bit of such an input; own: attributes that only this one has. */
#define OT_RECURRENT(word, most_in, most_out, peepholes, own)                                      \
    static ot_status prepare(struct op_node *n, ot_error *err) {                                   \
        return ot_rec_prepare(n, &cell, err);                                                      \
    }                                                                                              \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 1,                                                                                \
        .min_in = 3,                                                                               \
        .max_in = most_in,                                                                         \
        .max_out = most_out,                                                                       \
        .attributes = "activation_alpha:F activation_beta:F activations:S clip:f direction:s "     \
                      "hidden_size:i layout:i output_sequence:i" own,                              \
        .needs = OT_X(OT_REC_X) | OT_X(OT_REC_W) | OT_X(OT_REC_R) | (peepholes),                   \
        .parameters = OT_X(OT_REC_W) | OT_X(OT_REC_R) | OT_X(OT_REC_B) | (peepholes),              \
        .sparse_rows = ot_rec_sparse_rows,                                                         \
        .all_outputs = true,                                                                       \
        .plan_size = sizeof(struct recurrent),                                                     \
        .prepare = prepare,                                                                        \
        .forward = ot_rec_forward,                                                                 \
        .backward = ot_rec_backward,                                                               \
        .follow = ot_rec_follow,                                                                   \
        .cases = cases,                                                                            \
    }

/* While on, R does not change, and products over one step copy it once. */
void ot_rec_hold(struct op_node *n, int direction, bool on);
/* y = x M^T + bias over one step, or all; dx = dy M; dM = dy^T x over all steps. Weights are those
 * of input OT_REC_W or OT_REC_R. */
void ot_rec_multiply(struct op_node *n, const struct rec_product *p, int weight, bool all,
                     const float *x, const float *bias, float *y);
void ot_rec_multiply_data(struct op_node *n, const struct rec_product *p, int weight, bool all,
                          const float *dy, float *dx);
void ot_rec_multiply_weight(struct op_node *n, const struct rec_product *p, int weight,
                            const float *dy, const float *x);
/* Bytes of scratch that sparse products of one direction need. */
struct rec_scratch {
    size_t all, step; /* over all steps, over one */
};
/* Makes the products of all directions and groups. */
ot_status ot_rec_products(struct op_node *n, struct recurrent *s, struct rec_scratch *scratch,
                          ot_error *err);

/* ---- between the user's tensors and steps (move.c) ---- */

/* Where sample b of time t of a direction stands, in floats: at + t * step + b * sample. */
struct rec_places {
    int64_t at, step, sample, features;
};
struct rec_places ot_rec_places_x(const struct recurrent *s);
struct rec_places ot_rec_places_y(const struct recurrent *s, int d);
struct rec_places ot_rec_places_state(const struct recurrent *s, int d);

/* Some features of a unit. */
struct rec_part {
    int64_t unit, first, features;
};

/* The step at time t into [units][features][inner], or a part of one; NULL gives zeros, and so do
 * spare lanes. */
void ot_rec_load(const struct op_node *n, const struct rec_places *p, const float *from, int64_t t,
                 float *to);
void ot_rec_load_part(const struct op_node *n, const struct rec_places *p, const float *from,
                      int64_t t, struct rec_part part, float *to);
/* And back; add: to what is there. */
void ot_rec_store(const struct op_node *n, const struct rec_places *p, const float *from, int64_t t,
                  float *to, bool add);
/* All steps: of X into scratch, of Y, where samples that have ended give 0, and dX += xs. */
float *ot_rec_load_x(struct op_node *n, int direction);
void ot_rec_store_y(struct op_node *n, int direction, const float *h, float *y);
void ot_rec_add_dx(struct op_node *n, int direction, const float *xs, float *dx);

/* Steps that each sample has; spare lanes have none. */
void ot_rec_find_lengths(struct op_node *n);
static inline int32_t *ot_rec_lengths(const struct op_node *n) {
    const struct recurrent *s = n->plan;
    return (int32_t *)n->save + s->lengths_at;
}

static inline int64_t ot_rec_time(const struct recurrent *s, int direction, int64_t step) {
    return s->reverse[direction] ? s->steps - 1 - step : step;
}

/* Of an array of h, those samples that have ended at this time: to = from, 0, or to += from. */
enum rec_ended { OT_REC_COPY, OT_REC_CLEAR, OT_REC_ADD };
void ot_rec_ended(const struct op_node *n, int64_t time, enum rec_ended what, const float *from,
                  float *to);

/* The run of dY, in t->part; NULL: zero. */
const float *ot_rec_dy(const struct rec_step *t, int64_t unit, int64_t from, int64_t count);

/* ---- cells ---- */

/* Runs fn over all features in parallel: `count` floats from `from` on of unit `unit`. */
typedef void ot_rec_fn(const struct rec_step *t, int64_t unit, int64_t from, int64_t count);
void ot_rec_each(const struct rec_step *t, ot_rec_fn *fn);

/* Where a run begins in an array of h, and in gate `gate` of a group of `gates`. */
static inline int64_t ot_rec_h(const struct rec_step *t, int64_t unit, int64_t from) {
    return unit * t->s->hidden * t->s->inner + from;
}
static inline int64_t ot_rec_g(const struct rec_step *t, int64_t unit, int64_t from, int gates,
                               int gate) {
    return (unit * gates + gate) * t->s->hidden * t->s->inner + from;
}

#endif
