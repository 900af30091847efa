/* tuples.c - what GatherND and ScatterND share. */
#include "ops/walk/tuples.h"

enum { PIECE = 256 }; /* elements of a slice that one task works on */

ot_status ot_tuples_of(const struct op_node *n, int64_t batch_dims, struct tuples *t,
                       ot_error *err) {
    const struct tensor *x = n->x[0], *index = n->x[1];
    char p[128], q[128];
    const int b = (int)batch_dims;
    bool fits = batch_dims >= 0 && batch_dims < index->rank && batch_dims < x->rank;
    for (int i = 0; fits && i < b; i++) fits = x->dim[i] == index->dim[i];
    const int64_t r = fits ? index->dim[index->rank - 1] : 0;
    if (!fits || r < 1 || r > x->rank - b)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the indices have shape %s, which does not fit data of shape %s with %lld batch axes",
            ot_shape_text(index, p, sizeof p), ot_shape_text(x, q, sizeof q),
            (long long)batch_dims);
    *t = (struct tuples){.ranges = {.columns = (int)r}};
    for (int i = 0; i < r; i++) {
        t->ranges.length[i] = x->dim[b + i];
        t->step[i] = ot_dims_product(x, b + i + 1, x->rank);
    }
    t->batches = ot_dims_product(x, 0, b);
    t->per_batch = ot_dims_product(index, b, index->rank - 1);
    t->batch_size = ot_dims_product(x, b, x->rank);
    t->inner = ot_dims_product(x, b + (int)r, x->rank);
    t->pieces = (t->inner + PIECE - 1) / PIECE;
    return ot_indices_check(n, &t->ranges, err);
}

int64_t ot_tuples_at(const struct op_node *n, const struct tuples *t, int64_t k) {
    const int r = t->ranges.columns;
    int64_t at = k / t->per_batch * t->batch_size;
    for (int i = 0; i < r; i++)
        at += ot_index_in(n->x[1], k * r + i, t->ranges.length[i]) * t->step[i];
    return at;
}

struct walk {
    const struct op_node *n;
    const struct tuples *t;
    ot_piece_fn *fn;
};

static void run_piece(void *arg, int task, int worker) {
    (void)worker;
    const struct walk *w = arg;
    const int64_t from = task % w->t->pieces * PIECE, to = from + PIECE;
    w->fn(w->n, task / w->t->pieces, from, to < w->t->inner ? to : w->t->inner);
}

void ot_tuples_run(struct op_node *n, const struct tuples *t, ot_piece_fn *fn) {
    struct walk w = {n, t, fn};
    if (t->per_batch > 0) ot_parallel_for(n->pool, (int)(t->batches * t->pieces), run_piece, &w);
}
