/* batch.c - batches of samples as the model takes them. */
#include "tools/batch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t label_at(const struct array *a, int64_t i) {
    return a->type == OT_UINT8 ? ((const uint8_t *)a->data)[i] : ((const int64_t *)a->data)[i];
}

static int check_labels(const struct data_source *d, int64_t classes, struct failure *f) {
    size_t n;
    int code = ot_array_count(&d->target, "targets", &n, f);
    for (size_t i = 0; i < n && !code && classes > 0; i++) {
        const int64_t label = label_at(&d->target, (int64_t)i);
        if (label < 0 || label >= classes)
            code = ot_refuse(f, EXIT_DATA,
                             "'%s': label %" PRId64 " at %zu; there are %" PRId64 " classes",
                             d->path, label, i, classes);
    }
    return code;
}

/* The shape of a batch's targets: the data's; for values the output's where counts agree. */
static int shape_target(struct feed *feed, const ot_value_info *output, struct failure *f) {
    const struct array *a = &feed->data->target;
    int64_t wanted = 1;
    feed->target_elements = 1;
    feed->target_rank = a->rank;
    for (int i = 1; i < a->rank; i++) {
        feed->target_dim[i] = a->dim[i];
        feed->target_elements *= a->dim[i];
    }
    if (feed->target == TARGET_CLASSES) {
        const bool column = a->rank == 2 && a->dim[1] == 1 && output->rank <= 2;
        feed->target_rank = column ? 1 : a->rank;
        return 0;
    }
    bool known = output->rank > 0;
    for (int i = 1; i < output->rank; i++) {
        known = known && output->dim[i] >= 0;
        wanted *= output->dim[i];
    }
    if (!known) return 0;
    if (wanted != feed->target_elements)
        return ot_refuse(f, EXIT_DATA,
                         "'%s': targets have %" PRId64 " values a sample, output "
                         "'%s' has %" PRId64,
                         feed->data->path, feed->target_elements, output->name, wanted);
    feed->target_rank = output->rank;
    memcpy(feed->target_dim, output->dim, sizeof feed->target_dim);
    return 0;
}

int ot_feed_make(struct feed *feed, const struct settings *s, const struct data_source *d,
                 const ot_value_info *inputs, int n_inputs, const ot_value_info *output,
                 enum target_kind target, int64_t classes, struct failure *f) {
    *feed = (struct feed){.data = d, .count = d->count, .n_inputs = n_inputs, .target = target};
    for (int i = 0; i < n_inputs; i++) {
        const int code = ot_transform_make(&feed->input[i], s, &inputs[i], d, i, f);
        if (code) return code;
    }
    if (target == TARGET_NONE) return 0;
    if (!d->target.rank) return ot_refuse(f, EXIT_DATA, "'%s' has no targets", d->path);
    if (target == TARGET_CLASSES && d->target.type == OT_FLOAT)
        return ot_refuse(f, EXIT_DATA,
                         "'%s': cross_entropy needs integer labels, these are "
                         "floats",
                         d->path);
    const int code = target == TARGET_CLASSES ? check_labels(d, classes, f) : 0;
    return code ? code : shape_target(feed, output, f);
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
            ((int64_t *)b->memory[MAX_INPUTS])[to] = label_at(a, from);
            continue;
        }
        const float v =
            a->type == OT_FLOAT ? ((const float *)a->data)[from] : (float)label_at(a, from);
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
