/* tensor.c - floats back to the type, field and spelling that the file had. Integers come as
 * floats too, rounded. */
#include <string.h>

#include "onnx/export/parts.h"
#include "runtime/base/half.h"
#include "onnx/skeleton.h"
#include "onnx/slot_value.h"
#include "runtime/base/pattern.h"

/* raw_data is little-endian; it is written as it stands in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little-endian");

/* ---- element types ---- */

static void put_float(void *to, float v) { memcpy(to, &v, sizeof v); }

/* A double that was read as this float keeps the digits that float has not. */
static void put_double(void *to, float v) {
    double d;
    memcpy(&d, to, sizeof d);
    if (ot_bits_of_float((float)d) == ot_bits_of_float(v)) return;
    d = v;
    memcpy(to, &d, sizeof d);
}

static void put_half(void *to, float v) {
    uint16_t h = ot_float16_of_float(v);
    memcpy(to, &h, sizeof h);
}

static void put_half_int(void *to, float v) {
    int32_t h = ot_float16_of_float(v);
    memcpy(to, &h, sizeof h);
}

static void put_bfloat(void *to, float v) {
    uint16_t h = ot_bfloat16_of_float(v);
    memcpy(to, &h, sizeof h);
}

static void put_bfloat_int(void *to, float v) {
    int32_t h = ot_bfloat16_of_float(v);
    memcpy(to, &h, sizeof h);
}

static void put_byte(void *to, float v) { *(uint8_t *)to = (uint8_t)(int32_t)v; }
static void put_short(void *to, float v) {
    const uint16_t h = (uint16_t)(int32_t)v;
    memcpy(to, &h, sizeof h);
}

/* As with doubles: 32 bits have digits that float has not. */
static void put_int(void *to, float v) {
    int32_t i;
    memcpy(&i, to, sizeof i);
    if ((float)i == v) return;
    i = (int32_t)v;
    memcpy(to, &i, sizeof i);
}

/* Where a type's payload stands when it is not in raw_data (onnx.proto, TensorProto). */
enum field { FLOAT_DATA, DOUBLE_DATA, INT32_DATA };

static const struct codec {
    ot_type type;
    size_t raw_size, field_size;
    enum field field;
    void (*put_raw)(void *to, float v);
    void (*put_field)(void *to, float v);
} codecs[] = {
    {OT_FLOAT, 4, 4, FLOAT_DATA, put_float, put_float},
    {OT_DOUBLE, 8, 8, DOUBLE_DATA, put_double, put_double},
    {OT_FLOAT16, 2, 4, INT32_DATA, put_half, put_half_int},
    {OT_BFLOAT16, 2, 4, INT32_DATA, put_bfloat, put_bfloat_int},
    {OT_UINT8, 1, 4, INT32_DATA, put_byte, put_int},
    {OT_INT8, 1, 4, INT32_DATA, put_byte, put_int},
    {OT_UINT16, 2, 4, INT32_DATA, put_short, put_int},
    {OT_INT16, 2, 4, INT32_DATA, put_short, put_int},
    {OT_INT32, 4, 4, INT32_DATA, put_int, put_int},
};

static const struct codec *codec_of(int32_t type) {
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if ((int32_t)codecs[i].type == type) return &codecs[i];
    return NULL;
}

/* ---- payloads ---- */

struct payload {
    const struct codec *codec;
    bool raw;
    size_t size; /* of an element */
    void (*put)(void *to, float v);
    void *bytes;
    size_t count;
};

static void *get_field(const Onnx__TensorProto *p, enum field field, size_t *n) {
    if (field == FLOAT_DATA) return *n = p->n_float_data, p->float_data;
    if (field == DOUBLE_DATA) return *n = p->n_double_data, p->double_data;
    return *n = p->n_int32_data, p->int32_data;
}

static void set_field(Onnx__TensorProto *p, enum field field, void *data, size_t n) {
    if (field == FLOAT_DATA) {
        p->float_data = data;
        p->n_float_data = n;
    } else if (field == DOUBLE_DATA) {
        p->double_data = data;
        p->n_double_data = n;
    } else {
        p->int32_data = data;
        p->n_int32_data = n;
    }
}

/* The note of where the payload stood that was taken out; NULL: none was. */
static const char *note_of(const Onnx__TensorProto *p) {
    const Onnx__StringStringEntryProto *note = p->n_external_data ? p->external_data[0] : NULL;
    return note && note->key && note->value && !strcmp(note->key, OT_CUT_KEY) ? note->value : NULL;
}

bool ot_export_is_external(const Onnx__TensorProto *p) {
    const char *note = note_of(p);
    return note && !strcmp(note, OT_CUT_EXTERNAL);
}

/* Does p's payload belong into raw_data, as what goes to the data file does first? */
static bool is_raw(const Onnx__TensorProto *p) {
    const char *note = note_of(p);
    return note ? !strcmp(note, "raw_data") || ot_export_is_external(p) : p->has_raw_data != 0;
}

ot_status ot_export_set_external(struct export_job *job, Onnx__TensorProto *p, bool external) {
    void *entry, *list;
    OT_TRY(ot_export_alloc(job, 1, sizeof **p->external_data, &entry));
    OT_TRY(ot_export_alloc(job, 1, sizeof *p->external_data, &list));
    p->external_data = list;
    p->external_data[0] = entry;
    p->n_external_data = 1;
    onnx__string_string_entry_proto__init(p->external_data[0]);
    p->external_data[0]->key = (char *)OT_CUT_KEY;
    p->external_data[0]->value = (char *)(external ? OT_CUT_EXTERNAL : "raw_data");
    return OT_OK;
}

/* What p holds now. */
static ot_status open_payload(struct export_job *job, Onnx__TensorProto *p, struct payload *out) {
    const struct codec *c = codec_of(p->data_type);
    if (!c)
        return ot_fail(job->err, OT_ERROR_UNSUPPORTED, "weight '%s': its type %s cannot be written",
                       p->name ? p->name : "", ot_type_name((ot_type)p->data_type));
    out->codec = c;
    out->raw = is_raw(p);
    out->size = out->raw ? c->raw_size : c->field_size;
    out->put = out->raw ? c->put_raw : c->put_field;
    if (out->raw) {
        out->bytes = p->raw_data.data;
        out->count = p->raw_data.len / c->raw_size;
    } else {
        out->bytes = get_field(p, c->field, &out->count);
    }
    return OT_OK;
}

static void close_payload(Onnx__TensorProto *p, const struct payload *in) {
    if (!ot_export_is_external(p)) p->n_external_data = 0;
    p->has_data_location = 0;
    p->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    if (!in->raw) {
        set_field(p, in->codec->field, in->bytes, in->count);
        return;
    }
    p->has_raw_data = 1;
    p->raw_data.data = in->bytes;
    p->raw_data.len = in->count * in->size;
}

/* Room for count elements that starts as what was there, or as zeros. A tensor that no file can
 * hold is refused before it takes memory. */
static ot_status resize_payload(struct export_job *job, const Onnx__TensorProto *of,
                                struct payload *p, size_t count) {
    size_t bytes;
    if (p->count == count && p->bytes) return OT_OK;
    if (!ot_mul(count, p->size, &bytes) || bytes > INT32_MAX)
        return ot_fail(job->err, OT_ERROR_LIMIT,
                       "weight '%s' has %zu elements, but an ONNX file has at most 2 GiB - 1",
                       of->name ? of->name : "", count);
    p->count = count;
    return ot_export_alloc(job, count, p->size, &p->bytes);
}

static ot_status set_dims(struct export_job *job, size_t *n, int64_t **dims, const int64_t *dim,
                          size_t rank) {
    if (*n == rank && (!rank || !memcmp(*dims, dim, rank * sizeof *dim))) return OT_OK;
    void *memory;
    OT_TRY(ot_export_alloc(job, rank, sizeof *dim, &memory));
    if (rank) memcpy(memory, dim, rank * sizeof *dim);
    *dims = memory;
    *n = rank;
    return OT_OK;
}

/* ---- dense ---- */

static void put_slots(const struct payload *p, const struct tensor *t) {
    const struct pattern *pattern = t->pattern;
    const float *value = t->data, least = ot_slot_least(p->codec->type);
    char *bytes = p->bytes;
    for (int row = 0; row < pattern->rows; row++)
        for (int slot = pattern->row[row]; slot < pattern->row[row + 1]; slot++) {
            size_t at = (size_t)ot_pattern_position(pattern, row, slot);
            p->put(bytes + at * p->size, ot_slot_value(value[slot], least));
        }
}

static void put_negative_zeros(const struct payload *p, const uint8_t *bits) {
    char *bytes = p->bytes;
    for (size_t i = 0; i < p->count; i++)
        if (bits[i / 8] >> i % 8 & 1) p->put(bytes + i * p->size, -0.0f);
}

/* Into the payload's own memory, where elements without a slot stay as they are. */
static void put_elements(const struct payload *p, const struct tensor *t,
                         const uint8_t *negative_zeros) {
    const float *value = t->data;
    char *bytes = p->bytes;
    if (t->pattern) {
        if (negative_zeros) put_negative_zeros(p, negative_zeros);
        put_slots(p, t);
        return;
    }
    for (size_t i = 0; i < p->count; i++) p->put(bytes + i * p->size, value[i]);
}

ot_status ot_export_put_dense(struct export_job *job, Onnx__TensorProto *p, const struct tensor *t,
                              const uint8_t *negative_zeros) {
    struct payload payload = {0};
    size_t count = (size_t)ot_elements(t);
    OT_TRY(open_payload(job, p, &payload));
    OT_TRY(set_dims(job, &p->n_dims, &p->dims, t->dim, (size_t)t->rank));
    if (!t->pattern && payload.codec->type == OT_FLOAT) {
        payload.bytes = t->data; /* nobody writes through it */
        payload.count = count;
    } else if (payload.raw && (payload.count != count || !payload.bytes)) {
        const struct lazy l = {t, negative_zeros, payload.size, ot_slot_least(payload.codec->type),
                               payload.put};
        payload.count = count;
        OT_TRY(ot_export_add_lazy(job, &l, &payload.bytes));
    } else {
        OT_TRY(resize_payload(job, p, &payload, count));
        put_elements(&payload, t, negative_zeros);
    }
    close_payload(p, &payload);
    return OT_OK;
}

/* ---- sparse ---- */

struct entries {
    size_t n;
    int64_t *position; /* in the file's row-major order, ascending */
    float *value;
};

static ot_status alloc_entries(struct export_job *job, struct entries *e, size_t n) {
    void *position, *value;
    OT_TRY(ot_export_alloc(job, n, sizeof *e->position, &position));
    OT_TRY(ot_export_alloc(job, n, sizeof *e->value, &value));
    *e = (struct entries){n, position, value};
    return OT_OK;
}

/* CSR order is the file's, unless the file holds the transposed matrix: then a counting sort by
 * column is. */
static ot_status pattern_entries(struct export_job *job, const struct tensor *t,
                                 struct entries *e) {
    const struct pattern *p = t->pattern;
    const float *value = t->data;
    void *memory = NULL;
    OT_TRY(alloc_entries(job, e, (size_t)p->nnz));
    OT_TRY(ot_export_alloc(job, (size_t)p->cols + 1, sizeof(int), &memory));
    int *next = memory;
    for (int k = 0; k < p->nnz; k++) next[p->col[k] + 1]++;
    for (int c = 0; c < p->cols; c++) next[c + 1] += next[c];
    for (int row = 0; row < p->rows; row++)
        for (int slot = p->row[row]; slot < p->row[row + 1]; slot++) {
            int at = p->transposed ? next[p->col[slot]]++ : slot;
            e->position[at] = ot_pattern_position(p, row, slot);
            e->value[at] = value[slot];
        }
    return OT_OK;
}

static ot_status dense_entries(struct export_job *job, const struct tensor *t, struct entries *e) {
    const float *value = t->data;
    int64_t count = ot_elements(t);
    size_t n = 0;
    for (int64_t i = 0; i < count; i++) n += ot_bits_of_float(value[i]) != 0;
    OT_TRY(alloc_entries(job, e, n));
    n = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!ot_bits_of_float(value[i])) continue;
        e->position[n] = i;
        e->value[n++] = value[i];
    }
    return OT_OK;
}

/* Row-major coordinates of each position. */
static ot_status coordinates(struct export_job *job, const struct entries *e,
                             const struct tensor *t, int64_t **out) {
    void *memory;
    size_t rank = (size_t)t->rank, count;
    if (!ot_mul(e->n, rank, &count))
        return ot_fail(job->err, OT_ERROR_LIMIT,
                       "the sparse tensor has %zu indices of rank %zu, too many", e->n, rank);
    OT_TRY(ot_export_alloc(job, count, sizeof(int64_t), &memory));
    int64_t *index = memory;
    for (size_t k = 0; k < e->n; k++) {
        int64_t rest = e->position[k];
        for (size_t i = rank; i-- > 0; rest /= t->dim[i]) index[k * rank + i] = rest % t->dim[i];
    }
    *out = index;
    return OT_OK;
}

static ot_status put_indices(struct export_job *job, Onnx__SparseTensorProto *p,
                             const struct tensor *t, const struct entries *e, bool coo) {
    int64_t *index = e->position, dim[2] = {(int64_t)e->n, t->rank};
    size_t count = e->n;
    if (!p->indices) {
        void *memory;
        OT_TRY(ot_export_alloc(job, 1, sizeof *p->indices, &memory));
        p->indices = memory;
        onnx__tensor_proto__init(p->indices);
        p->indices->has_raw_data = 1;
    }
    Onnx__TensorProto *to = p->indices;
    if (coo) {
        OT_TRY(coordinates(job, e, t, &index));
        count *= (size_t)t->rank;
    }
    to->has_data_type = 1;
    to->data_type = OT_INT64;
    to->n_int32_data = 0;
    if (to->has_raw_data) {
        to->raw_data.data = (uint8_t *)index;
        to->raw_data.len = count * sizeof *index;
    } else {
        to->int64_data = index;
        to->n_int64_data = count;
    }
    return set_dims(job, &to->n_dims, &to->dims, dim, coo ? 2 : 1);
}

ot_status ot_export_put_sparse(struct export_job *job, Onnx__SparseTensorProto *p,
                               const struct tensor *t, bool coo) {
    struct entries e = {0};
    struct payload payload = {0};
    OT_TRY(t->pattern ? pattern_entries(job, t, &e) : dense_entries(job, t, &e));
    OT_TRY(put_indices(job, p, t, &e, coo));
    OT_TRY(set_dims(job, &p->n_dims, &p->dims, t->dim, (size_t)t->rank));
    OT_TRY(open_payload(job, p->values, &payload));
    OT_TRY(resize_payload(job, p->values, &payload, e.n));
    char *bytes = payload.bytes;
    for (size_t k = 0; k < e.n; k++) payload.put(bytes + k * payload.size, e.value[k]);
    close_payload(p->values, &payload);
    int64_t n = (int64_t)e.n;
    return set_dims(job, &p->values->n_dims, &p->values->dims, &n, 1);
}
