/* proto.c - protobuf's wire format, field by field; a TensorProto's numbers wherever its writer has
 * put them. */
#include "tools/data/proto.h"
#include "tools/data/data.h"
#include "runtime/base/range.h"

#include <stdlib.h>
#include <string.h>

bool ot_proto_varint(struct proto *m, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && m->p < m->end; shift += 7) {
        *value |= (uint64_t)(*m->p & 0x7f) << shift;
        if (!(*m->p++ & 0x80)) return true;
    }
    return false;
}

bool ot_proto_next(struct proto *m, struct proto_field *field) {
    const unsigned char *start = m->p;
    uint64_t key, n = 0;
    bool ok = m->p < m->end && ot_proto_varint(m, &key);
    if (!ok) return false;
    *field = (struct proto_field){.number = key >> 3, .type = (int)(key & 7)};
    if (field->type == 0) {
        ok = ot_proto_varint(m, &field->value);
    } else {
        ok = field->type == 1 || field->type == 2 || field->type == 5;
        n = field->type == 1 ? 8 : 4;
        if (field->type == 2) ok = ot_proto_varint(m, &n);
        ok = ok && ot_is_inside(0, n, (uint64_t)(m->end - m->p));
        if (ok) field->bytes = (struct proto){m->p, m->p + n};
        if (ok) m->p += n;
    }
    if (!ok) m->p = start;
    return ok;
}

bool ot_proto_is(struct proto bytes, const char *text) {
    const size_t n = strlen(text);
    return (size_t)(bytes.end - bytes.p) == n && !memcmp(bytes.p, text, n);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void put(struct message *m, const void *p, size_t n) {
    if (m->failed || !n) return;
    if (m->size + n > m->room) {
        const size_t room = 2 * (m->size + n) + 64;
        unsigned char *bytes = realloc(m->bytes, room);
        m->failed = !bytes;
        if (m->failed) return;
        m->bytes = bytes;
        m->room = room;
    }
    memcpy(m->bytes + m->size, p, n);
    m->size += n;
}

void ot_put_varint(struct message *m, uint64_t v) {
    for (; v >= 128; v >>= 7) put(m, &(unsigned char){(unsigned char)(v | 128)}, 1);
    put(m, &(unsigned char){(unsigned char)v}, 1);
}

void ot_put_int(struct message *m, int field, int64_t v) {
    ot_put_varint(m, (uint64_t)field << 3);
    ot_put_varint(m, (uint64_t)v);
}

void ot_put_bytes(struct message *m, int field, const void *p, size_t n) {
    ot_put_varint(m, (uint64_t)field << 3 | 2);
    ot_put_varint(m, n);
    put(m, p, n);
}

void ot_put_text(struct message *m, int field, const char *text) {
    ot_put_bytes(m, field, text, strlen(text));
}

void ot_put_message(struct message *m, int field, struct message *inner) {
    m->failed = m->failed || inner->failed;
    ot_put_bytes(m, field, inner->bytes, inner->size);
    free(inner->bytes);
    *inner = (struct message){0};
}

void ot_put_field(struct message *m, const struct proto_field *field) {
    const size_t n = (size_t)(field->bytes.end - field->bytes.p);
    if (field->type == 0) ot_put_int(m, (int)field->number, (int64_t)field->value);
    if (field->type == 2) ot_put_bytes(m, (int)field->number, field->bytes.p, n);
    if (field->type != 1 && field->type != 5) return;
    ot_put_varint(m, field->number << 3 | (uint64_t)field->type);
    put(m, field->bytes.p, n);
}

/* ---- TensorProto -------------------------------------------------------------------------- */

/* The fields of TensorProto that carry a tensor, by number. */
enum field {
    DIMS = 1,
    DATA_TYPE = 2,
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    INT64_DATA = 7,
    RAW_DATA = 9,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11
};

/* How long an element is, and where elements stand that are not in raw_data. */
static const struct {
    ot_type type;
    int size;
    enum field field;
} types[] = {{OT_FLOAT, 4, FLOAT_DATA},    {OT_UINT8, 1, INT32_DATA},   {OT_INT8, 1, INT32_DATA},
             {OT_UINT16, 2, INT32_DATA},   {OT_INT16, 2, INT32_DATA},   {OT_INT32, 4, INT32_DATA},
             {OT_INT64, 8, INT64_DATA},    {OT_BOOL, 1, INT32_DATA},    {OT_FLOAT16, 2, INT32_DATA},
             {OT_BFLOAT16, 2, INT32_DATA}, {OT_DOUBLE, 8, DOUBLE_DATA}, {OT_UINT32, 4, UINT64_DATA},
             {OT_UINT64, 8, UINT64_DATA}};

struct reader {
    struct proto_tensor t;
    uint64_t type;
    enum field field, wanted; /* the family of the payload that is there, and of the type */
    struct proto payload;
};

static bool take_dims(struct proto_tensor *t, struct proto_field f) {
    if (f.type == 0) {
        if (t->rank == OT_MAX_RANK) return false;
        t->dim[t->rank++] = (int64_t)f.value;
        return true;
    }
    while (f.bytes.p < f.bytes.end) {
        uint64_t dim;
        if (t->rank == OT_MAX_RANK || !ot_proto_varint(&f.bytes, &dim)) return false;
        t->dim[t->rank++] = (int64_t)dim;
    }
    return true;
}

static bool scan(struct proto m, struct reader *r) {
    struct proto_field f;
    while (ot_proto_next(&m, &f)) {
        if (f.number == DIMS && !take_dims(&r->t, f)) return false;
        if (f.number == DATA_TYPE) r->type = f.value;
        const bool data = f.number == FLOAT_DATA || f.number == INT32_DATA ||
                          f.number == INT64_DATA || f.number == RAW_DATA ||
                          f.number == DOUBLE_DATA || f.number == UINT64_DATA;
        if (f.type != 2 || !data) continue;
        r->field = (enum field)f.number;
        r->payload = f.bytes;
    }
    return m.p == m.end;
}

/* Elements that stand as packed varints, each cut to the element's size. */
static int take_varints(struct reader *r, const char *name, struct failure *f) {
    unsigned char *out = r->t.data;
    for (size_t i = 0; i < r->t.count; i++) {
        uint64_t value;
        if (!ot_proto_varint(&r->payload, &value))
            return ot_refuse(f, EXIT_DATA, "'%s' has fewer elements than its shape needs", name);
        for (int k = 0; k < r->t.size; k++) *out++ = (unsigned char)(value >> (8 * k));
    }
    if (r->payload.p != r->payload.end)
        return ot_refuse(f, EXIT_DATA, "'%s' has more elements than its shape allows", name);
    return 0;
}

static bool is_packed(const struct reader *r) {
    return r->field != RAW_DATA && r->wanted != FLOAT_DATA && r->wanted != DOUBLE_DATA;
}

/* Whether the payload has the bytes that the shape says, a varint one or more. */
static int check_payload(const struct reader *r, const char *name, struct failure *f) {
    const size_t bytes = (size_t)(r->payload.end - r->payload.p), count = r->t.count;
    if (count && r->field != RAW_DATA && r->field != r->wanted)
        return ot_refuse(f, EXIT_DATA, "'%s' has no elements", name);
    if (is_packed(r) && count > bytes)
        return ot_refuse(f, EXIT_DATA, "'%s' has fewer elements than its shape needs", name);
    if (!is_packed(r) && (bytes / (size_t)r->t.size != count || bytes % (size_t)r->t.size))
        return ot_refuse(f, EXIT_DATA, "'%s': %zu bytes for %zu elements of %d", name, bytes, count,
                         r->t.size);
    return 0;
}

static int take_elements(struct reader *r, const char *name, struct failure *f) {
    const size_t bytes = (size_t)(r->payload.end - r->payload.p);
    if (is_packed(r)) return take_varints(r, name, f);
    if (bytes) memcpy(r->t.data, r->payload.p, bytes);
    return 0;
}

/* What is no float yet becomes one; bfloat16 is the first half of a float. */
static int widen(struct proto_tensor *t, struct failure *f) {
    const bool first_half = t->type == OT_BFLOAT16;
    const unsigned char *p = t->data;
    if (!first_half && t->type != OT_FLOAT16 && t->type != OT_DOUBLE) return 0;
    float *out = ot_take(t->count, sizeof *out, f);
    if (!out) return f->code;
    for (size_t i = 0; i < t->count; i++) {
        uint64_t bits = 0;
        for (int k = 0; k < t->size; k++) bits |= (uint64_t)*p++ << (8 * k);
        out[i] = first_half ? ot_float_of(bits << 16, 4) : ot_float_of(bits, t->size);
    }
    free(t->data);
    t->data = out;
    t->type = OT_FLOAT;
    t->size = sizeof *out;
    return 0;
}

int ot_proto_tensor(struct proto bytes, const char *name, struct proto_tensor *t,
                    struct failure *f) {
    struct reader r = {0};
    if (!scan(bytes, &r)) return ot_refuse(f, EXIT_DATA, "'%s' is not a TensorProto", name);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        if ((uint64_t)types[k].type != r.type) continue;
        r.t.type = r.t.file_type = types[k].type;
        r.t.size = types[k].size;
        r.wanted = types[k].field;
    }
    if (!r.t.type)
        return ot_refuse(f, EXIT_DATA, "'%s' is not a TensorProto of numbers: element type %llu",
                         name, (unsigned long long)r.type);
    struct array a = {.rank = r.t.rank};
    memcpy(a.dim, r.t.dim, sizeof a.dim);
    int code = ot_array_count(&a, name, &r.t.count, f);
    if (!code) code = check_payload(&r, name, f);
    if (code) return code;
    r.t.data = ot_take(r.t.count, (size_t)r.t.size, f);
    if (!r.t.data) return f->code;
    code = take_elements(&r, name, f);
    if (!code) code = widen(&r.t, f);
    if (code)
        free(r.t.data);
    else
        *t = r.t;
    return code;
}
