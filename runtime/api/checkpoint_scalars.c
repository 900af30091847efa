/* checkpoint_scalars.c - the numbers of a checkpoint: options of the optimizer, and counters. */
#include <math.h>
#include <string.h>

#include "runtime/api/checkpoint.h"

_Static_assert(sizeof(ot_optimizer_kind) == 4 && sizeof(ot_schedule_kind) == 4, "enums are int32");

#define SCALAR(name, type, member)                                                                 \
    { name, type, offsetof(struct scalars, member), ALWAYS }
#define UPDATES(name, type, member)                                                                \
    { name, type, offsetof(struct scalars, member), AFTER_UPDATES }
#define BETWEEN(name, type, member)                                                                \
    { name, type, offsetof(struct scalars, member), BETWEEN_BATCHES }
/* When a scalar is there. */
enum presence {
    ALWAYS,
    BETWEEN_BATCHES, /* of one step; 0.1.0 did not write it */
    AFTER_UPDATES    /* of the masks */
};

static const struct {
    const char *name;
    ot_type type;
    size_t offset;
    enum presence presence;
} scalars[] = {
    SCALAR("optimizer.kind", OT_INT32, o.kind),
    SCALAR("optimizer.lr", OT_FLOAT, o.lr),
    SCALAR("optimizer.momentum", OT_FLOAT, o.momentum),
    SCALAR("optimizer.dampening", OT_FLOAT, o.dampening),
    SCALAR("optimizer.nesterov", OT_INT32, o.nesterov),
    SCALAR("optimizer.beta1", OT_FLOAT, o.beta1),
    SCALAR("optimizer.beta2", OT_FLOAT, o.beta2),
    SCALAR("optimizer.eps", OT_FLOAT, o.eps),
    SCALAR("optimizer.lr_decay", OT_FLOAT, o.lr_decay),
    SCALAR("optimizer.weight_decay", OT_FLOAT, o.weight_decay),
    SCALAR("optimizer.post_decay", OT_FLOAT, o.post_decay),
    SCALAR("optimizer.clip_norm", OT_FLOAT, o.clip_norm),
    SCALAR("schedule.kind", OT_INT32, o.schedule),
    SCALAR("schedule.warmup_steps", OT_INT64, o.warmup_steps),
    SCALAR("schedule.total_steps", OT_INT64, o.total_steps),
    SCALAR("schedule.step_size", OT_INT64, o.step_size),
    SCALAR("schedule.gamma", OT_FLOAT, o.gamma),
    SCALAR("schedule.final_factor", OT_FLOAT, o.final_factor),
    SCALAR("optimizer.steps_before", OT_INT64, o.steps_before),
    SCALAR("optimizer.is_set", OT_INT32, is_set),
    SCALAR("optimizer.steps", OT_INT64, steps),
    SCALAR("optimizer.gradient_norm", OT_DOUBLE, gradient_norm),
    SCALAR("session.accumulated", OT_INT64, sum.steps),
    BETWEEN("session.host_losses", OT_INT64, sum.host),
    BETWEEN("session.targets", OT_INT64, sum.targets),
    BETWEEN("session.unit", OT_INT64, sum.unit),
    SCALAR("session.head_classes", OT_INT64, head_classes),
    SCALAR("session.seed", OT_UINT64, seed),
    SCALAR("session.step", OT_UINT64, step),
    UPDATES("topology.updates", OT_INT64, updates),
    UPDATES("topology.last", OT_INT64, last_update),
};
enum { SCALARS = sizeof scalars / sizeof *scalars };
_Static_assert((int)SCALARS <= (int)OT_SCALARS_MOST, "room for all of them");

void ot_scalars_get(const struct ot_session *s, struct scalars *c) {
    *c = (struct scalars){.o = s->optimizer.options,
                          .is_set = s->optimizer.is_set,
                          .steps = s->optimizer.steps,
                          .sum = s->accumulation,
                          .head_classes = s->head_classes,
                          .seed = s->context.random.seed,
                          .step = s->context.random.step,
                          .gradient_norm = s->gradient_norm,
                          .updates = s->topology.updates,
                          .last_update = s->topology.last};
}

void ot_scalars_set(struct ot_session *s, const struct scalars *c) {
    s->optimizer.options = c->o;
    s->optimizer.is_set = c->is_set;
    s->optimizer.steps = c->steps;
    s->accumulation = c->sum;
    s->context.random.seed = c->seed;
    s->context.random.step = c->step;
    s->gradient_norm = c->gradient_norm;
    s->optimizer.bound = 0;
    s->topology.updates = c->updates;
    s->topology.last = c->last_update;
    s->topology.probing = 0; /* lists are of the masks that were */
}

static const int64_t most_count = INT64_C(1) << 62; /* counters must not overflow later */

static bool good_sum(const struct accumulation *sum) {
    const int64_t all[] = {sum->steps, sum->host, sum->targets, sum->unit};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < 0 || all[i] > most_count) return false;
    return sum->host <= sum->steps && (sum->unit > 0 || sum->targets == 0);
}

static ot_status check_scalars(const struct ot_session *s, struct scalars *c, ot_error *err) {
    ot_optimizer_options filled;
    if (c->steps < 0 || c->steps > most_count || !good_sum(&c->sum) ||
        c->step > (uint64_t)most_count || c->is_set < 0 || c->is_set > 1 || c->updates < 0 ||
        c->updates > INT32_MAX || c->last_update < 0 || c->last_update > c->steps)
        return ot_fail(err, OT_ERROR_INVALID, "a counter is out of range");
    if (isnan(c->gradient_norm))
        return ot_fail(err, OT_ERROR_INVALID, "the gradient norm is not a number");
    if (ot_optimizer_check(&c->o, &filled, err))
        return ot_fail_in(err, OT_ERROR_INVALID, "the optimizer's options");
    if (c->is_set) c->o = filled;
    if (c->head_classes == s->head_classes) return OT_OK;
    return ot_fail(err, OT_ERROR_STATE,
                   "the checkpoint's model has a new head for %lld classes, this one for %lld "
                   "(0: its own head)",
                   (long long)c->head_classes, (long long)s->head_classes);
}

int ot_scalars_list(const struct ot_session *s, const struct scalars *c,
                    struct safetensor list[OT_SCALARS_MOST]) {
    const bool is_there[] = {[ALWAYS] = true,
                             [BETWEEN_BATCHES] = s->accumulation.steps != 0,
                             [AFTER_UPDATES] = s->topology.updates != 0};
    int n = 0;
    for (int i = 0; i < SCALARS; i++)
        if (is_there[scalars[i].presence])
            list[n++] = (struct safetensor){.name = scalars[i].name,
                                            .type = scalars[i].type,
                                            .data = (const char *)c + scalars[i].offset};
    return n;
}

ot_status ot_scalars_read(const struct ot_session *s, const struct safetensors *file,
                          struct scalars *c, int *found, ot_error *err) {
    bool between = false;
    *found = 0;
    *c = (struct scalars){.o.exact = 1}; /* options are kept with their defaults filled in */
    for (int i = 0; i < SCALARS; i++) {
        const struct safetensor *t = ot_safetensors_find(file, scalars[i].name);
        if (!t && scalars[i].presence != ALWAYS) continue;
        if (!t || t->type != scalars[i].type || t->rank)
            return ot_fail(err, OT_ERROR_INVALID, "'%s' is missing, or not a scalar of type %s",
                           scalars[i].name, ot_type_name(scalars[i].type));
        memcpy((char *)c + scalars[i].offset, t->data, ot_type_size(t->type));
        between |= scalars[i].presence == BETWEEN_BATCHES;
        ++*found;
    }
    if (!between) c->sum.host = c->sum.steps; /* of 0.1.0: each batch counts as much */
    return check_scalars(s, c, err);
}
