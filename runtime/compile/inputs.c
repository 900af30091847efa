/* inputs.c - the inputs that a plan is made for: whether the model takes them, and how many samples
 * they hold. */
#include <string.h>

#include "runtime/compile/plan.h"
#include "runtime/compile/tail.h"

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
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' is %s, but %s is given", v->name,
                       ot_type_name(fed_type(v->type)), ot_type_name(t->type));
    if (t->rank < 0 || t->rank > OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s': rank %d is not supported", v->name,
                       t->rank);
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
        return ot_fail(err, OT_ERROR_LIMIT,
                       "input '%s' has shape %s, which is more than %lld elements", v->name,
                       ot_shape_text(&given, have, sizeof have), (long long)most);
    if (!fits || !ot_shape_count(t->dim, t->rank, most, &count) || !count)
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' has shape %s, but %s is given", v->name,
                       v->rank < 0 ? "free" : ot_shape_text(&fixed, want, sizeof want),
                       ot_shape_text(&given, have, sizeof have));
    return OT_OK;
}

ot_status ot_plan_keep_request(struct plan *p, struct arena *arena, ot_error *err) {
    const struct request *r = &p->request;
    const size_t n = (size_t)r->n_inputs;
    ot_tensor *input = ot_arena_alloc(arena, n, sizeof *input);
    bool *wants = ot_arena_alloc(arena, n, sizeof *wants);
    struct probe_request *probe = ot_arena_alloc(arena, (size_t)r->n_probes, sizeof *probe);
    if (!input || !wants || !probe) return ot_plan_no_memory(err);
    if (n) memcpy(input, r->input, n * sizeof *input);
    for (size_t i = 0; i < n; i++) input[i].data = NULL;
    if (r->wants_input) memcpy(wants, r->wants_input, n * sizeof *wants);
    if (r->n_probes) memcpy(probe, r->probe, (size_t)r->n_probes * sizeof *probe);
    p->request.input = input;
    p->request.probe = probe;
    p->request.wants_input = wants;
    return OT_OK;
}

static ot_status take_input(struct plan *p, int i, const ot_tensor *t, ot_error *err) {
    const struct value *v = &p->graph->value[p->graph->input[i]];
    OT_TRY(check_input(p, v, t, err));
    struct entry *e = ot_plan_entry(p, v->name);
    if (!e) return ot_plan_no_memory(err);
    e->t = (struct tensor){.type = t->type, .role = OT_ROLE_INPUT, .rank = t->rank};
    e->t.half = ot_half_of(v->type);
    memcpy(e->t.dim, t->dim, sizeof e->t.dim);
    e->input = i;
    e->wants = ot_plan_trains(p->request.kind) && p->request.wants_input[i];
    p->input_entry[i] = e;
    return OT_OK;
}

ot_status ot_plan_take_inputs(struct plan *p, ot_error *err) {
    const struct graph *g = p->graph;
    const int n = p->request.n_inputs;
    if (n != g->n_inputs)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d inputs, but %d are given",
                       g->n_inputs, n);
    p->input_entry = ot_arena_alloc(&p->arena, (size_t)n, sizeof *p->input_entry);
    if (!p->input_entry) return ot_plan_no_memory(err);
    OT_TRY(ot_plan_keep_request(p, &p->arena, err));
    for (int i = 0; i < n; i++) OT_TRY(take_input(p, i, &p->request.input[i], err));
    return OT_OK;
}

/* Plans that do not train have no probes. */
static bool same_probes(const struct request *a, const struct request *b) {
    if (!ot_plan_trains(a->kind)) return true;
    if (a->n_probes != b->n_probes) return false;
    for (int i = 0; i < a->n_probes; i++)
        if (a->probe[i].parameter != b->probe[i].parameter ||
            a->probe[i].slots != b->probe[i].slots)
            return false;
    return true;
}

bool ot_plan_fits(const struct plan *p, const struct request *r) {
    if (p->request.kind != r->kind || p->request.n_inputs != r->n_inputs ||
        p->request.patterns_change != r->patterns_change)
        return false;
    if (!same_probes(&p->request, r)) return false;
    if (!ot_plan_has_outputs(r->kind) && p->skips != ot_plan_skips(p, r->loss_kind)) return false;
    for (int i = 0; i < r->n_inputs; i++) {
        const ot_tensor *a = &p->request.input[i], *b = &r->input[i];
        if (a->type != b->type || a->rank != b->rank ||
            memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim))
            return false;
    }
    return true;
}
