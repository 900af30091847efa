/* algorithm.c - loss and optimizer, of the settings and of the model's training_info. */
#include "tools/train/algorithm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char origin[] = "training_info";

/* ---- training_info as settings ---- */

struct reader {
    struct algorithm *a;
    struct settings *s;
    struct failure *f;
    int code;
};

/* Was another value given? */
static bool is_replaced(const struct settings *s, enum option_id id, const char *value) {
    if (!ot_is_given(s, id)) return false;
    if (ot_option_table[id].type != TYPE_NUMBER) return strcmp(ot_text(s, id), value) != 0;
    return (float)ot_number(s, id, 0) != strtof(value, NULL);
}

static void put(struct reader *r, enum option_id id, const char *value) {
    const char *key = ot_option_table[id].key;
    if (r->code) return;
    if (is_replaced(r->s, id, value))
        ot_append_text(r->a->instead, sizeof r->a->instead, "%s%s=%s (%s)",
                       *r->a->instead ? ", " : "", key, ot_text(r->s, id), value);
    if (!ot_is_given(r->s, id)) r->code = ot_settings_put(r->s, key, value, origin, r->f);
}

/* Not worth telling where it is 0. */
static void put_number(struct reader *r, enum option_id id, double value) {
    char text[40];
    int digits = 1; /* as many as tell the float from others */
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtof(text, NULL) != (float)value && ++digits <= 9);
    put(r, id, text);
    if (value != 0)
        ot_append_text(r->a->text, sizeof r->a->text, " %s=%s", ot_option_table[id].key, text);
}

/* The word of a CHOICE, in buffer. */
static const char *word(enum option_id id, int index, char *buffer, size_t size) {
    const char *at = ot_option_table[id].choices;
    for (; index > 0; index--) at = strchr(at, '|') + 1;
    snprintf(buffer, size, "%.*s", (int)strcspn(at, "|"), at);
    return buffer;
}

/* Where another optimizer was given, its settings are the table's. */
static void put_optimizer(struct reader *r, const ot_optimizer_options *o) {
    char name[32];
    const bool averages = o->kind != OT_SGD && o->kind != OT_ADAGRAD;
    put(r, OPTION_optimizer, word(OPTION_optimizer, (int)o->kind, name, sizeof name));
    ot_append_text(r->a->text, sizeof r->a->text, "%s", name);
    if (ot_integer(r->s, OPTION_optimizer, 0) != (int64_t)o->kind) return;
    put_number(r, OPTION_lr, o->lr);
    put_number(r, OPTION_weight_decay, o->weight_decay);
    if (o->kind == OT_SGD) {
        put_number(r, OPTION_momentum, o->momentum);
        put_number(r, OPTION_dampening, o->dampening);
        put_number(r, OPTION_nesterov, o->nesterov);
    } else {
        put_number(r, OPTION_eps, o->eps);
    }
    if (o->kind == OT_ADAGRAD) put_number(r, OPTION_lr_decay, o->lr_decay);
    if (averages) put_number(r, OPTION_beta1, o->beta1);
    if (averages) put_number(r, OPTION_beta2, o->beta2);
    if (o->kind == OT_ADAM_ONNX) put_number(r, OPTION_post_decay, o->post_decay);
}

static void put_loss(struct reader *r, const ot_loss_options *o) {
    char name[32], text[24];
    put(r, OPTION_loss, word(OPTION_loss, (int)o->kind, name, sizeof name));
    ot_append_text(r->a->text, sizeof r->a->text, ", %s", name);
    put(r, OPTION_output, o->output);
    if (ot_integer(r->s, OPTION_loss, 0) != (int64_t)o->kind) return;
    if (o->kind == OT_LOSS_CROSS_ENTROPY) put_number(r, OPTION_label_smoothing, o->label_smoothing);
    if (o->kind == OT_LOSS_HUBER) put_number(r, OPTION_huber_delta, o->huber_delta);
    snprintf(text, sizeof text, "%" PRId64, o->ignore_index);
    if (!o->use_ignore_index) return;
    put(r, OPTION_ignore_index, text);
    ot_append_text(r->a->text, sizeof r->a->text, " ignore_index=%s", text);
}

int ot_algorithm_read(struct algorithm *a, struct model *m, struct settings *s, struct failure *f) {
    struct reader r = {a, s, f, 0};
    ot_loss_options loss = {.size = sizeof loss};
    ot_optimizer_options optimizer = {.size = sizeof optimizer};
    ot_error err = {0};
    *a = (struct algorithm){0};
    if (ot_get_training_info(m->session, &loss, &optimizer, &err))
        return err.status == OT_ERROR_STATE ? 0 : ot_refuse_status(f, EXIT_MODEL, &err);
    a->is_read = true;
    put_optimizer(&r, &optimizer);
    put_loss(&r, &loss);
    return r.code ? r.code : ot_model_choose_output(m, s, f);
}

/* ---- what the session is told ---- */

static ot_optimizer_options options_of(const struct settings *s, int64_t total_steps) {
    const ot_optimizer_kind kind = (ot_optimizer_kind)ot_integer(s, OPTION_optimizer, 0);
    const bool is_adam = kind != OT_SGD && kind != OT_ADAGRAD;
    const int64_t third = total_steps / 3 > 0 ? total_steps / 3 : 1;
    const int64_t step_size = ot_integer(s, OPTION_step_size, 0);
    return (ot_optimizer_options){.size = sizeof(ot_optimizer_options),
                                  .kind = kind,
                                  .lr = (float)ot_number(s, OPTION_lr, is_adam ? 0.001 : 0.01),
                                  .momentum =
                                      kind == OT_SGD ? (float)ot_number(s, OPTION_momentum, 0) : 0,
                                  .dampening = (float)ot_number(s, OPTION_dampening, 0),
                                  .nesterov = kind == OT_SGD && ot_integer(s, OPTION_nesterov, 0),
                                  .beta1 = (float)ot_number(s, OPTION_beta1, 0),
                                  .beta2 = (float)ot_number(s, OPTION_beta2, 0),
                                  .eps = (float)ot_number(s, OPTION_eps, 0),
                                  .lr_decay = (float)ot_number(s, OPTION_lr_decay, 0),
                                  .weight_decay = (float)ot_number(s, OPTION_weight_decay, 0),
                                  .post_decay = (float)ot_number(s, OPTION_post_decay, 0),
                                  .clip_norm = (float)ot_number(s, OPTION_clip_norm, 0),
                                  .schedule = (ot_schedule_kind)ot_integer(s, OPTION_schedule, 0),
                                  .warmup_steps = ot_integer(s, OPTION_warmup, 0),
                                  .total_steps = total_steps,
                                  .step_size = step_size ? step_size : third,
                                  .gamma = (float)ot_number(s, OPTION_gamma, 0),
                                  .final_factor = (float)ot_number(s, OPTION_final_factor, 0),
                                  .exact = 1};
}

int ot_algorithm_set(struct algorithm *a, struct model *m, const struct settings *s,
                     int64_t total_steps, struct failure *f) {
    ot_optimizer_options options = options_of(s, total_steps), said = {.size = sizeof said};
    ot_error err = {0};
    if (a->is_read && ot_get_training_info(m->session, NULL, &said, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    a->goes_on =
        a->is_read && said.kind == options.kind && (said.momentum > 0) == (options.momentum > 0);
    if (a->goes_on) options.steps_before = said.steps_before;
    if (ot_set_optimizer(m->session, &options, &err)) return ot_refuse_status(f, EXIT_USAGE, &err);
    if (a->goes_on && ot_take_training_state(m->session, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    return 0;
}

int ot_algorithm_change(struct model *m, const struct settings *s, int64_t total_steps,
                        struct failure *f) {
    const ot_optimizer_options options = options_of(s, total_steps);
    const int64_t step = ot_step_count(m->session);
    ot_optimizer_options had = {.size = sizeof had};
    ot_error err = {0};
    if (ot_get_optimizer(m->session, &had, &err)) return ot_refuse_status(f, EXIT_MODEL, &err);
    if (ot_is_new(s, OPTION_warmup) && options.warmup_steps != had.warmup_steps &&
        options.warmup_steps && options.warmup_steps <= step)
        return ot_refuse(f, EXIT_USAGE,
                         "resume: warmup: the first %" PRId64 " steps of the run are behind it, at "
                         "step %" PRId64,
                         options.warmup_steps, step);
    if (ot_change_optimizer(m->session, &options, &err))
        return ot_refuse(f, EXIT_USAGE, "resume: %s", err.message);
    return 0;
}

int ot_algorithm_freeze(struct model *m, const struct settings *s, struct failure *f) {
    const char *globs = ot_text(s, OPTION_freeze);
    char glob[256];
    ot_error err = {0};
    while (globs && *globs) {
        const size_t n = strcspn(globs, ",");
        if (n >= sizeof glob)
            return ot_refuse(f, EXIT_USAGE, "freeze: a glob has %zu characters, the limit is %zu",
                             n, sizeof glob - 1);
        memcpy(glob, globs, n);
        glob[n] = '\0';
        const int train = *glob == '!';
        if (n && ot_set_trainable(m->session, glob + train, train, &err))
            return ot_refuse(f, EXIT_USAGE, "freeze: %s", err.message);
        globs += n + (globs[n] == ',');
    }
    return 0;
}

void ot_algorithm_print(const struct algorithm *a, const struct model *m) {
    ot_optimizer_options said = {.size = sizeof said};
    char safe[512];
    if (!a->is_read || ot_get_training_info(m->session, NULL, &said, NULL)) return;
    printf("        training_info: %s", a->text);
    if (!a->goes_on)
        printf("; the optimizer's moments start at zero");
    else if (said.steps_before)
        printf("; continues after step %" PRId64, said.steps_before);
    printf("\n");
    ot_make_safe(safe, sizeof safe, a->instead); /* names of outputs come from the file */
    if (*safe) printf("        overridden by options: %s\n", safe);
}
