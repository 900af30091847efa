/* trainer.c - sets up a training run: model, data, head, optimizer, plan, folder. */
#include "tools/train/trainer.h"

#include "tools/jsonout.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- data --------------------------------------------------------------------------------- */

/* Cuts a share off the training data: the first of a permutation, both parts in their order. */
static int split_data(struct trainer *t, double share, struct failure *f) {
    const int64_t n = t->data.count;
    int64_t held = (int64_t)(share * (double)n + 0.5);
    held = held < 1 ? 1 : held;
    if (n < 2) return 0; /* one sample is trained on */
    held = held > n - 1 ? n - 1 : held;
    int64_t *order = ot_take((size_t)n, sizeof *order, f);
    char *is_held = ot_take((size_t)n, 1, f);
    t->subset = ot_take((size_t)(n - held), sizeof *t->subset, f);
    t->val_subset = ot_take((size_t)held, sizeof *t->val_subset, f);
    const bool good = order && is_held && t->subset && t->val_subset;
    if (good) {
        ot_permutation(t->seed, UINT64_MAX, n, order);
        for (int64_t i = 0; i < held; i++) is_held[order[i]] = 1;
        int64_t k = 0, j = 0;
        for (int64_t i = 0; i < n; i++) *(is_held[i] ? &t->val_subset[k++] : &t->subset[j++]) = i;
        t->has_val = t->val_is_part = true;
        t->feed.count = n - held;
        t->val_feed.count = held;
    }
    free(order);
    free(is_held);
    return good ? 0 : f->code;
}

/* Both parts number the same classes. */
static int compare_classes(const struct trainer *t, struct failure *f) {
    const struct data_source *a = &t->data, *b = &t->val_data;
    if (!a->class_name || !b->class_name) return 0;
    if (a->classes != b->classes)
        return ot_refuse(f, EXIT_DATA, "'%s' has %" PRId64 " classes, the validation data %" PRId64,
                         a->path, a->classes, b->classes);
    for (int64_t i = 0; i < a->classes; i++)
        if (strcmp(a->class_name[i], b->class_name[i]))
            return ot_refuse(f, EXIT_DATA,
                             "class %" PRId64 " is '%s' in the training data and "
                             "'%s' in the validation data",
                             i, a->class_name[i], b->class_name[i]);
    return 0;
}

/* The share that `val` names; -1: it is a path, or nobody set it. */
static double val_share(const struct settings *s, struct failure *f, int *code) {
    const char *text = ot_text(s, OPTION_val);
    if (!text) return -1;
    char *end;
    const double share = strtod(text, &end);
    if (end == text || *end) return -1;
    if (!(share >= 0 && share < 1))
        *code = ot_refuse(f, EXIT_USAGE, "val: '%s' is neither a path nor a share in [0, 1)", text);
    return share;
}

static int open_data(struct trainer *t, struct failure *f) {
    struct data_request request;
    const struct settings *s = t->s;
    const char *path = ot_text(s, OPTION_data);
    enum split split = (enum split)ot_integer(s, OPTION_split, 0);
    if (!path) return ot_refuse(f, EXIT_USAGE, "no data given; usage: onnx-train train MODEL DATA");
    int code = 0;
    const double share = val_share(s, f, &code);
    if (code) return code;
    ot_model_request(&t->model, s, &request);
    const bool whole = split == SPLIT_VAL; /* then its training part is not looked at */
    code = ot_data_open(&t->data, path, whole ? SPLIT_VAL : SPLIT_TRAIN, &request, f);
    if (code) return code;
    t->feed.count = t->data.count;
    if (share >= 0) return share > 0 ? split_data(t, share, f) : 0;
    const char *val = ot_text(s, OPTION_val);
    if (!val && (whole || !t->data.has_parts)) return split_data(t, 0.1, f);
    code = ot_data_open(&t->val_data, val ? val : path, val ? SPLIT_AUTO : SPLIT_VAL, &request, f);
    if (code) return code;
    t->has_val = true;
    t->val_feed.count = t->val_data.count;
    return compare_classes(t, f);
}

static int hash_data(struct trainer *t, struct failure *f) {
    const int code = ot_data_hash(&t->data, &t->data_hash, f);
    if (code || !t->has_val || t->val_is_part) return code;
    return ot_data_hash(&t->val_data, &t->val_hash, f);
}

/* ---- model -------------------------------------------------------------------------------- */

/* The classes that a new head is asked to have; 0: none is asked for. */
static int asked_classes(const struct trainer *t, int64_t *classes, struct failure *f) {
    const char *text = ot_text(t->s, OPTION_classes);
    const int64_t has = t->data.classes, held = t->val_data.classes;
    char *end;
    *classes = 0;
    if (!text || strcmp(text, "model") == 0) return 0;
    if (strcmp(text, "auto") == 0) {
        *classes = has > held ? has : held;
        return *classes > 0
                   ? 0
                   : ot_refuse(f, EXIT_DATA, "classes=auto: '%s' has no classes", t->data.path);
    }
    const double number = strtod(text, &end);
    if (end == text || *end || !(number >= 1 && number <= 1e7) || number != floor(number))
        return ot_refuse(f, EXIT_USAGE,
                         "classes: '%s' is neither a number from 1 to 1e7, nor auto, nor model",
                         text);
    *classes = (int64_t)number;
    return 0;
}

/* Gives the model a head for so many classes where that is asked for. */
static int fit_head(struct trainer *t, struct failure *f) {
    ot_error err = {0};
    int64_t classes;
    const int code = asked_classes(t, &classes, f);
    if (code || !classes) return code;
    t->old_classes = ot_model_classes(&t->model);
    t->new_classes = classes;
    if (ot_new_head(t->model.session, classes, &t->new_head, &err) ||
        ot_get_output(t->model.session, t->model.output_index, &t->model.output, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    return 0;
}

/* Data that say how many classes they have number them for themselves: they are seldom the first of
 * a model with more. */
static int compare_head(const struct trainer *t, struct failure *f) {
    const int64_t needs = t->data.classes, has = t->loss.classes;
    if (ot_text(t->s, OPTION_classes) || !t->data.classes_exact || needs >= has ||
        t->loss.kind != OT_LOSS_CROSS_ENTROPY || t->loss.soft_targets)
        return 0;
    return ot_refuse(f, EXIT_DATA,
                     "'%s' has %" PRId64 " classes, the model %" PRId64 ". classes=%" PRId64
                     " or classes=auto trains a new head, classes=model keeps the model's",
                     t->data.path, needs, has, needs);
}

/* How long the run is. A limit that is given to a resumed run takes the place of both it had. */
static void take_limits(struct trainer *t) {
    const struct settings *s = t->s;
    const int64_t epochs = ot_integer(s, OPTION_epochs, 0),
                  steps = ot_integer(s, OPTION_max_steps, 0);
    const bool resumed = ot_text(s, OPTION_resume) != NULL;
    const bool new_epochs = epochs && ot_is_new(s, OPTION_epochs);
    const bool new_steps = steps && ot_is_new(s, OPTION_max_steps);
    t->max_steps = resumed && new_epochs && !new_steps ? 0 : steps;
    t->epochs = resumed && new_steps && !new_epochs ? 0 : epochs;
    if (t->max_steps && !ot_is_given(s, OPTION_epochs)) t->epochs = 0;
}

/* The steps of the whole run, from those taken and those to come; schedules end there. */
static void count_steps(struct trainer *t) {
    const int64_t per_epoch = (t->batches + t->accumulate - 1) / t->accumulate;
    const int64_t left = (t->batches - t->at.done + t->accumulate - 1) / t->accumulate;
    t->total_steps = 0;
    if (t->epochs) t->total_steps = ot_step_count(t->model.session);
    if (t->epochs > t->at.epoch) t->total_steps += left + (t->epochs - t->at.epoch - 1) * per_epoch;
    if (t->max_steps && (!t->epochs || t->max_steps < t->total_steps))
        t->total_steps = t->max_steps;
}

/* Batches of an epoch, and the steps of the run as long as no checkpoint says where it is. */
static int count_batches(struct trainer *t, struct failure *f) {
    const int64_t n = t->feed.count;
    const bool drops = ot_integer(t->s, OPTION_drop_last, 0);
    t->batches = drops ? n / t->size : (n + t->size - 1) / t->size;
    if (t->batches < 1)
        return ot_refuse(f, EXIT_USAGE,
                         "batch %" PRId64 " is larger than the %" PRId64
                         " training samples, and drop_last=1",
                         t->size, n);
    take_limits(t);
    count_steps(t);
    return 0;
}

/* Plans a training step; the library divides it where it does not fit the memory limit. */
static int plan(struct trainer *t, struct failure *f) {
    ot_error err = {0};
    ot_batch_shape(&t->batch, &t->feed, t->size < t->feed.count ? t->size : t->feed.count);
    const ot_status status =
        ot_prepare(t->model.session, 1, t->batch.input, t->batch.n_inputs, &t->bytes, &err);
    if (status)
        return ot_refuse_status(f, status == OT_ERROR_LIMIT ? EXIT_MEMORY : EXIT_MODEL, &err);
    ot_get_memory_info(t->model.session, &t->memory);
    return 0;
}

static int make_feeds(struct trainer *t, struct failure *f) {
    struct model *m = &t->model;
    const int64_t n = t->feed.count, held = t->val_feed.count;
    int code = ot_loss_feed(&t->feed, t->s, m, &t->data, t->size < n ? t->size : n, &t->loss, f);
    t->feed.count = n;
    t->feed.subset = t->subset;
    if (!code && t->has_val)
        code = ot_loss_feed_more(&t->val_feed, t->s, m, t->val_is_part ? &t->data : &t->val_data,
                                 &t->loss, f);
    t->val_feed.count = held;
    t->val_feed.subset = t->val_subset;
    t->counts = ot_counts_right(t->loss.kind);
    return code ? code : compare_head(t, f);
}

/* Goes on from a checkpoint with what is set now. */
static int go_on(struct trainer *t, const char *checkpoint, struct failure *f) {
    int code = ot_trainer_load(t, checkpoint, f);
    if (code) return code;
    count_steps(t);
    ot_kept_changes(t->s, t->changed, sizeof t->changed);
    code = ot_algorithm_change(&t->model, t->s, t->total_steps, f);
    if (!code) code = ot_trainer_set_masks(t, f);
    if (!code) code = ot_run_rewind(&t->run, t->at.metrics, t->at.results, f);
    if (!code && *t->changed) {
        fprintf(t->run.metrics, "{\"event\":\"resume\",\"step\":%" PRId64 ",\"changed\":",
                ot_step_count(t->model.session));
        ot_print_string(t->run.metrics, t->changed);
        fputs("}\n", t->run.metrics);
    }
    return code;
}

/* args.yaml says what is in force: the rate that the optimizer's kind has by default, the limits
 * that count. */
static int settle(struct trainer *t, struct settings *s, struct failure *f) {
    static const char origin[] = "in force";
    char text[40];
    int code = 0;
    ot_optimizer_options o = {.size = sizeof o};
    if (!ot_is_given(s, OPTION_lr) && !ot_get_optimizer(t->model.session, &o, NULL)) {
        snprintf(text, sizeof text, "%g", (double)o.lr);
        code = ot_settings_replace(s, OPTION_lr, text, origin, f);
    }
    snprintf(text, sizeof text, "%" PRId64, t->epochs);
    if (!code) code = ot_settings_replace(s, OPTION_epochs, text, origin, f);
    snprintf(text, sizeof text, "%" PRId64, t->max_steps);
    return code ? code : ot_settings_replace(s, OPTION_max_steps, text, origin, f);
}

/* The run's folder, and where a resumed run goes on. A run that has no checkpoint yet begins. */
static int open_folder(struct trainer *t, struct settings *s, struct failure *f) {
    char *checkpoint = NULL;
    int code;
    if (ot_text(s, OPTION_resume))
        code = ot_run_resume(&t->run, s, &checkpoint, f);
    else
        code = ot_run_create(&t->run, s, f);
    if (!code && checkpoint) code = go_on(t, checkpoint, f);
    if (!code) code = settle(t, s, f);
    if (!code) code = ot_run_write_args(&t->run, s, &t->model, f);
    if (!code) code = ot_run_publish(&t->run, f);
    if (!code && (!checkpoint || *t->changed)) /* so that what is new outlives a crash */
        code = ot_trainer_save(t, "last.otc", f);
    free(checkpoint);
    return code;
}

uint64_t ot_trainer_mask(const struct trainer *t) {
    uint64_t hash = 1469598103934665603u; /* FNV-1a, over the hashes of the weights */
    for (int i = 0; i < ot_parameter_count(t->model.session); i++) {
        ot_parameter_info p;
        if (ot_get_parameter(t->model.session, i, &p, NULL) == OT_OK)
            hash = (hash ^ p.mask_hash) * 1099511628211u;
    }
    return hash;
}

int ot_trainer_make(struct trainer *t, struct settings *s, struct failure *f) {
    static int (*const steps[])(struct trainer * t, struct failure * f) = {open_data, hash_data,
                                                                           fit_head, make_feeds};
    *t = (struct trainer){.s = s, .at.best = NAN};
    t->seed = (uint64_t)ot_integer(s, OPTION_seed, 0);
    t->size = ot_integer(s, OPTION_batch, 1);
    t->accumulate = ot_integer(s, OPTION_accumulate, 1);
    int code = ot_kept_check(s, f);
    if (!code) code = ot_model_open(&t->model, s, f);
    if (!code) code = ot_algorithm_read(&t->algorithm, &t->model, s, f);
    if (!code) code = ot_algorithm_freeze(&t->model, s, f);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !code; i++) code = steps[i](t, f);
    if (!code)
        code = ot_batch_make(&t->batch, &t->feed, t->size < t->feed.count ? t->size : t->feed.count,
                             f);
    if (!code) {
        t->order = ot_take((size_t)t->feed.count, sizeof *t->order, f);
        code = t->order ? 0 : f->code;
    }
    if (!code) code = count_batches(t, f);
    if (!code) code = ot_algorithm_set(&t->algorithm, &t->model, s, t->total_steps, f);
    if (!code) code = ot_trainer_set_masks(t, f);
    if (!code) code = plan(t, f);
    if (!code) code = ot_trainer_settle_masks(t, s, f);
    if (!code) code = ot_trainer_plan_export(t, f);
    t->mask = code ? 0 : ot_trainer_mask(t);
    if (!code) code = open_folder(t, s, f);
    if (code) {
        code = ot_model_blame(&t->model, f);
        ot_trainer_free(t);
    }
    return code;
}

void ot_trainer_free(struct trainer *t) {
    ot_batch_free(&t->batch);
    ot_data_close(&t->data);
    ot_data_close(&t->val_data);
    free(t->order);
    free(t->subset);
    free(t->val_subset);
    ot_run_close(&t->run);
    ot_model_close(&t->model);
}
