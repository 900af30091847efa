/* plan.c - making, keeping and printing plans. */
#include "runtime/plan.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/pattern.h"
#include "runtime/loop.h"
#include "runtime/missed.h"
#include "runtime/session.h"

/* ---- growing arrays in the plan's arena ---- */

static bool room(struct plan *p, void *array, int n, int *capacity, size_t size) {
    if (n < *capacity) return true;
    int grown = *capacity ? 2 * *capacity : 64;
    void *bigger = ot_arena_alloc(&p->arena, (size_t)grown, size), *old;
    if (!bigger) return false;
    memcpy(&old, array, sizeof old);
    if (n) memcpy(bigger, old, (size_t)n * size);
    memcpy(array, &bigger, sizeof bigger);
    *capacity = grown;
    return true;
}

struct entry *ot_plan_entry(struct plan *p, const char *name) {
    struct entry *e = ot_arena_alloc(&p->arena, 1, sizeof *e);
    if (!e || !room(p, &p->entries, p->n_entries, &p->entry_capacity, sizeof *p->entries))
        return NULL;
    e->name = name;
    e->buffer = e->parameter = e->input = -1;
    p->entries[p->n_entries++] = e;
    return e;
}

int ot_plan_buffer(struct plan *p, size_t bytes) {
    if (!room(p, &p->buffer, p->n_buffers, &p->buffer_capacity, sizeof *p->buffer)) return -1;
    p->buffer[p->n_buffers] = (struct buffer){.bytes = bytes};
    return p->n_buffers++;
}

ot_status ot_plan_no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
}

ot_status ot_plan_step(struct plan *p, struct step step, ot_error *err) {
    if (!room(p, &p->step, p->n_steps, &p->step_capacity, sizeof *p->step))
        return ot_plan_no_memory(err);
    p->step[p->n_steps++] = step;
    return OT_OK;
}

/* ---- inputs ---- */

/* The type in which the caller feeds an input: floating point is always float. */
static ot_type fed_type(ot_type type) {
    return type == OT_FLOAT16 || type == OT_BFLOAT16 || type == OT_DOUBLE ? OT_FLOAT : type;
}

/* The first dimension may differ from the file's: a fixed batch is replaced by the caller's. */
static ot_status check_input(struct plan *p, const struct value *v, const ot_tensor *t,
                             ot_error *err) {
    char want[256], have[256];
    struct tensor given = {.rank = t->rank}, fixed = {.rank = v->rank};
    if (t->type != fed_type(v->type))
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' is %s, not %s", v->name,
                       ot_type_name(fed_type(v->type)), ot_type_name(t->type));
    if (t->rank < 0 || t->rank > OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s': rank %d", v->name, t->rank);
    memcpy(given.dim, t->dim, sizeof given.dim);
    memcpy(fixed.dim, v->dim, sizeof fixed.dim);
    bool fits = v->rank < 0 || t->rank == v->rank;
    for (int i = 0; fits && i < v->rank; i++) {
        if (v->dim[i] < 0 || v->dim[i] == t->dim[i]) continue;
        fits = i == 0 && v->dim[0] > 0;
        p->batch_from = v->dim[0];
        p->batch_to = t->dim[0];
    }
    const int64_t most = (int64_t)1 << 40; /* as of all other tensors */
    int64_t count;
    if (fits && t->rank && !ot_shape_count(t->dim, t->rank, most, &count) &&
        ot_shape_count(t->dim, t->rank, INT64_MAX, &count))
        return ot_fail(err, OT_ERROR_LIMIT, "input '%s' is %s, more than %lld elements", v->name,
                       ot_shape_text(&given, have, sizeof have), (long long)most);
    if (!fits || !ot_shape_count(t->dim, t->rank, most, &count) || !count)
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' is %s, given %s", v->name,
                       v->rank < 0 ? "free" : ot_shape_text(&fixed, want, sizeof want),
                       ot_shape_text(&given, have, sizeof have));
    return OT_OK;
}

static ot_status take_inputs(struct plan *p, const ot_tensor *inputs, int n, ot_error *err) {
    const struct graph *g = p->graph;
    if (n != g->n_inputs)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d inputs, given %d", g->n_inputs, n);
    p->n_inputs = n;
    p->input = ot_arena_alloc(&p->arena, (size_t)n, sizeof *p->input);
    p->input_entry = ot_arena_alloc(&p->arena, (size_t)n, sizeof *p->input_entry);
    if (!p->input || !p->input_entry)
        return ot_plan_no_memory(err);
    for (int i = 0; i < n; i++) {
        const struct value *v = &g->value[g->input[i]];
        OT_TRY(check_input(p, v, &inputs[i], err));
        struct entry *e = ot_plan_entry(p, v->name);
        if (!e) return ot_plan_no_memory(err);
        e->t =
            (struct tensor){.type = inputs[i].type, .role = OT_ROLE_INPUT, .rank = inputs[i].rank};
        e->t.half = ot_half_of(v->type);
        memcpy(e->t.dim, inputs[i].dim, sizeof e->t.dim);
        e->input = i;
        e->wants = ot_plan_trains(p->kind) && p->session->wants_input && p->session->wants_input[i];
        p->input[i] = inputs[i];
        p->input_entry[i] = e;
    }
    return OT_OK;
}

bool ot_plan_fits(const struct plan *p, enum plan_kind kind, const ot_tensor *inputs, int n) {
    if (p->kind != kind || p->n_inputs != n) return false;
    if (!ot_plan_has_outputs(kind) && p->skips != ot_plan_skips(p)) return false;
    for (int i = 0; i < n; i++) {
        const ot_tensor *a = &p->input[i], *b = &inputs[i];
        if (a->type != b->type || a->rank != b->rank ||
            memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim))
            return false;
    }
    return true;
}

/* ---- life ---- */

static ot_status find_trained(struct plan *p, ot_error *err) {
    const int n = p->session->n_parameters;
    p->trains = ot_arena_alloc(&p->arena, (size_t)n, sizeof *p->trains);
    if (!p->trains) return ot_plan_no_memory(err);
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].kind == OT_STEP_ACCUMULATE) p->trains[p->step[s].a->parameter] = true;
    for (int i = 0; i < p->n_nodes; i++) p->mixes |= p->node[i]->n.mixes;
    return OT_OK;
}

/* The budget is the memory limit: where it is too small, that is what has to be said. */
static ot_status blame_limit(const struct plan *p, ot_status status, ot_error *err) {
    if (status != OT_ERROR_NO_MEMORY || !p->arena.refused) return status;
    return ot_fail(err, OT_ERROR_LIMIT,
                   "the plan of the step needs more than %zu bytes, the memory limit is %zu bytes",
                   p->arena.used + p->arena.refused, p->arena.budget);
}

ot_status ot_plan_new(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs, int n,
                      bool frugal, struct plan **plan, ot_error *err) {
    struct plan *p = ot_block_alloc(&s->allocator, 1, sizeof *p);
    if (!p) return ot_plan_no_memory(err);
    p->session = s;
    p->kind = kind;
    p->frugal = frugal;
    ot_arena_init(&p->arena, &s->allocator, (size_t)s->options.limits.memory_bytes);
    p->graph = s->graph;
    p->parameter_of = s->parameter_of;
    ot_status status = take_inputs(p, inputs, n, err);
    if (!status) status = ot_unroll(p, err);
    if (!status) status = ot_lower(p, err);
    if (!status) status = ot_join(p, err);
    if (!status) status = ot_differentiate(p, err);
    if (!status) status = find_trained(p, err);
    if (!status && ot_plan_trains(kind) && kind != OT_PLAN_MEASURE)
        status = ot_recompute(p, frugal, err);
    if (!status) status = ot_plan_memory(p, err);
    if (status) {
        status = blame_limit(p, status, err);
        ot_plan_free(p);
        return status;
    }
    *plan = p;
    return OT_OK;
}

void ot_plan_free(struct plan *p) {
    if (!p) return;
    ot_allocator al = p->session->allocator;
    for (int k = 0; k < 2; k++) ot_plan_free(p->part[k]);
    for (int i = 0; i < p->n_nodes; i++)
        if (p->node[i]->n.op->release) p->node[i]->n.op->release(&p->node[i]->n);
    ot_arena_free(&p->arena);
    ot_block_free(&al, p);
}

/* ---- printing ---- */

static const char *layout_text(const struct tensor *t, char *buffer, size_t size) {
    if (!t->lanes) return "rows";
    snprintf(buffer, size, "lanes%d", t->lanes);
    return buffer;
}

static double density(const struct op_node *n) {
    for (int i = 0; i < n->n_in; i++)
        if (n->x[i] && n->x[i]->pattern)
            return n->x[i]->pattern->nnz /
                   ((double)n->x[i]->pattern->rows * n->x[i]->pattern->cols);
    return 1;
}

static const char *const kind_names[] = {
    [OT_STEP_FORWARD] = "forward", [OT_STEP_LOSS] = "loss",  [OT_STEP_BACKWARD] = "backward",
    [OT_STEP_AGAIN] = "again",     [OT_STEP_ADD] = "add",    [OT_STEP_ZERO] = "zero",
    [OT_STEP_ONE] = "one",
    [OT_STEP_ACCUMULATE] = "collect"};

enum { TIME_TEXT = 16 };

/* Milliseconds; a dash where there are none. */
static void time_text(double ms, char text[TIME_TEXT]) {
    snprintf(text, TIME_TEXT, ms > 0 ? "%.3f" : "-", ms);
}

/* What each form of a product was predicted to take, where there was a choice: "1.2/0.9/4.5". */
static const char *choice_text(const struct op_node *n, char *text, size_t size) {
    const double *ms = n->choice;
    if (ms[OT_FORM_SPARSE] <= 0) return "-";
    snprintf(text, size, "%.*f/%.*f/%.*f", ms[0] < 1 ? 3 : 1, ms[0], ms[1] < 1 ? 3 : 1, ms[1],
             ms[2] < 1 ? 3 : 1, ms[2]);
    return text;
}

/* What a profile has measured of one run of the step. */
static double measured_ms(const struct step *step) {
    const struct timing *t = &step->time, *w = &step->weight_time;
    return (t->calls ? 1e3 * t->seconds / (double)t->calls : 0) +
           (w->calls ? 1e3 * w->seconds / (double)w->calls : 0);
}

/* The first of a node's tensors that is there. Outputs may be absent, the first one, too. */
static struct tensor *first_of(struct tensor *const *t, int n) {
    for (int i = 0; i < n; i++)
        if (t[i]) return t[i];
    return NULL;
}

/* What a step makes: an output, or the gradient of an input. */
static const struct entry *made_by(const struct op_node *n, bool forward) {
    struct tensor *t = first_of(forward ? n->y : n->dx, forward ? n->n_out : n->n_in);
    return ot_entry(t ? t : first_of(n->dy, n->n_out));
}

static void print_node(const struct plan *p, int s, char *line, size_t size) {
    const struct step *step = &p->step[s];
    const struct op_node *n = step->node;
    const bool forward = step->kind != OT_STEP_BACKWARD;
    const struct tensor *x = n->n_in ? n->x[0] : NULL, *y = first_of(n->y, n->n_out);
    const struct entry *e = made_by(n, forward);
    const struct entry *root = e->view ? e->view : e;
    char from[128] = "", to[128], layout[32], life[48] = "", choice[64];
    char predicted[TIME_TEXT], measured[TIME_TEXT];
    if (root->buffer >= 0)
        snprintf(life, sizeof life, "%d-%d", p->buffer[root->buffer].first,
                 p->buffer[root->buffer].last);
    /* the backward pass of a product is a product for each of its two operands */
    time_text(n->predicted[!forward], predicted);
    time_text(measured_ms(step), measured);
    double flops = n->flops * (forward ? 1 : (n->want & 1) + ((n->want >> 1) & 1));
    snprintf(line, size,
             "%4d %-8s %-27.27s %-28.28s %-20s %-20s %-8s %5.1f%% %-16s %9.3f %9s %9s %-19s %9.1f  "
             "%s",
             s, kind_names[step->kind], n->op->name, n->node->name,
             x ? ot_shape_text(x, from, sizeof from) : "", ot_shape_text(y, to, sizeof to),
             layout_text(y, layout, sizeof layout), 100 * density(n),
             n->kernel ? n->kernel : "loop", flops * 1e-6, predicted, measured,
             forward ? choice_text(n, choice, sizeof choice) : "-",
             (double)ot_bytes(&e->t) / 1024, life);
}

/* The plan of the larger micro-batches stands for both. */
static void print_parts(const struct plan *p, ot_write_fn *write, void *context) {
    char line[128];
    snprintf(line, sizeof line, "batch %lld in %lld micro-batches of %lld%s samples:",
             (long long)p->batch, (long long)p->parts, (long long)ot_part_rows(p->batch, p->parts),
             p->part[1] ? " or one less" : "");
    write(context, line);
    ot_plan_print(p->part[0], write, context);
}

void ot_plan_print(const struct plan *p, ot_write_fn *write, void *context) {
    char line[512], shape[128];
    if (p->parts) {
        print_parts(p, write, context);
        return;
    }
    snprintf(line, sizeof line,
             "%4s %-8s %-27s %-28s %-20s %-20s %-8s %6s %-16s %9s %9s %9s %-19s %9s  %s", "step",
             "what", "operator", "name", "input", "output", "layout", "dens.", "kernel", "MFLOP",
             "ms pred.", "ms meas.", "sparse/dense/live", "KiB", "alive");
    write(context, line);
    for (int s = 0; s < p->n_steps; s++) {
        const struct step *step = &p->step[s];
        if (step->node)
            print_node(p, s, line, sizeof line);
        else
            snprintf(line, sizeof line, "%4d %-8s %-27s %-28.28s %-20s", s, kind_names[step->kind],
                     step->kind == OT_STEP_LOSS ? ot_loss_name(p->session->loss_kind) : "",
                     step->a->name, ot_shape_text(&step->a->t, shape, sizeof shape));
        write(context, line);
    }
    size_t sum = 0;
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffer[i].first <= p->buffer[i].last) sum += p->buffer[i].bytes;
    snprintf(line, sizeof line,
             "%d steps, %d nodes, peak %.1f MiB (fullest step %.1f MiB, buffers without sharing "
             "%.1f MiB)",
             p->n_steps, p->n_nodes, (double)p->block_bytes / 1048576, (double)p->bound / 1048576,
             (double)sum / 1048576);
    write(context, line);
    ot_missed_print(p, write, context);
}
