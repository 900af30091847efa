/* idx.c - IDX files, plain or gzipped: u8 0, u8 0, u8 type, u8 rank, big-endian u32
 * dimensions, big-endian elements (Y. LeCun's description beside MNIST). */
#include "tools/data/data.h"
#include "tools/data/inflate.h"
#include "tools/file.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    unsigned char code;
    struct element element;
} types[] = {{0x08, {'u', 1, true}}, {0x09, {'i', 1, true}}, {0x0b, {'i', 2, true}},
             {0x0c, {'i', 4, true}}, {0x0d, {'f', 4, true}}, {0x0e, {'f', 8, true}}};

#define HEADER(rank) (4 + 4 * (size_t)(rank)) /* bytes */

static bool is_gzip(const unsigned char *bytes, size_t size) {
    return size > 1 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

static int read_header(const unsigned char *head, size_t n, const char *path, struct array *a,
                       struct element *e, struct failure *f) {
    if (n < 4 || head[0] || head[1])
        return ot_refuse(f, EXIT_DATA, "'%s' does not begin with an IDX header", path);
    size_t k = 0;
    while (k < sizeof types / sizeof *types && types[k].code != head[2]) k++;
    if (k == sizeof types / sizeof *types)
        return ot_refuse(f, EXIT_DATA, "'%s': IDX element type 0x%02x is unknown", path, head[2]);
    *e = types[k].element;
    a->rank = head[3];
    if (a->rank < 1 || a->rank > OT_MAX_RANK)
        return ot_refuse(f, EXIT_DATA, "'%s' has %d dimensions, 1 to %d are supported", path,
                         a->rank, OT_MAX_RANK);
    if (n < HEADER(a->rank)) return ot_refuse(f, EXIT_DATA, "'%s' ends within its header", path);
    for (int i = 0; i < a->rank; i++) {
        const unsigned char *p = head + HEADER(i);
        a->dim[i] = (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
    }
    return 0;
}

/* The elements behind the header: p. Where the file is gzipped they are unpacked, into *owned. */
static int take_elements(const unsigned char *bytes, size_t size, size_t header, uint64_t wanted,
                         const char *path, const unsigned char **p, unsigned char **owned,
                         struct failure *f) {
    *owned = NULL;
    if (is_gzip(bytes, size)) {
        const int code = ot_inflate(bytes, size, true, header + wanted, owned, f);
        if (code == EXIT_MEMORY) return code;
        *p = code ? NULL : *owned + header;
    } else {
        *p = size == header + wanted ? bytes + header : NULL;
    }
    return *p ? 0
              : ot_refuse(f, EXIT_DATA,
                          "'%s' is damaged, or does not have the %llu bytes of elements that its "
                          "header announces",
                          path, (unsigned long long)wanted);
}

static int parse_idx(const unsigned char *bytes, size_t size, const char *path, struct array *a,
                     struct failure *f) {
    unsigned char unpacked[HEADER(OT_MAX_RANK)], *owned = NULL;
    const unsigned char *head = bytes, *p = NULL;
    struct element e = {0};
    size_t n = size, count = 0;
    if (is_gzip(bytes, size)) {
        head = unpacked;
        n = ot_inflate_head(bytes, size, unpacked, sizeof unpacked);
    }
    int code = read_header(head, n, path, a, &e, f);
    if (!code) code = ot_array_count(a, path, &count, f);
    if (!code)
        code = take_elements(bytes, size, HEADER(a->rank), count * (size_t)e.size, path, &p, &owned,
                             f);
    if (!code) code = ot_array_fill(a, e, p, path, f);
    free(owned);
    return code;
}

static int read_idx(const char *path, struct array *a, struct failure *f) {
    unsigned char *bytes;
    size_t size;
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    code = parse_idx(bytes, size, path, a, f);
    free(bytes);
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
        return ot_refuse(f, EXIT_DATA, "IDX data fill one input, but the model has %d",
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
        code = ot_refuse(f, EXIT_DATA, "'%s' has no labels that belong to '%s'", path, chosen);
    free(train);
    free(test);
    ot_names_free(names, n);
    return code;
}
