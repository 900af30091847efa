/* scaled_attention.c - ScaledAttention (internal): y = softmax(scale q k^T, masked) v, for each
 * sample and head; what exporters write as Transpose, MatMul, Mul or Div, Add, Softmax and MatMul.
 *
 * With p = softmax(..) and ds = p (dp - sum of dp p):
 * dv = p^T dy, dp = dy v^T, dq = scale ds k, dk = scale ds^T q, and a mask that is added gets ds,
 * summed over what it is broadcast to. p is kept for backward. Where a mask replaces scores, ds is
 * 0. q and k may be turned by rotary embeddings, as the turned form is made where it is copied.
 *
 * q, k, v, y, masks and angles are read and written where they are (attention_operand.h), as the
 * views that came with the node say. Without a view, perm_q turns q into [..][tokens][features], as
 * Transpose's perm; perm_k turns k into [..][features][tokens]; perm_y turns a result like q into
 * y. Neighbouring matrices of q may share one of k and v: their gradients are summed.
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/product/dnnl.h"
#include "ops/walk/attention_operand.h"
#include "ops/walk/attention_views.h"

enum { Q = OT_ATTENTION_Q, K, V, MASK, ANGLE = OT_ATTENTION_ANGLE, FACTOR = OT_ATTENTION_FACTOR };

struct mask {
    struct operand o;
    enum attention_mask mode;
    float fill;
};

struct scaled_attention_plan {
    struct operand q, k, v, y, angle[4];
    struct mask mask[OT_ATTENTION_MASKS];
    int source[3]; /* inputs that q, k and v are in */
    int64_t matrices, queries, keys;
    int64_t share;  /* matrices of q that share one of k and v */
    int64_t period; /* mask gradients: those of matrices so far apart go to one place; 0: none */
    float scale;
    size_t room; /* floats of scratch of a worker */
    bool keep;   /* p is kept */
    bool causal; /* query t looks at keys up to t */
    bool guard;  /* a row of scores without a number gives 0 */
    bool partly; /* some elements of the inputs are not read: their gradients are 0 */
    int tasks;
};

/* ---- prepare ---- */

static bool fits(const struct op_node *n) {
    struct attention_views w;
    return ot_attention_views(n, &w);
}

/* Samples and tokens are the axes that lanes merge. */
static bool lanes(const struct op_node *n, int lane_rank) {
    struct attention_views w;
    if (!ot_attention_views(n, &w)) return false;
    const struct view *const v[] = {&w.q, &w.k, &w.v};
    for (int i = Q; i <= V; i++) {
        const struct tensor *x = ot_attention_source(n, i);
        if (x->rank <= lane_rank || !ot_operand_lanes(v[i], ot_dims_product(x, lane_rank, x->rank)))
            return false;
    }
    return ot_attention_rank(&w, ot_attention_source(n, Q), lane_rank) > 0;
}

/* After how many matrices the places of a mask begin again. */
static int64_t period_of(const struct operand *o) {
    for (int64_t n = 1; n < o->matrices; n++) {
        bool same = o->matrices % n == 0;
        for (int64_t m = n; same && m < o->matrices; m++) same = o->matrix[m] == o->matrix[m - n];
        if (same) return n;
    }
    return o->matrices;
}

/* Places that different tasks would write to. */
static bool aliases(const struct operand *o, int64_t period) {
    for (int64_t i = 1; i < period; i++)
        for (int64_t j = 0; j < i; j++)
            if (o->matrix[i] == o->matrix[j]) return true;
    return false;
}

/* Who works on which matrices: those that share a gradient are one task's. */
static void share_out(const struct op_node *n, struct scaled_attention_plan *plan) {
    plan->period = 0;
    for (int i = 0; i < OT_ATTENTION_MASKS; i++) {
        if (MASK + i >= n->n_in || !ot_training_wants(n, MASK + i)) continue;
        const int64_t period = period_of(&plan->mask[i].o);
        const bool alone = plan->share != 1 || (plan->period && plan->period != period) ||
                           aliases(&plan->mask[i].o, period);
        plan->period = alone ? 1 : period;
    }
    plan->tasks = (int)(plan->period ? plan->period : plan->matrices / plan->share);
}

static ot_status prepare_masks(struct op_node *n, const struct attention_views *w, ot_error *err) {
    struct scaled_attention_plan *plan = ot_op_plan(n);
    int count;
    const int64_t *modes = ot_attr_ints(n->node, "masks", &count);
    const struct attr *fills = ot_attr(n->node, "fills");
    for (int i = 0; i < OT_ATTENTION_MASKS; i++) {
        struct mask *m = &plan->mask[i];
        if (MASK + i >= n->n_in || !n->x[MASK + i]) continue;
        OT_TRY(ot_operand_prepare(n, &w->mask[i], NULL, &m->o, err));
        m->mode = modes ? (enum attention_mask)modes[i] : OT_MASK_ADD;
        m->fill = fills ? fills->floats[i] : -INFINITY;
    }
    return OT_OK;
}

static ot_status prepare_angles(struct op_node *n, const struct attention_views *w, ot_error *err) {
    struct scaled_attention_plan *plan = ot_op_plan(n);
    for (int i = 0; i < 4; i++) {
        struct operand *const o = i < 2 ? &plan->q : &plan->k;
        if (ANGLE + i >= n->n_in || !n->x[ANGLE + i]) continue;
        OT_TRY(ot_operand_prepare(n, &w->angle[i], NULL, &plan->angle[i], err));
        o->angle[i % 2] = &plan->angle[i];
    }
    return OT_OK;
}

static ot_status prepare_operands(struct op_node *n, const struct attention_views *w,
                                  ot_error *err) {
    struct scaled_attention_plan *plan = ot_op_plan(n);
    int count;
    const int64_t *from = ot_attr_ints(n->node, "sources", &count);
    for (int i = Q; i <= V; i++) plan->source[i] = from ? (int)from[i] : i;
    const struct tensor *q = n->x[plan->source[Q]], *k = n->x[plan->source[K]],
                        *v = n->x[plan->source[V]];
    const int rank = ot_attention_rank(w, q, q->lane_rank);
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, w->rank, w->dim, err));
    if (n->y[0]->lanes) n->y[0]->lane_rank = rank;
    OT_TRY(ot_operand_prepare(n, &w->q, q, &plan->q, err));
    OT_TRY(ot_operand_prepare(n, &w->k, k, &plan->k, err));
    OT_TRY(ot_operand_prepare(n, &w->v, v, &plan->v, err));
    OT_TRY(ot_operand_prepare(n, &w->y, n->y[0], &plan->y, err));
    OT_TRY(prepare_masks(n, w, err));
    return prepare_angles(n, w, err);
}

/* Does the gradient of every element of what q, k and v are in come from here? */
static bool reads_all(const struct op_node *n, const struct scaled_attention_plan *plan) {
    const struct operand *const o[] = {&plan->q, &plan->k, &plan->v};
    for (int i = Q; i <= V; i++) {
        int64_t read = 0;
        for (int k = Q; k <= V; k++)
            if (plan->source[k] == plan->source[i])
                read += o[k]->matrices / (k == Q ? 1 : plan->share) * o[k]->tokens * o[k]->features;
        if (read != ot_elements(n->x[plan->source[i]])) return false;
    }
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct scaled_attention_plan *plan = ot_op_plan(n);
    struct attention_views w;
    if (!ot_attention_views(n, &w))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the shapes of the operands do not fit each other");
    OT_TRY(prepare_operands(n, &w, err));
    plan->scale = w.scale;
    plan->guard = ot_attr_int(n->node, "guard", 0) != 0;
    plan->causal = ot_attr_int(n->node, "causal", 0) != 0;
    plan->matrices = plan->q.matrices;
    plan->queries = plan->q.tokens;
    plan->keys = plan->k.tokens;
    plan->share = w.share;
    share_out(n, plan);
    plan->partly = !reads_all(n, plan);
    const size_t p = (size_t)plan->queries * (size_t)plan->keys;
    const size_t q = ot_operand_size(&plan->q), k = ot_operand_size(&plan->k);
    plan->keep = n->want != 0;
    plan->room = p + 4 * (q + k) + 2 * (ot_operand_size(&plan->v) + ot_operand_size(&plan->y)) +
                 2 * (size_t)plan->keys + 4;
    plan->room = (plan->room + 15) / 16 * 16;
    if (plan->keep) n->save_size = (size_t)plan->matrices * p * sizeof(float);
    n->forward_scratch_size = n->backward_scratch_size =
        (size_t)n->workers * plan->room * sizeof(float);
    n->flops =
        2.0 * (double)plan->matrices * (double)p * (double)(plan->q.features + plan->v.features);
    n->kernel = "dnnl gemm";
    return OT_OK;
}

/* ---- what a worker has ---- */

/* In scratch: scores, a mask's row, tables of angles of q and of k with the matrices that they are
 * of, and copies of operands. */
struct desk {
    float *scores, *mask, *angles[2], *rest;
    int64_t *key; /* + 1; 0: there is none yet */
};

static struct desk desk_of(const struct op_node *n, int worker) {
    const struct scaled_attention_plan *plan = n->plan;
    struct desk d;
    d.key = (int64_t *)(void *)((float *)n->scratch + (size_t)worker * plan->room);
    d.angles[0] = (float *)(void *)(d.key + 2);
    d.angles[1] = d.angles[0] + (plan->q.angle[0] ? 2 * ot_operand_size(&plan->q) : 0);
    d.scores = d.angles[1] + (plan->k.angle[0] ? 2 * ot_operand_size(&plan->k) : 0);
    d.mask = d.scores + plan->queries * plan->keys;
    d.rest = d.mask + 2 * plan->keys;
    return d;
}

/* Neighbouring matrices mostly have the same angles. */
static void find_angles(const struct op_node *n, struct desk *d, int64_t m) {
    const struct scaled_attention_plan *plan = n->plan;
    const struct operand *const o[] = {&plan->q, &plan->k};
    for (int i = 0; i < 2; i++) {
        if (!o[i]->angle[0]) continue;
        const int64_t key = ot_operand_angle_key(o[i], m) + 1;
        if (d->key[i] != key) ot_operand_angles(o[i], n->x + ANGLE + 2 * i, m, d->angles[i]);
        d->key[i] = key;
    }
}

static void clear_desks(struct op_node *n) {
    for (int w = 0; w < n->workers; w++) {
        const struct desk d = desk_of(n, w);
        d.key[0] = d.key[1] = 0;
    }
}

static struct matrix transposed(struct matrix m) {
    return (struct matrix){m.p, m.cols, m.rows, m.col, m.row};
}

/* c = alpha a b + beta c */
static void multiply_matrices(struct op_node *n, float alpha, struct matrix a, struct matrix b,
                              float beta, struct matrix c) {
    if (c.col != 1) {
        const struct matrix left = transposed(b);
        b = transposed(a);
        a = left;
        c = transposed(c);
    }
    const bool ta = a.col != 1, tb = b.col != 1;
    const struct sgemm_call call = {.ta = ta,
                                    .tb = tb,
                                    .m = c.rows,
                                    .n = c.cols,
                                    .k = a.cols,
                                    .lda = ta ? a.col : a.row,
                                    .ldb = tb ? b.col : b.row,
                                    .ldc = c.row,
                                    .alpha = alpha,
                                    .beta = beta,
                                    .a = a.p,
                                    .b = b.p,
                                    .c = c.p};
    ot_dense_sgemm(n, &call);
}

/* ---- masks ---- */

/* Row t of an added mask, contiguous: as it is, or in `room`. */
static const float *added_row(const struct mask *m, const struct tensor *x, int64_t at,
                              float *room) {
    const float *row = ot_f(x) + at;
    if (m->o.feature_step == 1) return row + m->o.feature[0];
    for (int64_t i = 0; i < m->o.features; i++) room[i] = row[m->o.feature[i]];
    return room;
}

/* Sets scores to `fill` where the mask says so. */
static void mask_scores(const struct mask *m, const struct tensor *x, int64_t at, float fill,
                        float *score) {
    const uint8_t *row = (const uint8_t *)x->data + at, keeps = m->mode == OT_MASK_KEEP_TRUE;
    for (int64_t i = 0; i < m->o.features; i++)
        score[i] = (row[m->o.feature[i]] != 0) == keeps ? score[i] : fill;
}

static void softmax(struct op_node *n, int64_t m, int64_t t, float *score, float *room) {
    const struct scaled_attention_plan *plan = n->plan;
    const float *last = NULL; /* added by the kernel */
    for (int i = 0; i < OT_ATTENTION_MASKS && MASK + i < n->n_in; i++) {
        const struct mask *mask = &plan->mask[i];
        if (!n->x[MASK + i]) continue;
        const int64_t at = mask->o.matrix[m] + mask->o.token[t];
        for (int64_t k = 0; last && k < plan->keys; k++) score[k] += last[k];
        last = NULL;
        if (mask->mode == OT_MASK_ADD)
            last = added_row(mask, n->x[MASK + i], at, room);
        else
            mask_scores(mask, n->x[MASK + i], at, mask->fill, score);
    }
    const int64_t seen = plan->causal && t + 1 < plan->keys ? t + 1 : plan->keys;
    n->kernels->softmax_row(score, last, (size_t)seen);
    memset(score + seen, 0, (size_t)(plan->keys - seen) * sizeof *score);
    if (plan->guard && !isfinite(score[0])) memset(score, 0, (size_t)plan->keys * sizeof *score);
}

/* Gradients of scores are 0 where a mask replaces them, and are those of what a mask adds. */
static void softmax_back(struct op_node *n, int64_t m, int64_t t, float *ds) {
    const struct scaled_attention_plan *plan = n->plan;
    for (int i = OT_ATTENTION_MASKS - 1; i >= 0; i--) {
        const struct mask *mask = &plan->mask[i];
        if (MASK + i >= n->n_in || !n->x[MASK + i]) continue;
        const int64_t at = mask->o.matrix[m] + mask->o.token[t];
        float *dm = n->dx[MASK + i] ? ot_f(n->dx[MASK + i]) + at : NULL;
        if (mask->mode != OT_MASK_ADD) mask_scores(mask, n->x[MASK + i], at, 0, ds);
        for (int64_t k = 0; dm && k < plan->keys; k++) dm[mask->o.feature[k]] += ds[k];
    }
}

/* ---- forward ---- */

static void attend(struct op_node *n, int64_t m, struct desk d) {
    const struct scaled_attention_plan *plan = n->plan;
    float *p = plan->keep ? (float *)n->save + m * plan->queries * plan->keys : d.scores;
    const struct matrix product = {p, plan->queries, plan->keys, plan->keys, 1};
    find_angles(n, &d, m);
    const struct matrix q =
        ot_operand_read(&plan->q, n->x[plan->source[Q]], m, d.angles[0], &d.rest);
    const struct matrix k =
        ot_operand_read(&plan->k, n->x[plan->source[K]], m, d.angles[1], &d.rest);
    multiply_matrices(n, plan->scale, q, transposed(k), 0, product);
    for (int64_t t = 0; t < plan->queries; t++) softmax(n, m, t, p + t * plan->keys, d.mask);
    const struct matrix v = ot_operand_read(&plan->v, n->x[plan->source[V]], m, NULL, &d.rest);
    const struct matrix y = ot_operand_target(&plan->y, n->y[0], m, &d.rest);
    multiply_matrices(n, 1, product, v, 0, y);
    ot_operand_write(&plan->y, n->y[0], m, NULL, y);
}

static void forward_task(void *arg, int task, int worker) {
    struct op_node *n = arg;
    attend(n, task, desk_of(n, worker));
}

static void forward(struct op_node *n) {
    const struct scaled_attention_plan *plan = n->plan;
    clear_desks(n);
    ot_parallel_for(n->pool, (int)plan->matrices, forward_task, n);
    ot_op_clear_spare(n->y[0]);
}

/* ---- backward ---- */

/* Gradients of k and v, which several matrices of q share. */
struct shared_gradient {
    struct matrix dk, dv;
    float beta; /* 0 for the first of them */
};

static void attend_back(struct op_node *n, int64_t m, struct shared_gradient *g, struct desk d) {
    const struct scaled_attention_plan *plan = n->plan;
    struct tensor *dxq = n->dx[plan->source[Q]], *dxk = n->dx[plan->source[K]];
    float *ds = d.scores;
    const struct matrix p = {(float *)n->save + m * plan->queries * plan->keys, plan->queries,
                             plan->keys, plan->keys, 1};
    const struct matrix product = {ds, p.rows, p.cols, p.row, 1};
    const struct matrix dy = ot_operand_read(&plan->y, n->dy[0], m, NULL, &d.rest);
    if (g->dv.p) multiply_matrices(n, 1, transposed(p), dy, g->beta, g->dv);
    if (!dxq && !dxk && !plan->period) return;
    const struct matrix v = ot_operand_read(&plan->v, n->x[plan->source[V]], m, NULL, &d.rest);
    multiply_matrices(n, 1, dy, transposed(v), 0, product);
    for (int64_t t = 0; t < plan->queries; t++) {
        n->kernels->softmax_row_back(p.p + t * p.row, ds + t * p.row,
                                     plan->period ? 1 : plan->scale, (size_t)p.cols);
        softmax_back(n, m, t, ds + t * p.row);
    }
    const float scale = plan->period ? plan->scale : 1;
    find_angles(n, &d, m);
    if (dxq) {
        const struct matrix k =
            ot_operand_read(&plan->k, n->x[plan->source[K]], m, d.angles[1], &d.rest);
        const struct matrix dq = ot_operand_target(&plan->q, dxq, m, &d.rest);
        multiply_matrices(n, scale, product, k, 0, dq);
        ot_operand_write(&plan->q, dxq, m, d.angles[0], dq);
    }
    if (!g->dk.p) return;
    const struct matrix q =
        ot_operand_read(&plan->q, n->x[plan->source[Q]], m, d.angles[0], &d.rest);
    multiply_matrices(n, scale, transposed(product), q, g->beta, g->dk);
}

/* The matrices from `first` on that share one of k and v. */
static void share_back(struct op_node *n, int64_t first, struct desk d) {
    const struct scaled_attention_plan *plan = n->plan;
    struct tensor *dxk = n->dx[plan->source[K]], *dxv = n->dx[plan->source[V]];
    struct shared_gradient g = {0};
    if (dxk) g.dk = ot_operand_target(&plan->k, dxk, first, &d.rest);
    if (dxv) g.dv = ot_operand_target(&plan->v, dxv, first, &d.rest);
    for (int64_t m = first; m < first + plan->share; m++, g.beta = 1) attend_back(n, m, &g, d);
    find_angles(n, &d, first);
    if (dxk) ot_operand_write(&plan->k, dxk, first, d.angles[1], g.dk);
    if (dxv) ot_operand_write(&plan->v, dxv, first, NULL, g.dv);
}

static void backward_task(void *arg, int task, int worker) {
    struct op_node *n = arg;
    const struct scaled_attention_plan *plan = n->plan;
    const struct desk d = desk_of(n, worker);
    if (!plan->period) {
        share_back(n, task * plan->share, d);
        return;
    }
    for (int64_t m = task * plan->share; m < plan->matrices; m += plan->period * plan->share)
        share_back(n, m, d);
}

static void backward(struct op_node *n) {
    const struct scaled_attention_plan *plan = n->plan;
    clear_desks(n);
    for (int i = Q; i < MASK + OT_ATTENTION_MASKS && i < n->n_in; i++)
        if (n->dx[i] && (i >= MASK || plan->partly)) memset(n->dx[i]->data, 0, ot_bytes(n->dx[i]));
    ot_parallel_for(n->pool, plan->tasks, backward_task, n);
    for (int i = Q; i <= V; i++)
        if (n->dx[i]) ot_op_clear_spare(n->dx[i]);
}

#define HEADS "perm_q=0,2,1,3 perm_k=0,2,3,1 perm_v=0,2,1,3 perm_y=0,2,1,3"
static const char *const cases[] = {
    "Q[2,5,3,4] K[2,5,3,4] V[2,5,3,4] " HEADS " lanes -> Y[2,5,3,4]",
    "Q[3,16,2,8] K[3,16,2,8] V[3,16,2,8] - - - - - - - f(0.5) f(0.5) f(0.7) " HEADS
    " lanes -> Y[3,16,2,8]",
    "Q[2,8,2,4] K[2,20,2,4] V[2,20,2,3] M[2,1,1,20]:c - - - - - - - - f(2) " HEADS
    " divide=4 lanes -> Y[2,8,2,3]",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] M[5,5]:c - - - - - - f(0.5) -> Y[2,3,5,4]",
    "Q[2,3,5,4] K[2,3,5,4] V[2,3,5,4] M[2,3,1,1]:c - - - - - - f{0.5} perm_k=0,1,3,2 "
    "perm_y=0,2,1,3 -> Y[2,5,3,4]",
    "Q[2,5,3,4] K[2,5,4,3] V[2,5,3,4] M[2,3,5,5]:c perm_q=0,2,1,3 perm_k=0,3,2,1 "
    "perm_v=0,2,1,3 perm_y=0,2,1,3 lanes -> Y[2,5,3,4]",
    "Q[5,2,4,3] K[3,4,2,5] V[2,3,5,4] perm_q=1,3,0,2 perm_k=2,0,1,3 -> Y[2,3,5,4]",
    /* masks that are added, and whose gradients are wanted; that replace; matrices without heads */
    "Q[2,5,3,4] K[2,5,3,4] V[2,5,3,4] M[1,3,5,5] N[2,1,1,5]:c " HEADS " lanes -> Y[2,5,3,4]",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] M[3,1,5]:p -> Y[2,3,5,4]",
    "Q[2,5,3,4] K[2,5,3,4] V[2,5,3,4] M[5,5]:b:c N[2,1,1,5]:b " HEADS
    " masks=1,2,0 fills=-3.0,-2.5,0.0 lanes -> Y[2,5,3,4]",
    "Q[2,5,3,4] K[2,5,3,4] V[2,5,3,4] M[2,1,5,5] N[5,5]:b:c " HEADS
    " masks=0,1,0 fills=0.0,-9.0,0.0 lanes -> Y[2,5,3,4]",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] M[5,5]:b:c causal=1 scale=0.3 guard=1 masks=1,0,0 "
    "-> Y[2,3,5,4]",
    "Q[2,3,6,4] K[2,3,4,5] V[2,3,5,4] causal=1 scale=0.3 -> Y[2,3,6,4]",
    "Q[6,5,4] K[6,4,7] V[6,7,3] M[6,1,7] -> Y[6,5,3]",
    /* turned features */
    "Q[2,5,3,4] K[2,5,3,4] V[2,5,3,4] - - - C[5,4]:c S[5,4]:c C[2,1,5,4]:c S[2,1,5,4]:c " HEADS
    " lanes -> Y[2,5,3,4]",
    "Q[2,3,5,6] K[2,3,6,5] V[2,3,5,2] - - - C[5,6]:c S[1,5,6]:c -> Y[2,3,5,2]",
    "Q[2,3,5,4] K[2,3,5,4] V[2,3,5,4] -> error: do not fit",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] - - - - - - - f{1,2} -> error: do not fit",
    "Q[2,3,5,4] K[2,3,4,5] V[2,3,5,4] M[2,5,5]:c -> error: do not fit", NULL};

const struct op ot_op_ScaledAttention = {
    .name = "ScaledAttention",
    .since = 1,
    .min_in = 3,
    .max_in = OT_ATTENTION_INPUTS,
    .min_out = 1,
    .max_out = 1,
    .attributes = "perm_q:I perm_k:I perm_v:I perm_y:I divide:i masks:I fills:F guard:i "
                  "causal:i scale:f",
    .needs = 0x3ffu,
    .rows_in = 0x3f8u,
    .internal = true,
    .plan_size = sizeof(struct scaled_attention_plan),
    .fits = fits,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
