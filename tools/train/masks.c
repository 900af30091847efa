/* masks.c - masks that change during a run: options, updates, records. */
#include "tools/jsonout.h"
#include "tools/sparsity.h"
#include "tools/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the table says of the method that is asked for. */
static int find_method(const struct settings *s, ot_topology_method *method, struct failure *f) {
    const char *name = ot_text(s, OPTION_topology);
    for (int i = 0; i < ot_topology_method_count(); i++)
        if (!ot_get_topology_method(i, method, NULL) && strcmp(method->name, name) == 0) return 0;
    return ot_refuse(f, EXIT_USAGE, "topology: there is no method '%s'", name);
}

/* Steps of an epoch. */
static int64_t steps_of_epoch(const struct trainer *t) {
    return (t->batches + t->accumulate - 1) / t->accumulate;
}

/* What the method says. */
static int64_t usual_every(const struct trainer *t, const ot_topology_method *m,
                           const ot_topology_options *o) {
    if (m->every > 0) return m->every;
    const int64_t part = m->every ? (o->end - o->start) / -m->every : steps_of_epoch(t);
    return part > 0 ? part : 1;
}

/* "100", or "2epoch". */
static int read_every(const struct trainer *t, int64_t *every, struct failure *f) {
    const char *text = ot_text(t->s, OPTION_topology_every);
    char *end;
    if (!text || strcmp(text, "auto") == 0) return 0;
    const double n = strtod(text, &end);
    const bool epochs = strcmp(end, "epoch") == 0 || strcmp(end, "epochs") == 0;
    const double steps = epochs ? n * (double)steps_of_epoch(t) : n;
    if (end == text || (*end && !epochs) || !(steps >= 1 && steps <= 1e15) || n != floor(n))
        return ot_refuse(f, EXIT_USAGE,
                         "topology_every: '%s' is neither a number of steps from 1 to 1e15, nor a "
                         "number of epochs, as 1epoch, nor auto",
                         text);
    *every = (int64_t)steps;
    return 0;
}

/* A number of steps, or a share of the run. */
static int64_t steps_of(const struct trainer *t, double number) {
    return (int64_t)(number > 1 ? number : number * (double)t->total_steps);
}

/* The word of a CHOICE that was given; NULL: none was. */
static const char *given(const struct settings *s, enum option_id id) {
    return ot_is_given(s, id) ? ot_text(s, id) : NULL;
}

/* Options that say how masks change, where they do not. */
static int refuse_idle(const struct settings *s, struct failure *f) {
    static const enum option_id idle[] = {
        OPTION_topology_every, OPTION_topology_start, OPTION_topology_end, OPTION_layers,
        OPTION_drop,           OPTION_drop_fraction,  OPTION_grow,         OPTION_grow_candidates,
        OPTION_ablation,       OPTION_revive,         OPTION_newborn,      OPTION_target_sparsity,
        OPTION_density,        OPTION_budget,         OPTION_constraint};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (ot_is_new(s, idle[i]))
            return ot_refuse(f, EXIT_USAGE, "%s is given, but masks do not change: topology=%s",
                             ot_option_table[idle[i]].key, ot_text(s, OPTION_topology));
    return 0;
}

/* Which layers take part, and where weights are removed, how many are left. */
static int read_layers(const struct trainer *t, struct sparsity *p, struct failure *f) {
    static const enum option_id amounts[] = {OPTION_density, OPTION_target_sparsity, OPTION_budget};
    const struct settings *s = t->s;
    if (t->prunes) return ot_sparsity_open(p, s, f);
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        if (ot_is_given(s, amounts[i]))
            return ot_refuse(f, EXIT_USAGE,
                             "%s is given, but topology=%s keeps the number of weights",
                             ot_option_table[amounts[i]].key, ot_text(s, OPTION_topology));
    if (ot_is_given(s, OPTION_constraint) && strcmp(ot_text(s, OPTION_constraint), "free") != 0)
        return ot_refuse(f, EXIT_USAGE, "constraint is given, but topology=%s takes none",
                         ot_text(s, OPTION_topology));
    p->options.size = sizeof p->options;
    p->options.layers = ot_text(s, OPTION_layers);
    return 0;
}

static int tell_session(struct trainer *t, ot_topology_options *o, struct failure *f) {
    struct sparsity p = {.options = {0}};
    ot_error err = {0};
    int code = read_layers(t, &p, f);
    o->sparsity = &p.options;
    if (!code && ot_set_topology(t->model.session, o, &err))
        code = ot_refuse_status(f, EXIT_USAGE, &err);
    ot_sparsity_close(&p);
    return code;
}

int ot_trainer_set_masks(struct trainer *t, struct failure *f) {
    const struct settings *s = t->s;
    ot_topology_method m;
    int code = find_method(s, &m, f);
    if (code) return code;
    t->changes_masks = strcmp(m.name, "static") != 0;
    if (!t->changes_masks) return refuse_idle(s, f);
    ot_topology_options o = {.size = sizeof o,
                             .method = m.name,
                             .drop = given(s, OPTION_drop),
                             .grow = given(s, OPTION_grow),
                             .newborn = given(s, OPTION_newborn),
                             .drop_fraction = ot_number(s, OPTION_drop_fraction, 0.3),
                             .start = steps_of(t, ot_number(s, OPTION_topology_start, m.start)),
                             .end = steps_of(t, ot_number(s, OPTION_topology_end, m.end)),
                             .seed = t->seed,
                             .grow_candidates = (int)ot_integer(s, OPTION_grow_candidates, 0)};
    if (strcmp(m.name, "srigl") == 0) {
        o.ablation =
            ot_number(s, OPTION_ablation, 0.3) > 0 ? ot_number(s, OPTION_ablation, 0.3) : -1;
        o.no_revival = !ot_integer(s, OPTION_revive, 1);
    }
    o.every = usual_every(t, &m, &o);
    code = read_every(t, &o.every, f);
    t->masks_every = o.every;
    t->masks_end = o.end;
    t->prunes = strcmp(m.grow, "none") == 0;
    return code ? code : tell_session(t, &o, f);
}

/* What `auto` comes to, once the step is planned. The run's args.yaml has it as a number. */
int ot_trainer_settle_masks(struct trainer *t, struct settings *s, struct failure *f) {
    enum { LEAST = 100 };
    static const double share = 0.03;
    const char *text = ot_text(s, OPTION_topology_every);
    char number[24];
    ot_error err = {0};
    int64_t every;
    if (!t->changes_masks || !text || strcmp(text, "auto") != 0) return 0;
    if (ot_get_topology_interval(t->model.session, LEAST, share, &every, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    snprintf(number, sizeof number, "%" PRId64, every);
    const int code = ot_settings_replace(s, OPTION_topology_every, number, "auto", f);
    return code ? code : ot_trainer_set_masks(t, f);
}

static void log_update(struct trainer *t, const ot_topology_report *r) {
    fprintf(t->run.metrics,
            "{\"event\":\"topology\",\"step\":%" PRId64 ",\"update\":%" PRId64
            ",\"layers\":%" PRId64 ",\"dropped\":%" PRId64 ",\"grown\":%" PRId64
            ",\"nonzeros\":%" PRId64 ",\"live_rows\":%" PRId64 ",\"rows\":%" PRId64 ",\"seconds\":",
            r->step, r->update, r->layers, r->dropped, r->grown, r->nonzeros, r->live_rows,
            r->rows);
    ot_print_number(t->run.metrics, r->seconds, 3);
    fputs("}\n", t->run.metrics);
}

int ot_trainer_update_masks(struct trainer *t, struct failure *f) {
    ot_topology_report report;
    ot_error err = {0};
    if (!t->changes_masks) return 0;
    if (ot_topology_step(t->model.session, &report, &err))
        return ot_refuse_status(f, err.status == OT_ERROR_NO_MEMORY ? EXIT_MEMORY : EXIT_MODEL,
                                &err);
    if (!report.updated) return 0;
    t->updates += report.layers > 0;
    t->moved += report.grown;
    t->removed += report.dropped - report.grown;
    log_update(t, &report);
    return 0;
}
