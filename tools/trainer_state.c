/* trainer_state.c - a run's checkpoints: the library's state, and the position as notes. */
#include "tools/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOTES = 14, NOTE_SIZE = 40 };

/* Position and the settings that give it its meaning. Doubles are hexadecimal, hence exact. */
struct notes {
    ot_note note[NOTES];
    char text[NOTES][NOTE_SIZE];
    int n;
};

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
}

int ot_trainer_save(struct trainer *t, const char *name, struct failure *f) {
    char file[64];
    struct notes notes;
    ot_error err = {0};
    snprintf(file, sizeof file, "checkpoints/%s", name);
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
    *o = (ot_export_options){.form = (ot_export_form)ot_integer(t->s, OPTION_weights_form, 0),
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
                     "what is trained could not be delivered: %s", err.message);
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

/* What the callback collects: each key's number. */
struct memory {
    int64_t samples, batch, accumulate, seed;
    struct position at;
    int known;
};

static void remember(void *context, const char *key, const char *value) {
    struct memory *m = context;
    struct position *at = &m->at;
    int64_t metrics = -1, results = -1;
    const struct {
        const char *key;
        int64_t *integer;
        double *number;
    } slots[] = {{"samples", &m->samples, NULL},        {"batch", &m->batch, NULL},
                 {"accumulate", &m->accumulate, NULL},  {"seed", &m->seed, NULL},
                 {"epoch", &at->epoch, NULL},           {"done", &at->done, NULL},
                 {"loss_sum", NULL, &at->loss_sum},     {"count", &at->count, NULL},
                 {"correct", &at->correct, NULL},       {"best", NULL, &at->best},
                 {"best_epoch", &at->best_epoch, NULL}, {"bad_epochs", &at->bad_epochs, NULL},
                 {"metrics", &metrics, NULL},           {"results", &results, NULL}};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        if (strcmp(slots[i].key, key)) continue;
        m->known++;
        if (slots[i].integer)
            *slots[i].integer = strtoll(value, NULL, 10);
        else
            *slots[i].number = strtod(value, NULL);
    }
    at->metrics = metrics >= 0 ? (long)metrics : at->metrics;
    at->results = results >= 0 ? (long)results : at->results;
}

int ot_trainer_load(struct trainer *t, const char *path, struct failure *f) {
    ot_error err = {0};
    struct memory m = {.at = {.metrics = -1, .results = -1}};
    if (ot_load_checkpoint(t->model.session, path, remember, &m, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    if (m.known < NOTES)
        return ot_refuse(f, EXIT_USAGE, "resume: '%s' was not written by onnx-train train", path);
    const struct {
        const char *name;
        int64_t was, is;
    } same[] = {{"samples", m.samples, t->feed.count},
                {"batch", m.batch, t->size},
                {"accumulate", m.accumulate, t->accumulate},
                {"seed", m.seed, (int64_t)t->seed}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (same[i].was != same[i].is)
            return ot_refuse(f, EXIT_USAGE,
                             "resume: the run has %s %" PRId64 ", now it is %" PRId64
                             "; begin a new run from its weights instead",
                             same[i].name, same[i].was, same[i].is);
    if (m.at.epoch < 0 || m.at.done < 0 || m.at.done > t->batches)
        return ot_refuse(f, EXIT_USAGE, "resume: '%s' has no valid position", path);
    t->at = m.at;
    return ot_run_rewind(&t->run, m.at.metrics, m.at.results, f);
}
