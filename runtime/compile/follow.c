/* follow.c - a plan follows weights whose patterns have changed.
 *
 * What operators derive from a pattern is derived anew in the memory that they reserved, which no
 * shape, form or place of a buffer depends on: where request.patterns_change is set, a plan is made
 * for the shape and the number of slots of a weight alone. So it may be several patterns behind.
 */
#include "runtime/compile/moved.h"
#include "runtime/compile/plan.h"

static bool is_newer(const struct plan *p, int parameter) {
    return parameter >= 0 && p->model->parameter[parameter].pattern_number > p->patterns;
}

/* Is the pattern of this weight a newer one than the plan's? */
static bool is_behind(const struct plan *p, const struct tensor *t) {
    return t && is_newer(p, ot_entry((struct tensor *)t)->parameter);
}

static bool is_made_anew(const struct tensor *t) {
    return t && ot_entry((struct tensor *)t)->is_changed;
}

/* Does the node depend on the pattern of x[i], which has changed? */
static bool is_affected(const struct plan *p, const struct op_node *n, int i) {
    return !n->op->shape_only && ot_op_reads(n->op, i) &&
           (is_behind(p, n->x[i]) || is_made_anew(n->x[i]));
}

static bool is_moved_anew(const struct plan *p, const struct moved_use *use) {
    bool newer = false;
    for (int i = 0; use && use->map && i < use->from.n_origins; i++)
        newer |= is_newer(p, p->parameter_of[use->from.origin[i]]);
    return newer;
}

/* What is made of weights by moving their elements. */
static bool follow_moved(struct plan *p) {
    for (int v = 0; v < p->graph->n_values; v++) {
        if (!is_moved_anew(p, p->moved[v])) continue;
        if (!ot_moved_follow(p, v)) return false;
        p->moved[v]->map->is_changed = p->moved[v]->made->is_changed = true;
    }
    return true;
}

static bool can_follow(const struct plan *p) {
    const struct parameter *parameter = p->model->parameter;
    for (int k = 0; k < p->model->n_parameters; k++) {
        if (parameter[k].pattern_number <= p->patterns) continue;
        if (!p->request.patterns_change || p->slots[k] != ot_plan_slots(&parameter[k]))
            return false;
    }
    for (int i = 0; i < p->n_nodes; i++) {
        const struct op_node *n = &p->node[i]->n;
        for (int k = 0; k < n->n_in; k++)
            if (is_affected(p, n, k) && !n->op->follow) return false;
    }
    return true;
}

static void set_pattern(struct entry *e, const struct pattern *pattern) {
    if (e) e->t.pattern = pattern;
}

/* Of weights and of their gradients. */
static void set_patterns(struct plan *p) {
    for (int i = 0; i < p->n_nodes; i++) {
        const struct op_node *n = &p->node[i]->n;
        for (int k = 0; k < n->n_in; k++)
            if (is_behind(p, n->x[k]) && n->dx[k] && n->dx[k]->pattern)
                n->dx[k]->pattern = p->model->parameter[ot_entry(n->x[k])->parameter].t.pattern;
    }
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (!is_behind(p, &e->t)) continue;
        const struct pattern *pattern = p->model->parameter[e->parameter].t.pattern;
        set_pattern(e, pattern);
        set_pattern(e->grad, pattern);
        set_pattern(e->more, pattern);
    }
}

/* Each node writes what is its own. */
static void follow_task(void *arg, int task, int worker) {
    const struct plan *p = arg;
    struct op_node *n = &p->node[task]->n;
    (void)worker;
    for (int i = 0; i < n->n_in; i++)
        if (is_affected(p, n, i)) n->op->follow(n, i);
}

bool ot_plan_follow(struct plan *p, struct pool *pool) {
    if (p->patterns == p->model->patterns) return true;
    for (int k = 0; k < 2; k++)
        if (p->part[k] && !ot_plan_follow(p->part[k], pool)) return false;
    if (!p->parts && !(can_follow(p) && follow_moved(p))) return false;
    set_patterns(p);
    ot_parallel_for(pool, p->n_nodes, follow_task, p);
    for (int i = 0; i < p->n_entries; i++) p->entries[i]->is_changed = false;
    p->patterns = p->model->patterns;
    return true;
}
