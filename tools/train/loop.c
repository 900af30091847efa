/* loop.c - the loop of training: steps, epochs, records, when to stop. */
#include "tools/jsonout.h"
#include "tools/train/stop.h"
#include "tools/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* What one optimizer step gave. */
struct step {
    double loss_sum;
    int64_t count, correct;
};

static int64_t step_count(const struct trainer *t) { return ot_step_count(t->model.session); }

static bool steps_are_up(const struct trainer *t) {
    return t->max_steps && step_count(t) >= t->max_steps;
}

/* The run ends here: `why` is what is not finite. Nothing of this step is kept. */
static int diverged(struct trainer *t, int64_t batch, const char *why, struct failure *f) {
    const int64_t step = step_count(t) + 1;
    FILE *file = t->run.metrics;
    fprintf(file,
            "{\"event\":\"end\",\"reason\":\"diverged\",\"step\":%" PRId64 ",\"epoch\":%" PRId64
            ",\"batch\":%" PRId64 ",\"message\":",
            step, t->at.epoch + 1, batch);
    ot_print_string(file, why);
    fputs("}\n", file);
    return ot_refuse(f, EXIT_DIVERGED,
                     "diverged at step %" PRId64 " (epoch %" PRId64 ", batch %" PRId64
                     " of %" PRId64 "): %s; the last good checkpoint is kept. "
                     "Try a smaller lr, warmup, or clip_norm=1",
                     step, t->at.epoch + 1, batch, t->batches, why);
}

/* A library error of a step: values that are not finite mean that the run diverged. */
static int refuse_step(struct trainer *t, int64_t batch, const ot_error *err, struct failure *f) {
    if (err->status == OT_ERROR_NUMERIC) return diverged(t, batch, err->message, f);
    if (err->status == OT_ERROR_ARGUMENT) return ot_refuse_status(f, EXIT_DATA, err);
    return ot_refuse_status(f, err->status == OT_ERROR_LIMIT ? EXIT_MEMORY : EXIT_MODEL, err);
}

/* Forward and backward of the next batch of this epoch. */
static int run_batch(struct trainer *t, struct step *step, struct failure *f) {
    const int64_t from = t->at.done * t->size, rest = t->feed.count - from;
    const int64_t n = rest < t->size ? rest : t->size;
    ot_result result;
    ot_error err = {0};
    const int code = ot_batch_fill(&t->batch, &t->feed, t->order + from, n, f);
    if (code) return code;
    if (ot_train_step(t->model.session, t->batch.input, t->batch.n_inputs,
                      t->batch.target.rank ? &t->batch.target : NULL, &result, &err))
        return refuse_step(t, t->at.done + 1, &err, f);
    step->loss_sum += result.loss * (double)result.count;
    step->count += result.count;
    step->correct += result.correct;
    t->at.done++;
    return 0;
}

static void log_step(struct trainer *t, double lr) {
    const int64_t every = ot_integer(t->s, OPTION_log_every, 1), n = step_count(t);
    FILE *file = t->run.metrics;
    if (!every || n % every) return;
    fprintf(file, "{\"event\":\"step\",\"step\":%" PRId64 ",\"epoch\":%" PRId64 ",\"loss\":", n,
            t->at.epoch + 1);
    ot_print_number(file, t->last_loss, 9);
    fputs(",\"lr\":", file);
    ot_print_number(file, lr, 7); /* a float */
    fputs("}\n", file);
    fflush(file);
}

/* One optimizer step: up to `accumulate` batches. */
static int run_step(struct trainer *t, struct failure *f) {
    struct step step = {0};
    ot_error err = {0};
    const double lr = ot_learning_rate(t->model.session);
    for (int64_t i = 0; i < t->accumulate && t->at.done < t->batches; i++) {
        const int code = run_batch(t, &step, f);
        if (code) return code;
    }
    if (ot_optimizer_step(t->model.session, &err)) return refuse_step(t, t->at.done, &err, f);
    t->last_loss = step.count ? step.loss_sum / (double)step.count : 0;
    t->at.loss_sum += step.loss_sum;
    t->at.count += step.count;
    t->at.correct += step.correct;
    log_step(t, lr);
    return ot_trainer_update_masks(t, f);
}

static void show(struct trainer *t) {
    const int64_t done = t->at.done * t->size;
    struct standing at = {.epoch = t->at.epoch + 1,
                          .epochs = t->epochs,
                          .step = step_count(t),
                          .samples = t->feed.count,
                          .batch = t->size,
                          .loss = t->last_loss};
    at.done = done < t->feed.count ? done : t->feed.count;
    if (t->total_steps > at.step) at.batches_left = (t->total_steps - at.step) * t->accumulate;
    ot_progress_show(&t->progress, &at);
}

/* After a save, which gave `code`: one that the system refused is tried again at the next
 * checkpoint, for the disk may have room by then. What was saved before is as it was. */
static int bear(struct trainer *t, int code, struct failure *f) {
    if (!code) t->failed_saves = 0;
    if (code != EXIT_RUNTIME) return code;
    ot_progress_clear(&t->progress);
    if (++t->failed_saves >= TOO_MANY_SAVES) return code;
    fprintf(stderr,
            "onnx-train: WARNING: step %" PRId64 " IS NOT SAVED: %s. Training goes on and tries "
            "again at the next checkpoint; after %d failures in a row it ends\n",
            step_count(t), f->text, TOO_MANY_SAVES);
    return 0;
}

static void make_order(struct trainer *t) {
    if (ot_integer(t->s, OPTION_shuffle, 1))
        ot_permutation(t->seed, (uint64_t)t->at.epoch, t->feed.count, t->order);
    else
        ot_count_up(t->order, 0, t->feed.count);
}

/* The rest of the present epoch, up to a signal or the last step. */
static int run_epoch(struct trainer *t, struct failure *f) {
    const int64_t every = ot_integer(t->s, OPTION_save_every, 0);
    make_order(t);
    ot_progress_epoch(&t->progress, t->at.done * t->size);
    while (t->at.done < t->batches && !steps_are_up(t) && !ot_stop_signal()) {
        int code = run_step(t, f);
        if (!code && every && step_count(t) % every == 0 && t->at.done < t->batches)
            code = bear(t, ot_trainer_save(t, "last.otc", f), f);
        if (code) return code;
        show(t);
    }
    return 0;
}

/* ---- the end of an epoch ------------------------------------------------------------------ */

static bool tick(void *context, int64_t done) {
    (void)context;
    (void)done;
    return ot_stop_signal() != 0;
}

static void log_epoch(struct trainer *t, const struct score *val, double loss, double accuracy,
                      double time) {
    FILE *file = t->run.metrics;
    const double lr = ot_learning_rate(t->model.session);
    fprintf(file, "{\"event\":\"epoch\",\"epoch\":%" PRId64 ",\"step\":%" PRId64 ",\"loss\":",
            t->at.epoch + 1, step_count(t));
    ot_print_number(file, loss, 9);
    if (t->counts) fprintf(file, ",\"accuracy\":%.9g", accuracy);
    if (t->has_val) {
        fputs(",\"val_loss\":", file);
        ot_print_number(file, val->loss, 9);
    }
    if (t->has_val && t->counts) {
        fputs(",\"val_accuracy\":", file);
        ot_print_number(file, val->accuracy, 9);
    }
    fputs("}\n", file);
    fprintf(t->run.results, "%" PRId64 ",%" PRId64 ",%.3f,%.9g,", t->at.epoch + 1, step_count(t),
            time, loss);
    fprintf(t->run.results, t->counts ? "%.9g," : ",", accuracy);
    fprintf(t->run.results, t->has_val ? "%.9g," : ",", val->loss);
    fprintf(t->run.results, t->has_val && t->counts ? "%.9g," : ",", val->accuracy);
    fprintf(t->run.results, "%.7g\n", lr);
}

/* Whether this epoch is the best so far: by accuracy where there is one, else by loss, of the
 * validation data where there are any. What is not finite is never the best, and neither is what
 * still has weights that are to be removed. */
static bool judge(struct trainer *t, const struct score *val, double loss, double accuracy) {
    const double value =
        t->counts ? (t->has_val ? val->accuracy : accuracy) : -(t->has_val ? val->loss : loss);
    const bool finite = isfinite(t->has_val ? val->loss : loss);
    if (t->prunes && step_count(t) < t->masks_end) return false;
    const bool best = finite && (isnan(t->at.best) || value > t->at.best);
    t->at.bad_epochs = best ? 0 : t->at.bad_epochs + 1;
    if (!best) return false;
    t->at.best = value;
    t->at.best_epoch = t->at.epoch + 1;
    fprintf(t->run.metrics,
            "{\"event\":\"best\",\"epoch\":%" PRId64 ",\"step\":%" PRId64
            ",\"metric\":\"%s\",\"value\":%.9g}\n",
            t->at.epoch + 1, step_count(t), t->counts ? "accuracy" : "loss",
            t->counts ? value : -value);
    return true;
}

static void show_row(struct trainer *t, const struct score *val, double loss, double accuracy,
                     bool best, double time) {
    const double seen = (double)(t->at.done * t->size - t->progress.first);
    const double n = (double)(t->at.count > 0 ? t->at.count : 1);
    struct row row = {.epoch = t->at.epoch + 1,
                      .epochs = t->epochs,
                      .loss = loss,
                      .val_loss = NAN,
                      .accuracy = NAN,
                      .best = best,
                      .lr = ot_learning_rate(t->model.session),
                      .sparsity = ot_model_sparsity(&t->model),
                      .rate = time > 0 ? seen / time : 0};
    if (t->has_val) {
        row.val_loss = val->loss;
        row.val_loss_error = val->loss_error;
    }
    if (t->counts) {
        row.accuracy = t->has_val ? val->accuracy : accuracy;
        row.accuracy_error = t->has_val ? val->accuracy_error : sqrt(accuracy * (1 - accuracy) / n);
    }
    ot_progress_row(&t->progress, &row);
}

/* Validation may give what is not finite while training goes well: the epoch is not the best then,
 * and the run goes on. */
static int validate(struct trainer *t, struct score *val, struct failure *f) {
    const int code = ot_evaluate(&t->model, &t->val_feed, t->size, tick, NULL, val, f);
    if (code != EXIT_DIVERGED) return code;
    ot_progress_clear(&t->progress);
    fprintf(stderr, "onnx-train: validation of epoch %" PRId64 ": %s\n", t->at.epoch + 1, f->text);
    *f = (struct failure){0};
    *val = (struct score){.loss = NAN, .accuracy = NAN};
    return 0;
}

static int save_files(struct trainer *t, bool best, struct failure *f) {
    int code = 0;
    if (best) code = ot_trainer_export(t, "best.onnx", f);
    if (best && !code) code = ot_trainer_save(t, "best.otc", f);
    t->best_is_lost = best && code;
    if (!code) code = ot_trainer_export(t, "last.onnx", f);
    return code ? code : ot_trainer_save(t, "last.otc", f);
}

/* All files of an epoch's end. A best one that cannot be saved is none: the earlier one stays. */
static int save_epoch(struct trainer *t, bool best, const struct position *before,
                      struct failure *f) {
    const int code = save_files(t, best, f);
    if (t->best_is_lost) {
        t->lost = t->at;
        t->at.best = before->best;
        t->at.best_epoch = before->best_epoch;
        t->at.bad_epochs = before->bad_epochs;
    }
    return bear(t, code, f);
}

/* Evaluates, logs, keeps the best. *stopped: a signal came meanwhile, nothing was done. */
static int finish_epoch(struct trainer *t, bool *stopped, struct failure *f) {
    struct score val = {0};
    const double time = ot_now() - t->progress.epoch_start;
    const double n = (double)(t->at.count > 0 ? t->at.count : 1);
    const double loss = t->at.loss_sum / n, accuracy = (double)t->at.correct / n;
    int code = 0;
    if (t->has_val) code = validate(t, &val, f);
    *stopped = ot_stop_signal() != 0;
    if (code || *stopped) return code;
    log_epoch(t, &val, loss, accuracy, time);
    const struct position before = t->at;
    const bool best = judge(t, &val, loss, accuracy);
    show_row(t, &val, loss, accuracy, best, time);
    if (t->at.done == t->batches) { /* else max_steps ended it early, and a later run goes on */
        t->at.epoch++;
        t->at.done = t->at.count = t->at.correct = 0;
        t->at.loss_sum = 0;
    }
    return save_epoch(t, best, &before, f);
}

static const char *reason_to_stop(const struct trainer *t) {
    const int64_t patience = ot_integer(t->s, OPTION_patience, 0);
    if (t->max_steps && step_count(t) >= t->max_steps) return "max_steps";
    if (t->epochs && t->at.epoch >= t->epochs) return "epochs";
    if (patience && t->at.bad_epochs >= patience) return "patience";
    return NULL;
}

/* The last record; both logs are on disk behind it. */
static int log_end(struct trainer *t, const char *reason, struct failure *f) {
    fprintf(t->run.metrics, "{\"event\":\"end\",\"reason\":\"%s\",\"step\":%" PRId64 "}\n", reason,
            step_count(t));
    return ot_run_lengths(&t->run, &t->at.metrics, &t->at.results, f);
}

/* A signal came: what is needed to go on is saved. */
static int interrupt(struct trainer *t, struct failure *f) {
    ot_progress_clear(&t->progress);
    int code = ot_trainer_export(t, "last.onnx", f);
    if (!code) code = ot_trainer_save(t, "last.otc", f);
    if (!code) code = log_end(t, "interrupted", f);
    if (code) return code;
    return ot_refuse(f, EXIT_SIGNAL + ot_stop_signal(),
                     "stopped at step %" PRId64 "; continue with: onnx-train train resume=%s",
                     step_count(t), t->run.path);
}

/* A last save that failed is tried once more. */
static int end(struct trainer *t, const char *reason, struct failure *f) {
    int code = 0;
    if (t->failed_saves && t->best_is_lost) {
        t->at.best = t->lost.best;
        t->at.best_epoch = t->lost.best_epoch;
        t->at.bad_epochs = 0;
    }
    if (t->failed_saves) code = save_files(t, t->best_is_lost, f);
    return code ? code : log_end(t, reason, f);
}

int ot_trainer_run(struct trainer *t, struct failure *f) {
    const char *reason = reason_to_stop(t);
    if (reason) {
        printf("nothing is left to do: %s was reached at step %" PRId64
               "; a larger %s=N continues the run\n",
               reason, step_count(t), reason);
        const int code = ot_trainer_export(t, "last.onnx", f);
        return code ? code : log_end(t, reason, f);
    }
    ot_progress_head(&t->progress, t->counts);
    while (!reason) {
        bool stopped = false;
        int code = run_epoch(t, f);
        if (!code && !ot_stop_signal()) code = finish_epoch(t, &stopped, f);
        ot_progress_clear(&t->progress);
        if (code) return code;
        if (ot_stop_signal()) return interrupt(t, f);
        reason = reason_to_stop(t);
    }
    return end(t, reason, f);
}
