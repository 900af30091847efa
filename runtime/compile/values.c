/* values.c - a value of the graph in the layout that its reader wants.
 *
 * Where layouts meet, an internal operator stands between: Reorder (rows <-> lanes) and Densify (a
 * weight with a pattern, for a dense kernel). Both have gradients like any operator.
 */
#include "runtime/compile/lower.h"
#include "runtime/compile/moved.h"

static bool same_lanes(const struct tensor *t, struct lanes lanes) {
    return t->lanes == lanes.count && t->lane_rank == lanes.rank;
}

/* An internal operator with one input and one output. */
static ot_status insert(struct plan *p, const char *op_type, struct entry *from, struct lanes lanes,
                        struct entry **to, ot_error *err) {
    struct node *node = ot_arena_alloc(&p->arena, 1, sizeof *node);
    struct entry *y = ot_plan_entry(p, from->name);
    if (!node || !y) return ot_plan_no_memory(err);
    *node =
        (struct node){.name = from->name, .op_type = op_type, .domain = "", .n_in = 1, .n_out = 1};
    struct plan_node *pn = ot_node_new(p, &p->arena, ot_op_find(op_type), node, -1);
    if (!pn) return ot_plan_no_memory(err);
    y->weight = from->weight;
    y->t.lanes = lanes.count;
    y->t.lane_rank = lanes.rank;
    pn->n.x[0] = &from->t;
    pn->n.y[0] = &y->t;
    ot_node_find_wants(&pn->n);
    *to = y;
    return ot_node_finish(p, pn, err);
}

ot_status ot_lower_value(struct plan *p, int v, struct entry **e, ot_error *err) {
    if (!p->rows[v] && !p->lanes[v] && p->moved[v]) OT_TRY(ot_moved_make(p, v, err));
    return ot_lower_source(p, v, e, err);
}

ot_status ot_lower_rows(struct plan *p, int v, struct entry **e, ot_error *err) {
    OT_TRY(ot_lower_value(p, v, e, err));
    if (!p->rows[v]) OT_TRY(insert(p, "Reorder", p->lanes[v], OT_ROWS, &p->rows[v], err));
    *e = p->rows[v];
    return OT_OK;
}

ot_status ot_lower_lanes(struct plan *p, int v, struct lanes lanes, struct entry **e,
                         ot_error *err) {
    OT_TRY(ot_lower_value(p, v, e, err));
    if ((*e)->t.role == OT_ROLE_CONST || (*e)->t.role == OT_ROLE_PARAM) return OT_OK;
    if (p->lanes[v] && !same_lanes(&p->lanes[v]->t, lanes)) {
        OT_TRY(ot_lower_rows(p, v, e, err));
        p->lanes[v] = NULL;
    }
    if (!p->lanes[v]) OT_TRY(insert(p, "Reorder", p->rows[v], lanes, &p->lanes[v], err));
    *e = p->lanes[v];
    return OT_OK;
}

ot_status ot_lower_densified(struct plan *p, int v, struct entry **e, ot_error *err) {
    OT_TRY(ot_lower_value(p, v, e, err));
    if (!(*e)->t.pattern) return OT_OK;
    if (!p->dense[v]) OT_TRY(insert(p, "Densify", *e, OT_ROWS, &p->dense[v], err));
    *e = p->dense[v];
    return OT_OK;
}

ot_status ot_lower_dense(struct plan *p, int v, struct entry **e, ot_error *err) {
    OT_TRY(ot_lower_rows(p, v, e, err));
    return (*e)->t.pattern ? ot_lower_densified(p, v, e, err) : OT_OK;
}
