/* strips.c - walks a tensor in strips along an axis. */
#include "ops/walk/strips.h"

enum { GRAIN = 8192 };

struct walk {
    const struct strips *s;
    ot_strip_fn *fn;
    void *arg;
    int64_t grain;
};

void ot_strips_of(const struct tensor *x, int from, int to, struct strips *s) {
    s->length = ot_dims_product(x, from, to);
    s->inner = ot_dims_product(x, to, x->rank) * (x->lanes ? x->lanes : 1);
    s->outer = s->length && s->inner ? ot_count(x) / (s->length * s->inner) : 0;
    s->per_line = (s->inner + OT_STRIP - 1) / OT_STRIP;
}

static void strip_task(void *arg, int number, int worker) {
    (void)worker;
    const struct walk *w = arg;
    const struct strips *s = w->s;
    int64_t from, to;
    ot_task_range(s->outer * s->per_line, w->grain, number, &from, &to);
    for (; from < to; from++) {
        const int64_t column = from % s->per_line * OT_STRIP, rest = s->inner - column;
        w->fn(w->arg, from / s->per_line * s->length * s->inner + column,
              rest < OT_STRIP ? rest : OT_STRIP);
    }
}

void ot_strips_each(struct pool *pool, const struct strips *s, ot_strip_fn *fn, void *arg) {
    const int64_t strip = s->length * (s->inner < OT_STRIP ? s->inner : OT_STRIP);
    struct walk w = {s, fn, arg, strip > GRAIN ? 1 : GRAIN / (strip ? strip : 1)};
    ot_parallel_for(pool, ot_task_count(s->outer * s->per_line, w.grain), strip_task, &w);
}
