/* predict.c - `onnx-train predict`: runs a model; prints a line a sample, or writes a file. */
#include "tools/command.h"
#include "tools/data/npy_write.h"
#include "tools/out_file.h"
#include "tools/train/evaluate.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OUTPUTS = 64 };

/* What the model answered to all samples. */
struct answers {
    int n;
    int64_t count, room; /* samples */
    ot_tensor tensor[MAX_OUTPUTS];
    char *data[MAX_OUTPUTS];
    const char *name[MAX_OUTPUTS];
};

static size_t bytes_of(ot_type type) {
    return type == OT_DOUBLE || type == OT_UINT64 ? 8 : ot_element_size(type);
}

/* Elements of one sample. */
static size_t sample_elements(const ot_tensor *t) {
    size_t n = 1;
    for (int i = 1; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

/* Appends a batch of `count` samples. */
static int append(struct answers *a, const ot_tensor *outputs, int64_t count, struct failure *f) {
    for (int k = 0; k < a->n; k++) {
        const ot_tensor *t = &outputs[k];
        const size_t row = sample_elements(t) * bytes_of(t->type);
        if (t->rank < 1 || t->dim[0] != count || !bytes_of(t->type))
            return ot_refuse(f, EXIT_MODEL, "output '%s' has no row of numbers for each sample",
                             a->name[k]);
        if (!a->data[k]) {
            a->data[k] = ot_take((size_t)a->room, row, f);
            a->tensor[k] = *t;
            a->tensor[k].dim[0] = a->room;
            a->tensor[k].data = a->data[k];
        }
        if (!a->data[k]) return f->code;
        if (row != sample_elements(&a->tensor[k]) * bytes_of(t->type))
            return ot_refuse(f, EXIT_MODEL, "output '%s' changes its shape between batches",
                             a->name[k]);
        memcpy(a->data[k] + (size_t)a->count * row, t->data, (size_t)count * row);
    }
    a->count += count;
    return 0;
}

/* One batch of *count samples; where the model refuses several at once, one. */
static int run_batch(struct model *m, const struct feed *feed, struct batch *b, int64_t from,
                     int64_t *count, struct answers *a, struct failure *f) {
    ot_tensor outputs[MAX_OUTPUTS];
    ot_error err = {0};
    int64_t *index = ot_take((size_t)*count, sizeof *index, f);
    if (!index) return f->code;
    ot_count_up(index, from, *count);
    const int code = ot_batch_fill(b, feed, index, *count, f);
    free(index);
    if (code) return code;
    ot_status status = ot_run(m->session, b->input, b->n_inputs, outputs, a->n, &err);
    if (status == OT_ERROR_ARGUMENT || status == OT_ERROR_INVALID ||
        status == OT_ERROR_UNSUPPORTED) {
        *count = 1;
        ot_batch_shape(b, feed, 1);
        status = ot_run(m->session, b->input, b->n_inputs, outputs, a->n, &err);
    }
    return status ? ot_refuse_status(f, EXIT_MODEL, &err) : append(a, outputs, *count, f);
}

static int run_all(struct model *m, const struct feed *feed, int64_t batch, struct answers *a,
                   struct failure *f) {
    struct batch b;
    batch = batch < a->room ? batch : a->room;
    int code = ot_batch_make(&b, feed, batch, f);
    if (code) return code;
    while (a->count < a->room && !code) {
        int64_t count = a->room - a->count < batch ? a->room - a->count : batch;
        const int64_t asked = count;
        code = run_batch(m, feed, &b, a->count, &count, a, f);
        batch = count < asked ? 1 : batch;
    }
    ot_batch_free(&b);
    return code;
}

/* ---- printing ----------------------------------------------------------------------------- */

/* Whether the row is a distribution already; else it is taken for logits. */
static bool is_distribution(const float *row, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(row[i] >= 0 && row[i] <= 1)) return false;
        sum += row[i];
    }
    return fabs(sum - 1) < 1e-3;
}

/* The likeliest class and its probability. */
static size_t find_class(const float *row, size_t n, double *probability) {
    size_t best = 0;
    double sum = 0;
    for (size_t i = 1; i < n; i++) best = row[i] > row[best] ? i : best;
    for (size_t i = 0; i < n; i++) sum += exp((double)row[i] - (double)row[best]);
    *probability = is_distribution(row, n) ? (double)row[best] : 1 / sum;
    return best;
}

static void print_element(FILE *file, const ot_tensor *t, size_t i) {
    if (t->type == OT_FLOAT)
        fprintf(file, "%.9g", (double)((const float *)t->data)[i]);
    else if (t->type == OT_INT64)
        fprintf(file, "%" PRId64, ((const int64_t *)t->data)[i]);
    else if (t->type == OT_INT32)
        fprintf(file, "%" PRId32, ((const int32_t *)t->data)[i]);
    else
        fprintf(file, "%d", ((const uint8_t *)t->data)[i]);
}

/* A sample's name and its values, separated so. */
static void print_row(FILE *file, const ot_tensor *t, const char *name, size_t i, char separator) {
    const size_t n = sample_elements(t);
    fputs(name, file);
    for (size_t k = 0; k < n; k++) {
        fputc(separator, file);
        print_element(file, t, i * n + k);
    }
    fputc('\n', file);
}

static void print_answers(const struct answers *a, int output, const struct data_source *d,
                          bool raw) {
    const ot_tensor *t = &a->tensor[output];
    const size_t n = sample_elements(t);
    const bool classes = !raw && t->type == OT_FLOAT && n > 1 && (int64_t)n == t->dim[1];
    const bool named = d->class_name && d->classes == (int64_t)n;
    char path[1024], name[1400];
    for (int64_t i = 0; i < a->count; i++) {
        ot_data_name(d, i, path, sizeof path);
        ot_make_safe(name, sizeof name, path);
        if (!classes) {
            print_row(stdout, t, name, (size_t)i, ' ');
            continue;
        }
        double p;
        const size_t c = find_class((const float *)t->data + (size_t)i * n, n, &p);
        printf("%s %zu", name, c);
        if (named) printf(" %s", d->class_name[c]);
        printf(" %.4f\n", p);
    }
}

static int write_csv(const char *path, const ot_tensor *t, const struct data_source *d,
                     struct failure *f) {
    struct out_file o;
    const int code = ot_out_begin(&o, path, f);
    if (code) return code;
    fputs("sample", o.file);
    for (size_t k = 0; k < sample_elements(t); k++) fprintf(o.file, ",y%zu", k);
    fputc('\n', o.file);
    char name[1024];
    for (int64_t i = 0; i < t->dim[0]; i++) {
        ot_data_name(d, i, name, sizeof name);
        print_row(o.file, t, name, (size_t)i, ',');
    }
    return ot_out_finish(&o, true, f);
}

static int deliver(const struct answers *a, const struct model *m, const struct data_source *d,
                   const struct settings *s, struct failure *f) {
    const char *out = ot_text(s, OPTION_out);
    const ot_tensor *t = &a->tensor[m->output_index];
    if (!out || strcmp(out, "-") == 0) {
        print_answers(a, m->output_index, d, ot_integer(s, OPTION_raw, 0));
        return 0;
    }
    if (ot_has_suffix(out, ".npy")) return ot_npy_write(out, t, f);
    if (ot_has_suffix(out, ".npz")) return ot_npz_write(out, a->tensor, a->name, a->n, f);
    return write_csv(out, t, d, f);
}

static int predict(struct model *m, const struct data_source *d, const struct settings *s,
                   struct failure *f) {
    struct answers *a = ot_take(1, sizeof *a, f);
    struct feed *feed = ot_take(1, sizeof *feed, f);
    int code = a && feed ? 0 : f->code;
    if (!code && m->n_outputs > MAX_OUTPUTS)
        code = ot_refuse(f, EXIT_MODEL, "the model has %d outputs; at most %d are supported",
                         m->n_outputs, MAX_OUTPUTS);
    for (int k = 0; k < m->n_outputs && !code; k++) {
        ot_value_info v;
        ot_error err = {0};
        if (ot_get_output(m->session, k, &v, &err)) code = ot_refuse_status(f, EXIT_MODEL, &err);
        a->name[k] = code ? NULL : v.name;
    }
    if (!code) code = ot_feed_make(feed, s, d, m->input, m->n_inputs, f);
    if (!code) {
        a->n = m->n_outputs;
        a->room = d->count;
        code = run_all(m, feed, ot_integer(s, OPTION_batch, 32), a, f);
    }
    if (!code) code = deliver(a, m, d, s, f);
    for (int k = 0; a && k < MAX_OUTPUTS; k++) free(a->data[k]);
    free(a);
    free(feed);
    return code;
}

int ot_run_predict(struct settings *s, struct failure *f) {
    struct model m;
    struct data_source d;
    struct data_request request;
    const char *out = ot_text(s, OPTION_out);
    if (ot_text(s, OPTION_model) && !ot_text(s, OPTION_data))
        return ot_refuse(f, EXIT_USAGE, "no data given; usage: onnx-train predict MODEL DATA");
    if (out && strcmp(out, "-") != 0 && !ot_has_suffix(out, ".npy") &&
        !ot_has_suffix(out, ".npz") && !ot_has_suffix(out, ".csv"))
        return ot_refuse(f, EXIT_USAGE,
                         "out: '%s' does not end in .npy, .npz or .csv, and is not -", out);
    if (out && ot_text(s, OPTION_model) &&
        (ot_same_file(out, ot_text(s, OPTION_model)) || ot_same_file(out, ot_text(s, OPTION_data))))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' is an input", out);
    int code = ot_out_check(s, f);
    if (!code) code = ot_model_open(&m, s, f);
    if (code) return code;
    code = ot_model_load(&m, s, f);
    ot_model_request(&m, s, &request);
    if (!code)
        code = ot_data_open(&d, ot_text(s, OPTION_data), (enum split)ot_integer(s, OPTION_split, 0),
                            &request, f);
    if (!code) {
        code = predict(&m, &d, s, f);
        ot_data_close(&d);
    }
    ot_model_close(&m);
    return code;
}
