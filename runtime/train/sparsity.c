/* sparsity.c - layers that become sparse, and their densities. */
#include "runtime/train/sparsity.h"

/* ---- the options ---- */

static ot_status check_groups(const ot_sparsity_options *o, ot_error *err) {
    const int a = o->group[0], b = o->group[1];
    if (o->constraint == OT_CONSTRAIN_NM && (a < 1 || a > b))
        return ot_fail(err, OT_ERROR_ARGUMENT, "constraint nm:%d:%d: N has to be from 1 to M", a,
                       b);
    if (o->constraint == OT_CONSTRAIN_BLOCK && (a < 1 || b < 1))
        return ot_fail(err, OT_ERROR_ARGUMENT, "constraint block:%dx%d: a block has no elements", a,
                       b);
    return OT_OK;
}

static ot_status check_density(const char *what, double density, ot_error *err) {
    if (density > 0 && density <= 1) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "%s is %g, not in (0, 1]", what, density);
}

static ot_status check_options(const ot_sparsity_options *o, ot_error *err) {
    if ((unsigned)o->budget > OT_BUDGET_LIST || (unsigned)o->constraint > OT_CONSTRAIN_CHANNELS ||
        (unsigned)o->start > OT_START_XAVIER || (unsigned)o->by > OT_PRUNE_RANDOM)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "budget is %d, constraint %d, start %d, by %d: unknown", (int)o->budget,
                       (int)o->constraint, (int)o->start, (int)o->by);
    OT_TRY(check_groups(o, err));
    if (o->constraint == OT_CONSTRAIN_CHANNELS && o->budget != OT_BUDGET_AUTO &&
        o->budget != OT_BUDGET_UNIFORM && o->budget != OT_BUDGET_LIST)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "constraint channels: the budget is uniform, or a list of layers");
    if (o->n_densities < 0 || (o->n_densities && !o->densities))
        return ot_fail(err, OT_ERROR_ARGUMENT, "a list of %d densities", o->n_densities);
    for (int i = 0; i < o->n_densities; i++)
        OT_TRY(check_density(o->densities[i].glob, o->densities[i].density, err));
    return OT_OK;
}

/* ---- the layers ---- */

/* The entry of the list that counts for a name; NULL: none matches. */
static const ot_layer_density *density_of(const ot_sparsity_options *o, const char *name) {
    for (int i = o->n_densities; i-- > 0;)
        if (ot_glob(o->densities[i].glob, name)) return &o->densities[i];
    return NULL;
}

static bool lists_names(const ot_sparsity_options *o) { return o->layers && *o->layers; }

/* Does the host want this layer? 1 and -1: the options name it, to take part or not. */
static int is_wanted(const ot_sparsity_options *o, const struct layer *l) {
    if (o->budget == OT_BUDGET_LIST && !density_of(o, l->p->name)) return -1;
    const int named = ot_glob_list(o->layers, l->p->name);
    if (named) return named;
    return lists_names(o) && o->layers[0] != '!' ? -1 : 0;
}

/* Why a layer cannot take part; NULL: it can. */
static const char *obstacle(const struct layer *l) {
    if (l->p->structure == OT_STRUCTURE_MASK) return "its mask is a tensor of the model";
    if (l->p->dequantizer >= 0) return "it is stored as integers";
    if (!ot_is_trained(l->p)) return "it is not trained";
    return NULL;
}

static bool takes_part(const struct sparsity *s, const struct parameter *p) {
    for (int i = 0; i < s->n; i++)
        if (s->layer[i].p == p) return true;
    return false;
}

static ot_status choose(struct sparsity *s, const struct layer *all, const struct log *log,
                        ot_error *err) {
    for (int i = 0; i < s->m->n_parameters; i++) {
        const struct layer *l = &all[i];
        const int wanted = l->p ? is_wanted(&s->o, l) : -1;
        if (wanted < 0 || (l->is_depthwise && !wanted)) continue;
        const char *why = obstacle(l);
        if (why && wanted > 0)
            return ot_fail(err, OT_ERROR_UNSUPPORTED, "layers: '%s' cannot take part: %s",
                           l->p->name, why);
        if (why) {
            ot_log(log, OT_LOG_WARNING, "'%s' does not take part: %s", l->p->name, why);
            continue;
        }
        s->layer[s->n++] = *l;
    }
    for (int i = 0; i < s->m->n_parameters; i++) {
        const struct pattern *p = all[i].p ? all[i].p->t.pattern : NULL;
        if (p && !p->nnz && !takes_part(s, all[i].p)) s->layer[s->n + s->n_empty++] = all[i];
    }
    if (s->n) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "no trained weight of a product takes part");
}

/* Each glob names a layer. */
static ot_status check_glob(const struct model *m, const struct layer *all, const char *glob,
                            ot_error *err) {
    for (int i = 0; i < m->n_parameters; i++)
        if (all[i].p && ot_glob(glob, all[i].p->name)) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "no weight of a product matches '%s'", glob);
}

static ot_status check_globs(const struct model *m, const struct layer *all,
                             const ot_sparsity_options *o, ot_error *err) {
    const char *list = o->layers;
    char glob[OT_GLOB_SIZE];
    bool negated;
    while (list && ot_glob_next(&list, glob, &negated)) OT_TRY(check_glob(m, all, glob, err));
    if (list && *list)
        return ot_fail(err, OT_ERROR_ARGUMENT, "layers: a glob has more than %d bytes",
                       OT_GLOB_SIZE - 1);
    for (int i = 0; i < o->n_densities; i++) OT_TRY(check_glob(m, all, o->densities[i].glob, err));
    return OT_OK;
}

/* ---- the densities ---- */

static double first_density(const struct layer *l) {
    return (double)l->p->first_slots / (double)ot_elements(&l->p->t);
}

/* In proportion to what there was first; a layer cannot get more than all. */
static ot_status give_in_proportion(struct sparsity *s, ot_error *err) {
    double slots = 0, elements = 0;
    for (int i = 0; i < s->n; i++) {
        slots += (double)s->layer[i].p->first_slots;
        elements += (double)ot_elements(&s->layer[i].p->t);
    }
    if (!(slots > 0)) return ot_fail(err, OT_ERROR_ARGUMENT, "budget given: no layer has a weight");
    if (s->o.density != 0) OT_TRY(check_density("density", s->o.density, err));
    const double factor = s->o.density != 0 ? s->o.density * elements / slots : 1;
    for (int i = 0; i < s->n; i++) {
        const double density = factor * first_density(&s->layer[i]);
        if (density > 1 + 1e-9)
            return ot_fail(
                err, OT_ERROR_ARGUMENT,
                "budget given: density %g asks for %.3g times as many weights as '%s' has",
                s->o.density, density, s->layer[i].p->name);
        s->budget[i].density = density < 1 ? density : 1;
    }
    return OT_OK;
}

static ot_status give_as_listed(struct sparsity *s) {
    for (int i = 0; i < s->n; i++)
        s->budget[i].density = density_of(&s->o, s->layer[i].p->name)->density;
    return OT_OK;
}

static ot_status give(struct sparsity *s, ot_error *err) {
    const double density = s->o.density;
    switch (s->o.budget) {
    case OT_BUDGET_UNIFORM: return ot_budget_uniform(s->budget, s->n, density, err);
    case OT_BUDGET_ERK: return ot_budget_erk(s->budget, s->n, density, err);
    case OT_BUDGET_ER: return ot_budget_er(s->budget, s->n, s->o.epsilon, err);
    case OT_BUDGET_GLOBAL: return check_density("density", density, err);
    case OT_BUDGET_LIST: return give_as_listed(s);
    case OT_BUDGET_AUTO:
    case OT_BUDGET_GIVEN: break;
    }
    return give_in_proportion(s, err);
}

static void describe(struct sparsity *s) {
    bool has_mask = false;
    for (int i = 0; i < s->n; i++) {
        const struct layer *l = &s->layer[i];
        s->budget[i] = (struct budget_layer){.name = l->p->name, .rows = l->rows, .cols = l->cols};
        for (int d = 0; d < l->p->t.rank; d++) s->budget[i].dims += l->p->t.dim[d];
        has_mask |= l->p->first_slots && l->p->first_slots < ot_elements(&l->p->t);
    }
    if (s->o.budget == OT_BUDGET_AUTO && s->o.constraint == OT_CONSTRAIN_CHANNELS)
        s->o.budget = OT_BUDGET_UNIFORM;
    if (s->o.budget == OT_BUDGET_AUTO) s->o.budget = has_mask ? OT_BUDGET_GIVEN : OT_BUDGET_ERK;
}

/* Constraints that a layer's shape does not fit, and layers that would keep nothing. */
static ot_status check_layer(const struct sparsity *s, int i, ot_error *err) {
    const struct layer *l = &s->layer[i];
    const int a = s->o.group[0], b = s->o.group[1];
    const int64_t channels = l->cols / l->taps;
    if (s->o.constraint == OT_CONSTRAIN_NM && channels % b)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "constraint nm:%d:%d: '%s' has %lld inputs, which %d does not divide", a, b,
                       l->p->name, (long long)channels, b);
    if (s->o.constraint == OT_CONSTRAIN_BLOCK && (l->rows % a || l->cols % b))
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "constraint block:%dx%d: '%s' has %lld rows and %lld columns, which the "
                       "block does not divide",
                       a, b, l->p->name, (long long)l->rows, (long long)l->cols);
    if (s->o.constraint == OT_CONSTRAIN_FAN_IN && s->o.budget != OT_BUDGET_GLOBAL &&
        !ot_budget_fan_in(&s->budget[i]))
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "constraint fan_in: density %.3g leaves none of the %lld inputs of a row of "
                       "'%s'",
                       s->budget[i].density, (long long)l->cols, l->p->name);
    return OT_OK;
}

static ot_status fill(struct sparsity *s, const struct layer *all, const struct log *log,
                      ot_error *err) {
    OT_TRY(check_globs(s->m, all, &s->o, err));
    OT_TRY(choose(s, all, log, err));
    describe(s);
    if (s->o.constraint == OT_CONSTRAIN_NM)
        OT_TRY(ot_budget_uniform(s->budget, s->n, (double)s->o.group[0] / s->o.group[1], err));
    else
        OT_TRY(give(s, err));
    for (int i = 0; i < s->n; i++) OT_TRY(check_layer(s, i, err));
    return OT_OK;
}

ot_status ot_sparsity_read(const struct model *m, const ot_sparsity_options *o,
                           const struct log *log, struct sparsity *s, ot_error *err) {
    struct layer *all = NULL;
    *s = (struct sparsity){.m = m, .o = *o};
    OT_TRY(check_options(o, err));
    OT_TRY(ot_layers_find(m, &all, err));
    s->layer = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof *s->layer);
    s->budget = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof *s->budget);
    ot_status status = s->layer && s->budget
                           ? fill(s, all, log, err)
                           : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the layers");
    ot_block_free(&m->allocator, all);
    if (status) ot_sparsity_free(s);
    return status;
}

void ot_sparsity_free(struct sparsity *s) {
    ot_block_free(&s->m->allocator, s->layer);
    ot_block_free(&s->m->allocator, s->budget);
}
