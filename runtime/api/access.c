/* access.c - reading, writing and freezing parameters from outside. */
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/finite.h"
#include "runtime/base/pattern.h"
#include "runtime/model/trained.h"

const char *ot_fixed_reason_name(ot_fixed_reason reason) {
    static const char *const names[] = {"trained",  "statistic", "mask",
                                        "constant", "table",     "frozen"};
    return (unsigned)reason < sizeof names / sizeof *names ? names[reason] : "unknown";
}

const char *ot_structure_name(ot_structure structure) {
    static const char *const names[] = {"none", "zeros", "sparse", "mask", "option", "topology"};
    return (unsigned)structure < sizeof names / sizeof *names ? names[structure] : "unknown";
}

int ot_parameter_count(const ot_session *s) { return s ? s->model->n_parameters : 0; }

static ot_status find_parameter(const ot_session *s, int i, struct parameter **p, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (i < 0 || i >= s->model->n_parameters)
        return ot_fail(err, OT_ERROR_ARGUMENT, "parameter %d does not exist, the model has %d", i,
                       s->model->n_parameters);
    *p = &s->model->parameter[i];
    return OT_OK;
}

/* A mask without zeros still tells its shape. */
static uint64_t mask_hash(const struct tensor *t) {
    if (t->pattern) return ot_pattern_hash(t->pattern);
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < t->rank; i++) h = (h ^ (uint64_t)t->dim[i]) * 0x100000001b3u;
    return h;
}

ot_status ot_get_parameter(const ot_session *s, int i, ot_parameter_info *info, ot_error *err) {
    struct parameter *p = NULL;
    OT_TRY(find_parameter(s, i, &p, err));
    if (!info) return ot_fail(err, OT_ERROR_ARGUMENT, "info is NULL");
    *info = (ot_parameter_info){.name = p->name,
                                .op = p->op,
                                .file_type = s->model->graph->value[p->value].type,
                                .rank = p->t.rank,
                                .elements = ot_elements(&p->t),
                                .nonzeros = ot_count(&p->t),
                                .has_pattern = p->t.pattern != NULL,
                                .is_sparse = p->is_sparse,
                                .is_trainable = ot_is_trained(p),
                                .fixed = p->fixed,
                                .mask_hash = mask_hash(&p->t),
                                .structure = p->structure,
                                .mask = p->mask,
                                .zeros = p->zeros};
    memcpy(info->dim, p->t.dim, sizeof info->dim);
    return OT_OK;
}

static void wake(ot_session *s, int i) {
    if (!s->model->parameter[i].is_number) return;
    ot_parameter_wake(s->model->graph, s->model->parameter, i, s->model->parameter_of);
    ot_session_drop_plans(s);
}

static void to_dense(const struct parameter *p, const float *from, float *values) {
    if (p->t.pattern)
        ot_pattern_scatter(p->t.pattern, from, values);
    else
        memcpy(values, from, ot_bytes(&p->t));
}

ot_status ot_read_parameter(const ot_session *s, int i, float *values, ot_error *err) {
    struct parameter *p = NULL;
    OT_TRY(find_parameter(s, i, &p, err));
    if (!values) return ot_fail(err, OT_ERROR_ARGUMENT, "values is NULL");
    to_dense(p, p->t.data, values);
    return OT_OK;
}

ot_status ot_get_gradient(const ot_session *s, int i, float *values, ot_error *err) {
    struct parameter *p = NULL;
    OT_TRY(find_parameter(s, i, &p, err));
    if (!values) return ot_fail(err, OT_ERROR_ARGUMENT, "values is NULL");
    if (!p->gradient)
        return ot_fail(err, OT_ERROR_STATE,
                       "weight '%s' has no gradient, because no training step has computed one",
                       p->name);
    to_dense(p, ot_parameter_gradient(p), values);
    return OT_OK;
}

/* The values at the slots must be all that is not zero. */
static bool fits_pattern(const struct pattern *q, const float *values) {
    int64_t nonzeros = 0, in_slots = 0, n = (int64_t)q->rows * q->cols;
    for (int64_t k = 0; k < n; k++) nonzeros += values[k] != 0;
    for (int r = 0; r < q->rows; r++)
        for (int k = q->row[r]; k < q->row[r + 1]; k++)
            in_slots += values[ot_pattern_position(q, r, k)] != 0;
    return nonzeros == in_slots;
}

ot_status ot_write_parameter(ot_session *s, int i, const float *values, ot_error *err) {
    struct parameter *p = NULL;
    OT_TRY(find_parameter(s, i, &p, err));
    if (!values) return ot_fail(err, OT_ERROR_ARGUMENT, "values is NULL");
    if (ot_parameter_changes(p) && !ot_all_finite(s->context.pool, values, ot_elements(&p->t)))
        return ot_fail(err, OT_ERROR_NUMERIC, "weight '%s': a value is not finite", p->name);
    s->optimizer.bound = 0;
    wake(s, i);
    if (!p->t.pattern) {
        memcpy(p->t.data, values, ot_bytes(&p->t));
        return OT_OK;
    }
    if (!fits_pattern(p->t.pattern, values))
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "weight '%s': a pruned weight cannot be set to a nonzero value", p->name);
    ot_pattern_gather(p->t.pattern, values, p->t.data);
    return OT_OK;
}

/* Statistics are no matter of the optimizer; what is not finite would spoil all that it meets. */
static bool may_change(const struct parameter *p, int trainable) {
    return !p->is_statistic && (!trainable || ot_is_finite(&p->t));
}

ot_status ot_set_trainable(ot_session *s, const char *glob, int trainable, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!glob) return ot_fail(err, OT_ERROR_ARGUMENT, "glob is NULL");
    int matches = 0;
    for (int i = 0; i < s->model->n_parameters; i++)
        if (ot_glob(glob, s->model->parameter[i].name))
            matches += may_change(&s->model->parameter[i], trainable);
    if (!matches) return ot_fail(err, OT_ERROR_ARGUMENT, "no weight matches '%s'", glob);
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        if (!may_change(p, trainable) || !ot_glob(glob, p->name)) continue;
        if (trainable && s->model->graph->value[p->value].exportable) p->fixed = OT_TRAINED;
        if (trainable) {
            if (ot_is_trained(p)) wake(s, i);
            continue;
        }
        if (ot_is_trained(p)) p->fixed = OT_FIXED_FROZEN;
        ot_state_forget(p);
    }
    ot_state_settle(&s->state, s->model);
    s->optimizer.bound = 0;
    ot_session_drop_plans(s);
    return OT_OK;
}
