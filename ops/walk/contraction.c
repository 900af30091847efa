/* contraction.c - labels sorted into batch, rows, columns and sums; packing; a batched product. */
#include "ops/walk/contraction.h"

#include "ops/product/integer_gemm.h"

enum { ALL = OT_ARRAY_RANK };

/* Labels of one kind, in their order. */
struct group {
    int n, label[ALL];
    int64_t size;
};

enum kind { BATCH, ROWS, COLUMNS, SUMS, KINDS };

static enum kind label_kind(uint32_t a, uint32_t b, uint32_t c, int label) {
    const bool in_a = a >> label & 1, in_b = b >> label & 1;
    if (!(c >> label & 1)) return SUMS;
    if (in_a && in_b) return BATCH;
    return in_b ? COLUMNS : ROWS;
}

/* The move from a view to [outer..., middle..., inner...] without gaps. */
static struct move pack_move(const struct label_view *v, const int64_t *dim,
                             const struct group *const order[3]) {
    struct move m = {.rank = 0};
    int64_t stride = 1;
    for (int g = 0; g < 3; g++)
        for (int i = 0; i < order[g]->n; i++, m.rank++) {
            m.dim[m.rank] = dim[order[g]->label[i]];
            m.from_stride[m.rank] = v->stride[order[g]->label[i]];
        }
    for (int i = m.rank - 1; i >= 0; i--) {
        m.to_stride[i] = stride;
        stride *= m.dim[i];
    }
    ot_move_simplify(&m);
    return m;
}

/* Is the packed form the array itself? */
static bool is_packed(const struct move *m, int64_t count) {
    return m->rank == 1 && m->from_stride[0] == 1 && m->to_stride[0] == 1 && m->dim[0] == count;
}

static ot_status list_products(struct op_node *n, struct contraction *t, ot_error *err) {
    int64_t *list = ot_arena_alloc(n->arena, (size_t)t->batch + 1, sizeof *list);
    if (!list) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i <= t->batch; i++) list[i] = i;
    t->first = t->index = list;
    return OT_OK;
}

ot_status ot_contraction_make(struct op_node *n, const int64_t *dim, int labels,
                              const struct label_view *a, const struct label_view *b,
                              const struct label_view *c, struct contraction *t, ot_error *err) {
    const uint32_t all = a->labels | b->labels | c->labels;
    struct group group[KINDS] = {{.size = 1}, {.size = 1}, {.size = 1}, {.size = 1}};
    int64_t most = 1;
    for (int l = 0; l < labels; l++) {
        if (!(all >> l & 1) || dim[l] == 1) continue;
        struct group *g = &group[label_kind(a->labels, b->labels, c->labels, l)];
        g->label[g->n++] = l;
        if (__builtin_mul_overflow(most, dim[l] ? dim[l] : 1, &most) || most > (int64_t)1 << 50)
            return ot_op_fail(n, err, OT_ERROR_LIMIT,
                              "the contraction has more than 2^50 products");
        g->size *= dim[l];
    }
    const struct group *const of_a[] = {&group[BATCH], &group[ROWS], &group[SUMS]};
    const struct group *const of_b[] = {&group[BATCH], &group[SUMS], &group[COLUMNS]};
    const struct group *const of_c[] = {&group[BATCH], &group[ROWS], &group[COLUMNS]};
    *t = (struct contraction){.batch = group[BATCH].size,
                              .m = group[ROWS].size,
                              .n = group[COLUMNS].size,
                              .k = group[SUMS].size,
                              .a = pack_move(a, dim, of_a),
                              .b = pack_move(b, dim, of_b),
                              .c = pack_move(c, dim, of_c),
                              .c_count = c->count};
    t->packs_a = !is_packed(&t->a, t->batch * t->m * t->k);
    t->packs_b = !is_packed(&t->b, t->batch * t->k * t->n);
    t->packs_c = !is_packed(&t->c, c->count);
    t->fills_c = c->count != t->batch * t->m * t->n;
    t->c = ot_move_reverse(&t->c);
    return list_products(n, t, err);
}

size_t ot_contraction_scratch(const struct contraction *t) {
    return (size_t)(t->packs_a ? t->batch * t->m * t->k : 0) +
           (size_t)(t->packs_b ? t->batch * t->k * t->n : 0) +
           (size_t)(t->packs_c ? t->batch * t->m * t->n : 0);
}

/* The packed form of x: itself, or a copy at *scratch, which moves on. */
static const void *packed(struct op_node *n, bool packs, const struct move *m, const void *x,
                          int64_t count, char **scratch) {
    const size_t size = ot_type_size(n->y[0]->type);
    char *to = *scratch;
    if (!packs) return x;
    ot_move_run(n->pool, m, size, x, to);
    *scratch += (size_t)count * size;
    return to;
}

void ot_contraction_run(struct op_node *n, const struct contraction *t, const void *a,
                        const void *b, void *c, void *scratch) {
    const struct dense_gemm g = {.m = t->m,
                                 .n = t->n,
                                 .k = t->k,
                                 .alpha = 1.0f,
                                 .outputs = t->batch,
                                 .first = t->first,
                                 .a = t->index,
                                 .b = t->index};
    const ot_type type = n->y[0]->type;
    const size_t size = ot_type_size(type);
    char *spare = scratch;
    a = packed(n, t->packs_a, &t->a, a, t->batch * t->m * t->k, &spare);
    b = packed(n, t->packs_b, &t->b, b, t->batch * t->k * t->n, &spare);
    void *made = t->packs_c ? spare : c;
    if (t->batch * t->m * t->n > 0) {
        if (type == OT_FLOAT)
            ot_dense_gemm(n, &g, a, b, made);
        else
            ot_integer_gemm(n, &g, type, a, b, made);
    }
    if (t->fills_c) ot_fill(n->pool, c, t->c_count, size, NULL);
    if (t->packs_c) ot_move_run(n->pool, &t->c, size, made, c);
}
