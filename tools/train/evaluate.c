/* evaluate.c - one pass over labelled data in inference form. */
#include "tools/train/evaluate.h"

#include <math.h>
#include <stdlib.h>

void ot_count_up(int64_t *index, int64_t from, int64_t count) {
    for (int64_t i = 0; i < count; i++) index[i] = from + i;
}

struct sums {
    double loss, square; /* of batch means, weighted by their counts */
    int64_t n, correct, batches;
};

static void add(struct sums *s, const ot_result *r) {
    s->loss += r->loss * (double)r->count;
    s->square += r->loss * r->loss * (double)r->count;
    s->n += r->count;
    s->correct += r->correct;
    s->batches++;
}

static void finish(const struct sums *s, struct score *score) {
    const double n = s->n > 0 ? (double)s->n : 1;
    *score = (struct score){.n = s->n, .loss = s->loss / n, .accuracy = (double)s->correct / n};
    const double variance = s->square / n - score->loss * score->loss;
    if (s->batches > 1 && variance > 0)
        score->loss_error = sqrt(variance / (double)(s->batches - 1));
    score->accuracy_error = sqrt(score->accuracy * (1 - score->accuracy) / n);
}

/* One batch. Where a batch of several is refused, it is tried sample by sample from then on. */
static int run_batch(struct model *m, const struct feed *feed, struct batch *b,
                     const int64_t *index, int64_t *count, ot_result *result, struct failure *f) {
    ot_error err = {0};
    const int code = ot_batch_fill(b, feed, index, *count, f);
    if (code) return code;
    const ot_tensor *target = b->target.rank ? &b->target : NULL;
    ot_status status = ot_eval_step(m->session, b->input, b->n_inputs, target, result, &err);
    const bool shape =
        status == OT_ERROR_ARGUMENT || status == OT_ERROR_INVALID || status == OT_ERROR_UNSUPPORTED;
    if (shape && *count > 1) {
        *count = 1;
        ot_batch_shape(b, feed, 1);
        status = ot_eval_step(m->session, b->input, b->n_inputs, target, result, &err);
    }
    return status == OT_OK ? 0 : ot_refuse_status(f, EXIT_MODEL, &err);
}

int ot_evaluate(struct model *m, const struct feed *feed, int64_t batch, ot_tick_fn *tick,
                void *context, struct score *score, struct failure *f) {
    const int64_t n = feed->count;
    struct sums sums = {0};
    struct batch b;
    batch = batch < n ? batch : n;
    int64_t *index = ot_take((size_t)batch, sizeof *index, f);
    int code = index ? ot_batch_make(&b, feed, batch, f) : f->code;
    if (code) {
        free(index);
        return code;
    }
    for (int64_t done = 0; done < n && !code;) {
        int64_t count = n - done < batch ? n - done : batch;
        const int64_t asked = count;
        ot_result result;
        ot_count_up(index, done, count);
        code = run_batch(m, feed, &b, index, &count, &result, f);
        if (code) break;
        add(&sums, &result);
        batch = count < asked ? 1 : batch;
        done += count;
        if (tick && tick(context, done)) break;
    }
    finish(&sums, score);
    ot_batch_free(&b);
    free(index);
    return code;
}
