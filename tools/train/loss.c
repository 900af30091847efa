/* loss.c - which loss data and model have together, and what targets it takes. */
#include "tools/train/loss.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PYTORCH_IGNORES = -100 };

bool ot_counts_right(ot_loss_kind kind) {
    return kind == OT_LOSS_CROSS_ENTROPY || kind == OT_LOSS_BCE || kind == OT_LOSS_NEXT_TOKEN;
}

/* The name of a kind is the option's word for it. */
static void name_kind(ot_loss_kind kind, char *name, size_t size) {
    const char *at = ot_option_table[OPTION_loss].choices;
    for (int i = (int)kind; i > 0; i--) at = strchr(at, '|') + 1;
    snprintf(name, size, "%.*s", (int)strcspn(at, "|"), at);
}

const char *ot_loss_text(const ot_loss_info *info, char *buffer, size_t size) {
    char name[32];
    name_kind(info->kind, name, sizeof name);
    if (info->classes)
        snprintf(buffer, size, "%s of %" PRId64 " classes%s", name, info->classes,
                 info->soft_targets ? ", targets are probabilities" : "");
    else
        snprintf(buffer, size, "%s", name);
    return buffer;
}

/* ---- values of targets -------------------------------------------------------------------- */

static int refuse_label(const struct data_source *d, int64_t label, size_t sample, int64_t classes,
                        struct failure *f) {
    return ot_refuse(f, EXIT_DATA,
                     "'%s': label %" PRId64 " of sample %zu; the model has %" PRId64
                     " classes. classes=%" PRId64 " or classes=auto trains a new head",
                     d->path, label, sample, classes, label >= classes ? label + 1 : classes);
}

/* Labels have to lie below the number of classes, but for those that do not count. */
static int check_labels(const struct data_source *d, const struct settings *s,
                        const ot_loss_info *info, struct failure *f) {
    const struct array *a = info->target.rank   ? &d->target
                            : info->tokens >= 0 ? &d->input[info->tokens]
                                                : NULL;
    const int64_t ignored = ot_integer(s, OPTION_ignore_index, PYTORCH_IGNORES);
    size_t n;
    if (!info->classes || info->soft_targets || !a || a->type == OT_FLOAT) return 0;
    int code = ot_array_count(a, "targets", &n, f);
    for (size_t i = 0; i < n && !code; i++) {
        const int64_t label = ot_array_integer(a, (int64_t)i);
        if (label != ignored && (label < 0 || label >= info->classes))
            code = refuse_label(d, label, i / (n / (size_t)a->dim[0]), info->classes, f);
    }
    return code;
}

/* Targets of bce are probabilities of a yes. */
static int check_shares(const struct data_source *d, struct failure *f) {
    const struct array *a = &d->target;
    size_t n;
    int code = ot_array_count(a, "targets", &n, f);
    for (size_t i = 0; i < n && !code; i++) {
        const double t = a->type == OT_FLOAT ? (double)((const float *)a->data)[i]
                                             : (double)ot_array_integer(a, (int64_t)i);
        if (t < 0 || t > 1)
            code = ot_refuse(f, EXIT_DATA,
                             "'%s': the target of sample %zu is %g; bce needs targets from 0 to 1",
                             d->path, i / (n / (size_t)a->dim[0]), t);
    }
    return code;
}

static int check_values(const struct data_source *d, const struct settings *s,
                        const ot_loss_info *info, struct failure *f) {
    const int code = check_labels(d, s, info, f);
    return code || info->kind != OT_LOSS_BCE ? code : check_shares(d, f);
}

/* ---- shapes ------------------------------------------------------------------------------- */

/* All targets of the data set, as the library looks at them. */
static ot_tensor targets_of(const struct data_source *d) {
    ot_tensor t = {.type = d->target.type, .rank = d->target.rank, .data = d->target.data};
    memcpy(t.dim, d->target.dim, sizeof t.dim);
    return t;
}

static void set_target(struct feed *feed, const ot_loss_info *info) {
    feed->target = !info->target.rank              ? TARGET_NONE
                   : info->target.type == OT_FLOAT ? TARGET_VALUES
                                                   : TARGET_CLASSES;
    feed->target_rank = info->target.rank;
    feed->target_elements = 1;
    memcpy(feed->target_dim, info->target.dim, sizeof feed->target_dim);
    for (int i = 1; i < feed->target_rank; i++) feed->target_elements *= feed->target_dim[i];
}

/* The library's answer; for one sample where the model takes no more. */
static ot_status ask(struct model *m, const struct feed *feed, bool has_targets, int64_t batch,
                     ot_loss_info *info, ot_error *err) {
    struct batch b = {0};
    const ot_tensor targets = targets_of(feed->data);
    const ot_tensor *given = has_targets ? &targets : NULL;
    ot_batch_shape(&b, feed, batch < feed->count ? batch : feed->count);
    ot_status status = ot_choose_loss(m->session, b.input, feed->n_inputs, given, info, err);
    if (!status || batch < 2 ||
        (status != OT_ERROR_ARGUMENT && status != OT_ERROR_INVALID &&
         status != OT_ERROR_UNSUPPORTED))
        return status;
    ot_error other;
    ot_batch_shape(&b, feed, 1);
    return ot_choose_loss(m->session, b.input, feed->n_inputs, given, info, &other) ? status
                                                                                    : OT_OK;
}

static int refuse(const struct feed *feed, ot_status status, const ot_error *err,
                  struct failure *f) {
    const struct data_source *d = feed->data;
    if (!d->target.rank && status == OT_ERROR_ARGUMENT)
        return ot_refuse(f, EXIT_DATA, "'%s' has no targets", d->path);
    if (status == OT_ERROR_LIMIT) return ot_refuse_status(f, EXIT_MEMORY, err);
    if (status != OT_ERROR_ARGUMENT) return ot_refuse_status(f, EXIT_MODEL, err);
    const bool classes = strncmp(err->message, "label ", 6) == 0;
    return ot_refuse(f, EXIT_DATA, "'%s': %s%s", d->path, err->message,
                     classes ? ", classes=auto trains a new head for them" : "");
}

int ot_loss_feed(struct feed *feed, const struct settings *s, struct model *m,
                 const struct data_source *d, int64_t batch, ot_loss_info *info,
                 struct failure *f) {
    ot_error err = {0};
    int code = ot_feed_make(feed, s, d, m->input, m->n_inputs, f);
    if (!code) code = ot_model_set_loss(m, s, f);
    if (code) return code;
    const bool shifted = ot_integer(s, OPTION_loss, 0) == OT_LOSS_NEXT_TOKEN;
    const bool has_targets = d->target.rank && !shifted; /* next_token takes the tokens alone */
    const ot_status status = ask(m, feed, has_targets, batch, info, &err);
    if (status) return refuse(feed, status, &err, f);
    set_target(feed, info);
    return check_values(d, s, info, f);
}

int ot_loss_feed_more(struct feed *feed, const struct settings *s, const struct model *m,
                      const struct data_source *d, const ot_loss_info *info, struct failure *f) {
    const int code = ot_feed_make(feed, s, d, m->input, m->n_inputs, f);
    if (code) return code;
    size_t n = 0;
    set_target(feed, info);
    if (info->target.rank && !d->target.rank)
        return ot_refuse(f, EXIT_DATA, "'%s' has no targets", d->path);
    if (info->target.rank && ot_array_count(&d->target, "targets", &n, f)) return f->code;
    if (n && n / (size_t)d->count != (size_t)feed->target_elements)
        return ot_refuse(f, EXIT_DATA,
                         "'%s' has %zu target values per sample, the training data %" PRId64,
                         d->path, n / (size_t)d->count, feed->target_elements);
    if (feed->target == TARGET_CLASSES && d->target.type == OT_FLOAT)
        return ot_refuse(f, EXIT_DATA, "'%s' has floats for targets, the training data integers",
                         d->path);
    return check_values(d, s, info, f);
}
