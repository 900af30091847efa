/* moved.c - Moved (internal): a weight with a pattern whose slots come from those of others.
 *
 * x[0] is an int32 constant with the pattern: for each of its slots the number of the slot that it
 * comes from, those of x[1], x[2] and so on numbered one after the other (dense ones have a slot an
 * element). A slot may go to several places, or nowhere: its gradient is their sum, in order.
 */
#include "ops/op.h"
#include "runtime/base/pattern.h"

enum { GRAIN = 16384 };

struct moved_plan {
    int64_t slots; /* of x[1], x[2], ... */
    int *first;    /* of each slot of x[1], x[2], ...: one that it goes to, or -1 */
    int *next;     /* of each slot of y: the next one that comes from the same, or -1 */
};

struct range {
    struct op_node *n;
    int input;
    const int *first;
    bool back;
};

static void link_slots(const struct tensor *map, struct moved_plan *plan) {
    const int *from = map->data;
    for (int64_t i = 0; i < plan->slots; i++) plan->first[i] = -1;
    for (int t = map->pattern->nnz - 1; t >= 0; t--) {
        plan->next[t] = plan->first[from[t]];
        plan->first[from[t]] = t;
    }
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct moved_plan *plan = ot_op_plan(n);
    const struct tensor *map = n->x[0];
    int64_t slots = 0;
    for (int i = 1; i < n->n_in; i++) slots += ot_count(n->x[i]);
    plan->first = ot_arena_alloc(n->arena, (size_t)slots, sizeof *plan->first);
    plan->next = ot_arena_alloc(n->arena, (size_t)map->pattern->nnz, sizeof *plan->next);
    if (!plan->first || !plan->next) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    plan->slots = slots;
    link_slots(map, plan);
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, map->rank, map->dim, err));
    n->y[0]->pattern = map->pattern;
    n->kernel = "gather";
    return OT_OK;
}

static void move_range(void *arg, int number, int worker) {
    const struct range *r = arg;
    const int *next = ((const struct moved_plan *)r->n->plan)->next;
    const float *x = ot_f(r->n->x[r->input]);
    float *y = ot_f(r->back ? r->n->dy[0] : r->n->y[0]);
    int64_t from, to;
    (void)worker;
    ot_task_range(ot_count(r->n->x[r->input]), GRAIN, number, &from, &to);
    for (int64_t i = from; i < to; i++) {
        float sum = 0;
        for (int t = r->first[i]; t >= 0; t = next[t]) {
            if (r->back)
                sum += y[t];
            else
                y[t] = x[i];
        }
        if (r->back) ot_f(r->n->dx[r->input])[i] = sum;
    }
}

static void move_values(struct op_node *n, bool back) {
    const int *first = ((const struct moved_plan *)n->plan)->first;
    for (int i = 1; i < n->n_in; i++) {
        const int64_t count = ot_count(n->x[i]);
        struct range r = {n, i, first, back};
        if (!back || n->dx[i])
            ot_parallel_for(n->pool, ot_task_count(count, GRAIN), move_range, &r);
        first += count;
    }
}

static void forward(struct op_node *n) { move_values(n, false); }
static void backward(struct op_node *n) { move_values(n, true); }

/* The plan has put another pattern and its map into x[0]. */
static void follow(struct op_node *n, int i) {
    if (i == 0) link_slots(n->x[0], ot_op_plan(n));
}

const struct op ot_op_Moved = {
    .name = "Moved",
    .since = 1,
    .min_in = 2,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .internal = true,
    .plan_size = sizeof(struct moved_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .follow = follow,
};
