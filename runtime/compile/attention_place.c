/* attention_place.c - views of the operands of an attention, for the shapes of a plan. */
#include <math.h>
#include <string.h>

#include "runtime/compile/attention.h"
#include "runtime/compile/attention_parts.h"
#include "runtime/compile/lower.h"

enum { ATTRIBUTES = 20 };

static bool is_op(const struct node *node, const char *op_type) {
    return !strcmp(node->op_type, op_type);
}

/* ---- attributes ---- */

static void add_attribute(struct place *w, struct attr a) { w->node->attr[w->node->n_attr++] = a; }

static ot_status tell_view(struct place *w, const char *name, const struct view *v) {
    struct view *kept = ot_arena_alloc(&w->p->arena, 1, sizeof *kept);
    if (!kept) return ot_plan_no_memory(w->err);
    *kept = *v;
    add_attribute(w, (struct attr){.name = name, .kind = OT_ATTR_VIEW, .view = kept});
    return OT_OK;
}

static ot_status tell_ints(struct place *w, const char *name, const int64_t *list, int n) {
    int64_t *kept = ot_arena_alloc(&w->p->arena, (size_t)n, sizeof *kept);
    if (!kept) return ot_plan_no_memory(w->err);
    memcpy(kept, list, (size_t)n * sizeof *kept);
    add_attribute(w, (struct attr){.name = name, .kind = OT_ATTR_INTS, .n = n, .ints = kept});
    return OT_OK;
}

static ot_status tell_masks(struct place *w) {
    float *fill = ot_arena_alloc(&w->p->arena, OT_ATTENTION_MASKS, sizeof *fill);
    if (!fill) return ot_plan_no_memory(w->err);
    memcpy(fill, w->fill, sizeof w->fill);
    add_attribute(
        w, (struct attr){
               .name = "fills", .kind = OT_ATTR_FLOATS, .n = OT_ATTENTION_MASKS, .floats = fill});
    return tell_ints(w, "masks", w->mode, OT_ATTENTION_MASKS);
}

/* ---- operands ---- */

static void begin_at(struct place *w, int rank, const int64_t *dim) {
    w->at = (struct tensor){.type = OT_FLOAT, .role = OT_ROLE_ACTIVATION, .rank = rank};
    memcpy(w->at.dim, dim, (size_t)rank * sizeof *dim);
    ot_view_init(&w->view[0], rank, dim);
    w->views = 1;
}

static bool take_factor(struct place *w, const struct node *node, int value) {
    if (w->factors == OT_ATTENTION_FACTORS) return false;
    w->divide |= (int64_t)is_op(node, "Div") << w->factors;
    w->node->in[OT_ATTENTION_FACTOR + w->factors++] = value;
    return true;
}

/* Is `part` the half of x that begins at feature `from`? */
static ot_status is_half(struct place *w, int part, int64_t from, bool *half) {
    struct place probe = *w;
    const struct node *node = &w->p->graph->node[w->p->graph->value[part].producer];
    const int last = w->at.rank - 1;
    probe.views = 1;
    ot_view_init(&probe.view[0], w->at.rank, w->at.dim);
    OT_TRY(ot_place_move(&probe, node, part, half));
    *half = *half && probe.view[0].offset == from && probe.at.dim[last] * 2 == w->at.dim[last];
    for (int i = 0; i < last; i++) *half = *half && probe.at.dim[i] == w->at.dim[i];
    return OT_OK;
}

/* From here on cosines, sines and the numbers of features go along. */
static ot_status take_rotary(struct place *w, const struct rotary *r, int first, bool *taken) {
    struct entry *e[2];
    const int64_t features = w->at.rank ? w->at.dim[w->at.rank - 1] : 0;
    bool half;
    *taken = false;
    OT_TRY(is_half(w, r->lower, 0, &half));
    if (!half || features % 2) return OT_OK;
    OT_TRY(is_half(w, r->upper, features / 2, &half));
    if (!half) return OT_OK;
    OT_TRY(ot_lower_value(w->p, r->cosine, &e[0], w->err));
    OT_TRY(ot_lower_value(w->p, r->sine, &e[1], w->err));
    *taken = true;
    for (int i = 0; i < 2; i++) {
        ot_view_init(&w->view[1 + i], e[i]->t.rank, e[i]->t.dim);
        *taken &= ot_view_expand(&w->view[1 + i], w->at.rank, w->at.dim);
        w->node->in[first + i] = i ? r->sine : r->cosine;
    }
    ot_view_init(&w->view[3], 1, &features);
    *taken &= ot_view_expand(&w->view[3], w->at.rank, w->at.dim);
    w->views = OT_PLACE_VIEWS;
    return OT_OK;
}

/* From the base to the product. */
static ot_status follow_path(struct place *w, const struct path *path, int angle, bool *fits) {
    struct entry *e;
    OT_TRY(ot_lower_value(w->p, path->base, &e, w->err));
    begin_at(w, e->t.rank, e->t.dim);
    *fits = e->t.type == OT_FLOAT && ot_elements(&e->t);
    for (int i = path->n - 1; *fits && i >= 0; i--) {
        const struct link *l = &path->link[i];
        const struct node *node = &w->p->graph->node[l->node];
        w->broken = l->node;
        if (l->kind == OT_LINK_MOVE)
            OT_TRY(ot_place_move(w, node, l->value, fits));
        else if (l->kind == OT_LINK_FACTOR)
            *fits = take_factor(w, node, l->value);
        else
            OT_TRY(take_rotary(w, &path->rotary, angle, fits));
    }
    return OT_OK;
}

/* The axes of matrices, which v has or gets by broadcasting; then [..][tokens][features]. */
static bool arrange(struct view *v, const struct tensor *q, bool turned) {
    int64_t dim[OT_MAX_RANK];
    int perm[OT_MAX_RANK];
    int64_t own = 1, wanted = 1;
    if (v->rank < 2) return false;
    for (int i = 0; i < v->rank - 2; i++) own *= ot_view_extent(v, i);
    for (int i = 0; i < q->rank - 2; i++) wanted *= dim[i] = q->dim[i];
    const int rank = own == wanted ? v->rank : q->rank;
    for (int i = 0; i < 2; i++) dim[rank - 2 + i] = ot_view_extent(v, v->rank - 2 + i);
    for (int i = 0; i < rank; i++) perm[i] = i;
    if (turned) {
        perm[rank - 2] = rank - 1;
        perm[rank - 1] = rank - 2;
    }
    return (own == wanted || ot_view_expand(v, rank, dim)) && ot_view_transpose(v, perm);
}

/* Do the features of what was turned go along as one axis, in their order? */
static bool features_stay(const struct view *v) {
    const int last = v->rank - 1;
    for (int i = 0; i < ot_view_begin(v, last); i++)
        if (v->step[i].stride) return false;
    return v->end[last] - ot_view_begin(v, last) == 1 && v->step[ot_view_begin(v, last)].stride;
}

/* Of an Attention: [N, tokens, heads x features] by heads. */
static bool split_heads(struct place *w, int64_t heads) {
    struct tensor to = w->at;
    if (heads < 1 || to.dim[2] % heads) return false;
    to.rank = 4;
    to.dim[2] = heads;
    to.dim[3] = w->at.dim[2] / heads;
    if (!ot_place_shape(w, &to)) return false;
    for (int k = 0; k < w->views; k++) ot_view_transpose(&w->view[k], (const int[]){0, 2, 1, 3});
    to.dim[1] = heads;
    to.dim[2] = w->at.dim[1];
    w->at = to;
    return true;
}

/* Each head as often as q has it. */
static bool repeat_heads(struct place *w, int64_t heads) {
    struct tensor each = w->at, all = w->at;
    const int64_t own = w->at.dim[1];
    if (!own || heads % own) return false;
    each.rank = 5;
    each.dim[2] = 1;
    each.dim[3] = w->at.dim[2];
    each.dim[4] = w->at.dim[3];
    if (!ot_place_shape(w, &each)) return false;
    each.dim[2] = heads / own;
    for (int k = 0; k < w->views; k++)
        if (!ot_view_expand(&w->view[k], 5, each.dim)) return false;
    all.dim[1] = heads;
    w->at = all;
    return ot_place_shape(w, &all);
}

/* The operand of an Attention, as MatMul would have it. */
static bool by_heads(struct place *w, const struct node *node, int i, const struct tensor *q) {
    w->by_token = w->at.rank == 3;
    if (w->by_token && !split_heads(w, ot_attr_int(node, i ? "kv_num_heads" : "q_num_heads", 0)))
        return false;
    if (w->at.rank != 4) return false;
    return !q || q->dim[1] == w->at.dim[1] || repeat_heads(w, q->dim[1]);
}

/* q, k or v, whose matrices are those of `q`; NULL: its own. whole: an Attention, or NULL. */
static ot_status place_operand(struct place *w, const struct path *path, int i,
                               const struct node *whole, const struct tensor *q, struct view *v,
                               bool *fits) {
    static const char *const names[] = {"view_q", "view_k", "view_v"};
    static const char *const angles[][2] = {{"view_cosine_q", "view_sine_q"},
                                            {"view_cosine_k", "view_sine_k"}};
    OT_TRY(follow_path(w, path, OT_ATTENTION_ANGLE + 2 * (i == 1), fits));
    if (*fits && whole) *fits = by_heads(w, whole, i, q);
    if (!*fits) return OT_OK;
    for (int k = 0; k < w->views; k++)
        *fits = *fits && arrange(&w->view[k], q ? q : &w->at, i == 1 && !whole);
    if (!*fits || (w->views > 1 && !features_stay(&w->view[3]))) {
        *fits = false;
        return OT_OK;
    }
    *v = w->view[0];
    w->node->in[OT_ATTENTION_Q + i] = path->base;
    for (int k = 1; k < w->views && k < 3; k++) OT_TRY(tell_view(w, angles[i][k - 1], &w->view[k]));
    return tell_view(w, names[i], v);
}

/* Parts of one tensor that do not overlap have one gradient. */
static ot_status share_sources(struct place *w, const struct view *v) {
    int64_t source[3] = {0, 1, 2};
    int *in = &w->node->in[OT_ATTENTION_Q];
    for (int i = 1; i < 3; i++)
        for (int k = 0; k < i; k++) {
            bool apart = in[k] == in[i];
            for (int j = 0; apart && j < i; j++)
                apart = source[j] != k || ot_view_disjoint(&v[j], &v[i]);
            if (source[k] == k && apart && source[i] == i) source[i] = k;
        }
    for (int i = 1; i < 3; i++)
        if (source[i] != i) in[i] = -1;
    return tell_ints(w, "sources", source, 3);
}

/* ---- scores ---- */

static ot_status take_mask(struct place *w, const struct link *l, bool *taken) {
    static const char *const names[] = {"view_mask0", "view_mask1", "view_mask2"};
    const struct node *node = &w->p->graph->node[l->node];
    struct entry *e, *fill;
    struct view v;
    const int i = w->masks;
    *taken = false;
    if (i == OT_ATTENTION_MASKS) return OT_OK;
    OT_TRY(ot_lower_value(w->p, l->value, &e, w->err));
    ot_view_init(&v, e->t.rank, e->t.dim);
    if (!ot_view_expand(&v, w->at.rank, w->at.dim)) return OT_OK;
    if (l->kind != OT_LINK_MASK) {
        const bool keeps = l->kind == OT_LINK_KEEP_TRUE;
        OT_TRY(ot_lower_value(w->p, node->in[keeps ? 2 : 1], &fill, w->err));
        if (fill->t.role != OT_ROLE_CONST || fill->t.type != OT_FLOAT || fill->t.pattern ||
            ot_elements(&fill->t) != 1)
            return OT_OK;
        w->mode[i] = keeps ? OT_MASK_KEEP_TRUE : OT_MASK_KEEP_FALSE;
        w->fill[i] = *ot_f(&fill->t);
    }
    w->node->in[OT_ATTENTION_MASK + w->masks++] = l->value;
    *taken = true;
    return tell_view(w, names[i], &v);
}

/* What an Attention says of its scores: mask, scale, and whether keys behind the query count. */
static ot_status place_whole(struct place *w, const struct node *node, const struct tensor *q,
                             int64_t keys, bool *fits) {
    const float features = (float)q->dim[q->rank - 1], given = ot_attr_float(node, "scale", 0);
    const struct link mask = {OT_LINK_MASK, w->broken, node->n_in > 3 ? node->in[3] : -1};
    struct entry *e;
    begin_at(w, 4, (const int64_t[]){q->dim[0], q->dim[1], q->dim[2], keys});
    add_attribute(w, (struct attr){.name = "scale",
                                   .kind = OT_ATTR_FLOAT,
                                   .f = given != 0 ? given : 1 / sqrtf(features)});
    add_attribute(w, (struct attr){.name = "causal",
                                   .kind = OT_ATTR_INT,
                                   .i = ot_attr_int(node, "is_causal", 0)});
    if (mask.value < 0) return OT_OK;
    OT_TRY(ot_lower_value(w->p, mask.value, &e, w->err));
    *fits = e->t.type == OT_FLOAT || e->t.type == OT_BOOL;
    if (!*fits) return OT_OK;
    w->fill[0] = -INFINITY;
    w->mode[0] = e->t.type == OT_BOOL ? OT_MASK_KEEP_TRUE : OT_MASK_ADD;
    return take_mask(w, &mask, fits);
}

/* From the product on; shapes may be drawn anew as long as the last two axes stay. */
static ot_status place_scores(struct place *w, const struct attention *a, const struct tensor *q,
                              int64_t keys, bool *fits) {
    const struct graph *g = w->p->graph;
    if (a->whole) return place_whole(w, &g->node[a->softmax], q, keys, fits);
    int64_t dim[OT_MAX_RANK];
    memcpy(dim, q->dim, sizeof dim);
    const int64_t queries = q->dim[q->rank - 2];
    dim[q->rank - 1] = keys;
    begin_at(w, q->rank, dim);
    for (int i = 0; *fits && i < a->scores.n; i++) {
        const struct link *l = &a->scores.link[i];
        const struct node *node = &g->node[l->node];
        w->broken = l->node;
        if (l->kind == OT_LINK_MOVE)
            OT_TRY(ot_place_move(w, node, l->value, fits));
        else if (l->kind == OT_LINK_FACTOR)
            *fits = take_factor(w, node, l->value);
        else
            OT_TRY(take_mask(w, l, fits));
        *fits = *fits && w->at.rank >= 2 && w->at.dim[w->at.rank - 2] == queries &&
                w->at.dim[w->at.rank - 1] == keys;
    }
    const struct node *softmax = &g->node[a->softmax];
    const int64_t axis = ot_attr_int(softmax, "axis", softmax->opset >= 13 ? -1 : 1);
    *fits = *fits && (axis == -1 || axis == w->at.rank - 1);
    return OT_OK;
}

/* ---- the result ---- */

static ot_status place_result(struct place *w, const struct attention *a, const struct view *q,
                              const struct view *v, bool *fits) {
    int64_t dim[OT_MAX_RANK];
    for (int i = 0; i < v->rank; i++) dim[i] = ot_view_extent(v, i);
    dim[v->rank - 2] = ot_view_extent(q, q->rank - 2);
    begin_at(w, v->rank, dim);
    if (a->whole && w->by_token) {
        ot_view_transpose(&w->view[0], (const int[]){0, 2, 1, 3});
        w->at.rank = 3;
        w->at.dim[1] = dim[2];
        w->at.dim[2] = dim[1] * dim[3];
        *fits = ot_place_shape(w, &w->at);
    }
    for (int i = 0; *fits && i < a->result.n; i++) {
        const struct link *l = &a->result.link[i];
        w->broken = l->node;
        OT_TRY(ot_place_move(w, &w->p->graph->node[l->node], l->value, fits));
    }
    return *fits ? tell_view(w, "view_y", &w->view[0]) : OT_OK;
}

static ot_status place_operands(struct place *w, const struct attention *a, bool *fits) {
    const struct node *whole = a->whole ? &w->p->graph->node[a->softmax] : NULL;
    struct view v[3];
    *fits = true;
    OT_TRY(place_operand(w, &a->operand[0], 0, whole, NULL, &v[0], fits));
    if (!*fits) return OT_OK;
    const struct tensor q = w->at;
    OT_TRY(place_operand(w, &a->operand[1], 1, whole, &q, &v[1], fits));
    if (!*fits) return OT_OK;
    OT_TRY(place_scores(w, a, &q, ot_view_extent(&v[1], v[1].rank - 2), fits));
    if (!*fits) return OT_OK;
    OT_TRY(place_operand(w, &a->operand[2], 2, whole, &q, &v[2], fits));
    if (*fits) OT_TRY(place_result(w, a, &v[0], &v[2], fits));
    if (!*fits) return OT_OK;
    OT_TRY(share_sources(w, v));
    add_attribute(w, (struct attr){.name = "divide", .kind = OT_ATTR_INT, .i = w->divide});
    add_attribute(w, (struct attr){.name = "guard", .kind = OT_ATTR_INT, .i = a->guard});
    return tell_masks(w);
}

ot_status ot_attention_place(struct plan *p, const struct attention *a, struct node *node,
                             int *broken, ot_error *err) {
    struct place w = {.p = p, .node = node, .broken = a->softmax, .err = err};
    bool fits;
    node->attr = ot_arena_alloc(&p->arena, ATTRIBUTES, sizeof *node->attr);
    node->in = ot_arena_alloc(&p->arena, OT_ATTENTION_INPUTS, sizeof *node->in);
    if (!node->attr || !node->in) return ot_plan_no_memory(err);
    node->n_attr = 0;
    node->n_in = OT_ATTENTION_INPUTS;
    for (int i = 0; i < node->n_in; i++) node->in[i] = -1;
    OT_TRY(place_operands(&w, a, &fits));
    *broken = fits ? -1 : w.broken;
    return OT_OK;
}
