/* state.c - a run's checkpoints: the library's state, and the position as notes. */
#include "tools/train/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 16, NOTE_SIZE = 40 };

/* Position, the options that the run keeps, and what the data are. Doubles are hexadecimal, hence
 * exact; an option that is not set is "". */
struct notes {
    ot_note note[NUMBERS + OPTION_COUNT];
    char text[NUMBERS][NOTE_SIZE], key[OPTION_COUNT][NOTE_SIZE];
    int n;
};
static const char option_prefix[] = "option.";

static void add_integer(struct notes *notes, const char *key, int64_t value) {
    const int i = notes->n++;
    snprintf(notes->text[i], NOTE_SIZE, "%" PRId64, value);
    notes->note[i] = (ot_note){key, notes->text[i]};
}

static void add_number(struct notes *notes, const char *key, double value) {
    const int i = notes->n++;
    snprintf(notes->text[i], NOTE_SIZE, "%a", value);
    notes->note[i] = (ot_note){key, notes->text[i]};
}

static void add_hash(struct notes *notes, const char *key, uint64_t hash) {
    const int i = notes->n++;
    snprintf(notes->text[i], NOTE_SIZE, "%016" PRIx64, hash);
    notes->note[i] = (ot_note){key, notes->text[i]};
}

static void take_notes(const struct trainer *t, struct notes *notes) {
    const struct position *at = &t->at;
    notes->n = 0;
    add_integer(notes, "samples", t->feed.count);
    add_integer(notes, "batch", t->size);
    add_integer(notes, "accumulate", t->accumulate);
    add_integer(notes, "seed", (int64_t)t->seed);
    add_integer(notes, "epoch", at->epoch);
    add_integer(notes, "done", at->done);
    add_number(notes, "loss_sum", at->loss_sum);
    add_integer(notes, "count", at->count);
    add_integer(notes, "correct", at->correct);
    add_number(notes, "best", at->best);
    add_integer(notes, "best_epoch", at->best_epoch);
    add_integer(notes, "bad_epochs", at->bad_epochs);
    add_integer(notes, "metrics", at->metrics);
    add_integer(notes, "results", at->results);
    add_hash(notes, "data", t->data_hash);
    add_hash(notes, "val_data", t->val_hash);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *text = ot_kept_text(t->s, (enum option_id)i);
        if (!text) continue;
        snprintf(notes->key[i], NOTE_SIZE, "%s%s", option_prefix, ot_option_table[i].key);
        notes->note[notes->n++] = (ot_note){notes->key[i], text};
    }
}

int ot_trainer_save(struct trainer *t, const char *name, struct failure *f) {
    char file[64];
    struct notes notes;
    ot_error err = {0};
    snprintf(file, sizeof file, "checkpoints/%s", name);
    if (ot_step_count(t->model.session)) /* before the first step, nothing is recorded */
        fprintf(t->run.metrics, "{\"event\":\"checkpoint\",\"step\":%" PRId64 ",\"file\":\"%s\"}\n",
                ot_step_count(t->model.session), file);
    int code = ot_run_lengths(&t->run, &t->at.metrics, &t->at.results, f);
    char *path = code ? NULL : ot_run_file(&t->run, file, f);
    if (!path) return f->code;
    take_notes(t, &notes);
    if (ot_save_checkpoint(t->model.session, path, notes.note, notes.n, &err))
        code = ot_refuse_status(f, EXIT_RUNTIME, &err);
    free(path);
    return code;
}

/* ---- the models that are delivered -------------------------------------------------------- */

int ot_trainer_plan_export(struct trainer *t, struct failure *f) {
    ot_export_options *o = &t->delivery;
    ot_error err = {0};
    *o = (ot_export_options){.size = sizeof *o,
                             .form = (ot_export_form)ot_integer(t->s, OPTION_weights_form, 0),
                             .training_info = t->algorithm.is_read};
    ot_status status = ot_check_export(t->model.session, o, &err);
    if (status && o->training_info) {
        if (status == OT_ERROR_ARGUMENT)
            fprintf(stderr, "onnx-train: weights/*.onnx are in another form than the model and "
                            "carry no training_info; form=as-is keeps both\n");
        else
            fprintf(stderr, "onnx-train: %s; weights/*.onnx keep the model's own\n", err.message);
        o->training_info = 0;
        status = ot_check_export(t->model.session, o, &err);
    }
    if (!status) return 0;
    return ot_refuse(f, err.status == OT_ERROR_NO_MEMORY ? EXIT_MEMORY : EXIT_MODEL,
                     "the trained model cannot be exported: %s", err.message);
}

int ot_trainer_export(struct trainer *t, const char *name, struct failure *f) {
    char file[64];
    ot_error err = {0};
    snprintf(file, sizeof file, "weights/%s", name);
    char *path = ot_run_file(&t->run, file, f);
    if (!path) return f->code;
    int code = 0;
    if (ot_export_onnx(t->model.session, path, &t->delivery, &err))
        code = ot_refuse_status(f, EXIT_RUNTIME, &err);
    free(path);
    return code;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* What the callback collects. */
struct memory {
    int64_t samples, batch, accumulate, seed, metrics, results;
    struct position at;
    bool known[NUMBERS];
    char data[NOTE_SIZE], val_data[NOTE_SIZE]; /* "": a checkpoint of 0.1.0 */
    char *option[OPTION_COUNT];
    struct failure *f;
    int code;
};

#define INTEGER(key, member, most)                                                                 \
    { key, offsetof(struct memory, member), true, most }
#define NUMBER(key, member)                                                                        \
    { key, offsetof(struct memory, member), false, 0 }
static const struct slot {
    const char *key;
    size_t offset;
    bool is_integer; /* from 0 to most; else a double */
    double most;
} slots[] = {
    INTEGER("samples", samples, 1e15),
    INTEGER("batch", batch, 1e6),
    INTEGER("accumulate", accumulate, 1e6),
    INTEGER("seed", seed, 9e15),
    INTEGER("epoch", at.epoch, 1e15),
    INTEGER("done", at.done, 1e15),
    NUMBER("loss_sum", at.loss_sum),
    INTEGER("count", at.count, 1e18),
    INTEGER("correct", at.correct, 1e18),
    NUMBER("best", at.best),
    INTEGER("best_epoch", at.best_epoch, 1e15),
    INTEGER("bad_epochs", at.bad_epochs, 1e15),
    INTEGER("metrics", metrics, 1e18),
    INTEGER("results", results, 1e18),
};
enum { SLOTS = sizeof slots / sizeof *slots };

/* False where text is no number of the slot's kind and range. */
static bool read_slot(const struct slot *slot, const char *text, struct memory *m) {
    void *to = (char *)m + slot->offset;
    char *end;
    errno = 0;
    if (slot->is_integer) {
        const int64_t value = strtoll(text, &end, 10);
        memcpy(to, &value, sizeof value);
        return end != text && !*end && !errno && value >= 0 && (double)value <= slot->most;
    }
    const double value = strtod(text, &end);
    memcpy(to, &value, sizeof value);
    return end != text && !*end && !isinf(value);
}

static void refuse_note(struct memory *m, const char *key, const char *value) {
    if (!m->code)
        m->code =
            ot_refuse(m->f, EXIT_USAGE, "resume: the checkpoint's note '%s' is '%s'", key, value);
}

/* "option.KEY"; keys that this version does not know are another one's. */
static void remember_option(struct memory *m, const char *key, const char *value) {
    const int id = ot_option_find(key, TRAIN);
    if (id < 0 || m->option[id]) return;
    m->option[id] = ot_copy_text(value, m->f);
    if (!m->option[id]) m->code = m->f->code;
}

static void remember(void *context, const char *key, const char *value) {
    struct memory *m = context;
    const size_t n = sizeof option_prefix - 1;
    if (strncmp(key, option_prefix, n) == 0) remember_option(m, key + n, value);
    if (strcmp(key, "data") == 0) snprintf(m->data, NOTE_SIZE, "%s", value);
    if (strcmp(key, "val_data") == 0) snprintf(m->val_data, NOTE_SIZE, "%s", value);
    for (int i = 0; i < SLOTS; i++) {
        if (strcmp(slots[i].key, key)) continue;
        m->known[i] = true;
        if (!read_slot(&slots[i], value, m)) refuse_note(m, key, value);
    }
}

/* ---- whether the run may go on as it is set up now ---- */

static int compare_options(const struct trainer *t, const struct memory *m, struct failure *f) {
    char was[NOTE_SIZE];
    int code = 0;
    for (int i = 0; i < OPTION_COUNT && !code; i++)
        if (m->option[i])
            code = ot_kept_compare(t->s, (enum option_id)i, m->option[i], m->at.done, f);
    const struct {
        enum option_id id;
        int64_t was;
    } old[] = {
        {OPTION_batch, m->batch}, {OPTION_accumulate, m->accumulate}, {OPTION_seed, m->seed}};
    for (int i = 0; i < 3 && !code; i++) { /* 0.1.0 kept these alone */
        snprintf(was, sizeof was, "%" PRId64, old[i].was);
        code = ot_kept_compare(t->s, old[i].id, was, m->at.done, f);
    }
    return code;
}

static int compare_data(const struct trainer *t, const struct memory *m, struct failure *f) {
    const struct {
        const char *key, *was;
        uint64_t is;
    } hashes[] = {{"data", m->data, t->data_hash}, {"val", m->val_data, t->val_hash}};
    char is[NOTE_SIZE];
    for (int i = 0; i < 2; i++) {
        snprintf(is, sizeof is, "%016" PRIx64, hashes[i].is);
        if (*hashes[i].was && strcmp(hashes[i].was, is) != 0)
            return ot_refuse(f, EXIT_USAGE,
                             "resume: %s: these are not the %s that the run started with (sizes, "
                             "labels or bytes differ); start a new run from its weights instead",
                             hashes[i].key, i ? "validation data" : "data");
    }
    if (m->samples == t->feed.count) return 0;
    return ot_refuse(f, EXIT_USAGE,
                     "resume: data: the run has %" PRId64
                     " training samples, now there are %" PRId64,
                     m->samples, t->feed.count);
}

/* Positions that no run has. */
static int check_position(const struct trainer *t, struct memory *m, struct failure *f) {
    const struct position *at = &m->at;
    const char *bad = NULL;
    if (at->done > t->batches || (at->done % t->accumulate && at->done != t->batches))
        bad = "done";
    else if (at->correct > at->count)
        bad = "correct";
    else if (isnan(at->loss_sum))
        bad = "loss_sum";
    else if (at->best_epoch > at->epoch + 1)
        bad = "best_epoch";
    else if (isnan(at->best) != (at->best_epoch == 0))
        bad = "best";
    else if (at->bad_epochs > at->epoch + 1)
        bad = "bad_epochs";
    if (!bad) return 0;
    return ot_refuse(f, EXIT_USAGE,
                     "resume: the checkpoint's note '%s' does not fit the others and the data",
                     bad);
}

static int check_memory(const struct trainer *t, struct memory *m, const char *path,
                        struct failure *f) {
    if (m->code) return m->code;
    for (int i = 0; i < SLOTS; i++)
        if (!m->known[i])
            return ot_refuse(
                f, EXIT_USAGE,
                "resume: '%s' was not written by onnx-train train: it has no note '%s'", path,
                slots[i].key);
    int code = compare_options(t, m, f);
    if (!code) code = compare_data(t, m, f);
    return code ? code : check_position(t, m, f);
}

int ot_trainer_load(struct trainer *t, const char *path, struct failure *f) {
    ot_error err = {0};
    struct memory m = {.f = f};
    int code = 0;
    if (ot_load_checkpoint(t->model.session, path, remember, &m, &err))
        code = ot_refuse_status(f, EXIT_MODEL, &err);
    if (!code) code = check_memory(t, &m, path, f);
    for (int i = 0; i < OPTION_COUNT; i++) free(m.option[i]);
    if (code) return code;
    t->at = m.at;
    t->at.metrics = (long)m.metrics;
    t->at.results = (long)m.results;
    if (ot_is_new(t->s, OPTION_patience)) t->at.bad_epochs = 0; /* it counts from here on */
    return 0;
}
