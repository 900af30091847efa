/* score.c - movement scores, added up. */
#include "runtime/train/score.h"

#include "ops/op.h"

enum { GRAIN = 16384 };

struct movement {
    const float *w, *g;
    float *score, factor;
    int64_t n;
};

static void add_task(void *arg, int task, int worker) {
    const struct movement *m = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(m->n, GRAIN, task, &from, &to);
    for (int64_t k = from; k < to; k++) m->score[k] -= m->factor * (m->g[k] * m->w[k]);
}

void ot_score_add(struct parameter *parameter, int n, float rate, float scale, struct pool *pool) {
    for (int i = 0; i < n; i++) {
        struct parameter *p = &parameter[i];
        if (!p->moment[OT_SCORE] || !p->gradient || p->gradient_is_zero) continue;
        struct movement m = {.w = p->t.data,
                             .g = p->gradient,
                             .score = p->moment[OT_SCORE],
                             .factor = rate * scale,
                             .n = ot_count(&p->t)};
        ot_parallel_for(pool, ot_task_count(m.n, GRAIN), add_task, &m);
    }
}
