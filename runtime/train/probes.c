/* probes.c - the lists that probes fill: one of the whole weight, one of each of its rows. */
#include "runtime/train/probes.h"

static void take(void *to, int worker, int row, int col, const float *gradient, int n) {
    struct probe_lists *l = to;
    ot_best_take(&l->whole, worker, row, col, gradient, n);
    ot_best_take(&l->rows, worker, row, col, gradient, n);
}

static bool is_wanted(const struct probe_count *c) { return c->whole || c->row; }

static ot_status make_lists(const struct probes *p, const struct pattern *w,
                            const struct probe_count *c, int workers, struct probe_lists *l,
                            ot_error *err) {
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
        struct probe_lists *l = &p->lists[p->n];
        p->request[p->n++] = (struct probe_request){.parameter = i};
        OT_TRY(make_lists(p, w->t.pattern, &most[i], workers, l, err));
        p->sink[i] = (struct probe_sink){.take = take, .to = l};
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
                 ot_best_bytes(r->rows, r->capacity, r->workers);
    }
    return bytes;
}

void ot_probes_start(struct probes *p, const struct model *m, const struct probe_count *count) {
    for (int i = 0; i < p->n; i++) {
        const int k = p->request[i].parameter;
        const struct pattern *w = m->parameter[k].t.pattern;
        ot_best_start(&p->lists[i].whole, w, count[k].whole);
        ot_best_start(&p->lists[i].rows, w, count[k].row);
    }
}

struct probe_lists *ot_probes_of(struct probes *p, int parameter) {
    for (int i = 0; i < p->n; i++)
        if (p->request[i].parameter == parameter) return &p->lists[i];
    return NULL;
}
