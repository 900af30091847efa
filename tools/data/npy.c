/* npy.c - NumPy's .npy files (format 1.0 to 3.0, numpy.lib.format) and .npz archives. */
#include "tools/data/data.h"
#include "tools/file.h"
#include "tools/data/zip.h"
#include "runtime/base/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_HEADER = 65536, MOST_RANK = OT_MAX_RANK };

/* ---- the header: a Python dictionary of three known keys ---------------------------------- */

struct header {
    const char *p; /* NUL-terminated */
    struct element element;
    bool fortran;
    int rank;
    int64_t dim[OT_MAX_RANK];
};

static void skip_blanks(struct header *h) { h->p += strspn(h->p, " \n\t\r"); }

static bool take(struct header *h, const char *word) {
    skip_blanks(h);
    const size_t n = strlen(word);
    if (strncmp(h->p, word, n)) return false;
    h->p += n;
    return true;
}

/* A quoted string without escapes. */
static bool take_string(struct header *h, char *out, size_t size) {
    skip_blanks(h);
    const char quote = *h->p;
    if (quote != '\'' && quote != '"') return false;
    const size_t n = strcspn(h->p + 1, quote == '"' ? "\"\\" : "'\\");
    if (n >= size || h->p[1 + n] != quote) return false;
    memcpy(out, h->p + 1, n);
    out[n] = '\0';
    h->p += n + 2;
    return true;
}

static bool take_descr(struct header *h) {
    char text[16];
    if (!take_string(h, text, sizeof text) || strlen(text) < 3 || !strchr("<>|=", text[0]))
        return false;
    char *end;
    h->element.kind = text[1];
    h->element.size = (int)strtol(text + 2, &end, 10);
    h->element.swap = text[0] == '>';
    return *end == '\0';
}

static bool take_flag(struct header *h) {
    h->fortran = take(h, "True");
    return h->fortran || take(h, "False");
}

static bool take_shape(struct header *h) {
    if (!take(h, "(")) return false;
    while (!take(h, ")")) {
        skip_blanks(h);
        char *end;
        const long long dim = strtoll(h->p, &end, 10);
        if (end == h->p || *h->p == '-' || *h->p == '+' || h->rank == MOST_RANK) return false;
        h->dim[h->rank++] = dim;
        h->p = end;
        if (!take(h, ",") && *(skip_blanks(h), h->p) != ')') return false;
    }
    return true;
}

static bool take_header(struct header *h) {
    static const struct {
        const char *key;
        bool (*take)(struct header *h);
    } fields[] = {{"descr", take_descr}, {"fortran_order", take_flag}, {"shape", take_shape}};
    int seen = 0;
    char key[32];
    if (!take(h, "{")) return false;
    while (!take(h, "}")) {
        int k = 0;
        if (!take_string(h, key, sizeof key) || !take(h, ":")) return false;
        while (k < 3 && strcmp(key, fields[k].key)) k++;
        if (k == 3 || (seen & 1 << k) || !fields[k].take(h)) return false;
        seen |= 1 << k;
        take(h, ",");
    }
    skip_blanks(h);
    return seen == 7 && *h->p == '\0';
}

/* ---- the file ----------------------------------------------------------------------------- */

/* Brings column-major elements of `size` bytes into row-major order. */
static int transpose(struct array *a, size_t size, struct failure *f) {
    size_t n, stride[OT_MAX_RANK], from = 0;
    int code = ot_array_count(a, "array", &n, f);
    char *rows = code ? NULL : ot_take(n, size, f);
    if (!rows) return f->code;
    int64_t index[OT_MAX_RANK] = {0};
    for (int k = 0; k < a->rank; k++) stride[k] = k ? stride[k - 1] * (size_t)a->dim[k - 1] : 1;
    for (size_t i = 0; i < n; i++) {
        memcpy(rows + i * size, (const char *)a->data + from * size, size);
        int k = a->rank - 1;
        for (; k >= 0 && ++index[k] == a->dim[k]; k--) {
            from -= stride[k] * (size_t)(a->dim[k] - 1);
            index[k] = 0;
        }
        from += k >= 0 ? stride[k] : 0;
    }
    free(a->data);
    a->data = rows;
    return 0;
}

int ot_npy_parse(const unsigned char *bytes, size_t size, const char *name, struct array *a,
                 struct failure *f) {
    static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (size < 12 || memcmp(bytes, magic, 6))
        return ot_refuse(f, EXIT_DATA, "'%s' does not begin with a .npy header", name);
    const int version = bytes[6];
    if (version < 1 || version > 3)
        return ot_refuse(f, EXIT_DATA, "'%s': .npy version %d; 1 to 3 are known", name, version);
    const size_t start = version == 1 ? 10 : 12;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > MOST_HEADER || !ot_is_inside(start, length, size))
        return ot_refuse(f, EXIT_DATA,
                         "'%s': a header of %zu bytes; the file has %zu, the limit "
                         "is %d",
                         name, length, size - start, MOST_HEADER);
    char *text = ot_take(length + 1, 1, f);
    if (!text) return f->code;
    memcpy(text, bytes + start, length);
    struct header h = {.p = text};
    const bool good = take_header(&h) && strlen(text) == length;
    free(text);
    if (!good)
        return ot_refuse(
            f, EXIT_DATA,
            "'%s': the .npy header is broken, or the elements are objects, text or records", name);
    *a = (struct array){.rank = h.rank};
    memcpy(a->dim, h.dim, sizeof h.dim);
    if (h.rank == 0)
        return ot_refuse(f, EXIT_DATA, "'%s' is a single number, not an array of samples", name);
    size_t n;
    int code = ot_array_count(a, name, &n, f);
    if (!code && (h.element.size < 1 || n != (size - start - length) / (size_t)h.element.size ||
                  n * (size_t)h.element.size != size - start - length))
        return ot_refuse(f, EXIT_DATA, "'%s': %zu elements of %d bytes, but %zu bytes", name, n,
                         h.element.size, size - start - length);
    if (!code) code = ot_array_fill(a, h.element, bytes + start + length, name, f);
    if (!code && h.fortran && a->rank > 1)
        code = transpose(a, a->type == OT_FLOAT ? 4 : a->type == OT_UINT8 ? 1 : 8, f);
    if (code) {
        free(a->data);
        *a = (struct array){0};
    }
    return code;
}

int ot_npy_open(struct data_source *d, const char *path, enum split split,
                const struct data_request *request, struct failure *f) {
    unsigned char *bytes;
    size_t size;
    (void)split;
    d->kind = ".npy";
    if (request->n_inputs != 1)
        return ot_refuse(f, EXIT_DATA, "'%s' has one array, but the model has %d inputs; use .npz",
                         path, request->n_inputs);
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    d->n_inputs = 1;
    code = ot_npy_parse(bytes, size, path, &d->input[0], f);
    free(bytes);
    return code;
}

/* ---- archives ----------------------------------------------------------------------------- */

static const char *const input_words[] = {"x",      "X",     "inputs", "input",
                                          "images", "image", "data",   NULL};
static const char *const target_words[] = {"y", "Y", "targets", "target", "labels", "label", NULL};
static const char *const none[] = {NULL};

/* The member "name + suffix + .npy", or the same with one of the words; -1. */
static int find_member(const struct zip *zip, const char *name, const char *const *words,
                       const char *suffix) {
    char key[512];
    if (name) {
        snprintf(key, sizeof key, "%s%s.npy", name, suffix);
        const int i = ot_zip_find(zip, key);
        if (i >= 0) return i;
    }
    for (; *words; words++) {
        snprintf(key, sizeof key, "%s%s.npy", *words, suffix);
        const int i = ot_zip_find(zip, key);
        if (i >= 0) return i;
    }
    return -1;
}

static int load_member(const struct zip *zip, int member, const char *path, struct array *a,
                       struct failure *f) {
    unsigned char *bytes = NULL;
    size_t size;
    char name[1024];
    snprintf(name, sizeof name, "%s:%s", path, ot_zip_name(zip, member));
    int code = ot_zip_read(zip, member, &bytes, &size, f);
    if (!code) code = ot_npy_parse(bytes, size, name, a, f);
    free(bytes);
    return code;
}

/* The suffix of the asked part: keys may be x_train, x_val or x_test. */
static const char *find_part(const struct zip *zip, const struct data_request *request,
                             enum split split, bool *has_parts) {
    static const char *const parts[] = {"_val", "_valid", "_test"};
    const char *const *words = request->n_inputs == 1 ? input_words : none;
    const char *held_out = NULL;
    for (int i = 0; i < 3 && !held_out; i++)
        if (find_member(zip, request->input[0], words, parts[i]) >= 0) held_out = parts[i];
    const bool train = find_member(zip, request->input[0], words, "_train") >= 0;
    *has_parts = train && held_out;
    if (!train) return "";
    return split == SPLIT_TRAIN || !held_out ? "_train" : held_out;
}

static int load_members(struct data_source *d, const struct zip *zip, const char *path,
                        enum split split, const struct data_request *request, struct failure *f) {
    const char *suffix = find_part(zip, request, split, &d->has_parts);
    const char *const *words = request->n_inputs == 1 ? input_words : none;
    for (int i = 0; i < request->n_inputs; i++) {
        const int member = find_member(zip, request->input[i], words, suffix);
        if (member < 0)
            return ot_refuse(f, EXIT_DATA, "'%s' has no array '%s'%s", path, request->input[i],
                             request->n_inputs == 1 ? " and no 'x'" : "");
        d->n_inputs = i + 1;
        const int code = load_member(zip, member, path, &d->input[i], f);
        if (code) return code;
    }
    const int member = find_member(zip, request->output, target_words, suffix);
    return member < 0 ? 0 : load_member(zip, member, path, &d->target, f);
}

int ot_npz_open(struct data_source *d, const char *path, enum split split,
                const struct data_request *request, struct failure *f) {
    struct zip *zip;
    d->kind = ".npz";
    int code = ot_zip_open(path, &zip, f);
    if (!code) code = load_members(d, zip, path, split, request, f);
    ot_zip_close(zip);
    return code;
}
