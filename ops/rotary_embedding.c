/* rotary_embedding.c - RotaryEmbedding: pairs of x turned by the angle of their position,
 * (a, b) -> (a cos - b sin, a sin + b cos) (ONNX RotaryEmbedding-23). The gradient turns back. */
#include <string.h>

#include "ops/op.h"

struct rotary_embedding_plan {
    int64_t batch, heads, tokens, depth, pairs; /* pairs: that are turned, of depth / 2 */
    int64_t head_stride, token_stride;          /* in x */
    int64_t positions;                          /* of the caches; 0: they come by token */
    bool interleaved;
};

static ot_status read_shape(const struct op_node *n, struct rotary_embedding_plan *plan,
                            ot_error *err) {
    const struct tensor *x = n->x[0];
    const int64_t heads = ot_attr_int(n->node, "num_heads", 0);
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (x->rank != 4 && (x->rank != 3 || heads < 1 || x->dim[2] % heads))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 has rank %d with %lld heads, expected rank 4, or rank 3 with "
                          "the number of heads",
                          x->rank, (long long)heads);
    const bool by_head = x->rank == 4;
    plan->batch = x->dim[0];
    plan->heads = by_head ? x->dim[1] : heads;
    plan->tokens = x->dim[by_head ? 2 : 1];
    plan->depth = by_head ? x->dim[3] : x->dim[2] / heads;
    plan->head_stride = by_head ? plan->tokens * plan->depth : plan->depth;
    plan->token_stride = by_head ? plan->depth : plan->heads * plan->depth;
    const int64_t turned = ot_attr_int(n->node, "rotary_embedding_dim", 0);
    plan->pairs = (turned ? turned : plan->depth) / 2;
    if (turned < 0 || turned > plan->depth || (turned ? turned : plan->depth) % 2)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'rotary_embedding_dim' is %lld, expected an even number up to %lld",
            (long long)turned, (long long)plan->depth);
    plan->interleaved = ot_attr_int(n->node, "interleaved", 0) != 0;
    return OT_OK;
}

/* Caches are [positions, pairs] with position_ids, else [batch, tokens, pairs]. */
static ot_status check_caches(const struct op_node *n, struct rotary_embedding_plan *plan,
                              ot_error *err) {
    const struct tensor *ids = n->n_in > 3 ? n->x[3] : NULL, *cos = n->x[1];
    char text[128];
    for (int i = 1; i < 3; i++) {
        OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
        const struct tensor *c = n->x[i];
        const bool fits = ids ? c->rank == 2 && c->dim[1] == plan->pairs &&
                                    c->dim[0] == cos->dim[0] && c->dim[0] > 0
                              : c->rank == 3 && c->dim[0] == plan->batch &&
                                    c->dim[1] == plan->tokens && c->dim[2] == plan->pairs;
        if (!fits)
            return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                              "input %d has shape %s, which does not fit %lld pairs of features", i,
                              ot_shape_text(c, text, sizeof text), (long long)plan->pairs);
    }
    if (!ids) return OT_OK;
    OT_TRY(ot_op_type(n, 3, OT_INT64, err));
    plan->positions = cos->dim[0];
    if (ids->rank != 2 || ids->dim[0] != plan->batch || ids->dim[1] != plan->tokens)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "position_ids has shape %s, expected one for each token",
                          ot_shape_text(ids, text, sizeof text));
    for (int64_t k = 0; ids->role == OT_ROLE_CONST && k < ot_elements(ids); k++) {
        const int64_t id = ((const int64_t *)ids->data)[k];
        if (id < 0 || id >= plan->positions)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "position_ids contains %lld, but the caches have %lld positions",
                              (long long)id, (long long)plan->positions);
    }
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct rotary_embedding_plan *plan = ot_op_plan(n);
    OT_TRY(read_shape(n, plan, err));
    OT_TRY(check_caches(n, plan, err));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

struct turn {
    const struct op_node *n;
    const float *from;
    float *to;
    float sign; /* of the angle */
};

/* First pair of a token's angles; positions that came with the batch stay in range. */
static int64_t angles_of(const struct op_node *n, int64_t token) {
    const struct rotary_embedding_plan *plan = n->plan;
    if (!plan->positions) return token * plan->pairs;
    const int64_t id = ((const int64_t *)n->x[3]->data)[token];
    return (id < 0 ? 0 : id >= plan->positions ? plan->positions - 1 : id) * plan->pairs;
}

/* Where a head of a token stands in x. */
static int64_t head_offset(const struct rotary_embedding_plan *plan, int64_t token, int64_t head) {
    return token / plan->tokens * plan->heads * plan->tokens * plan->depth +
           token % plan->tokens * plan->token_stride + head * plan->head_stride;
}

/* All heads of one token. */
static void turn_token(void *arg, int token, int worker) {
    (void)worker;
    const struct turn *t = arg;
    const struct rotary_embedding_plan *plan = t->n->plan;
    const int64_t angles = angles_of(t->n, token), step = plan->interleaved ? 1 : plan->pairs;
    const float *cos = ot_f(t->n->x[1]) + angles, *sin = ot_f(t->n->x[2]) + angles;
    for (int64_t h = 0; h < plan->heads; h++) {
        const int64_t at = head_offset(plan, token, h);
        const float *x = t->from + at;
        float *y = t->to + at;
        for (int64_t i = 0; i < plan->pairs; i++) {
            const int64_t k = plan->interleaved ? 2 * i : i;
            const float a = x[k], b = x[k + step], sine = t->sign * sin[i];
            y[k] = a * cos[i] - b * sine;
            y[k + step] = a * sine + b * cos[i];
        }
        memcpy(y + 2 * plan->pairs, x + 2 * plan->pairs,
               (size_t)(plan->depth - 2 * plan->pairs) * sizeof *y);
    }
}

static void rotate(struct op_node *n, const struct tensor *from, struct tensor *to, float sign) {
    const struct rotary_embedding_plan *plan = n->plan;
    struct turn t = {n, ot_f(from), ot_f(to), sign};
    ot_parallel_for(n->pool, (int)(plan->batch * plan->tokens), turn_token, &t);
}

static void forward(struct op_node *n) {
    const struct rotary_embedding_plan *plan = n->plan;
    for (int64_t k = 0; plan->positions && k < plan->batch * plan->tokens; k++) {
        const int64_t id = ((const int64_t *)n->x[3]->data)[k];
        if (id < 0 || id >= plan->positions) ot_op_bad_index(n, k);
    }
    rotate(n, n->x[0], n->y[0], 1);
}

/* What a token gives to the gradients of its angles' cosines and sines. */
static void add_angles(const struct op_node *n, int64_t token) {
    const struct rotary_embedding_plan *plan = n->plan;
    const int64_t angles = angles_of(n, token), step = plan->interleaved ? 1 : plan->pairs;
    for (int64_t h = 0; h < plan->heads; h++) {
        const int64_t at = head_offset(plan, token, h);
        const float *x = ot_f(n->x[0]) + at, *dy = ot_f(n->dy[0]) + at;
        for (int64_t i = 0; i < plan->pairs; i++) {
            const int64_t k = plan->interleaved ? 2 * i : i;
            if (n->dx[1]) ot_f(n->dx[1])[angles + i] += dy[k] * x[k] + dy[k + step] * x[k + step];
            if (n->dx[2]) ot_f(n->dx[2])[angles + i] += dy[k + step] * x[k] - dy[k] * x[k + step];
        }
    }
}

static void backward(struct op_node *n) {
    const struct rotary_embedding_plan *plan = n->plan;
    if (n->dx[0]) rotate(n, n->dy[0], n->dx[0], -1);
    for (int i = 1; i < 3; i++)
        if (n->dx[i]) memset(n->dx[i]->data, 0, ot_bytes(n->dx[i]));
    for (int64_t token = 0; (n->dx[1] || n->dx[2]) && token < plan->batch * plan->tokens; token++)
        add_angles(n, token);
}

static const char *const cases[] = {
    "X[2,3,4,6] C[9,3]:c S[9,3]:c i64[2,4]{0,3,8,1,2,2,5,4} -> Y[2,3,4,6]",
    "X[2,4,18] C[9,3]:c S[9,3]:c i64[2,4]{0,3,8,1,2,2,5,40}:x num_heads=3 interleaved=1 "
    "-> Y[2,4,18]",
    "X[2,3,4,6] C[2,4,2] S[2,4,2] rotary_embedding_dim=4 -> Y[2,3,4,6]",
    "X[2,4,18] C[9,3] S[9,3] i64[2,4]{0,3,8,1,2,2,5,4} num_heads=3 interleaved=1 -> Y[2,4,18]",
    "f[1,1,1,2]{3,4} f[1,1,1]{0.6} f[1,1,1]{0.8} -> f[1,1,1,2]{-1.4,4.8}",
    "X[2,3,4,6] C[2,4,2]:c S[2,4,2]:c -> error: input 1 has shape [2,4,2], which does not fit 3 "
    "pairs of features",
    "X[2,4,18] C[9,3]:c S[9,3]:c -> error: input 0 has rank 3 with 0 heads, expected rank 4, or "
    "rank 3 with the number of heads",
    "X[1,1,1,6] C[9,3]:c S[9,3]:c i64[1,1]{9} -> error: position_ids contains 9",
    NULL};

const struct op ot_op_RotaryEmbedding = {
    .name = "RotaryEmbedding",
    .since = 23,
    .min_in = 3,
    .max_in = 4,
    .min_out = 1,
    .max_out = 1,
    .attributes = "interleaved:i num_heads:i rotary_embedding_dim:i",
    .needs = OT_X(0) | OT_X(1) | OT_X(2) | OT_X(3),
    .plan_size = sizeof(struct rotary_embedding_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
