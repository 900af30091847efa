/* moved.c - finds weights that are moved before they are used, and moves their slots.
 *
 * The slots of all origins are numbered. The plan moves these numbers once, through the operators
 * themselves; what comes out are the pattern of the moved weight and the slot that each of its own
 * comes from, and no step ever sees a zero.
 */
#include "runtime/compile/moved.h"

#include <stdlib.h>
#include <string.h>

#include "onnx/import.h"
#include "runtime/base/pattern.h"
#include "runtime/compile/lower.h"

/* ---- finding them ---- */

/* Does the graph itself say where the elements go? */
static bool is_fixed(const struct graph *g, const struct moved *m) {
    for (int k = 0; k < m->n_nodes; k++) {
        const struct node *node = &g->node[m->node[k]];
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] >= 0 && !ot_moves(ot_op_of(node), i) && !g->value[node->in[i]].constant)
                return false;
    }
    return true;
}

/* All weights, one with a pattern at least, and not too many slots to number. */
static bool has_slots(const struct plan *p, const struct moved *m) {
    const struct model *model = p->model;
    int64_t slots = 0;
    bool pattern = false;
    for (int i = 0; i < m->n_origins; i++) {
        const int k = p->parameter_of[m->origin[i]];
        if (k < 0 || model->parameter[k].dequantizer >= 0) return false;
        pattern |= model->parameter[k].t.pattern != NULL;
        slots += ot_count(&model->parameter[k].t);
        if (slots > INT32_MAX || ot_elements(&model->parameter[k].t) > INT32_MAX) return false;
    }
    return pattern;
}

static bool takes_slots(const struct op *op, int i) {
    return op->sparse_in >> i & 1 || (op->sparse_rows && op->parameters >> i & 1);
}

ot_status ot_moved_choose(struct plan *p, ot_error *err) {
    const struct graph *g = p->graph;
    struct moved m;
    p->moved = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->moved);
    if (!p->moved) return ot_plan_no_memory(err);
    for (int k = 0; k < g->n_nodes; k++) {
        const struct op *op = ot_op_of(&g->node[k]);
        for (int i = 0; i < g->node[k].n_in && i < 16; i++) {
            const int v = g->node[k].in[i];
            if (v < 0 || p->moved[v] || g->value[v].constant || !takes_slots(op, i)) continue;
            if (!ot_moved_find(g, v, &m) || !is_fixed(g, &m) || !has_slots(p, &m)) continue;
            struct moved_use *use = p->moved[v] = ot_arena_alloc(&p->arena, 1, sizeof *use);
            if (!use) return ot_plan_no_memory(err);
            *use = (struct moved_use){.from = m, .node = &g->node[k], .input = i};
        }
    }
    return OT_OK;
}

/* ---- numbers in place of values ---- */

struct mover {
    struct plan *p;
    const struct moved *m;
    int value;          /* the moved one */
    struct arena arena; /* for the time of this work */
    struct numbers {
        int value;
        struct tensor t;
    } * made;
    int n_made, slots;
};

static ot_status no_memory(const struct mover *w, ot_error *err) {
    return ot_fail(err, w->arena.refused ? OT_ERROR_LIMIT : OT_ERROR_NO_MEMORY,
                   "out of memory to move the weight '%s'",
                   w->p->graph->value[w->m->origin[0]].name);
}

static struct tensor *numbers_of(struct mover *w, int v) {
    for (int i = 0; i < w->n_made; i++)
        if (w->made[i].value == v) return &w->made[i].t;
    return NULL;
}

/* A new tensor for a value, like t. */
static struct tensor *add_numbers(struct mover *w, int v, const struct tensor *t) {
    struct numbers *made = &w->made[w->n_made++];
    made->value = v;
    if (t) made->t = *t;
    made->t.role = OT_ROLE_CONST;
    return &made->t;
}

/* The numbers of its slots where a weight has them, -1 elsewhere. */
static ot_status number_slots(struct mover *w, int v, ot_error *err) {
    struct entry *x;
    OT_TRY(ot_lower_source(w->p, v, &x, err));
    const struct tensor *t = &x->t;
    const struct pattern *q = w->p->model->parameter[x->parameter].t.pattern; /* of now */
    const int64_t n = ot_elements(t);
    struct tensor *to = add_numbers(w, v, t);
    int *number = ot_arena_alloc(&w->arena, (size_t)n, sizeof *number);
    if (!number) return no_memory(w, err);
    to->type = OT_INT32;
    to->pattern = NULL;
    to->data = number;
    for (int64_t i = 0; i < n; i++) number[i] = q ? -1 : w->slots + (int)i;
    for (int r = 0; q && r < q->rows; r++)
        for (int k = q->row[r]; k < q->row[r + 1]; k++)
            number[ot_pattern_position(q, r, k)] = w->slots + k;
    w->slots += (int)ot_count(t);
    return OT_OK;
}

static ot_status move_numbers(struct mover *w, int k, ot_error *err) {
    const struct graph *g = w->p->graph;
    const struct node *node = &g->node[k];
    struct plan_node *pn = ot_node_new(w->p, &w->arena, ot_op_of(node), node, k);
    if (!pn) return no_memory(w, err);
    struct op_node *n = &pn->n;
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] < 0) continue;
        n->x[i] = numbers_of(w, node->in[i]);
        if (!n->x[i]) n->x[i] = add_numbers(w, node->in[i], g->value[node->in[i]].constant);
    }
    for (int j = 0; j < node->n_out; j++)
        if (node->out[j] >= 0) n->y[j] = add_numbers(w, node->out[j], NULL);
    ot_status status = n->op->prepare(n, err);
    if (!status) status = ot_node_fold(n, err);
    if (n->op->release) n->op->release(n);
    return status;
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static ot_status run_moves(struct mover *w, ot_error *err) {
    const struct graph *g = w->p->graph;
    int order[OT_MOVED_MOST], room = w->m->n_origins;
    memcpy(order, w->m->node, sizeof order);
    qsort(order, (size_t)w->m->n_nodes, sizeof *order, ascending);
    for (int i = 0; i < w->m->n_nodes; i++)
        room += g->node[order[i]].n_in + g->node[order[i]].n_out;
    w->made = ot_arena_alloc(&w->arena, (size_t)room, sizeof *w->made);
    if (!w->made) return no_memory(w, err);
    for (int i = 0; i < w->m->n_origins; i++) OT_TRY(number_slots(w, w->m->origin[i], err));
    for (int i = 0; i < w->m->n_nodes; i++) OT_TRY(move_numbers(w, order[i], err));
    return OT_OK;
}

/* ---- the moved weight ---- */

static void *allocate(void *arena, size_t size, size_t align) {
    (void)align; /* 64, which is enough */
    return ot_arena_alloc(arena, 1, size);
}

static void keep_block(void *arena, void *block) {
    (void)arena;
    (void)block; /* until the plan goes */
}

/* In this arena: its pattern, as the operator that takes it wants it, and in map's data the number
 * of the slot that each of its slots comes from. */
static ot_status make_map(struct mover *w, struct arena *arena, const struct moved_use *use,
                          struct tensor *map, ot_error *err) {
    const struct tensor *numbers = numbers_of(w, w->value);
    const int *number = numbers->data;
    const int64_t count = ot_elements(numbers);
    const enum weight_use how = ot_weight_use(use->node, use->input, numbers->rank);
    const int lead = how == USE_STACKED ? 2 : numbers->rank ? 1 : 0;
    const int64_t rows = ot_dims_product(numbers, 0, lead);
    int64_t *position = ot_arena_alloc(&w->arena, (size_t)count, sizeof *position), n = 0;
    struct pattern *pattern = NULL;
    const ot_allocator allocator = {allocate, keep_block, arena};
    if (!position) return no_memory(w, err);
    for (int64_t i = 0; i < count; i++)
        if (number[i] >= 0) position[n++] = i;
    int *slot = ot_arena_alloc(&w->arena, (size_t)n, sizeof *slot);
    int *from = ot_arena_alloc(arena, (size_t)n, sizeof *from);
    if (!slot || !from) return no_memory(w, err);
    OT_TRY(ot_pattern_new(&allocator, rows, rows ? count / rows : 0, how == USE_COLUMNS, position,
                          n, slot, &pattern, err));
    for (int64_t i = 0; i < n; i++) from[slot[i]] = number[position[i]];
    *map = *numbers;
    map->pattern = pattern;
    map->data = from;
    return OT_OK;
}

static ot_status add_node(struct mover *w, struct node *node, ot_error *err) {
    const int v = w->value;
    struct plan *p = w->p;
    struct moved_use *use = p->moved[v];
    const char *name = p->graph->value[v].name;
    *node = (struct node){
        .name = name, .op_type = "Moved", .domain = "", .n_in = 1 + w->m->n_origins, .n_out = 1};
    struct plan_node *pn = ot_node_new(p, &p->arena, ot_op_find("Moved"), node, -1);
    struct entry *map = ot_plan_entry(p, name), *y = ot_plan_entry(p, name);
    if (!pn || !map || !y) return ot_plan_no_memory(err);
    for (int i = 0; i < w->m->n_origins; i++) {
        struct entry *x;
        OT_TRY(ot_lower_source(p, w->m->origin[i], &x, err));
        pn->n.x[1 + i] = &x->t;
    }
    pn->n.x[0] = &map->t;
    pn->n.y[0] = &y->t;
    y->t.role = OT_ROLE_PARAM;
    y->weight = true;
    ot_node_find_wants(&pn->n);
    OT_TRY(make_map(w, &p->arena, use, &map->t, err));
    use->map = map;
    use->made = y;
    p->rows[v] = y;
    return ot_node_finish(p, pn, err);
}

ot_status ot_moved_make(struct plan *p, int v, ot_error *err) {
    struct mover w = {.p = p, .m = &p->moved[v]->from, .value = v};
    struct node *node = ot_arena_alloc(&p->arena, 1, sizeof *node);
    if (!node) return ot_plan_no_memory(err);
    ot_arena_init(&w.arena, &p->model->allocator, p->request.memory_bytes);
    ot_status status = run_moves(&w, err);
    if (!status) status = add_node(&w, node, err);
    ot_arena_free(&w.arena);
    return status;
}

/* ---- other patterns ---- */

/* The pattern and the numbers of `to` become those of `from`. */
static bool copy_map(const struct tensor *from, struct tensor *to) {
    const struct pattern *p = from->pattern;
    struct pattern *q = (struct pattern *)to->pattern; /* the plan's own */
    if (p->nnz != q->nnz) return false;
    memcpy(q->row, p->row, ((size_t)p->rows + 1) * sizeof *q->row);
    if (p->nnz) memcpy(q->col, p->col, (size_t)p->nnz * sizeof *q->col);
    if (p->nnz) memcpy(to->data, from->data, (size_t)p->nnz * sizeof(int));
    q->live_rows = p->live_rows;
    q->live_cols = p->live_cols;
    return true;
}

bool ot_moved_follow(struct plan *p, int v) {
    const struct moved_use *use = p->moved[v];
    struct mover w = {.p = p, .m = &use->from, .value = v};
    struct tensor map;
    ot_error err;
    ot_arena_init(&w.arena, &p->model->allocator, p->request.memory_bytes);
    const bool ok = !run_moves(&w, &err) && !make_map(&w, &w.arena, use, &map, &err) &&
                    copy_map(&map, &use->map->t);
    ot_arena_free(&w.arena);
    return ok;
}
