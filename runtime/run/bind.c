/* bind.c - a plan's lists once more, for one context: pointers lead into its memory.
 *
 * All of a bound stands in one block, whose size the plan tells. Steps, nodes and entries keep
 * the numbers that they have in the plan.
 */
#include <string.h>

#include "runtime/run/context.h"

enum { ALIGN = 64 };

/* ---- one block for all lists ---- */

/* Parts of a block that does not exist yet where base is NULL. */
struct carver {
    char *base;
    size_t used;
};

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

static void *carve(struct carver *c, size_t n, size_t size) {
    void *at = c->base ? c->base + c->used : NULL;
    c->used += aligned(n * size);
    return at;
}

static size_t pointers_of(const struct op_node *n) {
    return 2 * ((size_t)n->n_in + (size_t)n->n_out);
}

/* What nodes that run change; constants have done without since they were folded. */
static size_t work_bytes(const struct plan *p) {
    size_t bytes = 0;
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].kind == OT_STEP_FORWARD) bytes += aligned(p->step[s].node->work_size);
    return bytes;
}

/* Finds room for all lists, and for the pointers of all nodes, one node's behind the other's. */
static struct tensor **lay_out_lists(struct bound *b, const struct plan *p, struct carver *c) {
    const size_t inputs = (size_t)p->request.n_inputs, outputs = (size_t)p->n_outputs;
    size_t pointers = 0;
    for (int i = 0; i < p->n_nodes; i++) pointers += pointers_of(&p->node[i]->n);
    b->entry = carve(c, (size_t)p->n_entries, sizeof *b->entry);
    b->node = carve(c, (size_t)p->n_nodes, sizeof *b->node);
    b->step = carve(c, (size_t)p->n_steps, sizeof *b->step);
    b->input_entry = carve(c, inputs, sizeof(struct entry *));
    b->output = carve(c, outputs, sizeof(struct entry *));
    b->output_gradient = carve(c, outputs, sizeof(struct entry *));
    b->slice = carve(c, p->parts ? inputs : 0, sizeof *b->slice);
    b->work = carve(c, work_bytes(p), 1);
    return carve(c, pointers, sizeof(struct tensor *));
}

size_t ot_bound_bytes(const struct plan *p) {
    struct bound b;
    struct carver c = {NULL, aligned(sizeof b)};
    lay_out_lists(&b, p, &c);
    for (int k = 0; k < 2; k++)
        if (p->part[k]) c.used += ot_bound_bytes(p->part[k]);
    return c.used;
}

/* ---- the same lists with pointers of their own ---- */

static struct entry *entry_of(const struct bound *b, const struct entry *e) {
    return e ? &b->entry[e->number] : NULL;
}

static struct tensor *tensor_of(const struct bound *b, struct tensor *t) {
    return t ? &entry_of(b, ot_entry(t))->t : NULL;
}

static struct op_node *node_of(const struct bound *b, const struct op_node *n) {
    return n ? &b->node[((const struct plan_node *)(const void *)n)->number].n : NULL;
}

static void copy_entries(struct bound *b, const struct plan *p) {
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = &b->entry[i];
        *e = *p->entries[i];
        e->view = entry_of(b, e->view);
        e->grad = entry_of(b, e->grad);
        e->more = entry_of(b, e->more);
    }
    for (int i = 0; i < p->request.n_inputs && !p->parts; i++)
        b->input_entry[i] = entry_of(b, p->input_entry[i]);
    for (int i = 0; i < p->n_outputs; i++) {
        b->output[i] = entry_of(b, p->output[i]);
        b->output_gradient[i] = entry_of(b, p->output_gradient[i]);
    }
    b->logits = entry_of(b, p->logits);
}

static struct tensor **copy_tensors(const struct bound *b, struct tensor **from, int n,
                                    struct tensor **to) {
    for (int i = 0; i < n; i++) to[i] = tensor_of(b, from[i]);
    return to + n;
}

static void copy_nodes(struct bound *b, const struct plan *p, struct tensor **pointer) {
    for (int i = 0; i < p->n_nodes; i++) {
        const struct op_node *from = &p->node[i]->n;
        struct op_node *n = &b->node[i].n;
        b->node[i] = *p->node[i];
        n->x = pointer;
        n->y = copy_tensors(b, from->x, n->n_in, n->x);
        n->dx = copy_tensors(b, from->y, n->n_out, n->y);
        n->dy = copy_tensors(b, from->dx, n->n_in, n->dx);
        pointer = copy_tensors(b, from->dy, n->n_out, n->dy);
        if (n->more) n->more = &b->entry[((const struct entry *)(const void *)n->more)->number].t;
        n->pool = b->context->pool;
        n->context = &b->context->random;
    }
}

static void copy_steps(struct bound *b, const struct plan *p) {
    for (int s = 0; s < p->n_steps; s++) {
        struct step *step = &b->step[s];
        *step = p->step[s];
        step->node = node_of(b, step->node);
        step->a = entry_of(b, step->a);
        step->b = entry_of(b, step->b);
    }
}

/* ---- life ---- */

static ot_status open_nodes(struct bound *b, ot_error *err) {
    char *work = b->work;
    for (int s = 0; s < b->plan->n_steps; s++) {
        if (b->step[s].kind != OT_STEP_FORWARD) continue;
        OT_TRY(ot_op_open_in(b->step[s].node, work, err));
        work += aligned(b->step[s].node->work_size);
    }
    return OT_OK;
}

static void close_nodes(struct bound *b) {
    for (int s = 0; s < b->plan->n_steps; s++)
        if (b->step[s].kind == OT_STEP_FORWARD) ot_op_close(b->step[s].node);
}

static void unbind(struct bound *b) {
    if (!b) return;
    const ot_allocator al = b->context->allocator;
    close_nodes(b);
    for (int k = 0; k < 2; k++) unbind(b->part[k]);
    ot_plan_unref(b->plan);
    ot_block_free(&al, b);
}

static ot_status bind(struct context *c, struct plan *p, struct bound **bound, ot_error *err) {
    struct carver carver = {NULL, aligned(sizeof **bound)};
    struct bound *b = NULL, none;
    lay_out_lists(&none, p, &carver);
    b = ot_block_alloc(&c->allocator, 1, carver.used);
    if (!b) return ot_plan_no_memory(err);
    carver = (struct carver){(char *)b, aligned(sizeof *b)};
    struct tensor **pointer = lay_out_lists(b, p, &carver);
    b->plan = ot_plan_ref(p);
    b->patterns = p->patterns;
    b->context = c;
    b->loss = p->loss;
    b->target = p->target;
    copy_entries(b, p);
    copy_nodes(b, p, pointer);
    copy_steps(b, p);
    ot_status status = open_nodes(b, err);
    for (int k = 0; k < 2 && p->part[k] && !status; k++)
        status = bind(c, p->part[k], &b->part[k], err);
    if (status)
        unbind(b);
    else
        *bound = b;
    return status;
}

/* The plan has followed other patterns. Copies of values that operators keep in another order are
 * made anew in each run (ot_sparse_hold). */
static void take_patterns(struct bound *b) {
    if (b->patterns == b->plan->patterns) return;
    for (int i = 0; i < b->plan->n_entries; i++)
        b->entry[i].t.pattern = b->plan->entries[i]->t.pattern;
    for (int k = 0; k < 2; k++)
        if (b->part[k]) take_patterns(b->part[k]);
    b->patterns = b->plan->patterns;
}

ot_status ot_bind(struct context *c, struct plan *p, struct bound **bound, ot_error *err) {
    for (*bound = c->bound; *bound; *bound = (*bound)->next) {
        if ((*bound)->plan != p) continue;
        take_patterns(*bound);
        return OT_OK;
    }
    const int workers = ot_pool_workers(c->pool);
    if (workers > p->request.workers)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the plan is for %d workers, but the context has %d",
                       p->request.workers, workers);
    OT_TRY(bind(c, p, bound, err));
    (*bound)->next = c->bound;
    c->bound = *bound;
    return OT_OK;
}

void ot_unbind(struct context *c, const struct plan *p) {
    struct bound **link = &c->bound;
    while (*link && (*link)->plan != p) link = &(*link)->next;
    struct bound *b = *link;
    if (!b) return;
    *link = b->next;
    unbind(b);
}

void ot_context_free(struct context *c) {
    while (c->bound) {
        struct bound *b = c->bound;
        c->bound = b->next;
        unbind(b);
    }
    ot_block_free(&c->allocator, c->block);
    ot_weights_unref(c->weights);
}

ot_status ot_context_set_block(struct context *c, size_t bytes, ot_error *err) {
    ot_block_free(&c->allocator, c->block);
    c->block_bytes = 0;
    c->block = ot_pool_block_alloc(c->pool, &c->allocator, bytes);
    if (!c->block)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory: the step needs %.1f MiB",
                       (double)bytes / (1 << 20));
    c->block_bytes = bytes;
    return OT_OK;
}

/* ---- before a run ---- */

static void aim_at_block(struct bound *b) {
    const struct buffer *buffer = b->plan->buffer;
    b->block = b->context->block;
    for (int i = 0; i < b->plan->n_entries; i++) {
        struct entry *e = &b->entry[i];
        if (e->buffer >= 0) e->t.data = b->block + buffer[e->buffer].offset;
    }
    for (int i = 0; i < b->plan->n_nodes; i++)
        if (b->node[i].save >= 0) b->node[i].n.save = b->block + buffer[b->node[i].save].offset;
}

/* Weights and inputs are read where they are; views of them, and of the block, follow. */
void ot_bound_aim(struct bound *b, const ot_tensor *inputs) {
    if (b->block != b->context->block) aim_at_block(b);
    for (int i = 0; i < b->plan->request.n_inputs; i++)
        b->input_entry[i]->t.data = (void *)inputs[i].data;
    const struct parameter *parameter = b->plan->model->parameter;
    for (int i = 0; i < b->plan->n_entries; i++) {
        struct entry *e = &b->entry[i];
        if (e->parameter >= 0)
            e->t.data = ot_weights_at(b->context->weights, &parameter[e->parameter]);
    }
    for (int i = 0; i < b->plan->n_entries; i++)
        if (b->entry[i].view) b->entry[i].t.data = b->entry[i].view->t.data;
}

ot_status ot_bound_check(const struct bound *b, const ot_tensor *inputs, ot_error *err) {
    const struct graph *g = b->plan->graph;
    for (int i = 0; i < b->plan->request.n_inputs; i++) {
        const size_t align = ot_type_size(inputs[i].type);
        if (!inputs[i].data || (uintptr_t)inputs[i].data % (align ? align : 1))
            return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' has %s data",
                           g->value[g->input[i]].name, inputs[i].data ? "misaligned" : "no");
    }
    return OT_OK;
}

void ot_bound_results(const struct bound *b, ot_tensor *outputs, int n) {
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &b->output[i]->t;
        outputs[i] = (ot_tensor){.type = t->type, .rank = t->rank, .data = t->data};
        memcpy(outputs[i].dim, t->dim, sizeof outputs[i].dim);
    }
}
