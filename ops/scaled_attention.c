/* scaled_attention.c - ScaledAttention (internal): y = softmax(scale q k^T + mask) v, for each
 * sample and head; what exporters write as Transpose, MatMul, Mul or Div, Add, Softmax and MatMul.
 *
 * Inputs: q, k, v; constant factors of q, of k and of their product (or its divisor, attribute
 * `divide`); mask. With p = softmax(..) and ds = p (dp - sum of dp p):
 * dv = p^T dy, dp = dy v^T, dq = scale ds k, dk = scale ds^T q. p is kept for backward.
 *
 * q, k, v and y are read and written where they are, whatever order of axes their Transposes would
 * make: perm_q turns q into [samples][heads][tokens][features], as Transpose's perm; perm_k turns k
 * into [..][features][tokens]; perm_y turns a result like q into y. In lanes the tokens of a sample
 * are neighbours, so nothing moves there unless a sample's tokens reach into another block.
 */
#include <string.h>

#include "ops/dnnl.h"
#include "ops/kernels/kernels.h"

enum { Q = 0, K, V, Q_FACTOR, K_FACTOR, FACTOR, MASK, INPUTS };

/* A tensor of four axes as one matrix [tokens][features] for each sample and head. */
struct operand {
    int sample, head, token, feature; /* axes */
    int64_t tokens, features;
};

struct state {
    struct operand q, k, v, y;
    int64_t samples, heads;
    float scale;
    size_t room; /* floats of scratch of a worker */
    bool keep;   /* p is kept */
};

struct matrix {
    float *p;
    int64_t rows, cols, row, col; /* distances in floats, one of which is 1 */
};

/* ---- prepare ---- */

/* perm: sample, head and the two axes of a matrix; inverted for y. */
static bool read_perm(const struct op_node *n, const char *name, bool inverse, int *axis) {
    int count;
    const int64_t *perm = ot_attr_ints(n->node, name, &count);
    for (int i = 0; i < 4; i++) axis[i] = -1;
    for (int i = 0; i < 4; i++) {
        const int64_t to = perm && count == 4 ? perm[i] : i;
        if (to < 0 || to > 3) return false;
        axis[inverse ? to : i] = inverse ? i : (int)to;
    }
    return axis[0] >= 0 && axis[1] >= 0 && axis[2] >= 0 && axis[3] >= 0 && (!perm || count == 4);
}

static bool find_operand(const struct op_node *n, const char *name, const struct tensor *x,
                         bool turned, bool inverse, struct operand *o) {
    int axis[4];
    if (!read_perm(n, name, inverse, axis)) return false;
    *o = (struct operand){.sample = axis[0], .head = axis[1], .token = axis[turned ? 3 : 2],
                          .feature = axis[turned ? 2 : 3]};
    if (!x) return true;
    o->tokens = x->dim[o->token];
    o->features = x->dim[o->feature];
    return true;
}

/* Multiplies *scale with a constant of one element, or divides by it; true where there is none. */
static bool take_factor(const struct tensor *t, bool divide, float *scale) {
    if (!t) return true;
    if (t->role != OT_ROLE_CONST || t->type != OT_FLOAT || t->pattern || ot_elements(t) != 1)
        return false;
    *scale = divide ? *scale / *ot_f(t) : *scale * *ot_f(t);
    return true;
}

/* Is the mask broadcast to [samples][heads][tokens][tokens], and nobody wants its gradient? */
static bool mask_fits(const struct op_node *n, const struct state *s) {
    const struct tensor *m = n->x[MASK];
    const int64_t full[] = {s->samples, s->heads, s->q.tokens, s->k.tokens};
    if (!m) return true;
    if (m->type != OT_FLOAT || m->pattern || m->rank > 4 || ot_training_wants(n, MASK) ||
        (!ot_is_fixed(m) && m->rank != 4))
        return false;
    for (int i = 0; i < m->rank; i++)
        if (m->dim[i] != 1 && m->dim[i] != full[4 - m->rank + i]) return false;
    return true;
}

static bool describe(const struct op_node *n, struct state *s) {
    for (int i = Q; i <= V; i++) {
        const struct tensor *x = n->x[i];
        if (x->rank != 4 || x->type != OT_FLOAT || ot_is_fixed(x) || !ot_elements(x)) return false;
    }
    if (!find_operand(n, "perm_q", n->x[Q], false, false, &s->q) ||
        !find_operand(n, "perm_k", n->x[K], true, false, &s->k) ||
        !find_operand(n, "perm_v", n->x[V], false, false, &s->v) ||
        !find_operand(n, "perm_y", NULL, false, true, &s->y))
        return false;
    s->y.tokens = s->q.tokens;
    s->y.features = s->v.features;
    s->samples = n->x[Q]->dim[s->q.sample];
    s->heads = n->x[Q]->dim[s->q.head];
    s->scale = 1;
    return n->x[K]->dim[s->k.sample] == s->samples && n->x[V]->dim[s->v.sample] == s->samples &&
           n->x[K]->dim[s->k.head] == s->heads && n->x[V]->dim[s->v.head] == s->heads &&
           s->k.features == s->q.features && s->v.tokens == s->k.tokens &&
           s->samples * s->heads <= INT32_MAX && mask_fits(n, s) &&
           take_factor(n->x[Q_FACTOR], false, &s->scale) &&
           take_factor(n->x[K_FACTOR], false, &s->scale) &&
           take_factor(n->x[FACTOR], ot_attr_int(n->node, "divide", 0) != 0, &s->scale);
}

static bool fits(const struct op_node *n) {
    struct state s;
    return describe(n, &s);
}

/* Samples and tokens are the axes that lanes merge. */
static bool lanes(const struct op_node *n, int lane_rank) {
    struct state s;
    if (lane_rank != 2 || !describe(n, &s)) return false;
    const struct operand *const o[] = {&s.q, &s.k, &s.v, &s.y};
    for (int i = 0; i < 4; i++)
        if (o[i]->sample != 0 || o[i]->token != 1) return false;
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct state *s = n->state;
    if (!describe(n, s)) return ot_op_fail(n, err, OT_ERROR_INVALID, "operands do not fit");
    int64_t dim[4];
    dim[s->y.sample] = s->samples;
    dim[s->y.head] = s->heads;
    dim[s->y.token] = s->y.tokens;
    dim[s->y.feature] = s->y.features;
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 4, dim, err));
    const size_t p = (size_t)s->q.tokens * (size_t)s->k.tokens;
    const size_t qk = (size_t)(s->q.tokens + s->k.tokens) * (size_t)s->q.features;
    const size_t vy = (size_t)(s->q.tokens + s->k.tokens) * (size_t)s->v.features;
    const size_t workers = (size_t)ot_pool_workers(n->pool);
    s->keep = n->want != 0;
    s->room = p + 2 * (qk + vy) + (size_t)s->k.tokens;
    if (s->keep) n->save_size = (size_t)(s->samples * s->heads) * p * sizeof(float);
    n->forward_scratch_size = n->backward_scratch_size = workers * s->room * sizeof(float);
    n->flops = 2.0 * (double)(s->samples * s->heads) * (double)p *
               (double)(s->q.features + s->v.features);
    n->kernel = "dnnl gemm";
    return OT_OK;
}

/* ---- matrices of a sample and a head ---- */

/* Where tokens from `from` on stand; .rows: how many of them before a block of lanes ends. */
static struct matrix at(const struct operand *o, const struct tensor *x, int64_t b, int64_t h,
                        int64_t from) {
    int64_t step[4], s = x->lanes ? x->lanes : 1;
    for (int i = 3; i >= 0; s *= x->dim[i--]) step[i] = s;
    float *p = ot_f(x) + h * step[o->head];
    struct matrix m = {.rows = o->tokens - from, .cols = o->features, .row = step[o->token],
                       .col = step[o->feature]};
    if (!x->lanes) {
        m.p = p + b * step[o->sample] + from * m.row;
        return m;
    }
    const int64_t sample = b * o->tokens + from, lane = sample % x->lanes;
    m.p = p + (sample - lane) * ot_sample_elements(x) + lane;
    m.row = 1;
    if (m.rows > x->lanes - lane) m.rows = x->lanes - lane;
    return m;
}

static struct matrix packed(const struct operand *o, float *room) {
    return (struct matrix){room, o->tokens, o->features, 1, o->tokens};
}

static bool is_direct(const struct operand *o, const struct matrix *m) {
    return m->rows == o->tokens && (m->row == 1 || m->col == 1);
}

/* Copies all tokens to or from `room`. */
static void copy(const struct operand *o, const struct tensor *x, int64_t b, int64_t h, float *room,
                 bool back) {
    for (int64_t from = 0; from < o->tokens;) {
        const struct matrix m = at(o, x, b, h, from);
        for (int64_t f = 0; f < m.cols; f++)
            for (int64_t t = 0; t < m.rows; t++) {
                float *there = m.p + t * m.row + f * m.col, *here = room + f * o->tokens + from + t;
                if (back) *there = *here;
                else *here = *there;
            }
        from += m.rows;
    }
}

/* A matrix to read, in place or copied to *room, which moves on. */
static struct matrix input(const struct operand *o, const struct tensor *x, int64_t b, int64_t h,
                           float **room) {
    const struct matrix m = at(o, x, b, h, 0);
    if (is_direct(o, &m)) return m;
    float *here = *room;
    *room += o->tokens * o->features;
    copy(o, x, b, h, here, false);
    return packed(o, here);
}

static struct matrix transposed(struct matrix m) {
    return (struct matrix){m.p, m.cols, m.rows, m.col, m.row};
}

/* c = alpha a b */
static void multiply(struct op_node *n, float alpha, struct matrix a, struct matrix b,
                     struct matrix c) {
    if (c.col != 1) {
        const struct matrix left = transposed(b);
        b = transposed(a);
        a = left;
        c = transposed(c);
    }
    const bool ta = a.col != 1, tb = b.col != 1;
    const struct sgemm_call call = {.ta = ta, .tb = tb, .m = c.rows, .n = c.cols, .k = a.cols,
                                    .lda = ta ? a.col : a.row, .ldb = tb ? b.col : b.row,
                                    .ldc = c.row, .alpha = alpha, .a = a.p, .b = b.p, .c = c.p};
    ot_dense_sgemm(n, &call);
}

/* x's matrix = alpha a b, through `room` where it cannot be written in place. */
static void output(struct op_node *n, const struct operand *o, const struct tensor *x, int64_t b,
                   int64_t h, float alpha, struct matrix left, struct matrix right, float *room) {
    const struct matrix m = at(o, x, b, h, 0);
    const bool direct = is_direct(o, &m);
    multiply(n, alpha, left, right, direct ? m : packed(o, room));
    if (!direct) copy(o, x, b, h, room, true);
}

/* ---- forward ---- */

/* The mask's row for token t, contiguous: as it is, or in `room`; NULL: none. */
static const float *mask_row(const struct op_node *n, int64_t b, int64_t h, int64_t t,
                             float *room) {
    const struct state *s = n->state;
    const struct tensor *m = n->x[MASK];
    int64_t dim[4] = {1, 1, 1, 1};
    if (!m) return NULL;
    for (int i = 0; i < m->rank; i++) dim[4 - m->rank + i] = m->dim[i];
    const int64_t of = (dim[0] > 1 ? b : 0) * dim[1] + (dim[1] > 1 ? h : 0);
    const int64_t lanes_of = m->lanes ? m->lanes : 1, lane = of % lanes_of;
    const float *row = ot_f(m) + (of - lane) * dim[2] * dim[3] + lane +
                       (dim[2] > 1 ? t : 0) * dim[3] * lanes_of;
    if (dim[3] > 1 && lanes_of == 1) return row;
    for (int64_t i = 0; i < s->k.tokens; i++) room[i] = row[dim[3] > 1 ? i * lanes_of : 0];
    return room;
}

static void forward_task(void *arg, int task, int worker) {
    struct op_node *n = arg;
    const struct state *s = n->state;
    const int64_t b = task / s->heads, h = task % s->heads, size = s->q.tokens * s->k.tokens;
    float *room = (float *)n->scratch + (size_t)worker * s->room;
    float *p = s->keep ? (float *)n->save + task * size : room;
    float *mask = room + size, *rest = mask + s->k.tokens;
    const struct matrix product = {p, s->q.tokens, s->k.tokens, s->k.tokens, 1};
    const struct matrix q = input(&s->q, n->x[Q], b, h, &rest);
    const struct matrix k = input(&s->k, n->x[K], b, h, &rest);
    multiply(n, s->scale, q, transposed(k), product);
    for (int64_t t = 0; t < s->q.tokens; t++)
        n->kernels->softmax_row(p + t * s->k.tokens, mask_row(n, b, h, t, mask),
                                (size_t)s->k.tokens);
    const struct matrix v = input(&s->v, n->x[V], b, h, &rest);
    output(n, &s->y, n->y[0], b, h, 1, product, v, rest);
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)(s->samples * s->heads), forward_task, n);
    ot_op_clear_spare(n->y[0]);
}

/* ---- backward ---- */

static void backward_task(void *arg, int task, int worker) {
    struct op_node *n = arg;
    const struct state *s = n->state;
    const int64_t b = task / s->heads, h = task % s->heads, size = s->q.tokens * s->k.tokens;
    float *ds = (float *)n->scratch + (size_t)worker * s->room, *rest = ds + size;
    const struct matrix p = {(float *)n->save + task * size, s->q.tokens, s->k.tokens, s->k.tokens,
                             1};
    const struct matrix product = {ds, p.rows, p.cols, p.row, 1};
    const struct matrix dy = input(&s->y, n->dy[0], b, h, &rest);
    if (n->dx[V]) output(n, &s->v, n->dx[V], b, h, 1, transposed(p), dy, rest);
    if (!n->dx[Q] && !n->dx[K]) return;
    const struct matrix v = input(&s->v, n->x[V], b, h, &rest);
    multiply(n, 1, dy, transposed(v), product);
    for (int64_t t = 0; t < s->q.tokens; t++)
        n->kernels->softmax_row_back(p.p + t * p.row, ds + t * p.row, s->scale, (size_t)p.cols);
    const struct matrix k = input(&s->k, n->x[K], b, h, &rest);
    if (n->dx[Q]) output(n, &s->q, n->dx[Q], b, h, 1, product, k, rest);
    const struct matrix q = input(&s->q, n->x[Q], b, h, &rest);
    if (n->dx[K]) output(n, &s->k, n->dx[K], b, h, 1, transposed(product), q, rest);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)(s->samples * s->heads), backward_task, n);
    for (int i = Q; i <= V; i++)
        if (n->dx[i]) ot_op_clear_spare(n->dx[i]);
}

#define HEADS "perm_q=0,2,1,3 perm_k=0,2,3,1 perm_v=0,2,1,3 perm_y=0,2,1,3"
static const char *const cases[] = {
    "Q[2,5,3,4] K[2,5,3,4] V[2,5,3,4] - - - - " HEADS " lanes -> Y[2,5,3,4]",
    "Q[3,16,2,8] K[3,16,2,8] V[3,16,2,8] f(0.5) f(0.5) f(0.7) - " HEADS " lanes -> Y[3,16,2,8]",
    "Q[2,8,2,4] K[2,20,2,4] V[2,20,2,3] - - f(2) M[2,1,1,20]:c " HEADS
    " divide=1 lanes -> Y[2,8,2,3]",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] - - f(0.5) M[5,5]:c -> Y[2,3,5,4]",
    "Q[2,3,5,4] K[2,3,5,4] V[2,3,5,4] - - f{0.5} M[2,3,1,1]:c perm_k=0,1,3,2 perm_y=0,2,1,3 -> "
    "Y[2,5,3,4]",
    "Q[2,5,3,4] K[2,5,4,3] V[2,5,3,4] - - - M[2,3,5,5]:c perm_q=0,2,1,3 perm_k=0,3,2,1 "
    "perm_v=0,2,1,3 perm_y=0,2,1,3 lanes -> Y[2,5,3,4]",
    "Q[5,2,4,3] K[3,4,2,5] V[2,3,5,4] - - - - perm_q=1,3,0,2 perm_k=2,0,1,3 -> Y[2,3,5,4]",
    "Q[2,3,5,4] K[2,3,5,4] V[2,3,5,4] - - - - -> error: do not fit",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] - - f{1,2} - -> error: do not fit",
    NULL};

const struct op ot_op_ScaledAttention = {
    .name = "ScaledAttention",
    .since = 1,
    .min_in = 3,
    .max_in = INPUTS,
    .min_out = 1,
    .max_out = 1,
    .attributes = "perm_q:I perm_k:I perm_v:I perm_y:I divide:i",
    .needs = OT_X(Q) | OT_X(K) | OT_X(V),
    .internal = true,
    .state_size = sizeof(struct state),
    .fits = fits,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
