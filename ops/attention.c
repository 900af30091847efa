/* attention.c - Attention: y = softmax(scale q k^T, capped, + mask) v by heads; [B, heads, T, D]
 * or [B, T, heads * D]; several heads of q may share one of k and v (ONNX Attention-25).
 *
 * Query i stands at position p = offset + i among the keys: offset is the length of the past; or,
 * where k and v are caches of which nonpad_kv_seqlen[sample] keys are valid, that minus the number
 * of queries. It may look at valid keys from p - left_window_size to p + right_window_size, with
 * is_causal to p.
 *
 * Heads are packed as matrices, those of the past before k and v; products are batched ones on
 * oneDNN. Forward keeps the probabilities, and the capped scores where there is a cap. A row
 * that may look at nothing gives 0.
 */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/product/dnnl.h"
#include "ops/walk/index.h"

enum { Q, K, V, MASK, PAST_K, PAST_V, OPERANDS, VALID = OPERANDS };

struct attention_plan {
    int64_t batch, heads, kv_heads, queries, past, keys, depth, v_depth; /* keys: past and new */
    int64_t scores;                                                      /* of all heads */
    float scale, cap;
    bool causal, masked;
    int64_t left, right; /* sizes of the window */
    int mode;            /* qk_matmul_output_mode */
    int64_t mask_keys, mask_stride[4];
    struct move in[OPERANDS], out; /* to and from the packed form; MASK is not used */
    const int64_t *each, *first, *shared, *group;      /* lists for ot_dense_gemm */
    size_t q_at, k_at, v_at, o_at, d_at, dk_at, dv_at; /* in scratch, in floats */
};

static const struct tensor *input(const struct op_node *n, int i) {
    return i < n->n_in ? n->x[i] : NULL;
}

/* ---- shapes ---- */

/* [B, heads, T, D] of an input, whichever form it has. */
static ot_status read_heads(const struct op_node *n, int i, int64_t heads, int64_t dim[4],
                            ot_error *err) {
    const struct tensor *t = n->x[i];
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (t->rank == 4) {
        memcpy(dim, t->dim, 4 * sizeof *dim);
        return OT_OK;
    }
    if (t->rank != 3 || heads < 1 || t->dim[2] % heads)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input %d has rank %d with %lld heads, expected rank 4, or rank 3 with "
                          "the number of heads",
                          i, t->rank, (long long)heads);
    dim[0] = t->dim[0];
    dim[1] = heads;
    dim[2] = t->dim[1];
    dim[3] = t->dim[2] / heads;
    return OT_OK;
}

static ot_status check_past(const struct op_node *n, struct attention_plan *plan, ot_error *err) {
    const struct tensor *k = input(n, PAST_K), *v = input(n, PAST_V);
    if (!k && !v) return OT_OK;
    OT_TRY(ot_op_type(n, PAST_K, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, PAST_V, OT_FLOAT, err));
    plan->past = k->rank == 4 ? k->dim[2] : 0;
    const int64_t shape_k[] = {plan->batch, plan->kv_heads, plan->past, plan->depth};
    const int64_t shape_v[] = {plan->batch, plan->kv_heads, plan->past, plan->v_depth};
    if (k->rank != 4 || v->rank != 4 || memcmp(k->dim, shape_k, sizeof shape_k) != 0 ||
        memcmp(v->dim, shape_v, sizeof shape_v) != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "past_key and past_value do not fit the shapes of K and V");
    return OT_OK;
}

static ot_status read_shapes(const struct op_node *n, struct attention_plan *plan, ot_error *err) {
    int64_t q[4], k[4], v[4];
    const int64_t kv_heads = ot_attr_int(n->node, "kv_num_heads", 0);
    OT_TRY(read_heads(n, Q, ot_attr_int(n->node, "q_num_heads", 0), q, err));
    OT_TRY(read_heads(n, K, kv_heads, k, err));
    OT_TRY(read_heads(n, V, kv_heads, v, err));
    if (q[0] != k[0] || k[0] != v[0] || k[1] != v[1] || k[2] != v[2] || q[3] != k[3] || k[1] < 1 ||
        q[1] % k[1] || n->x[Q]->rank != n->x[K]->rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "Q [%lld,%lld,%lld,%lld] and K [%lld,%lld,%lld,%lld] do not fit each "
                          "other, or not V with %lld heads of length %lld",
                          (long long)q[0], (long long)q[1], (long long)q[2], (long long)q[3],
                          (long long)k[0], (long long)k[1], (long long)k[2], (long long)k[3],
                          (long long)v[1], (long long)v[2]);
    plan->batch = q[0];
    plan->heads = q[1];
    plan->queries = q[2];
    plan->depth = q[3];
    plan->kv_heads = k[1];
    plan->v_depth = v[3];
    OT_TRY(check_past(n, plan, err));
    plan->keys = k[2] + plan->past;
    if (!ot_shape_count((int64_t[]){plan->batch, plan->heads, plan->queries, plan->keys}, 4,
                        (int64_t)1 << 40, &plan->scores))
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the scores have more than 2^40 elements");
    return OT_OK;
}

/* The mask broadcasts to [B, heads, queries, keys]; what it is short of keys is not looked at. */
static ot_status read_mask(const struct op_node *n, struct attention_plan *plan, ot_error *err) {
    const struct tensor *m = input(n, MASK);
    const int64_t full[4] = {plan->batch, plan->heads, plan->queries, plan->keys};
    char text[128];
    int64_t stride = 1;
    if (!m) return OT_OK;
    bool fits = m->rank >= 1 && m->rank <= 4;
    if (m->type != OT_BOOL && !ot_is_integer(m->type)) OT_TRY(ot_op_type(n, MASK, OT_FLOAT, err));
    for (int i = m->rank - 1, k = 3; fits && i >= 0; i--, k--) {
        fits = m->dim[i] == full[k] || (k < 3 && m->dim[i] == 1) || (k == 3 && m->dim[i] < full[k]);
        plan->mask_stride[k] = m->dim[i] == 1 && k < 3 ? 0 : stride;
        stride *= m->dim[i];
    }
    if (!fits)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the mask has shape %s, which does not broadcast to the scores [%lld,%lld,%lld,%lld]",
            ot_shape_text(m, text, sizeof text), (long long)full[0], (long long)full[1],
            (long long)full[2], (long long)full[3]);
    plan->masked = true;
    plan->mask_keys = m->dim[m->rank - 1];
    return OT_OK;
}

/* Where k and v are caches that are updated outside. */
static ot_status check_valid(const struct op_node *n, const struct attention_plan *plan,
                             ot_error *err) {
    const struct tensor *t = input(n, VALID);
    char text[128];
    if (!t) return OT_OK;
    OT_TRY(ot_op_type(n, VALID, OT_INT64, err));
    if (t->rank != 1 || t->dim[0] != plan->batch)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "nonpad_kv_seqlen has shape %s, expected [%lld]",
                          ot_shape_text(t, text, sizeof text), (long long)plan->batch);
    if (input(n, PAST_K))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "nonpad_kv_seqlen and past_key cannot be given together");
    return OT_OK;
}

/* A size of the window; without, or negative, there is no bound. */
static int64_t window(const struct op_node *n, const char *name) {
    const int64_t size = ot_attr_int(n->node, name, -1);
    return size < 0 || size > INT32_MAX ? INT32_MAX : size;
}

static ot_status read_form(const struct op_node *n, struct attention_plan *plan, ot_error *err) {
    const float scale = ot_attr_float(n->node, "scale", 1 / sqrtf((float)plan->depth));
    plan->scale = ot_attr_float(n->node, "scale", 0) != 0 ? scale : 1 / sqrtf((float)plan->depth);
    plan->cap = ot_attr_float(n->node, "softcap", 0);
    plan->causal = ot_attr_int(n->node, "is_causal", 0) != 0;
    plan->left = window(n, "left_window_size");
    plan->right = window(n, "right_window_size");
    const int64_t mode = ot_attr_int(n->node, "qk_matmul_output_mode", 0);
    if (mode < 0 || mode > 3)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'qk_matmul_output_mode' is %lld, expected 0 to 3",
                          (long long)mode);
    plan->mode = (int)mode;
    return OT_OK;
}

static ot_status set_outputs(struct op_node *n, const struct attention_plan *plan, ot_error *err) {
    const int64_t b = plan->batch, h = plan->heads, t = plan->queries, d = plan->v_depth;
    if (n->x[Q]->rank == 4)
        OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 4, (int64_t[]){b, h, t, d}, err));
    else
        OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 3, (int64_t[]){b, t, h * d}, err));
    for (int i = 1; i < n->n_out; i++) {
        const int64_t cache[] = {b, plan->kv_heads, plan->keys,
                                 i == 1 ? plan->depth : plan->v_depth};
        if (n->y[i] && i < 3) OT_TRY(ot_op_set(n, n->y[i], OT_FLOAT, 4, cache, err));
    }
    if (n->n_out > 3 && n->y[3])
        return ot_op_set(n, n->y[3], OT_FLOAT, 4, (int64_t[]){b, h, t, plan->keys}, err);
    return OT_OK;
}

/* ---- packing ---- */

/* Tokens [from, from + tokens) of [B, heads, all, depth], from a tensor of either form. */
static struct move pack_move(const struct tensor *t, int64_t heads, int64_t tokens, int64_t depth,
                             int64_t all, int64_t from) {
    const bool by_token = t->rank == 3;
    struct move m = {.rank = 4,
                     .dim = {t->dim[0], heads, tokens, depth},
                     .from_stride = {heads * tokens * depth, by_token ? depth : tokens * depth,
                                     by_token ? heads * depth : depth, 1},
                     .to_stride = {heads * all * depth, all * depth, depth, 1},
                     .to = from * depth};
    ot_move_simplify(&m);
    return m;
}

static void make_moves(const struct op_node *n, struct attention_plan *plan) {
    const int64_t fresh = plan->keys - plan->past, h = plan->kv_heads;
    plan->in[Q] = pack_move(n->x[Q], plan->heads, plan->queries, plan->depth, plan->queries, 0);
    plan->in[K] = pack_move(n->x[K], h, fresh, plan->depth, plan->keys, plan->past);
    plan->in[V] = pack_move(n->x[V], h, fresh, plan->v_depth, plan->keys, plan->past);
    if (input(n, PAST_K)) {
        plan->in[PAST_K] = pack_move(n->x[PAST_K], h, plan->past, plan->depth, plan->keys, 0);
        plan->in[PAST_V] = pack_move(n->x[PAST_V], h, plan->past, plan->v_depth, plan->keys, 0);
    }
    const struct move y =
        pack_move(n->y[0], plan->heads, plan->queries, plan->v_depth, plan->queries, 0);
    plan->out = ot_move_reverse(&y);
}

/* each: head after head; first: one product a head; shared: the head of k and v that a head of q
 * looks at; group: where the heads of q that share one begin. */
static ot_status make_lists(struct op_node *n, struct attention_plan *plan, ot_error *err) {
    const int64_t all = plan->batch * plan->heads, few = plan->batch * plan->kv_heads;
    int64_t *list = ot_arena_alloc(n->arena, (size_t)(2 * all + few + 2), sizeof *list);
    if (!list) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    const int64_t share = plan->heads / plan->kv_heads;
    for (int64_t i = 0; i <= all; i++) list[i] = i;
    for (int64_t i = 0; i < all; i++) list[all + 1 + i] = i / share;
    for (int64_t i = 0; i <= few; i++) list[2 * all + 1 + i] = i * share;
    plan->each = plan->first = list;
    plan->shared = list + all + 1;
    plan->group = list + 2 * all + 1;
    return OT_OK;
}

static size_t reserve(size_t *end, int64_t floats) {
    const size_t at = *end;
    *end += ((size_t)floats + 15) / 16 * 16;
    return at;
}

static void size_memory(struct op_node *n, struct attention_plan *plan) {
    const int64_t q = plan->batch * plan->heads * plan->queries,
                  k = plan->batch * plan->kv_heads * plan->keys;
    const int64_t wide = plan->depth > plan->v_depth ? plan->depth : plan->v_depth;
    size_t scratch = 0, save = 0;
    plan->q_at = reserve(&scratch, q * plan->depth);
    plan->k_at = reserve(&scratch, k * plan->depth);
    plan->v_at = reserve(&scratch, k * plan->v_depth);
    plan->o_at = reserve(&scratch, q * wide);
    n->forward_scratch_size = scratch * sizeof(float);
    plan->d_at = reserve(&scratch, plan->scores);
    plan->dk_at = reserve(&scratch, k * plan->depth);
    plan->dv_at = reserve(&scratch, k * plan->v_depth);
    n->backward_scratch_size = scratch * sizeof(float);
    reserve(&save, plan->scores);
    if (plan->cap > 0) reserve(&save, plan->scores);
    n->save_size = save * sizeof(float);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct attention_plan *plan = ot_op_plan(n);
    OT_TRY(read_shapes(n, plan, err));
    OT_TRY(check_valid(n, plan, err));
    OT_TRY(read_mask(n, plan, err));
    OT_TRY(read_form(n, plan, err));
    OT_TRY(set_outputs(n, plan, err));
    make_moves(n, plan);
    OT_TRY(make_lists(n, plan, err));
    size_memory(n, plan);
    n->kernel = "dnnl gemm";
    n->flops = 2.0 * (double)plan->scores * (double)(plan->depth + plan->v_depth);
    return OT_OK;
}

/* ---- scores ---- */

static float *capped(const struct op_node *n) {
    const struct attention_plan *plan = n->plan;
    return plan->cap > 0 ? (float *)n->save + (plan->scores + 15) / 16 * 16 : NULL;
}

/* What the mask adds to the score of a key; -inf: not to be looked at. */
static float bias_of(const struct op_node *n, const struct attention_plan *plan, int64_t row,
                     int64_t key) {
    const int64_t query = row % plan->queries, head = row / plan->queries;
    const struct tensor *lengths = input(n, VALID);
    const int64_t valid =
        lengths ? ((const int64_t *)lengths->data)[head / plan->heads] : plan->keys;
    const int64_t position = query + (lengths ? valid - plan->queries : plan->past);
    if (key >= valid || (plan->causal && key > position)) return -INFINITY;
    if (key < position - plan->left || key > position + plan->right) return -INFINITY;
    if (!plan->masked) return 0;
    if (key >= plan->mask_keys) return -INFINITY;
    const int64_t at = head / plan->heads * plan->mask_stride[0] +
                       head % plan->heads * plan->mask_stride[1] + query * plan->mask_stride[2] +
                       key * plan->mask_stride[3];
    if (n->x[MASK]->type == OT_FLOAT) return ot_f(n->x[MASK])[at];
    const int64_t number = ot_load_integer(n->x[MASK]->data, n->x[MASK]->type, at);
    if (n->x[MASK]->type == OT_BOOL) return number ? 0 : -INFINITY;
    return (float)number;
}

static void softmax(float *x, int64_t count) {
    float most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < count; j++) most = x[j] > most || x[j] != x[j] ? x[j] : most;
    for (int64_t j = 0; j < count; j++) {
        x[j] = most == -INFINITY ? 0 : expf(x[j] - most);
        sum += x[j];
    }
    for (int64_t j = 0; j < count && sum != 0; j++) x[j] /= sum;
}

static void forward_row(void *arg, int row, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct attention_plan *plan = n->plan;
    float *x = (float *)n->save + row * plan->keys, *cap = capped(n);
    float *shown = n->n_out > 3 && n->y[3] ? ot_f(n->y[3]) + row * plan->keys : NULL;
    const size_t bytes = (size_t)plan->keys * sizeof *x;
    if (shown && plan->mode == 0) memcpy(shown, x, bytes);
    for (int64_t j = 0; cap && j < plan->keys; j++) x[j] = plan->cap * tanhf(x[j] / plan->cap);
    if (cap) memcpy(cap + row * plan->keys, x, bytes);
    if (shown && plan->mode == 1) memcpy(shown, x, bytes);
    for (int64_t j = 0; j < plan->keys; j++) x[j] += bias_of(n, plan, row, j);
    if (shown && plan->mode == 2) memcpy(shown, x, bytes);
    softmax(x, plan->keys);
    if (shown && plan->mode == 3) memcpy(shown, x, bytes);
}

/* The gradient of the mask, where it is asked for. */
static float *mask_gradient(const struct op_node *n) {
    return input(n, MASK) && n->dx[MASK] ? ot_f(n->dx[MASK]) : NULL;
}

/* dS of dP, in place: through the softmax, and through the cap unless the mask comes first. */
static void backward_row(void *arg, int row, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct attention_plan *plan = n->plan;
    const float *p = (const float *)n->save + row * plan->keys, *cap = capped(n);
    float *d = (float *)n->scratch + plan->d_at + row * plan->keys;
    double dot = 0;
    for (int64_t j = 0; j < plan->keys; j++) dot += (double)p[j] * (double)d[j];
    for (int64_t j = 0; j < plan->keys; j++) d[j] = p[j] * (d[j] - (float)dot);
    for (int64_t j = 0; cap && !mask_gradient(n) && j < plan->keys; j++) {
        const float t = cap[row * plan->keys + j] / plan->cap;
        d[j] *= 1 - t * t;
    }
}

/* dmask, before the cap's slope comes in. */
static void backward_mask(struct op_node *n) {
    const struct attention_plan *plan = n->plan;
    float *d = (float *)n->scratch + plan->d_at, *dm = mask_gradient(n), *cap = capped(n);
    memset(dm, 0, ot_bytes(n->dx[MASK]));
    for (int64_t i = 0; i < plan->scores; i++) {
        const int64_t row = i / plan->keys, key = i % plan->keys, head = row / plan->queries;
        if (key < plan->mask_keys)
            dm[head / plan->heads * plan->mask_stride[0] +
               head % plan->heads * plan->mask_stride[1] +
               row % plan->queries * plan->mask_stride[2] + key * plan->mask_stride[3]] += d[i];
        if (cap) d[i] *= 1 - cap[i] / plan->cap * (cap[i] / plan->cap);
    }
}

/* ---- passes ---- */

static void pack_inputs(struct op_node *n) {
    const struct attention_plan *plan = n->plan;
    float *scratch = n->scratch;
    float *const to[OPERANDS] = {scratch + plan->q_at, scratch + plan->k_at,
                                 scratch + plan->v_at, NULL,
                                 scratch + plan->k_at, scratch + plan->v_at};
    for (int i = 0; i < OPERANDS; i++)
        if (i != MASK && input(n, i))
            ot_move_run(n->pool, &plan->in[i], sizeof(float), n->x[i]->data, to[i]);
}

static void forward(struct op_node *n) {
    const struct attention_plan *plan = n->plan;
    float *scratch = n->scratch, *p = n->save;
    const int64_t heads = plan->batch * plan->heads,
                  keys = plan->batch * plan->kv_heads * plan->keys;
    pack_inputs(n);
    ot_dense_gemm(n,
                  &(struct dense_gemm){.tb = true,
                                       .m = plan->queries,
                                       .n = plan->keys,
                                       .k = plan->depth,
                                       .alpha = plan->scale,
                                       .outputs = heads,
                                       .first = plan->first,
                                       .a = plan->each,
                                       .b = plan->shared},
                  scratch + plan->q_at, scratch + plan->k_at, p);
    ot_parallel_for(n->pool, (int)(heads * plan->queries), forward_row, n);
    ot_dense_gemm(n,
                  &(struct dense_gemm){.m = plan->queries,
                                       .n = plan->v_depth,
                                       .k = plan->keys,
                                       .alpha = 1,
                                       .outputs = heads,
                                       .first = plan->first,
                                       .a = plan->each,
                                       .b = plan->shared},
                  p, scratch + plan->v_at, scratch + plan->o_at);
    ot_move_run(n->pool, &plan->out, sizeof(float), scratch + plan->o_at, n->y[0]->data);
    if (n->n_out > 1 && n->y[1])
        memcpy(n->y[1]->data, scratch + plan->k_at, (size_t)(keys * plan->depth) * sizeof(float));
    if (n->n_out > 2 && n->y[2])
        memcpy(n->y[2]->data, scratch + plan->v_at, (size_t)(keys * plan->v_depth) * sizeof(float));
}

/* Gradient of inputs i and, of the past, `past`, from the packed form. */
static void unpack_gradient(struct op_node *n, int i, int past, const float *from) {
    const struct attention_plan *plan = n->plan;
    const int list[2] = {i, past};
    for (int k = 0; k < 2; k++) {
        if (list[k] >= n->n_in || !n->dx[list[k]]) continue;
        const struct move back = ot_move_reverse(&plan->in[list[k]]);
        ot_move_run(n->pool, &back, sizeof(float), from, n->dx[list[k]]->data);
    }
}

static void backward(struct op_node *n) {
    const struct attention_plan *plan = n->plan;
    float *scratch = n->scratch, *p = n->save, *d = scratch + plan->d_at, *o = scratch + plan->o_at;
    float *q = scratch + plan->q_at, *dk = scratch + plan->dk_at, *dv = scratch + plan->dv_at;
    const int64_t heads = plan->batch * plan->heads, few = plan->batch * plan->kv_heads;
    const struct move dy = ot_move_reverse(&plan->out);
    pack_inputs(n);
    ot_move_run(n->pool, &dy, sizeof(float), n->dy[0]->data, o);
    ot_dense_gemm(n,
                  &(struct dense_gemm){.ta = true,
                                       .m = plan->keys,
                                       .n = plan->v_depth,
                                       .k = plan->queries,
                                       .alpha = 1,
                                       .outputs = few,
                                       .first = plan->group,
                                       .a = plan->each,
                                       .b = plan->each},
                  p, o, dv);
    ot_dense_gemm(n,
                  &(struct dense_gemm){.tb = true,
                                       .m = plan->queries,
                                       .n = plan->keys,
                                       .k = plan->v_depth,
                                       .alpha = 1,
                                       .outputs = heads,
                                       .first = plan->first,
                                       .a = plan->each,
                                       .b = plan->shared},
                  o, scratch + plan->v_at, d);
    ot_parallel_for(n->pool, (int)(heads * plan->queries), backward_row, n);
    if (mask_gradient(n)) backward_mask(n);
    ot_dense_gemm(n,
                  &(struct dense_gemm){.ta = true,
                                       .m = plan->keys,
                                       .n = plan->depth,
                                       .k = plan->queries,
                                       .alpha = plan->scale,
                                       .outputs = few,
                                       .first = plan->group,
                                       .a = plan->each,
                                       .b = plan->each},
                  d, q, dk);
    ot_dense_gemm(n,
                  &(struct dense_gemm){.m = plan->queries,
                                       .n = plan->depth,
                                       .k = plan->keys,
                                       .alpha = plan->scale,
                                       .outputs = heads,
                                       .first = plan->first,
                                       .a = plan->each,
                                       .b = plan->shared},
                  d, scratch + plan->k_at, o);
    unpack_gradient(n, Q, OPERANDS, o);
    unpack_gradient(n, K, PAST_K, dk);
    unpack_gradient(n, V, PAST_V, dv);
}

static const char *const cases[] = {
    "Q[2,3,4,5] K[2,3,6,5] V[2,3,6,7] -> Y[2,3,4,7]",
    "Q[2,4,6] K[2,5,6] V[2,5,4] q_num_heads=2 kv_num_heads=2 scale=0.3 is_causal=1 -> Y[2,4,4]",
    "Q[2,6,3,4] K[2,2,5,4] V[2,2,5,4] M[3,5] softcap=1.5 -> Y[2,6,3,4]",
    "Q[2,2,3,4] K[2,2,5,4] V[2,2,5,4] softcap=0.7 -> Y[2,2,3,4]",
    "Q[2,2,3,4] K[2,2,2,4] V[2,2,2,5] M[2,1,1,4] PK[2,2,3,4] PV[2,2,3,5] is_causal=1 "
    "-> Y[2,2,3,5] K[2,2,5,4]:n V[2,2,5,5]:n S[2,2,3,5]:n",
    "Q[1,2,2,4] K[1,2,3,4] V[1,2,3,4] b[2,3]{0,0,0,1,0,1} qk_matmul_output_mode=3 "
    "-> Y[1,2,2,4] - - S[1,2,2,3]:n",
    "f[1,1,1,1]{0} f[1,1,2,1]{1,2} f[1,1,2,1]{3,5} -> f[1,1,1,1]{4}",
    "Q[2,3,4,5] K[2,2,6,5] V[2,2,6,7] -> error: do not fit",
    "Q[2,4,6] K[2,5,6] V[2,5,4] -> error: input 0 has rank 3 with 0 heads, expected rank 4, or "
    "rank 3 with the number of heads",
    "Q[2,3,4,5] K[2,3,6,5] V[2,3,6,7] M[4,7] -> error: the mask has shape [4,7]",
    "Q[2,3,4,5] K[2,3,6,5] V[2,3,6,7] - P[2,3,1,5] -> error: input 5 is missing",
    "Q[2,3,4,5] K[2,3,6,5] V[2,3,6,7] - - - i64{6,3} is_causal=1 @24 -> Y[2,3,4,7]",
    "Q[1,1,4,5] K[1,1,6,5] V[1,1,6,7] left_window_size=2 right_window_size=1 @25 -> Y[1,1,4,7]",
    "f[1,1,2,1]{0,0} f[1,1,4,1]{1,2,3,4} f[1,1,4,1]{1,3,5,7} - - - i64{3} left_window_size=1 "
    "right_window_size=0 @25 -> f[1,1,2,1]{2,4}",
    "f[1,1,2,1]{0,0} f[1,1,3,1]{1,2,3} f[1,1,3,1]{1,3,5} - - - i64{1} is_causal=1 @24 -> "
    "f[1,1,2,1]{0,1}",
    "Q[2,3,4,5] K[2,3,6,5] V[2,3,6,7] - - - i64{6} @24 -> error: nonpad_kv_seqlen has shape [1]",
    NULL};

const struct op ot_op_Attention = {
    .name = "Attention",
    .since = 23,
    .min_in = 3,
    .max_in = 7,
    .min_out = 1,
    .max_out = 4,
    .attributes = "is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f "
                  "softcap:f softmax_precision:i left_window_size:i right_window_size:i",
    .needs = OT_X(Q) | OT_X(K) | OT_X(V) | OT_X(PAST_K) | OT_X(PAST_V),
    .plan_size = sizeof(struct attention_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
