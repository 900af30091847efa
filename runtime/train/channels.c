/* channels.c - which output channels leave, and the smaller weights of those that stay. */
#include "runtime/train/channels.h"

#include <math.h>
#include <string.h>

#include "runtime/topology/keep.h"
#include "runtime/train/fresh.h"

/* ---- what a channel is worth ---- */

static void fill_worth(const struct sparsity *s, const struct layer *l, const float *score,
                       float *worth) {
    const struct pattern *p = l->p->t.pattern;
    const float *value = score ? score + l->p->offset : l->p->t.data;
    const uint64_t stream = (uint64_t)10 << 56 | (uint64_t)(l->p - s->m->parameter);
    if (!score && s->o.by == OT_PRUNE_RANDOM) {
        ot_score_random(s->o.seed, stream, (int)l->rows, worth);
        return;
    }
    for (int64_t r = 0; r < l->rows; r++) {
        const int64_t first = p ? p->row[r] : 0, end = p ? p->row[r + 1] : l->cols;
        double sum = 0;
        for (int64_t k = first; k < end; k++)
            sum += fabs((double)value[p ? k : l->transposed ? k * l->rows + r : r * l->cols + k]);
        worth[r] = (float)sum;
    }
}

/* ---- smaller weights ---- */

static int64_t count_kept(const bool *keep, int64_t n) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) kept += !keep || keep[i];
    return kept;
}

/* The dimension that is cut down in place of `was`, in a tensor whose matrix is the file's. */
static void set_dims(const struct layer *l, struct tensor *t, int64_t rows, int64_t cols) {
    const int last = t->rank - 1;
    if (l->taps > 1 || t->rank > 2) {
        t->dim[0] = rows;
        t->dim[1] = cols / l->taps;
        return;
    }
    t->dim[0] = l->transposed ? cols : rows;
    t->dim[last] = l->transposed ? rows : cols;
}

static ot_status cut_dense(const struct layer *l, const struct shrink *s, struct tensor *t,
                           const ot_allocator *al, ot_error *err) {
    const float *from = l->p->t.data;
    float *to = ot_block_alloc_dirty(al, (size_t)ot_elements(t), sizeof *to);
    if (!to) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for smaller weights");
    t->data = to;
    for (int64_t i = 0; i < l->file_rows; i++)
        for (int64_t k = 0; k < l->file_cols; k++) {
            const int64_t r = l->transposed ? k : i, c = l->transposed ? i : k;
            if ((!s->row || s->row[r]) && (!s->col || s->col[c]))
                *to++ = from[i * l->file_cols + k];
        }
    return OT_OK;
}

static ot_status cut_sparse(const struct layer *l, const struct shrink *s, struct tensor *t,
                            int64_t rows, int64_t cols, const ot_allocator *al, ot_error *err) {
    const struct pattern *p = l->p->t.pattern;
    const float *from = l->p->t.data;
    int *number = ot_block_alloc_dirty(al, (size_t)p->cols, sizeof *number); /* of a column now */
    float *to = ot_block_alloc_dirty(al, (size_t)p->nnz, sizeof *to);
    t->data = to;
    if (!number || !to) {
        ot_block_free(al, number);
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for smaller weights");
    }
    int64_t n = 0;
    for (int c = 0, next = 0; c < p->cols; c++) number[c] = !s->col || s->col[c] ? next++ : -1;
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            n += (!s->row || s->row[r]) && number[p->col[k]] >= 0;
    struct pattern *q = NULL;
    ot_status status = ot_pattern_alloc(al, l->transposed ? cols : rows,
                                        l->transposed ? rows : cols, l->transposed, n, &q, err);
    for (int r = 0, at = 0, row = 0; !status && r < p->rows; r++) {
        if (s->row && !s->row[r]) continue;
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            if (number[p->col[k]] < 0) continue;
            q->col[at] = number[p->col[k]];
            to[at++] = from[k];
        }
        q->row[++row] = at;
    }
    ot_block_free(al, number);
    t->pattern = q;
    return status ? status : ot_pattern_count_live(q, err);
}

static ot_status cut_vector(const struct shrink *s, const struct parameter *p, struct tensor *t,
                            const ot_allocator *al, ot_error *err) {
    const float *from = s->value ? s->value : p->t.data;
    const int64_t n = ot_elements(&p->t), kept = count_kept(s->row, n);
    for (int d = 0; d < t->rank; d++) /* all others are 1 */
        if (t->dim[d] == n) t->dim[d] = kept;
    float *to = ot_block_alloc_dirty(al, (size_t)kept, sizeof *to);
    if (!to) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for smaller weights");
    t->data = to;
    for (int64_t i = 0; i < n; i++)
        if (!s->row || s->row[i]) *to++ = from[i];
    return OT_OK;
}

static ot_status cut(const struct channels *c, int i, struct fresh *f, ot_error *err) {
    struct parameter *p = &c->m->parameter[i];
    const struct layer *l = &c->layer[i];
    const struct shrink *s = &c->shrink[i];
    *f = (struct fresh){.p = p, .t = p->t, .structure = p->structure};
    f->t.pattern = NULL;
    f->t.data = NULL;
    if (!l->p) return cut_vector(s, p, &f->t, &c->m->allocator, err);
    const int64_t rows = count_kept(s->row, l->rows), cols = count_kept(s->col, l->cols);
    set_dims(l, &f->t, rows, cols);
    return p->t.pattern ? cut_sparse(l, s, &f->t, rows, cols, &c->m->allocator, err)
                        : cut_dense(l, s, &f->t, &c->m->allocator, err);
}

static ot_status commit(struct channels *c, struct weights **weights, ot_error *err) {
    const int n = c->m->n_parameters;
    struct fresh *list = ot_block_alloc(&c->m->allocator, (size_t)n, sizeof *list);
    ot_status status =
        list ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for smaller weights");
    int count = 0;
    for (int i = 0; i < n && !status; i++) {
        const struct shrink *s = &c->shrink[i];
        if (s->row || s->col || s->value) status = cut(c, i, &list[count++], err);
    }
    if (!status) status = ot_fresh_commit(c->m, weights, list, count, err);
    ot_fresh_free(&c->m->allocator, list, count);
    return status;
}

/* ---- all layers ---- */

static ot_status prune_layer(struct channels *c, const struct sparsity *s, int i,
                             const float *score, const struct log *log, int *pruned,
                             ot_error *err) {
    const struct layer *l = &s->layer[i];
    const int64_t kept = (int64_t)((double)l->rows * s->budget[i].density);
    const char *why = NULL;
    ot_status status = OT_OK;
    if (kept < 1)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "density %.3g leaves none of the %lld channels of '%s'",
                       s->budget[i].density, (long long)l->rows, l->p->name);
    if (kept == l->rows) return OT_OK;
    float *worth = ot_block_alloc_dirty(&c->m->allocator, (size_t)l->rows, sizeof *worth);
    bool *gone = ot_block_alloc_dirty(&c->m->allocator, (size_t)l->rows, sizeof *gone);
    if (worth && gone) {
        fill_worth(s, l, score, worth);
        ot_keep_best(worth, (int)l->rows, (int)kept, gone);
        for (int64_t r = 0; r < l->rows; r++) gone[r] = !gone[r];
        *pruned += ot_channels_leave(c, l, gone, &why, &status);
    }
    if (why && *why)
        ot_log(log, OT_LOG_WARNING, "channels of '%s' cannot leave because of %s", l->p->name, why);
    if (!worth || !gone || status)
        status = ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the channels of layers");
    ot_block_free(&c->m->allocator, worth);
    ot_block_free(&c->m->allocator, gone);
    return status;
}

static void count_uses(struct channels *c) {
    const struct graph *g = c->m->graph;
    for (int i = 0; i < g->n_outputs; i++) c->uses[g->output[i]]++;
    for (int k = 0; k < g->all_nodes; k++)
        for (int i = 0; i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) c->uses[g->node[k].in[i]]++;
}

static ot_status prune_all(struct channels *c, struct weights **weights, const struct sparsity *s,
                           const float *score, const struct log *log, ot_error *err) {
    int pruned = 0;
    if (!c->shrink || !c->uses)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the channels of layers");
    count_uses(c);
    for (int i = 0; i < s->n; i++) OT_TRY(prune_layer(c, s, i, score, log, &pruned, err));
    if (!pruned) return ot_fail(err, OT_ERROR_UNSUPPORTED, "no layer has channels that can leave");
    return commit(c, weights, err);
}

ot_status ot_channels_prune(struct model *m, struct weights **weights, const struct sparsity *s,
                            const float *score, const struct log *log, ot_error *err) {
    struct channels c = {.m = m};
    OT_TRY(ot_layers_find(m, &c.layer, err));
    c.shrink = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof *c.shrink);
    c.uses = ot_block_alloc(&m->allocator, (size_t)m->graph->n_values, sizeof *c.uses);
    const ot_status status = prune_all(&c, weights, s, score, log, err);
    for (int i = 0; c.shrink && i < m->n_parameters; i++) {
        ot_block_free(&m->allocator, c.shrink[i].row);
        ot_block_free(&m->allocator, c.shrink[i].col);
        ot_block_free(&m->allocator, c.shrink[i].value);
    }
    ot_block_free(&m->allocator, c.shrink);
    ot_block_free(&m->allocator, c.uses);
    ot_block_free(&m->allocator, c.layer);
    return status;
}
