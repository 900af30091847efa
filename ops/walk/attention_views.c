/* attention_views.c - where ScaledAttention finds its operands: the views that came with the node,
 * or what its attributes make of its inputs' shapes. */
#include "ops/walk/attention_views.h"

#include <string.h>

#include "ops/walk/attention_operand.h"

enum { Q = OT_ATTENTION_Q, K, V, MASK, ANGLE = OT_ATTENTION_ANGLE, FACTOR = OT_ATTENTION_FACTOR };

const struct tensor *ot_attention_source(const struct op_node *n, int i) {
    int count;
    const int64_t *from = ot_attr_ints(n->node, "sources", &count);
    return n->x[from && i < count ? (int)from[i] : i];
}

static bool permute(const struct op_node *n, const char *name, struct view *v) {
    int count, perm[OT_MAX_RANK];
    uint32_t seen = 0;
    const int64_t *given = ot_attr_ints(n->node, name, &count);
    if (!given) return true;
    for (int i = 0; i < count; i++) {
        if (count != v->rank || given[i] < 0 || given[i] >= count || (seen >> given[i] & 1))
            return false;
        perm[i] = (int)given[i];
        seen |= 1u << given[i];
    }
    return ot_view_transpose(v, perm);
}

static void swap_last(struct view *v) {
    int perm[OT_MAX_RANK];
    for (int i = 0; i < v->rank; i++) perm[i] = i;
    perm[v->rank - 1] = v->rank - 2;
    perm[v->rank - 2] = v->rank - 1;
    ot_view_transpose(v, perm);
}

/* The view that came with the node, or the tensor as attribute `perm` turns it. */
static bool find_view(const struct op_node *n, const char *name, const char *perm,
                      const struct tensor *x, struct view *v) {
    const struct attr *a = ot_attr(n->node, name);
    if (a) {
        *v = *a->view;
        return true;
    }
    ot_view_init(v, x->rank, x->dim);
    return permute(n, perm, v) && v->rank >= 2;
}

/* Multiplies *scale with a constant of one element, or divides by it; true where there is none. */
static bool take_factor(const struct tensor *t, bool divide, float *scale) {
    if (!t) return true;
    if (t->role != OT_ROLE_CONST || t->type != OT_FLOAT || t->pattern || ot_elements(t) != 1)
        return false;
    *scale = divide ? *scale / *ot_f(t) : *scale * *ot_f(t);
    return true;
}

static bool find_scale(const struct op_node *n, float *scale) {
    const int64_t divide = ot_attr_int(n->node, "divide", 0);
    *scale = ot_attr_float(n->node, "scale", 1);
    for (int i = FACTOR; i < n->n_in; i++)
        if (!take_factor(n->x[i], divide >> (i - FACTOR) & 1, scale)) return false;
    return true;
}

static int64_t matrices_of(const struct view *v) {
    int64_t n = 1;
    for (int i = 0; i < v->rank - 2; i++) n *= ot_view_extent(v, i);
    return n;
}

static bool is_shaped(const struct view *v, int64_t matrices, int64_t rows, int64_t cols) {
    return v->rank >= 2 && matrices_of(v) == matrices && ot_view_extent(v, v->rank - 2) == rows &&
           ot_view_extent(v, v->rank - 1) == cols;
}

/* The scores' shape, as q and k have it. */
static int scores_shape(const struct attention_views *w, int64_t *dim) {
    for (int i = 0; i < w->q.rank - 1; i++) dim[i] = ot_view_extent(&w->q, i);
    dim[w->q.rank - 1] = ot_view_extent(&w->k, w->k.rank - 2);
    return w->q.rank;
}

static bool find_mask(const struct op_node *n, int i, struct attention_views *w) {
    static const char *const name[] = {"view_mask0", "view_mask1", "view_mask2"};
    const struct tensor *m = i + MASK < n->n_in ? n->x[MASK + i] : NULL;
    int count;
    int64_t dim[OT_MAX_RANK];
    if (!m) return true;
    const int64_t *modes = ot_attr_ints(n->node, "masks", &count);
    const bool adds = !modes || modes[i] == OT_MASK_ADD;
    if (m->type != (adds ? OT_FLOAT : OT_BOOL) || m->pattern) return false;
    const struct attr *a = ot_attr(n->node, name[i]);
    const int rank = scores_shape(w, dim);
    if (a)
        w->mask[i] = *a->view;
    else
        ot_view_init(&w->mask[i], m->rank, m->dim);
    if (!a && !ot_view_expand(&w->mask[i], rank, dim)) return false;
    return is_shaped(&w->mask[i], matrices_of(&w->q), dim[rank - 2], dim[rank - 1]);
}

/* Cosines and sines, of constants or of what comes with the batch. */
static bool find_angle(const struct op_node *n, int i, struct attention_views *w) {
    static const char *const name[] = {"view_cosine_q", "view_sine_q", "view_cosine_k",
                                       "view_sine_k"};
    const struct tensor *t = i + ANGLE < n->n_in ? n->x[ANGLE + i] : NULL;
    const struct view *x = i < 2 ? &w->q : &w->k;
    const struct attr *a = ot_attr(n->node, name[i]);
    int64_t dim[OT_MAX_RANK];
    if (!t) return true;
    if (t->type != OT_FLOAT || t->pattern || ot_training_wants(n, ANGLE + i)) return false;
    for (int k = 0; k < x->rank; k++) dim[k] = ot_view_extent(x, k);
    if (a)
        w->angle[i] = *a->view;
    else
        ot_view_init(&w->angle[i], t->rank, t->dim);
    return (a || ot_view_expand(&w->angle[i], x->rank, dim)) && dim[x->rank - 1] % 2 == 0 &&
           is_shaped(&w->angle[i], matrices_of(x), dim[x->rank - 2], dim[x->rank - 1]);
}

static bool find_result(const struct op_node *n, struct attention_views *w) {
    const struct attr *a = ot_attr(n->node, "view_y");
    int64_t dim[OT_MAX_RANK];
    const int rank = w->v.rank;
    for (int i = 0; i < rank; i++) dim[i] = ot_view_extent(&w->v, i);
    dim[rank - 2] = ot_view_extent(&w->q, w->q.rank - 2);
    struct view y; /* of y in a result like v */
    if (a)
        y = *a->view;
    else
        ot_view_init(&y, rank, dim);
    if (!a && !permute(n, "perm_y", &y)) return false;
    w->rank = y.rank;
    for (int i = 0; i < y.rank; i++) w->dim[i] = ot_view_extent(&y, i);
    return ot_view_invert(&y, rank, dim, &w->y);
}

/* How many neighbouring matrices are the same one; 0: elements are shared in other ways. */
static int64_t shared(const struct view *v) {
    const int matrices = ot_view_begin(v, v->rank - 2);
    int64_t share = 1;
    bool trailing = true;
    for (int i = v->end[v->rank - 1] - 1; i >= 0; i--) {
        if (v->step[i].extent <= 1) continue;
        if (i >= matrices && !v->step[i].stride) return 0;
        if (i >= matrices) continue;
        if (v->step[i].stride)
            trailing = false;
        else if (!trailing)
            return 0;
        else
            share *= v->step[i].extent;
    }
    return share;
}

/* Matrices of k and v may be those of several neighbours of q. */
static bool find_share(struct attention_views *w) {
    w->share = shared(&w->k);
    return w->share && shared(&w->v) == w->share && shared(&w->q) == 1;
}

bool ot_attention_views(const struct op_node *n, struct attention_views *w) {
    static const char *const name[] = {"view_q", "view_k", "view_v"};
    static const char *const perm[] = {"perm_q", "perm_k", "perm_v"};
    struct view *const to[] = {&w->q, &w->k, &w->v};
    for (int i = Q; i <= V; i++) {
        const struct tensor *x = ot_attention_source(n, i);
        if (x->type != OT_FLOAT || ot_is_fixed(x) || !ot_elements(x) || x->pattern) return false;
        if (!find_view(n, name[i], perm[i], x, to[i])) return false;
    }
    if (!ot_attr(n->node, "view_k")) swap_last(&w->k);
    const int64_t matrices = matrices_of(&w->q), features = ot_view_extent(&w->q, w->q.rank - 1);
    const int64_t keys = ot_view_extent(&w->k, w->k.rank - 2);
    if (matrices > INT32_MAX || !is_shaped(&w->k, matrices, keys, features) ||
        !is_shaped(&w->v, matrices, keys, ot_view_extent(&w->v, w->v.rank - 1)))
        return false;
    if (!find_share(w)) return false;
    for (int i = 0; i < OT_ATTENTION_MASKS; i++)
        if (!find_mask(n, i, w)) return false;
    for (int i = 0; i < 4; i++)
        if (!find_angle(n, i, w)) return false;
    return find_result(n, w) && find_scale(n, &w->scale);
}

int ot_attention_rank(const struct attention_views *w, const struct tensor *x, int lane_rank) {
    const int64_t samples = ot_dims_product(x, 0, lane_rank);
    int64_t before = 1, behind = 1;
    for (int i = 0; i < w->rank; i++) behind *= w->dim[i];
    for (int i = 0; i < w->rank; i++) {
        before *= w->dim[i];
        behind /= w->dim[i];
        if (before == samples && ot_operand_lanes(&w->y, behind)) return i + 1;
    }
    return 0;
}
