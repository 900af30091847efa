/* cifar.c - CIFAR-10 binary files: records of a label and 3 x 32 x 32 bytes, colours in
 * planes; CIFAR-100 has two labels, of which the second is the fine one (A. Krizhevsky's page). */
#include "tools/data/data.h"
#include "tools/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIXELS = 3 * 32 * 32 };

/* Appends the records of one file to the source's arrays. */
static int append_file(struct data_source *d, const char *path, struct failure *f) {
    unsigned char *bytes;
    size_t size;
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    const size_t labels = size % (PIXELS + 1) == 0 ? 1 : 2;
    const size_t record = PIXELS + labels, n = size / record, old = (size_t)d->input[0].dim[0];
    if (size % record || (d->classes && d->classes != (labels == 1 ? 10 : 100))) {
        free(bytes);
        return ot_refuse(
            f, EXIT_DATA,
            "'%s': %zu bytes are not a multiple of 3073 or 3074, the sizes of CIFAR records", path,
            size);
    }
    d->classes = labels == 1 ? 10 : 100;
    uint8_t *images = realloc(d->input[0].data, (old + n) * PIXELS + 1);
    d->input[0].data = images ? images : d->input[0].data;
    uint8_t *targets = realloc(d->target.data, old + n + 1);
    d->target.data = targets ? targets : d->target.data;
    if (!images || !targets)
        code = ot_refuse(f, EXIT_MEMORY, "cannot allocate %zu images", old + n);
    for (size_t i = 0; i < n && !code; i++) {
        const unsigned char *p = bytes + i * record;
        memcpy(images + (old + i) * PIXELS, p + labels, PIXELS);
        targets[old + i] = p[labels - 1];
        if (targets[old + i] >= d->classes)
            code = ot_refuse(f, EXIT_DATA, "'%s': record %zu has label %d; there are %d classes",
                             path, i, targets[old + i], (int)d->classes);
    }
    d->input[0].dim[0] = d->target.dim[0] = (int64_t)(old + n);
    free(bytes);
    return code;
}

/* Appends the folder's files that begin so and end in .bin, by name. */
static int append_files(struct data_source *d, const char *folder, char *const *names, int64_t n,
                        const char *prefix, struct failure *f) {
    int code = 0;
    for (int64_t i = 0; i < n && !code; i++) {
        if (strncmp(names[i], prefix, strlen(prefix)) || !ot_has_suffix(names[i], ".bin")) continue;
        char *path = ot_join_path(folder, names[i], f);
        code = path ? append_file(d, path, f) : f->code;
        free(path);
    }
    return code;
}

static bool begins(char *const *names, int64_t n, const char *prefix) {
    for (int64_t i = 0; i < n; i++)
        if (strncmp(names[i], prefix, strlen(prefix)) == 0 && ot_has_suffix(names[i], ".bin"))
            return true;
    return false;
}

/* Class names, one a line, from batches.meta.txt beside the data; without it there are none. */
static int read_names(struct data_source *d, const char *folder, struct failure *f) {
    unsigned char *text = NULL;
    size_t size;
    int64_t n = 0;
    char *path = ot_join_path(folder, "batches.meta.txt", f);
    int code = path ? 0 : f->code;
    if (!code && access(path, F_OK) == 0) code = ot_read_file(path, EXIT_DATA, &text, &size, f);
    free(path);
    if (code || !text) return code;
    d->class_name = ot_take((size_t)d->classes, sizeof *d->class_name, f);
    code = d->class_name ? 0 : f->code;
    char *rest = NULL;
    for (char *line = strtok_r((char *)text, "\r\n", &rest); line && n < d->classes && !code;
         line = strtok_r(NULL, "\r\n", &rest)) {
        d->class_name[n] = ot_copy_text(line, f);
        code = d->class_name[n] ? 0 : f->code;
        n += !code;
    }
    free(text);
    if (code || n < d->classes) {
        ot_names_free(d->class_name, d->class_name ? n : 0);
        d->class_name = NULL;
    }
    return code;
}

int ot_cifar_open(struct data_source *d, const char *path, enum split split,
                  const struct data_request *request, struct failure *f) {
    d->kind = "CIFAR binary";
    d->n_inputs = 1;
    d->input[0] = (struct array){.type = OT_UINT8, .rank = 4, .dim = {0, 3, 32, 32}};
    d->target = (struct array){.type = OT_UINT8, .rank = 1};
    d->classes_exact = true;
    if (request->n_inputs != 1)
        return ot_refuse(f, EXIT_DATA, "CIFAR data fill one input, but the model has %d",
                         request->n_inputs);
    if (!ot_is_folder(path)) return append_file(d, path, f);
    char **names;
    int64_t n;
    int code = ot_names_read(path, &names, &n, f);
    if (code) return code;
    const bool train = begins(names, n, "data_batch"), test = begins(names, n, "test_batch");
    d->has_parts = train && test;
    const char *prefix = split == SPLIT_TRAIN || !test ? "data_batch" : "test_batch";
    code = append_files(d, path, names, n, train || test ? prefix : "", f);
    if (!code && d->classes) code = read_names(d, path, f);
    ot_names_free(names, n);
    return code;
}
