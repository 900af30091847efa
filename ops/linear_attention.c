/* linear_attention.c - LinearAttention: a state S of d_k x d_v numbers for each head of keys and
 * values, which every token changes, and queries read (LinearAttention-27; Yang, Wang, Zhang, Shen,
 * Kim, arXiv 2406.06484):
 *
 *   D = e^g S                 decay g, one for a head or one for each of its keys' elements
 *   u = beta (v - D^T k)      with an update rate beta, else u = v
 *   S = D + k u^T,  o = scale S^T q   for each query head of the group
 *
 * Backward goes the other way, with G the gradient of S:
 *   G += scale q do^T,  dq = scale S do,  du = G^T k,  dk = G u,
 *   with beta: dv = beta du, dbeta = du . (v - D^T k), dr = -beta du, dk += D dr, G += k dr^T;
 *   dg = sum of G D over what shares g,  G = e^g G.
 * Forward keeps S of every token for it.
 */
#include <math.h>
#include <string.h>

#include "ops/op.h"

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA, INPUTS };

struct linear_attention_plan {
    int64_t batch, tokens, heads, group; /* heads of keys; query heads that share one */
    int64_t dk, dv;
    int64_t decays, betas; /* last dimensions of decay and beta; 0: the input is absent */
    float scale;
};

static const struct tensor *input(const struct op_node *n, int i) {
    return i < n->n_in ? n->x[i] : NULL;
}

/* Input i is [batch, tokens, last]. */
static ot_status check_shape(const struct op_node *n, int i, int64_t last, ot_error *err) {
    const struct linear_attention_plan *plan = n->plan;
    const struct tensor *t = n->x[i];
    char text[128];
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (t->rank != 3 || t->dim[0] != plan->batch || t->dim[1] != plan->tokens || t->dim[2] != last)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input %d has shape %s, expected [%lld,%lld,%lld]", i,
                          ot_shape_text(t, text, sizeof text), (long long)plan->batch,
                          (long long)plan->tokens, (long long)last);
    return OT_OK;
}

static ot_status read_heads(struct op_node *n, ot_error *err) {
    struct linear_attention_plan *plan = ot_op_plan(n);
    const struct tensor *q = n->x[QUERY], *v = n->x[VALUE];
    const int64_t queries = ot_attr_int(n->node, "q_num_heads", 0);
    plan->heads = ot_attr_int(n->node, "kv_num_heads", 0);
    if (plan->heads < 1 || queries < 1 || queries % plan->heads)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "%lld heads of queries do not fit %lld heads of keys", (long long)queries,
                          (long long)plan->heads);
    if (q->rank != 3 || v->rank != 3 || q->dim[2] % queries || v->dim[2] % plan->heads ||
        !q->dim[2])
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "queries or values do not have rank 3 with a last dimension that their heads divide");
    plan->group = queries / plan->heads;
    plan->batch = q->dim[0];
    plan->tokens = q->dim[1];
    plan->dk = q->dim[2] / queries;
    plan->dv = v->dim[2] / plan->heads;
    OT_TRY(check_shape(n, QUERY, queries * plan->dk, err));
    OT_TRY(check_shape(n, KEY, plan->heads * plan->dk, err));
    return check_shape(n, VALUE, plan->heads * plan->dv, err);
}

static ot_status read_rule(struct op_node *n, ot_error *err) {
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta"};
    struct linear_attention_plan *plan = ot_op_plan(n);
    const char *rule = ot_attr_string(n->node, "update_rule", "gated_delta");
    int k = 0;
    while (k < 4 && strcmp(rules[k], rule) != 0) k++;
    if (k == 4)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'update_rule' is '%.40s', which is not a known rule", rule);
    if (!input(n, DECAY) != !(k & 1) || !input(n, BETA) != !(k & 2))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'update_rule' is '%s', which %s decay and %s beta", rule,
                          k & 1 ? "needs" : "takes no", k & 2 ? "needs" : "takes no");
    if (k & 1) {
        const struct tensor *t = n->x[DECAY];
        plan->decays =
            t->rank == 3 && t->dim[2] == plan->heads ? plan->heads : plan->heads * plan->dk;
        OT_TRY(check_shape(n, DECAY, plan->decays, err));
    }
    if (k & 2) {
        const struct tensor *t = n->x[BETA];
        plan->betas = t->rank == 3 && t->dim[2] == 1 ? 1 : plan->heads;
        OT_TRY(check_shape(n, BETA, plan->betas, err));
    }
    return OT_OK;
}

/* Floats of one state. */
static int64_t state_size(const struct linear_attention_plan *plan) { return plan->dk * plan->dv; }

static ot_status set_memory(struct op_node *n, ot_error *err) {
    const struct linear_attention_plan *plan = n->plan;
    const size_t tasks = (size_t)(plan->batch * plan->heads),
                 states = (size_t)state_size(plan) * sizeof(float);
    const size_t forward = 2 * states + (size_t)plan->dv * sizeof(float);
    const size_t backward = 2 * states + (size_t)(3 * plan->dv + plan->tokens) * sizeof(float);
    bool fits = ot_mul(tasks, forward, &n->forward_scratch_size) &&
                ot_mul(tasks, backward, &n->backward_scratch_size);
    if (n->want)
        fits = fits && ot_mul(tasks, states, &n->save_size) &&
               ot_mul(n->save_size, (size_t)plan->tokens + 1, &n->save_size);
    n->flops = 6.0 * (double)tasks * (double)plan->tokens * (double)state_size(plan);
    return fits ? OT_OK
                : ot_op_fail(n, err, OT_ERROR_LIMIT,
                             "the node needs more than 2^63 bytes of scratch memory");
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct linear_attention_plan *plan = ot_op_plan(n);
    char text[128];
    OT_TRY(read_heads(n, err));
    OT_TRY(read_rule(n, err));
    const int64_t out[] = {plan->batch, plan->tokens, plan->heads * plan->group * plan->dv};
    struct tensor last = {.rank = 4, .dim = {plan->batch, plan->heads, plan->dk, plan->dv}};
    if (input(n, PAST)) {
        OT_TRY(ot_op_type(n, PAST, OT_FLOAT, err));
        if (!ot_same_shape(n->x[PAST], &last))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "the past state has shape %s, which does not fit the keys and values",
                              ot_shape_text(n->x[PAST], text, sizeof text));
    }
    plan->scale = ot_attr_float(n->node, "scale", 0);
    if (plan->scale == 0) plan->scale = 1 / sqrtf((float)plan->dk);
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 3, out, err));
    if (n->n_out > 1 && n->y[1]) OT_TRY(ot_op_set(n, n->y[1], OT_FLOAT, 4, last.dim, err));
    return set_memory(n, err);
}

/* ---- one head of one sample ---- */

/* What a token brings; gradients are NULL where nobody wants them. */
struct token {
    const float *q, *k, *v, *g, *beta;
    float *o;
};

/* Row `token` of t, [batch, tokens, heads x width], from the part of head h on; NULL: no t. */
static float *part(const struct tensor *t, const struct linear_attention_plan *plan, int64_t b,
                   int64_t token, int64_t h, int64_t width) {
    return t ? ot_f(t) + (b * plan->tokens + token) * t->dim[2] + h * width : NULL;
}

static struct token token_of(const struct op_node *n, struct tensor *const *t, struct tensor *o,
                             int64_t head, int64_t i) {
    const struct linear_attention_plan *plan = n->plan;
    const int64_t b = head / plan->heads, h = head % plan->heads;
    const struct tensor *decay = n->n_in > DECAY ? t[DECAY] : NULL;
    const struct tensor *beta = n->n_in > BETA ? t[BETA] : NULL;
    return (struct token){
        .q = part(t[QUERY], plan, b, i, h, plan->group * plan->dk),
        .k = part(t[KEY], plan, b, i, h, plan->dk),
        .v = part(t[VALUE], plan, b, i, h, plan->dv),
        .g = part(decay, plan, b, i, h, plan->decays == plan->heads ? 1 : plan->dk),
        .beta = part(beta, plan, b, i, plan->betas == 1 ? 0 : h, 1),
        .o = part(o, plan, b, i, h, plan->group * plan->dv)};
}

/* Element i of g for element i of the keys: one for all, or its own. */
static inline float decay_at(const struct linear_attention_plan *plan, const float *g, int64_t i) {
    return expf(g[plan->decays == plan->heads ? 0 : i]);
}

/* D, and what the token adds: u. */
static void decay_and_read(const struct linear_attention_plan *plan, const struct token *t,
                           const float *before, float *d, float *u) {
    for (int64_t i = 0; i < plan->dk; i++) {
        const float keep = t->g ? decay_at(plan, t->g, i) : 1;
        for (int64_t m = 0; m < plan->dv; m++)
            d[i * plan->dv + m] = keep * before[i * plan->dv + m];
    }
    memcpy(u, t->v, (size_t)plan->dv * sizeof *u);
    if (!t->beta) return;
    for (int64_t i = 0; i < plan->dk; i++)
        for (int64_t m = 0; m < plan->dv; m++) u[m] -= d[i * plan->dv + m] * t->k[i];
    for (int64_t m = 0; m < plan->dv; m++) u[m] *= *t->beta;
}

static void answer(const struct linear_attention_plan *plan, const struct token *t,
                   const float *now) {
    memset(t->o, 0, (size_t)(plan->group * plan->dv) * sizeof *t->o);
    for (int64_t p = 0; p < plan->group; p++)
        for (int64_t i = 0; i < plan->dk; i++) {
            const float q = plan->scale * t->q[p * plan->dk + i];
            for (int64_t m = 0; m < plan->dv; m++)
                t->o[p * plan->dv + m] += q * now[i * plan->dv + m];
        }
}

static void forward_head(void *arg, int head, int worker) {
    const struct op_node *n = arg;
    const struct linear_attention_plan *plan = n->plan;
    const int64_t size = state_size(plan);
    const size_t bytes = (size_t)size * sizeof(float);
    float *work = (float *)n->scratch + head * (2 * size + plan->dv), *u = work + 2 * size;
    float *kept = n->save_size ? (float *)n->save + head * (plan->tokens + 1) * size : NULL;
    float *before = kept ? kept : work;
    (void)worker;
    if (input(n, PAST))
        memcpy(before, ot_f(n->x[PAST]) + head * size, bytes);
    else
        memset(before, 0, bytes);
    for (int64_t i = 0; i < plan->tokens; i++) {
        const struct token t = token_of(n, n->x, n->y[0], head, i);
        float *now = kept ? before + size : before == work ? work + size : work;
        decay_and_read(plan, &t, before, now, u);
        for (int64_t j = 0; j < plan->dk; j++)
            for (int64_t m = 0; m < plan->dv; m++) now[j * plan->dv + m] += t.k[j] * u[m];
        answer(plan, &t, now);
        before = now;
    }
    if (n->n_out > 1 && n->y[1]) memcpy(ot_f(n->y[1]) + head * size, before, bytes);
}

static void forward(struct op_node *n) {
    const struct linear_attention_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)(plan->batch * plan->heads), forward_head, n);
}

/* ---- backward ---- */

/* Of one head: G, D, and vectors. */
struct back {
    float *g, *d, *u, *du, *dr, *dbeta;
};

static struct back back_of(const struct op_node *n, int64_t head) {
    const struct linear_attention_plan *plan = n->plan;
    const int64_t size = state_size(plan);
    float *p = (float *)n->scratch + head * (2 * size + 3 * plan->dv + plan->tokens);
    return (struct back){p,
                         p + size,
                         p + 2 * size,
                         p + 2 * size + plan->dv,
                         p + 2 * size + 2 * plan->dv,
                         p + 2 * size + 3 * plan->dv};
}

/* G += scale q do^T, dq = scale S do. */
static void answer_back(const struct linear_attention_plan *plan, const struct token *t,
                        const float *dout, const float *now, float *g, float *dq) {
    for (int64_t p = 0; p < plan->group; p++)
        for (int64_t i = 0; i < plan->dk; i++) {
            const float q = plan->scale * t->q[p * plan->dk + i], *o = dout + p * plan->dv;
            float sum = 0;
            for (int64_t m = 0; m < plan->dv; m++) {
                g[i * plan->dv + m] += q * o[m];
                sum += now[i * plan->dv + m] * o[m];
            }
            if (dq) dq[p * plan->dk + i] = plan->scale * sum;
        }
}

/* du, dk, dv, dbeta, and what the delta rule adds to G. */
static void update_back(const struct linear_attention_plan *plan, const struct token *t,
                        const struct back *b, int64_t i, float *dk, float *dv) {
    memset(b->du, 0, (size_t)plan->dv * sizeof *b->du);
    for (int64_t j = 0; j < plan->dk; j++) {
        float sum = 0;
        for (int64_t m = 0; m < plan->dv; m++) {
            b->du[m] += b->g[j * plan->dv + m] * t->k[j];
            sum += b->g[j * plan->dv + m] * b->u[m];
        }
        if (dk) dk[j] = sum;
    }
    const float beta = t->beta ? *t->beta : 1;
    for (int64_t m = 0; dv && m < plan->dv; m++) dv[m] = beta * b->du[m];
    if (!t->beta) return;
    memcpy(b->dr, t->v, (size_t)plan->dv * sizeof *b->dr); /* v - D^T k, not through beta */
    for (int64_t j = 0; j < plan->dk; j++)
        for (int64_t m = 0; m < plan->dv; m++) b->dr[m] -= b->d[j * plan->dv + m] * t->k[j];
    float rate = 0;
    for (int64_t m = 0; m < plan->dv; m++) {
        rate += b->du[m] * b->dr[m];
        b->dr[m] = -beta * b->du[m];
    }
    b->dbeta[i] = rate;
    for (int64_t j = 0; j < plan->dk; j++) {
        float sum = 0;
        for (int64_t m = 0; m < plan->dv; m++) {
            sum += b->d[j * plan->dv + m] * b->dr[m];
            b->g[j * plan->dv + m] += t->k[j] * b->dr[m];
        }
        if (dk) dk[j] += sum;
    }
}

static void decay_back(const struct linear_attention_plan *plan, const struct token *t,
                       const struct back *b, float *dg) {
    const bool shared = plan->decays == plan->heads;
    float all = 0;
    for (int64_t j = 0; j < plan->dk; j++) {
        const float keep = decay_at(plan, t->g, j);
        float sum = 0;
        for (int64_t m = 0; m < plan->dv; m++) {
            sum += b->g[j * plan->dv + m] * b->d[j * plan->dv + m];
            b->g[j * plan->dv + m] *= keep;
        }
        all += sum;
        if (dg && !shared) dg[j] = sum;
    }
    if (dg && shared) *dg = all;
}

static void backward_head(void *arg, int head, int worker) {
    const struct op_node *n = arg;
    const struct linear_attention_plan *plan = n->plan;
    const int64_t size = state_size(plan);
    const size_t bytes = (size_t)size * sizeof(float);
    const float *kept = (const float *)n->save + head * (plan->tokens + 1) * size;
    const struct back b = back_of(n, head);
    (void)worker;
    if (n->n_out > 1 && n->dy[1])
        memcpy(b.g, ot_f(n->dy[1]) + head * size, bytes);
    else
        memset(b.g, 0, bytes);
    for (int64_t i = plan->tokens - 1; i >= 0; i--) {
        const struct token t = token_of(n, n->x, n->dy[0], head, i);
        const struct token d = token_of(n, n->dx, NULL, head, i);
        decay_and_read(plan, &t, kept + i * size, b.d, b.u);
        if (t.o)
            answer_back(plan, &t, t.o, kept + (i + 1) * size, b.g, (float *)d.q);
        else if (d.q)
            memset((float *)d.q, 0, (size_t)(plan->group * plan->dk) * sizeof *d.q);
        update_back(plan, &t, &b, i, (float *)d.k, (float *)d.v);
        if (t.g) decay_back(plan, &t, &b, (float *)d.g);
    }
    if (n->n_in > PAST && n->dx[PAST]) memcpy(ot_f(n->dx[PAST]) + head * size, b.g, bytes);
}

/* Rates that all heads share get the sum of theirs. */
static void collect_rates(const struct op_node *n) {
    const struct linear_attention_plan *plan = n->plan;
    float *dbeta = ot_f(n->dx[BETA]);
    memset(dbeta, 0, ot_bytes(n->dx[BETA]));
    for (int64_t head = 0; head < plan->batch * plan->heads; head++) {
        const struct back b = back_of(n, head);
        const int64_t h = plan->betas == 1 ? 0 : head % plan->heads;
        for (int64_t i = 0; i < plan->tokens; i++)
            dbeta[(head / plan->heads * plan->tokens + i) * plan->betas + h] += b.dbeta[i];
    }
}

static void backward(struct op_node *n) {
    const struct linear_attention_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)(plan->batch * plan->heads), backward_head, n);
    if (n->n_in > BETA && n->dx[BETA]) collect_rates(n);
}

static const char *const cases[] = {
    "Q[2,3,8] K[2,3,8] V[2,3,6] q_num_heads=2 kv_num_heads=2 update_rule=linear -> Y[2,3,6]",
    "Q[2,3,8] K[2,3,4] V[2,3,5] P[2,1,4,5] D[2,3,1] q_num_heads=2 kv_num_heads=1 "
    "update_rule=gated range=-1,1 -> Y[2,3,10] S[2,1,4,5]",
    "Q[2,3,6] K[2,3,6] V[2,3,4] - - B[2,3,2] q_num_heads=2 kv_num_heads=2 update_rule=delta "
    "scale=0.5 range=-1,1 -> Y[2,3,4] S[2,2,3,2]",
    "Q[1,4,12] K[1,4,6] V[1,4,4] P[1,2,3,2] D[1,4,6] B[1,4,1] q_num_heads=4 kv_num_heads=2 "
    "range=-1,1 -> Y[1,4,8] S[1,2,3,2]",
    "f[1,2,1]{1,2} f[1,2,1]{3,1} f[1,2,1]{2,5} q_num_heads=1 kv_num_heads=1 update_rule=linear "
    "-> f[1,2,1]{6,22} f[1,1,1,1]{11}",
    "Q[2,3,8] K[2,3,8] V[2,3,6] q_num_heads=2 kv_num_heads=2 -> error: attribute 'update_rule' is "
    "'gated_delta', which needs decay and needs beta",
    "Q[2,3,8] K[2,3,8] V[2,3,6] q_num_heads=3 kv_num_heads=2 -> error: 3 heads of queries",
    "Q[2,3,8] K[2,3,7] V[2,3,6] q_num_heads=2 kv_num_heads=2 update_rule=linear -> "
    "error: input 1 has shape [2,3,7], expected [2,3,8]",
    NULL,
};

const struct op ot_op_LinearAttention = {
    .name = "LinearAttention",
    .since = 27,
    .min_in = 3,
    .max_in = INPUTS,
    .min_out = 1,
    .max_out = 2,
    .attributes = "chunk_size:i kv_num_heads:i q_num_heads:i scale:f update_rule:s",
    .needs = OT_X(QUERY) | OT_X(KEY) | OT_X(VALUE) | OT_X(DECAY) | OT_X(BETA),
    .all_outputs = true,
    .plan_size = sizeof(struct linear_attention_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
