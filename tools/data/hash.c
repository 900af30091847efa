/* hash.c - a number that tells data sets apart: sizes, labels, a sample of the bytes. */
#include "tools/data/data.h"
#include "tools/file.h"

#include <string.h>

enum { SAMPLED = 256, SAMPLE_BYTES = 4096, LABEL_BYTES = 64 << 20 };

static void add(uint64_t *hash, const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++) *hash = (*hash ^ p[i]) * 1099511628211u; /* FNV-1a */
}

static void add_number(uint64_t *hash, int64_t number) { add(hash, &number, sizeof number); }

static void add_text(uint64_t *hash, const char *text) { add(hash, text, strlen(text) + 1); }

/* Type, shape, and of up to SAMPLED samples, evenly spread, the first bytes; of labels all. */
static void add_array(uint64_t *hash, const struct array *a, bool whole) {
    const size_t element = a->type == OT_FLOAT ? sizeof(float) : a->type == OT_UINT8 ? 1 : 8;
    size_t row = element;
    add_number(hash, a->type);
    for (int i = 0; i < a->rank; i++) add_number(hash, a->dim[i]);
    if (!a->rank || !a->data) return;
    for (int i = 1; i < a->rank; i++) row *= (size_t)a->dim[i];
    const size_t n = (size_t)a->dim[0];
    if (whole && n * row <= LABEL_BYTES) {
        add(hash, a->data, n * row);
        return;
    }
    const size_t step = n > SAMPLED ? n / SAMPLED : 1;
    for (size_t i = 0; i < n; i += step)
        add(hash, (const char *)a->data + i * row, row < SAMPLE_BYTES ? row : SAMPLE_BYTES);
}

/* The name beneath the data set's folder, the size, and some of the first bytes. */
static int add_file(uint64_t *hash, const struct data_source *d, const char *path, bool read,
                    struct failure *f) {
    const size_t root = strlen(d->path);
    unsigned char bytes[SAMPLE_BYTES];
    size_t n, size;
    add_text(hash, strncmp(path, d->path, root) == 0 ? path + root : path);
    if (!read) return 0;
    const int code = ot_read_head(path, EXIT_DATA, bytes, sizeof bytes, &n, &size, f);
    if (code) return code;
    add_number(hash, (int64_t)size);
    add(hash, bytes, n);
    return 0;
}

int ot_data_hash(const struct data_source *d, uint64_t *hash, struct failure *f) {
    const int64_t step = d->count > SAMPLED ? d->count / SAMPLED : 1;
    int code = 0;
    *hash = 14695981039346656037u;
    add_number(hash, d->count);
    add_number(hash, d->n_inputs);
    for (int i = 0; i < d->n_inputs && !d->file; i++) add_array(hash, &d->input[i], false);
    for (int64_t i = 0; d->file && i < d->count && !code; i++)
        code = add_file(hash, d, d->file[i], i % step == 0, f);
    add_array(hash, &d->target, true);
    for (int64_t i = 0; d->class_name && i < d->classes; i++) add_text(hash, d->class_name[i]);
    return code;
}
