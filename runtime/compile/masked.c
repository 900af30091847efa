/* masked.c - folds masks in two passes over the nodes: the first finds them (masked_find.c), the
 * second follows what of each weight is let through to those who use it. */
#include "runtime/compile/masked.h"

#include "ops/op.h"
#include "runtime/base/pattern.h"
#include "runtime/compile/masked_parts.h"

/* ---- the second pass ---- */

static const struct masking *masking_at(const struct masks *m, int k, int *next) {
    while (*next < m->n && m->list[*next].node < k) ++*next;
    const bool here = *next < m->n && m->list[*next].node == k && !m->list[*next].wrong;
    return here ? &m->list[*next] : NULL;
}

/* The elements that a masking leaves of those that its input holds. */
static ot_status open_elements(struct masks *m, const struct masking *k, ot_error *err) {
    const struct node *node = &m->g->node[k->node];
    const uint8_t *before = m->open[node->in[k->input]];
    const int64_t all = ot_elements(m->g->value[k->root].constant);
    uint8_t *left = ot_arena_alloc(&m->arena, ot_bit_bytes(all), 1);
    if (!left) return ot_masked_no_memory(err);
    for (int64_t i = 0; i < k->count; i++) {
        const int64_t at = k->number ? k->number[i] : i;
        if (ot_bit(k->lets, i) && (!before || ot_bit(before, at))) ot_set_bit(left, at);
    }
    m->open[node->out[0]] = left;
    return OT_OK;
}

static bool takes_weight(const struct node *node, int i) {
    const struct op *op = ot_op_of(node);
    return op && (ot_masked_is(node, "Concat") || op->sparse_in >> i & 1 ||
                  (op->sparse_rows && op->parameters >> i & 1));
}

/* Somebody uses what value v holds of its origin. */
static ot_status note_use(struct masks *m, int v, int root, ot_error *err) {
    const int64_t n = (int64_t)ot_bit_bytes(ot_elements(m->g->value[root].constant));
    if (!m->seen[root] && !(m->seen[root] = ot_arena_alloc(&m->arena, (size_t)n, 1)))
        return ot_masked_no_memory(err);
    for (int64_t i = 0; i < n; i++) m->seen[root][i] |= m->open[v] ? m->open[v][i] : 0xff;
    return OT_OK;
}

static ot_status note_user(struct masks *m, const struct node *node, int i, int root,
                           ot_error *err) {
    const int v = node->in[i];
    if (takes_weight(node, i)) {
        m->product[root] = true;
        if (!m->turned[v] && !m->use[root])
            m->use[root] = ot_weight_use(node, i, m->g->value[root].constant->rank);
    }
    return note_use(m, v, root, err);
}

static ot_status follow_masks(struct masks *m, bool *masked, ot_error *err) {
    struct graph *g = m->g;
    int next = 0;
    for (int k = 0; k < g->n_nodes; k++) {
        const struct node *node = &g->node[k];
        const struct masking *here = masking_at(m, k, &next);
        const bool passes = ot_masked_passes(g, node);
        for (int i = 0; i < node->n_in && i < 16; i++) {
            const int root = ot_masked_origin(m, node, i);
            if (root < 0 || !masked[root]) continue;
            if (here && here->input == i) {
                OT_TRY(open_elements(m, here, err));
            } else if (passes && i == 0) {
                for (int j = 0; j < node->n_out; j++)
                    if (node->out[j] >= 0) m->open[node->out[j]] = m->open[node->in[0]];
            } else {
                OT_TRY(note_user(m, node, i, root, err));
            }
        }
    }
    for (int i = 0; i < g->n_outputs; i++) {
        const int v = g->output[i], root = g->value[v].constant ? v : m->origin[v];
        if (root >= 0 && masked[root]) OT_TRY(note_use(m, v, root, err));
    }
    return OT_OK;
}

/* ---- what follows of it ---- */

/* Does the pattern of the weight close all that this masking closes? */
static bool is_covered(const struct masks *m, const struct masking *k) {
    const uint8_t *seen = m->seen[k->root];
    if (k->wrong || !seen || !m->product[k->root]) return false;
    if (ot_structure_is_unwanted(&m->g->structure, m->g->value[k->root].name)) return false;
    for (int64_t i = 0; i < k->count; i++)
        if (!ot_bit(k->lets, i) && ot_bit(seen, k->number ? k->number[i] : i)) return false;
    return true;
}

static ot_status set_pattern(struct masks *m, int root, ot_error *err) {
    struct value *v = &m->g->value[root];
    const struct tensor *t = v->constant;
    const int64_t count = ot_elements(t);
    const enum weight_use use = t->type == OT_FLOAT ? m->use[root] : USE_ROWS;
    const int64_t rows = ot_dims_product(t, 0, use == USE_STACKED ? 2 : 1);
    int64_t *position =
                ot_block_alloc(&m->compiler->model->allocator, (size_t)count, sizeof *position),
            n = 0;
    struct pattern *pattern = NULL;
    if (!position) return ot_masked_no_memory(err);
    for (int64_t i = 0; i < count; i++)
        if (ot_bit(m->seen[root], i)) position[n++] = i;
    ot_status status = n == count
                           ? OT_OK
                           : ot_pattern_new(&m->compiler->model->allocator, rows, count / rows,
                                            use == USE_COLUMNS, position, n, NULL, &pattern, err);
    ot_block_free(&m->compiler->model->allocator, position);
    v->open = pattern;
    return status;
}

/* Values that nodes of training_info read. */
static void find_kept(const struct graph *g, bool *kept) {
    for (int k = g->n_nodes; g->algorithm && k < g->algorithm->end; k++)
        for (int i = 0; i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) kept[g->node[k].in[i]] = true;
}

/* Those who read what a masking makes, and that no output shows, read what it masks; it becomes an
 * Identity that nobody needs. */
static ot_status bypass(struct masks *m, ot_error *err) {
    struct graph *g = m->g;
    int *instead = ot_arena_alloc(&m->arena, (size_t)g->n_values, sizeof *instead), next = 0;
    bool *kept = ot_arena_alloc(&m->arena, (size_t)g->n_values, sizeof *kept);
    if (!instead || !kept) return ot_masked_no_memory(err);
    find_kept(g, kept);
    for (int v = 0; v < g->n_values; v++) instead[v] = v;
    for (int k = 0; k < g->n_nodes; k++) {
        struct node *node = &g->node[k];
        const struct masking *here = masking_at(m, k, &next);
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] >= 0) node->in[i] = instead[node->in[i]];
        if (!here || !is_covered(m, here)) continue;
        instead[node->out[0]] = node->in[here->input];
        g->value[here->root].mask = g->value[here->named].name;
        if (!g->value[here->root].open) OT_TRY(set_pattern(m, here->root, err));
        if (kept[node->out[0]]) continue;
        node->in[0] = node->in[here->input];
        node->op_type = "Identity";
        node->n_in = 1;
        node->n_attr = 0;
    }
    return OT_OK;
}

static ot_status all(struct masks *m, ot_error *err) {
    struct graph *g = m->g;
    const size_t n = (size_t)g->n_values;
    for (int k = 0; k < g->n_nodes; k++)
        m->room += ot_masked_is(&g->node[k], "Mul") || ot_masked_is(&g->node[k], "Where");
    if (!m->room) return OT_OK;
    m->origin = ot_arena_alloc(&m->arena, n, sizeof *m->origin);
    m->uses = ot_arena_alloc(&m->arena, n, sizeof *m->uses);
    m->turned = ot_arena_alloc(&m->arena, n, sizeof *m->turned);
    m->list = ot_arena_alloc(&m->arena, (size_t)m->room, sizeof *m->list);
    m->open = ot_arena_alloc(&m->arena, n, sizeof *m->open);
    m->seen = ot_arena_alloc(&m->arena, n, sizeof *m->seen);
    m->product = ot_arena_alloc(&m->arena, n, sizeof *m->product);
    m->use = ot_arena_alloc(&m->arena, n, sizeof *m->use);
    bool *masked = ot_arena_alloc(&m->arena, n, sizeof *masked);
    if (!m->origin || !m->uses || !m->turned || !m->list || !m->open || !m->seen || !m->product ||
        !m->use || !masked)
        return ot_masked_no_memory(err);
    m->budget = 1 << 24;
    for (int v = 0; v < g->n_values; v++) {
        m->origin[v] = -1;
        if (g->value[v].constant) m->budget += 16 * ot_elements(g->value[v].constant);
    }
    for (int k = 0; k < g->n_nodes; k++)
        for (int i = 0; i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) m->uses[g->node[k].in[i]]++;
    OT_TRY(ot_masked_find(m, err));
    if (!m->n) return OT_OK;
    for (int l = 0; l < m->n; l++) masked[m->list[l].root] = !m->list[l].wrong;
    OT_TRY(follow_masks(m, masked, err));
    return bypass(m, err);
}

ot_status ot_masks_fold(const struct compiler *c, const struct kernels *kernels,
                        size_t memory_bytes, ot_error *err) {
    struct masks m = {.compiler = c, .kernels = kernels, .g = c->model->graph};
    ot_arena_init(&m.arena, &c->model->allocator, memory_bytes);
    const ot_status status = all(&m, err);
    ot_arena_free(&m.arena);
    return status;
}
