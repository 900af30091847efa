/* probes.c - the lists that probes fill: one of the whole weight, one of each of its rows. */
#include "runtime/train/probes.h"

#include <string.h>

#include "runtime/topology/grow.h"
#include "runtime/topology/keep.h"

static void take(void *to, int worker, int row, int col, const float *gradient, int n) {
    struct probe_lists *l = to;
    ot_best_take(&l->whole, worker, row, col, gradient, n);
    ot_best_take(&l->rows, worker, row, col, gradient, n);
}

static bool is_wanted(const struct probe_count *c) { return c->whole || c->row; }

static ot_status make_lists(const struct probes *p, const struct pattern *w,
                            const struct probe_count *c, int workers, struct probe_lists *l,
                            ot_error *err) {
    if (c->candidates &&
        !(l->sum = ot_block_alloc(&p->allocator, (size_t)c->candidates, sizeof *l->sum)))
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for %d candidates", c->candidates);
    OT_TRY(ot_best_new(&p->allocator, c->whole, workers, &l->whole, err));
    return ot_best_new_rows(&p->allocator, c->row ? w->rows : 0, c->row, workers, &l->rows, err);
}

static ot_status make(const struct model *m, const struct probe_count *most, int workers,
                      struct probes *p, ot_error *err) {
    int n = 0;
    for (int i = 0; i < m->n_parameters; i++) n += is_wanted(&most[i]);
    p->request = ot_block_alloc(&p->allocator, (size_t)n, sizeof *p->request);
    p->lists = ot_block_alloc(&p->allocator, (size_t)n, sizeof *p->lists);
    p->sink = ot_block_alloc(&p->allocator, (size_t)m->n_parameters, sizeof *p->sink);
    if (!p->request || !p->lists || !p->sink)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for lists of positions");
    for (int i = 0; i < m->n_parameters; i++) {
        const struct parameter *w = &m->parameter[i];
        if (!is_wanted(&most[i])) continue;
        if (!w->t.pattern)
            return ot_fail(err, OT_ERROR_ARGUMENT, "weight '%s' has no mask", w->name);
        if (most[i].row && most[i].candidates)
            return ot_fail(err, OT_ERROR_ARGUMENT,
                           "weight '%s': the best of each row are found among all positions only",
                           w->name);
        struct probe_lists *l = &p->lists[p->n];
        p->request[p->n++] = (struct probe_request){i, most[i].candidates};
        OT_TRY(make_lists(p, w->t.pattern, &most[i], workers, l, err));
        if (!most[i].candidates) p->sink[i] = (struct probe_sink){.take = take, .to = l};
    }
    return OT_OK;
}

ot_status ot_probes_new(const struct model *m, const struct probe_count *most, int workers,
                        struct probes *p, ot_error *err) {
    *p = (struct probes){.allocator = m->allocator};
    const ot_status status = make(m, most, workers, p, err);
    if (status) ot_probes_free(p);
    return status;
}

void ot_probes_free(struct probes *p) {
    for (int i = 0; i < p->n; i++) {
        ot_best_free(&p->lists[i].whole);
        ot_best_free(&p->lists[i].rows);
        ot_pattern_unref(p->lists[i].drawn);
        ot_block_free(&p->allocator, p->lists[i].sum);
    }
    ot_block_free(&p->allocator, p->request);
    ot_block_free(&p->allocator, p->lists);
    ot_block_free(&p->allocator, p->sink);
    *p = (struct probes){.n = 0};
}

size_t ot_probes_bytes(const struct probes *p, const struct model *m) {
    size_t bytes = p->sink ? (size_t)m->n_parameters * sizeof *p->sink : 0;
    for (int i = 0; i < p->n; i++) {
        const struct best *w = &p->lists[i].whole, *r = &p->lists[i].rows;
        bytes += sizeof *p->request + sizeof *p->lists + ot_best_bytes(0, w->capacity, w->workers) +
                 ot_best_bytes(r->rows, r->capacity, r->workers) +
                 (size_t)p->request[i].slots * sizeof(float) + ot_pattern_bytes(p->lists[i].drawn);
    }
    return bytes;
}

/* ---- candidates ---- */

/* n random positions without slots, as a pattern; position and map have room for n. */
static ot_status draw_pattern(const struct pattern *w, int n, uint64_t seed, uint64_t stream,
                              int64_t *position, int *map, struct pattern **drawn, ot_error *err) {
    struct kept kept;
    ot_status status = ot_kept_alloc(w, &kept, err);
    if (!status) {
        kept.n = w->nnz;
        memcpy(kept.row, w->row, ((size_t)w->rows + 1) * sizeof *kept.row);
        for (int k = 0; k < w->nnz; k++) kept.slot[k] = k;
        status = ot_grow_random(w, &kept, n, seed, stream, position, err);
    }
    if (!status) {
        kept.n = 0;
        memset(kept.row, 0, ((size_t)w->rows + 1) * sizeof *kept.row);
        status = ot_pattern_merge(w, &kept, position, n, false, map, drawn, err);
    }
    ot_kept_free(w, &kept);
    return status;
}

static ot_status draw_candidates(const struct probes *p, const struct pattern *w, int n,
                                 uint64_t seed, uint64_t stream, struct probe_lists *l,
                                 ot_error *err) {
    const int64_t most = ((int64_t)w->rows * w->cols - w->nnz) / 2;
    if (n > most) n = (int)most;
    int64_t *position = ot_block_alloc_dirty(&p->allocator, (size_t)n, sizeof *position);
    int *map = ot_block_alloc_dirty(&p->allocator, (size_t)n, sizeof *map);
    ot_pattern_unref(l->drawn);
    l->drawn = NULL;
    const ot_status status =
        position && map ? draw_pattern(w, n, seed, stream, position, map, &l->drawn, err)
                        : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for %d candidates", n);
    ot_block_free(&p->allocator, position);
    ot_block_free(&p->allocator, map);
    return status;
}

static void add_candidates(struct probe_lists *l) {
    const struct pattern *p = l->drawn;
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            ot_best_add(&l->whole, ot_position(p, r, k), l->sum[k]);
}

/* ---- an update ---- */

ot_status ot_probes_start(struct probes *p, const struct model *m, const struct probe_count *count,
                          const struct probe_draw *draw, ot_error *err) {
    for (int i = 0; i < p->n; i++) {
        const int k = p->request[i].parameter, slots = p->request[i].slots;
        const struct pattern *w = m->parameter[k].t.pattern;
        struct probe_lists *l = &p->lists[i];
        ot_best_start(&l->whole, w, count[k].whole);
        ot_best_start(&l->rows, w, count[k].row);
        if (!slots) continue;
        const int n = count[k].candidates < slots ? count[k].candidates : slots;
        OT_TRY(draw_candidates(p, w, n, draw->seed, draw->stream + (uint64_t)k, l, err));
        p->sink[k] = (struct probe_sink){.pattern = l->drawn, .sum = l->sum};
    }
    ot_probes_clear(p);
    return OT_OK;
}

void ot_probes_restart(struct probes *p) {
    for (int i = 0; i < p->n; i++) {
        struct probe_lists *l = &p->lists[i];
        if (!l->whole.pattern || l->sum) continue;
        ot_best_start(&l->whole, l->whole.pattern, l->whole.count);
        ot_best_start(&l->rows, l->rows.pattern, l->rows.count);
    }
}

void ot_probes_clear(struct probes *p) {
    for (int i = 0; i < p->n; i++)
        if (p->lists[i].sum)
            memset(p->lists[i].sum, 0, (size_t)p->request[i].slots * sizeof(float));
}

void ot_probe_lists_finish(struct probe_lists *l) {
    if (l->drawn) add_candidates(l);
    ot_best_finish(&l->whole);
}

void ot_probes_finish(struct probes *p) {
    for (int i = 0; i < p->n; i++) ot_probe_lists_finish(&p->lists[i]);
}

struct probe_lists *ot_probes_of(struct probes *p, int parameter) {
    for (int i = 0; i < p->n; i++)
        if (p->request[i].parameter == parameter) return &p->lists[i];
    return NULL;
}
