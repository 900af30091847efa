/* data_idx.c - IDX files, plain or gzipped: u8 0, u8 0, u8 type, u8 rank, big-endian u32
 * dimensions, big-endian elements (Y. LeCun's description beside MNIST). */
#include "tools/data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const struct {
    unsigned char code;
    struct element element;
} types[] = {{0x08, {'u', 1, true}}, {0x09, {'i', 1, true}}, {0x0b, {'i', 2, true}},
             {0x0c, {'i', 4, true}}, {0x0d, {'f', 4, true}}, {0x0e, {'f', 8, true}}};

/* gzread takes 32-bit sizes. False where the file ends early. */
static bool read_exactly(gzFile file, unsigned char *out, size_t n) {
    while (n) {
        const unsigned piece = n < 1u << 30 ? (unsigned)n : 1u << 30;
        const int got = gzread(file, out, piece);
        if (got <= 0) return false;
        out += got;
        n -= (size_t)got;
    }
    return true;
}

static int read_header(gzFile file, const char *path, struct array *a, struct element *e,
                       struct failure *f) {
    unsigned char head[4], dims[4 * OT_MAX_RANK];
    if (!read_exactly(file, head, 4) || head[0] || head[1])
        return ot_refuse(f, EXIT_DATA, "'%s' does not begin as an IDX file", path);
    size_t k = 0;
    while (k < sizeof types / sizeof *types && types[k].code != head[2]) k++;
    if (k == sizeof types / sizeof *types)
        return ot_refuse(f, EXIT_DATA, "'%s': IDX element type 0x%02x is unknown", path, head[2]);
    *e = types[k].element;
    a->rank = head[3];
    if (a->rank < 1 || a->rank > OT_MAX_RANK)
        return ot_refuse(f, EXIT_DATA, "'%s': %d dimensions; 1 to %d are supported", path, a->rank,
                         OT_MAX_RANK);
    if (!read_exactly(file, dims, 4 * (size_t)a->rank))
        return ot_refuse(f, EXIT_DATA, "'%s' ends within its header", path);
    for (int i = 0; i < a->rank; i++)
        a->dim[i] = (int64_t)dims[4 * i] << 24 | dims[4 * i + 1] << 16 | dims[4 * i + 2] << 8 |
                    dims[4 * i + 3];
    return 0;
}

static int read_idx(const char *path, struct array *a, struct failure *f) {
    struct element e = {0};
    unsigned char *raw = NULL, extra;
    size_t n = 0;
    gzFile file = gzopen(path, "rb");
    if (!file) return ot_refuse(f, EXIT_DATA, "cannot open '%s': %s", path, strerror(errno));
    int code = read_header(file, path, a, &e, f);
    if (!code) code = ot_array_count(a, path, &n, f);
    if (!code) {
        raw = ot_take(n, (size_t)e.size, f);
        code = raw ? 0 : f->code;
    }
    if (!code && !read_exactly(file, raw, n * (size_t)e.size))
        code = ot_refuse(f, EXIT_DATA, "'%s' ends before its %zu elements, or is damaged", path, n);
    if (!code && gzread(file, &extra, 1) != 0)
        code =
            ot_refuse(f, EXIT_DATA, "'%s' has more than its %zu elements, or is damaged", path, n);
    if (!code) code = ot_array_fill(a, e, raw, path, f);
    free(raw);
    gzclose(file);
    return code;
}

/* Labels stand in a file named like the images', with labels-idx1 for images-idx3. */
static int read_pair(struct data_source *d, const char *images, struct failure *f) {
    static const char from[] = "images-idx3", to[] = "labels-idx1"; /* of one length */
    d->n_inputs = 1;
    int code = read_idx(images, &d->input[0], f);
    const char *slash = strrchr(images, '/');
    const char *found = strstr(slash ? slash : images, from);
    if (code || !found) return code;
    char *labels = ot_copy_text(images, f);
    if (!labels) return f->code;
    memcpy(labels + (found - images), to, strlen(to));
    code = read_idx(labels, &d->target, f);
    free(labels);
    return code;
}

/* The entry of the folder that begins so, in fresh memory; NULL where there is none. */
static char *find_entry(const char *folder, char *const *names, int64_t n, const char *prefix,
                        struct failure *f) {
    for (int64_t i = 0; i < n; i++)
        if (strncmp(names[i], prefix, strlen(prefix)) == 0)
            return ot_join_path(folder, names[i], f);
    return NULL;
}

int ot_idx_open(struct data_source *d, const char *path, enum split split,
                const struct data_request *request, struct failure *f) {
    d->kind = "IDX";
    if (request->n_inputs != 1)
        return ot_refuse(f, EXIT_DATA, "IDX data have one input, the model has %d",
                         request->n_inputs);
    if (!ot_is_folder(path)) return read_pair(d, path, f);
    char **names;
    int64_t n;
    int code = ot_names_read(path, &names, &n, f);
    if (code) return code;
    char *train = find_entry(path, names, n, "train-images", f);
    char *test = find_entry(path, names, n, "t10k-images", f);
    d->has_parts = train && test;
    const char *chosen = split == SPLIT_TRAIN || !test ? train : test;
    if (chosen)
        code = read_pair(d, chosen, f);
    else
        code = ot_refuse(f, EXIT_DATA, "'%s' has neither train-images* nor t10k-images*", path);
    if (!code && !d->target.rank)
        code = ot_refuse(f, EXIT_DATA, "'%s' has no labels beside '%s'", path, chosen);
    free(train);
    free(test);
    ot_names_free(names, n);
    return code;
}
