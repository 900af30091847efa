/* safetensors.c - safetensors files with a checksum in their metadata. */
#include "runtime/base/safetensors.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/crc32.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/siphash.h"
#include "runtime/base/range.h"
#include "runtime/base/tensor.h"

/* Data is written and viewed as it stands in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

static const uint64_t header_most = 100000000; /* of the format */

static const struct {
    const char *name;
    ot_type type;
} types[] = {
    {"F64", OT_DOUBLE}, {"I64", OT_INT64},  {"U64", OT_UINT64},  {"F32", OT_FLOAT},
    {"I32", OT_INT32},  {"U32", OT_UINT32}, {"F16", OT_FLOAT16}, {"BF16", OT_BFLOAT16},
    {"I16", OT_INT16},  {"U16", OT_UINT16}, {"I8", OT_INT8},     {"U8", OT_UINT8},
    {"BOOL", OT_BOOL},
};
enum { TYPES = sizeof types / sizeof *types };

/* Overflow-checked; false where the shape is invalid. */
static bool tensor_bytes(const struct safetensor *t, size_t *bytes) {
    int64_t count;
    if (!ot_shape_count(t->dim, t->rank, INT64_MAX / 8, &count)) return false;
    return ot_mul((size_t)count, ot_type_size(t->type), bytes);
}

static void add_tensor(struct crc32 *c, const struct safetensor *t, uint64_t begin, uint64_t end) {
    uint64_t words[OT_MAX_RANK + 4];
    size_t n = 0;
    words[n++] = (uint64_t)t->type;
    words[n++] = (uint64_t)t->rank;
    for (int i = 0; i < t->rank; i++) words[n++] = (uint64_t)t->dim[i];
    words[n++] = begin;
    words[n++] = end;
    ot_crc32_add(c, t->name, strlen(t->name) + 1);
    ot_crc32_add(c, words, n * sizeof *words);
}

static void add_note(struct crc32 *c, const ot_note *note) {
    ot_crc32_add(c, note->key, strlen(note->key) + 1);
    ot_crc32_add(c, note->value, strlen(note->value) + 1);
}

/* ---- writing ---- */

static ot_status check_tensor(const struct safetensor *t, ot_error *err) {
    size_t bytes;
    if (!t->name || !*t->name || !strcmp(t->name, "__metadata__") ||
        !ot_json_is_text(t->name, strlen(t->name)))
        return ot_fail(err, OT_ERROR_ARGUMENT, "a tensor has an invalid name");
    bool known = false;
    for (int i = 0; i < TYPES; i++) known |= types[i].type == t->type;
    if (!known || t->rank < 0 || t->rank > OT_MAX_RANK || !tensor_bytes(t, &bytes))
        return ot_fail(err, OT_ERROR_ARGUMENT, "tensor '%s' has an invalid type or shape", t->name);
    return OT_OK;
}

static ot_status check_note(const ot_note *note, ot_error *err) {
    if (!note->key || !note->value || !ot_json_is_text(note->key, strlen(note->key)) ||
        !ot_json_is_text(note->value, strlen(note->value)) || !strcmp(note->key, "crc32"))
        return ot_fail(err, OT_ERROR_ARGUMENT, "note '%s' has an invalid key or value",
                       note->key ? note->key : "(NULL)");
    return OT_OK;
}

/* order: the tensors by falling element size. */
static void sort_tensors(const struct safetensor *tensor, int n, const struct safetensor **order) {
    int k = 0;
    for (size_t size = 8; size; size /= 2)
        for (int i = 0; i < n; i++)
            if (ot_type_size(tensor[i].type) == size) order[k++] = &tensor[i];
}

static ot_status checksum(const struct safetensor *const *order, int n, const ot_note *note,
                          int n_notes, uint32_t *crc, ot_error *err) {
    struct crc32 c;
    ot_crc32_init(&c);
    size_t begin = 0, bytes, end;
    for (int i = 0; i < n; i++) {
        if (!tensor_bytes(order[i], &bytes) || !ot_add(begin, bytes, &end))
            return ot_fail(err, OT_ERROR_LIMIT, "tensor '%s' has too much data for a file",
                           order[i]->name);
        add_tensor(&c, order[i], begin, end);
        begin = end;
    }
    for (int i = 0; i < n_notes; i++) add_note(&c, &note[i]);
    for (int i = 0; i < n; i++)
        if (tensor_bytes(order[i], &bytes)) ot_crc32_add(&c, order[i]->data, bytes);
    *crc = c.value;
    return OT_OK;
}

static void put_tensor(struct json_writer *w, const struct safetensor *t, uint64_t begin,
                       uint64_t end) {
    int k = 0;
    while (types[k].type != t->type) k++;
    ot_json_put(w, ",");
    ot_json_put_string(w, t->name);
    ot_json_put(w, ":{\"dtype\":");
    ot_json_put_string(w, types[k].name);
    ot_json_put(w, ",\"shape\":[");
    for (int i = 0; i < t->rank; i++) {
        if (i) ot_json_put(w, ",");
        ot_json_put_u64(w, (uint64_t)t->dim[i]);
    }
    ot_json_put(w, "],\"data_offsets\":[");
    ot_json_put_u64(w, begin);
    ot_json_put(w, ",");
    ot_json_put_u64(w, end);
    ot_json_put(w, "]}");
}

static void put_header(struct json_writer *w, const struct safetensor *const *order, int n,
                       const ot_note *note, int n_notes, uint32_t crc) {
    char digits[16];
    snprintf(digits, sizeof digits, "%08x", (unsigned)crc);
    ot_json_put(w, "{\"__metadata__\":{\"crc32\":");
    ot_json_put_string(w, digits);
    for (int i = 0; i < n_notes; i++) {
        ot_json_put(w, ",");
        ot_json_put_string(w, note[i].key);
        ot_json_put(w, ":");
        ot_json_put_string(w, note[i].value);
    }
    ot_json_put(w, "}");
    size_t begin = 0, bytes = 0;
    for (int i = 0; i < n; i++, begin += bytes) {
        if (!tensor_bytes(order[i], &bytes)) return; /* checked before */
        put_tensor(w, order[i], begin, begin + bytes);
    }
    ot_json_put(w, "}");
    while (w->size % 8 && !w->failed) ot_json_put(w, " "); /* the data begins aligned */
}

static ot_status write_file(const char *path, const struct json_writer *header,
                            const struct safetensor *const *order, int n, ot_error *err) {
    struct file_writer file;
    uint64_t length = header->size;
    size_t bytes = 0;
    OT_TRY(ot_file_begin(&file, path, err));
    ot_status status = ot_file_write(&file, &length, sizeof length, err);
    if (!status) status = ot_file_write(&file, header->bytes, header->size, err);
    for (int i = 0; i < n && !status; i++)
        if (tensor_bytes(order[i], &bytes) && bytes)
            status = ot_file_write(&file, order[i]->data, bytes, err);
    if (!status) return ot_file_commit(&file, err);
    ot_file_abort(&file);
    return status;
}

ot_status ot_safetensors_write(const ot_allocator *allocator, const char *path,
                               const struct safetensor *tensor, int n, const ot_note *note,
                               int n_notes, ot_error *err) {
    uint32_t crc = 0;
    for (int i = 0; i < n; i++) OT_TRY(check_tensor(&tensor[i], err));
    for (int i = 0; i < n_notes; i++) OT_TRY(check_note(&note[i], err));
    const struct safetensor **order = ot_block_alloc(allocator, (size_t)n, sizeof *order);
    if (!order) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for a file of %d tensors", n);
    struct json_writer header = {.allocator = allocator};
    sort_tensors(tensor, n, order);
    ot_status status = checksum(order, n, note, n_notes, &crc, err);
    if (status) goto done;
    put_header(&header, order, n, note, n_notes, crc);
    if (header.failed) {
        status = ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the header of a file");
    } else if (header.size > header_most) {
        status =
            ot_fail(err, OT_ERROR_LIMIT, "the header has %zu bytes, but the format allows %llu",
                    header.size, (unsigned long long)header_most);
    } else {
        status = write_file(path, &header, order, n, err);
    }
done:
    ot_block_free(allocator, header.bytes);
    ot_block_free(allocator, order);
    return status;
}

/* ---- reading ---- */

static ot_status read_dims(const struct json_tree *tree, int64_t at, struct safetensor *t,
                           ot_error *err) {
    const struct json *list = &tree->value[at];
    if (list->kind != OT_JSON_ARRAY || list->count > OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_INVALID,
                       "tensor '%s': shape is not a list of at most %d dimensions", t->name,
                       OT_MAX_RANK);
    for (int64_t i = at + 1; i < list->after; i = tree->value[i].after) {
        uint64_t dim;
        if (!ot_json_u64(&tree->value[i], &dim) || dim > INT64_MAX)
            return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': the shape has an invalid dimension",
                           t->name);
        t->dim[t->rank++] = (int64_t)dim;
    }
    return OT_OK;
}

static ot_status read_type(const struct json *v, struct safetensor *t, ot_error *err) {
    for (int i = 0; i < TYPES && v->kind == OT_JSON_STRING; i++)
        if (!strcmp(types[i].name, v->text)) t->type = types[i].type;
    if (t->type) return OT_OK;
    return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': unknown dtype '%s'", t->name,
                   v->text ? v->text : "");
}

/* The tensor must begin where the one before it ended: no holes, no overlaps. */
static ot_status read_offsets(const struct json_tree *tree, int64_t at, const struct safetensor *t,
                              uint64_t *end, ot_error *err) {
    const struct json *list = &tree->value[at];
    uint64_t begin, stop;
    size_t bytes;
    if (list->kind != OT_JSON_ARRAY || list->count != 2 || !ot_json_u64(list + 1, &begin) ||
        !ot_json_u64(list + 2, &stop))
        return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': data_offsets is not a pair of numbers",
                       t->name);
    if (begin != *end)
        return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': data begins at %llu, expected %llu",
                       t->name, (unsigned long long)begin, (unsigned long long)*end);
    if (!tensor_bytes(t, &bytes) || stop < begin || stop - begin != bytes)
        return ot_fail(err, OT_ERROR_INVALID,
                       "tensor '%s': data ends at %llu, which does not fit its shape", t->name,
                       (unsigned long long)stop);
    if (begin % ot_type_size(t->type))
        return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': data at %llu is not aligned", t->name,
                       (unsigned long long)begin);
    *end = stop;
    return OT_OK;
}

static ot_status read_tensor(const struct json_tree *tree, int64_t at, struct safetensor *t,
                             uint64_t *end, ot_error *err) {
    t->name = tree->value[at].key;
    int64_t type = ot_json_find(tree, at, "dtype"), shape = ot_json_find(tree, at, "shape");
    int64_t offsets = ot_json_find(tree, at, "data_offsets");
    if (!*t->name || type < 0 || shape < 0 || offsets < 0 || tree->value[at].count != 3)
        return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': dtype, shape and data_offsets expected",
                       t->name);
    OT_TRY(read_type(&tree->value[type], t, err));
    OT_TRY(read_dims(tree, shape, t, err));
    return read_offsets(tree, offsets, t, end, err);
}

static ot_status read_notes(const struct json_tree *tree, struct safetensors *s, const char **crc,
                            ot_error *err) {
    int64_t at = ot_json_find(tree, 0, "__metadata__");
    int64_t n = at < 0 ? 0 : tree->value[at].count;
    s->note = ot_arena_alloc(&s->arena, (size_t)n, sizeof *s->note);
    if (!s->note) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for metadata");
    if (at >= 0 && tree->value[at].kind != OT_JSON_OBJECT)
        return ot_fail(err, OT_ERROR_INVALID, "__metadata__ is not an object");
    for (int64_t i = at + 1; at >= 0 && i < tree->value[at].after; i = tree->value[i].after) {
        const struct json *v = &tree->value[i];
        if (v->kind != OT_JSON_STRING)
            return ot_fail(err, OT_ERROR_INVALID, "metadata '%s' is not a string", v->key);
        if (!strcmp(v->key, "crc32")) {
            *crc = v->text;
        } else {
            s->note[s->n_notes++] = (ot_note){v->key, v->text};
        }
    }
    return OT_OK;
}

static ot_status read_header(struct safetensors *s, const struct json_tree *tree, const char **crc,
                             uint64_t data_bytes, ot_error *err) {
    if (tree->value[0].kind != OT_JSON_OBJECT)
        return ot_fail(err, OT_ERROR_INVALID, "the header is not an object");
    OT_TRY(read_notes(tree, s, crc, err));
    if (tree->value[0].count > INT32_MAX / 2)
        return ot_fail(err, OT_ERROR_LIMIT, "the file has too many tensors");
    s->tensor = ot_arena_alloc(&s->arena, (size_t)tree->value[0].count, sizeof *s->tensor);
    if (!s->tensor) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the tensors' records");
    uint64_t end = 0;
    for (int64_t i = 1; i < tree->n; i = tree->value[i].after) {
        if (!strcmp(tree->value[i].key, "__metadata__")) continue;
        OT_TRY(read_tensor(tree, i, &s->tensor[s->n], &end, err));
        if (!ot_is_inside(end, 0, data_bytes))
            return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': data ends at %llu of %llu bytes",
                           s->tensor[s->n].name, (unsigned long long)end,
                           (unsigned long long)data_bytes);
        s->n++;
    }
    if (end != data_bytes)
        return ot_fail(err, OT_ERROR_INVALID,
                       "the file has %llu bytes of data, but the tensors need %llu",
                       (unsigned long long)data_bytes, (unsigned long long)end);
    return OT_OK;
}

static ot_status check_crc(struct safetensors *s, const char *data, const char *found,
                           ot_error *err) {
    uint32_t crc = 0;
    const struct safetensor **order = ot_arena_alloc(&s->arena, (size_t)s->n, sizeof *order);
    if (!order) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the checksum");
    for (int i = 0; i < s->n; i++) {
        size_t bytes = 0;
        order[i] = &s->tensor[i];
        s->tensor[i].data = data;
        if (tensor_bytes(&s->tensor[i], &bytes)) data += bytes;
    }
    OT_TRY(checksum(order, s->n, s->note, s->n_notes, &crc, err));
    char expected[16];
    snprintf(expected, sizeof expected, "%08x", (unsigned)crc);
    if (!found) return ot_fail(err, OT_ERROR_INVALID, "the metadata has no crc32");
    if (strcmp(found, expected))
        return ot_fail(err, OT_ERROR_INVALID,
                       "the file is damaged: its crc32 is %s, but the file says %s", expected,
                       found);
    return OT_OK;
}

/* The tensor's place in the table, or the free one where it belongs. */
static const struct safetensor **find_place(const struct safetensors *s, const char *name) {
    size_t i = ot_siphash(s->key, 0, name, strlen(name)) & (s->places - 1);
    while (s->place[i] && strcmp(s->place[i]->name, name) != 0) i = (i + 1) & (s->places - 1);
    return &s->place[i];
}

/* At most half of the table is taken. */
static ot_status index_names(struct safetensors *s, ot_error *err) {
    for (s->places = 2; s->places < 2 * (size_t)s->n;) s->places *= 2;
    s->place = ot_arena_alloc(&s->arena, s->places, sizeof *s->place);
    if (!s->place) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the tensors' names");
    ot_siphash_key(s->key);
    for (int i = 0; i < s->n; i++) *find_place(s, s->tensor[i].name) = &s->tensor[i];
    return OT_OK;
}

ot_status ot_safetensors_view(const ot_allocator *allocator, const void *bytes, size_t size,
                              struct safetensors *s, ot_error *err) {
    uint64_t length;
    const char *crc = NULL;
    struct json_tree tree;
    *s = (struct safetensors){0};
    if (size < sizeof length)
        return ot_fail(err, OT_ERROR_INVALID, "%zu bytes are too few for a safetensors file", size);
    memcpy(&length, bytes, sizeof length);
    if (length > header_most || !ot_is_inside(sizeof length, length, size) || length % 8)
        return ot_fail(err, OT_ERROR_INVALID,
                       "the header claims %llu bytes in a file of %zu bytes: not a safetensors "
                       "file, or truncated",
                       (unsigned long long)length, size);
    const char *header = (const char *)bytes + sizeof length;
    /* a record takes some 100 bytes of text and 10 entries of the tree; a hostile header more */
    ot_arena_init(&s->arena, allocator, (1u << 20) + 16 * (size_t)length);
    ot_status status = ot_json_read(&s->arena, header, (size_t)length, &tree, err);
    if (!status) status = read_header(s, &tree, &crc, size - sizeof length - length, err);
    if (!status) status = check_crc(s, header + length, crc, err);
    if (!status) status = index_names(s, err);
    if (status) ot_safetensors_free(s);
    return status;
}

ot_status ot_safetensors_read(const ot_allocator *allocator, const char *path, uint64_t most,
                              struct safetensors *s, ot_error *err) {
    void *bytes;
    size_t size;
    *s = (struct safetensors){0};
    OT_TRY(ot_file_read(allocator, NULL, path, most, &bytes, &size, err));
    ot_status status = ot_safetensors_view(allocator, bytes, size, s, err);
    if (status) {
        ot_block_free(allocator, bytes);
        return ot_fail_in(err, status, "'%s'", path);
    }
    s->bytes = bytes;
    return OT_OK;
}

void ot_safetensors_free(struct safetensors *s) {
    if (!s) return;
    if (s->bytes) ot_block_free(&s->arena.allocator, s->bytes);
    ot_arena_free(&s->arena);
    *s = (struct safetensors){0};
}

const struct safetensor *ot_safetensors_find(const struct safetensors *s, const char *name) {
    return s->n ? *find_place(s, name) : NULL;
}

const char *ot_safetensors_note(const struct safetensors *s, const char *key) {
    for (int i = 0; i < s->n_notes; i++)
        if (!strcmp(s->note[i].key, key)) return s->note[i].value;
    return NULL;
}
