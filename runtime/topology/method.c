/* method.c - the table of methods, and options as a rule. */
#include "runtime/topology/method.h"

#include <math.h>
#include <string.h>

static const struct method methods[] = {
#define METHOD(name, drop, grow, constraint, count, newborn, ...)                                  \
    {name,                                                                                         \
     OT_DROP_##drop,                                                                               \
     OT_GROW_##grow,                                                                               \
     OT_CONSTRAIN_##constraint,                                                                    \
     OT_COUNT_##count,                                                                             \
     OT_NEWBORN_##newborn,                                                                         \
     __VA_ARGS__},
#include "runtime/topology/topology.def"
#undef METHOD
};
enum { METHODS = sizeof methods / sizeof *methods };

static const char *const drops[] = {"none", "magnitude", "signed", "movement", "taylor", "random"};
static const char *const grows[] = {"none", "random", "gradient", "sampled"};
static const char *const newborns[] = {"zero", "he", "uniform"};

enum { DROPS = sizeof drops / sizeof *drops };
enum { GROWS = sizeof grows / sizeof *grows };
enum { NEWBORNS = sizeof newborns / sizeof *newborns };

const struct method *ot_method_at(int i) { return i >= 0 && i < METHODS ? &methods[i] : NULL; }
const char *ot_drop_name(enum ot_drop drop) { return drops[drop]; }
const char *ot_grow_name(enum ot_grow grow) { return grows[grow]; }
const char *ot_newborn_name(enum ot_newborn newborn) { return newborns[newborn]; }

static ot_status find_method(const char *name, const struct method **method, ot_error *err) {
    for (int i = 0; i < METHODS; i++) {
        *method = &methods[i];
        if (!strcmp(name, methods[i].name)) return OT_OK;
    }
    return ot_fail(err, OT_ERROR_ARGUMENT, "there is no method '%s' of changing masks", name);
}

/* The number of `name` in the list; what *value says already, if name is NULL. */
static ot_status find_word(const char *option, const char *name, const char *const *list, int n,
                           int *value, ot_error *err) {
    if (!name) return OT_OK;
    for (int i = 0; i < n; i++) {
        if (strcmp(name, list[i])) continue;
        *value = i;
        return OT_OK;
    }
    return ot_fail(err, OT_ERROR_ARGUMENT, "%s is '%s', which is unknown", option, name);
}

static ot_status check_numbers(const ot_topology_options *o, const struct topology_rule *r,
                               ot_error *err) {
    if (!(r->drop_fraction > 0 && r->drop_fraction < 1))
        return ot_fail(err, OT_ERROR_ARGUMENT, "drop_fraction is %g, not in (0, 1)",
                       r->drop_fraction);
    if (o->every < 0 || o->start < 0 || o->end < 0)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "every is %lld, start %lld, end %lld: steps are not negative",
                       (long long)o->every, (long long)o->start, (long long)o->end);
    if (r->method->count != OT_COUNT_NEVER && !o->every)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "method '%s' needs `every`, the steps from one "
                       "change of masks to the next",
                       r->method->name);
    if (o->end && o->end <= o->start)
        return ot_fail(err, OT_ERROR_ARGUMENT, "end is %lld, not behind start, which is %lld",
                       (long long)o->end, (long long)o->start);
    return OT_OK;
}

/* What goes comes back, or a goal says when that ends. */
static ot_status check_criteria(const ot_topology_options *o, const struct topology_rule *r,
                                ot_error *err) {
    const char *name = r->method->name;
    if (r->method->count == OT_COUNT_NEVER) return OT_OK;
    if (ot_topology_prunes(r) != (r->grow == OT_GROW_NONE) || r->drop == OT_DROP_NONE ||
        r->drop == OT_DROP_TAYLOR || (ot_topology_prunes(r) && r->drop == OT_DROP_SIGNED))
        return ot_fail(err, OT_ERROR_ARGUMENT, "drop '%s' and grow '%s' do not go with method '%s'",
                       drops[r->drop], grows[r->grow], name);
    if (r->candidates < 1)
        return ot_fail(err, OT_ERROR_ARGUMENT, "grow_candidates is %d", r->candidates);
    if (!(r->ablation >= 0) || r->ablation > 1e9)
        return ot_fail(err, OT_ERROR_ARGUMENT, "ablation is %g", o->ablation);
    if (r->constraint == OT_CONSTRAIN_FREE && (o->ablation != 0 || o->no_revival))
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "ablation is of methods with a constant fan-in, and '%s' has none", name);
    if (r->constraint == OT_CONSTRAIN_FAN_IN && r->grow != OT_GROW_GRADIENT)
        return ot_fail(err, OT_ERROR_ARGUMENT, "method '%s' grows by gradient, not '%s'", name,
                       grows[r->grow]);
    if (!ot_topology_prunes(r) || o->end) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "method '%s' needs an end", name);
}

static double ablation_of(const struct method *m, const ot_topology_options *o) {
    if (m->constraint != OT_CONSTRAIN_FAN_IN || o->ablation < 0) return 0;
    return o->ablation != 0 ? o->ablation : .3;
}

ot_status ot_topology_read(const ot_topology_options *o, struct topology_rule *rule,
                           ot_error *err) {
    const struct method *m;
    OT_TRY(find_method(o->method ? o->method : "static", &m, err));
    int drop = (int)m->drop, grow = (int)m->grow, newborn = (int)m->newborn;
    OT_TRY(find_word("drop", o->drop, drops, DROPS, &drop, err));
    OT_TRY(find_word("grow", o->grow, grows, GROWS, &grow, err));
    OT_TRY(find_word("newborn", o->newborn, newborns, NEWBORNS, &newborn, err));
    *rule = (struct topology_rule){.method = m,
                                   .drop = (enum ot_drop)drop,
                                   .grow = (enum ot_grow)grow,
                                   .newborn = (enum ot_newborn)newborn,
                                   .constraint = m->constraint,
                                   .candidates = o->grow_candidates ? o->grow_candidates : 16,
                                   .ablation = ablation_of(m, o),
                                   .revive = !o->no_revival,
                                   .drop_fraction = o->drop_fraction != 0 ? o->drop_fraction : .3,
                                   .every = m->count == OT_COUNT_NEVER ? 0 : o->every,
                                   .start = o->start,
                                   .end = o->end ? o->end : INT64_MAX};
    OT_TRY(check_numbers(o, rule, err));
    return check_criteria(o, rule, err);
}

double ot_topology_share(const struct topology_rule *r, int64_t step) {
    if (r->method->count != OT_COUNT_COSINE) return r->drop_fraction;
    return r->drop_fraction / 2 * (1 + cos(acos(-1) * (double)step / (double)r->end));
}

/* (1 - x)^3, x the part of the way from start to end (Zhu and Gupta, arXiv 1710.01878, eq. 1). */
double ot_topology_left(const struct topology_rule *r, int64_t step) {
    const double way = (double)(r->end - r->start), left = (double)(r->end - step) / way;
    return left > 0 ? left * left * left : 0;
}
