/* batch.c - batches of samples as the model takes them. */
#include "tools/data/batch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ot_feed_make(struct feed *feed, const struct settings *s, const struct data_source *d,
                 const ot_value_info *inputs, int n_inputs, struct failure *f) {
    *feed = (struct feed){.data = d, .count = d->count, .n_inputs = n_inputs};
    for (int i = 0; i < n_inputs; i++) {
        const int code = ot_transform_make(&feed->input[i], s, &inputs[i], d, i, f);
        if (code) return code;
    }
    return 0;
}

void ot_batch_shape(struct batch *b, const struct feed *feed, int64_t count) {
    b->count = count;
    for (int k = 0; k < feed->n_inputs; k++) {
        const struct transform *t = &feed->input[k];
        b->input[k] = (ot_tensor){.type = t->type, .rank = t->rank + 1, .data = b->memory[k]};
        b->input[k].dim[0] = count;
        memcpy(b->input[k].dim + 1, t->dim, (size_t)t->rank * sizeof *t->dim);
    }
    b->target = (ot_tensor){0};
    if (feed->target == TARGET_NONE) return;
    b->target.type = feed->target == TARGET_CLASSES ? OT_INT64 : OT_FLOAT;
    b->target.rank = feed->target_rank;
    b->target.data = b->memory[MAX_INPUTS];
    memcpy(b->target.dim, feed->target_dim, sizeof b->target.dim);
    b->target.dim[0] = count;
}

int ot_batch_make(struct batch *b, const struct feed *feed, int64_t room, struct failure *f) {
    *b = (struct batch){.room = room, .n_inputs = feed->n_inputs};
    for (int k = 0; k <= feed->n_inputs; k++) {
        const bool target = k == feed->n_inputs;
        const int64_t n = target ? feed->target_elements : feed->input[k].elements;
        const size_t size = target ? sizeof(int64_t) : ot_element_size(feed->input[k].type);
        b->memory[target ? MAX_INPUTS : k] = ot_take((size_t)room * (size_t)n, size, f);
        if (!b->memory[target ? MAX_INPUTS : k]) {
            ot_batch_free(b);
            return f->code;
        }
    }
    ot_batch_shape(b, feed, room);
    return 0;
}

void ot_batch_free(struct batch *b) {
    for (int k = 0; k <= MAX_INPUTS; k++) free(b->memory[k]);
    *b = (struct batch){0};
}

static int fill_target(struct batch *b, const struct feed *feed, int64_t row, int64_t sample,
                       struct failure *f) {
    const struct array *a = &feed->data->target;
    const int64_t n = feed->target_elements;
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = sample * n + i, to = row * n + i;
        if (feed->target == TARGET_CLASSES) {
            ((int64_t *)b->memory[MAX_INPUTS])[to] = ot_array_integer(a, from);
            continue;
        }
        const float v =
            a->type == OT_FLOAT ? ((const float *)a->data)[from] : (float)ot_array_integer(a, from);
        if (!isfinite(v))
            return ot_refuse(f, EXIT_DATA, "'%s': target %" PRId64 " is not finite",
                             feed->data->path, sample);
        ((float *)b->memory[MAX_INPUTS])[to] = v;
    }
    return 0;
}

static int fill_row(struct batch *b, const struct feed *feed, int64_t row, int64_t sample,
                    struct failure *f) {
    char name[1024];
    ot_data_name(feed->data, sample, name, sizeof name);
    int code = 0;
    for (int k = 0; k < feed->n_inputs && !code; k++) {
        const struct transform *t = &feed->input[k];
        char *to = b->memory[k];
        to += (size_t)row * (size_t)t->elements * ot_element_size(t->type);
        struct sample one;
        code = ot_data_read(feed->data, sample, k, &one, f);
        if (!code) code = ot_transform_apply(t, &one, to, name, f);
        free(one.owned);
    }
    if (!code && feed->target != TARGET_NONE) code = fill_target(b, feed, row, sample, f);
    return code;
}

int ot_batch_fill(struct batch *b, const struct feed *feed, const int64_t *index, int64_t count,
                  struct failure *f) {
    int code = 0;
    ot_batch_shape(b, feed, count);
    for (int64_t i = 0; i < count && !code; i++)
        code = fill_row(b, feed, i, feed->subset ? feed->subset[index[i]] : index[i], f);
    return code;
}
