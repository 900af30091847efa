/* scan.c - walks the protobuf wire format over a stack of its own. */
#include "onnx/scan.h"

#include <stdio.h>
#include <string.h>

#include "onnx/schema.h"
#include "onnx/wire.h"
#include "runtime/base/range.h"

enum { MOST_FUNCTIONS = 10000 };

struct level {
    const uint8_t *end;
    const char *name;    /* of the field that holds this message */
    uint32_t seen;       /* singular messages that were there */
    uint32_t attributes; /* of a node */
    uint8_t message;
    uint8_t graphs, types; /* levels of each kind down to here */
};

struct scan {
    const uint8_t *begin, *p;
    int depth;
    uint64_t most, count[MESSAGES];
    ot_error *err;
    struct level level[OT_SCAN_LEVELS];
};

/* Fails, naming the place: "byte 17, graph.node.attribute: ...". */
static ot_status fail(struct scan *s, ot_status status, const char *field, const char *what) {
    char path[256] = "";
    size_t n = 0;
    for (int i = 1; i <= s->depth && n < sizeof path; i++)
        n += (size_t)snprintf(path + n, sizeof path - n, "%s.", s->level[i].name);
    return ot_fail(s->err, status, "byte %zu, %s%s: %s", (size_t)(s->p - s->begin), path, field,
                   what);
}

/* Length of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates); 0: invalid. */
static size_t utf8_sequence(const uint8_t *p, size_t n) {
    static const struct {
        uint8_t mask, lead, length;
        uint32_t low;
    } forms[] = {{0x80, 0x00, 1, 0},
                 {0xe0, 0xc0, 2, 0x80},
                 {0xf0, 0xe0, 3, 0x800},
                 {0xf8, 0xf0, 4, 0x10000}};
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
        if ((*p & forms[k].mask) != forms[k].lead) continue;
        uint32_t c = *p & (uint8_t)~forms[k].mask;
        if (forms[k].length > n) return 0;
        for (size_t i = 1; i < forms[k].length; i++) {
            if ((p[i] & 0xc0) != 0x80) return 0;
            c = c << 6 | (p[i] & 0x3f);
        }
        const bool surrogate = c >= 0xd800 && c < 0xe000;
        return c < forms[k].low || surrogate || c > 0x10ffff ? 0 : forms[k].length;
    }
    return 0;
}

static ot_status check_name(struct scan *s, const struct field *f, const uint8_t *p, size_t n) {
    if (n > OT_SCAN_NAME)
        return fail(s, OT_ERROR_LIMIT, f->name, "the name has more than 4096 bytes");
    if (memchr(p, 0, n)) return fail(s, OT_ERROR_INVALID, f->name, "the name has a NUL byte");
    for (size_t i = 0, k; i < n; i += k) {
        k = utf8_sequence(p + i, n - i);
        if (!k) return fail(s, OT_ERROR_INVALID, f->name, "the name is not UTF-8");
    }
    return OT_OK;
}

static ot_status check_text(struct scan *s, const char *name, const uint8_t *p, size_t n,
                            bool nul_allowed) {
    if (n > OT_SCAN_TEXT) return fail(s, OT_ERROR_LIMIT, name, "the text has more than 16 MiB");
    if (!nul_allowed && memchr(p, 0, n))
        return fail(s, OT_ERROR_INVALID, name, "the string has a NUL byte");
    return OT_OK;
}

static ot_status check_packed(struct scan *s, const struct field *f, const uint8_t *p, size_t n) {
    uint64_t value;
    const uint8_t *end = p + n;
    const size_t unit = f->kind == FIELD_FLOATS ? 4 : f->kind == FIELD_DOUBLES ? 8 : 0;
    if (unit)
        return n % unit ? fail(s, OT_ERROR_PARSE, f->name, "the last number is incomplete") : OT_OK;
    while (p < end)
        if (!ot_read_varint(&p, end, 10, &value))
            return fail(s, OT_ERROR_PARSE, f->name, "a number is not terminated");
    return OT_OK;
}

static ot_status count_message(struct scan *s, const struct field *f) {
    const uint64_t most =
        f->message == FUNCTION && s->most > MOST_FUNCTIONS ? MOST_FUNCTIONS : s->most;
    const bool counted = f->message == NODE || f->message == TENSOR || f->message == VALUE_INFO ||
                         f->message == SPARSE_TENSOR || f->message == FUNCTION;
    if (f->message == ATTRIBUTE && ++s->level[s->depth].attributes > OT_SCAN_ATTRIBUTES)
        return fail(s, OT_ERROR_LIMIT, f->name, "the node has more than 256 attributes");
    return counted && ++s->count[f->message] > most
               ? fail(s, OT_ERROR_LIMIT, f->name, "the list has too many entries")
               : OT_OK;
}

/* Goes down into a message of n bytes. */
static ot_status enter_message(struct scan *s, const struct field *f, size_t index, size_t n) {
    struct level *up = &s->level[s->depth];
    if (f->kind == FIELD_ONE) {
        /* the alternatives of a type are one field */
        const uint32_t bit = 1u << (up->message == TYPE ? 0 : index);
        if (up->seen & bit) return fail(s, OT_ERROR_INVALID, f->name, "this field occurs twice");
        up->seen |= bit;
    }
    OT_TRY(count_message(s, f));
    const uint8_t graphs = (uint8_t)(up->graphs + (f->message == GRAPH));
    const uint8_t types = (uint8_t)(up->types + (f->message == TYPE));
    if (s->depth + 1 >= OT_SCAN_LEVELS || graphs > OT_SCAN_SUBGRAPHS + 1 || types > OT_SCAN_TYPES)
        return fail(s, OT_ERROR_LIMIT, f->name, "the messages are nested too deeply");
    s->depth++;
    s->level[s->depth] = (struct level){
        .end = s->p + n, .name = f->name, .message = f->message, .graphs = graphs, .types = types};
    return OT_OK;
}

/* The n bytes at s->p of a length-delimited field that the schema knows. */
static ot_status known_bytes(struct scan *s, const struct field *f, size_t index, size_t n) {
    const uint8_t *p = s->p;
    ot_status status = OT_OK;
    switch (f->kind) {
    case FIELD_ONE:
    case FIELD_MANY: return enter_message(s, f, index, n); /* s->p stays: the contents come next */
    case FIELD_NAME: status = check_name(s, f, p, n); break;
    case FIELD_VALUE:
    case FIELD_TEXT: status = check_text(s, f->name, p, n, f->kind == FIELD_TEXT); break;
    case FIELD_VARINTS:
    case FIELD_FLOATS:
    case FIELD_DOUBLES: status = check_packed(s, f, p, n); break;
    case FIELD_BYTES: break;
    default: status = fail(s, OT_ERROR_PARSE, f->name, "the field has the wrong wire type");
    }
    s->p += n;
    return status;
}

static ot_status length_delimited(struct scan *s, const struct field *f, size_t index) {
    uint64_t n;
    const uint8_t *end = s->level[s->depth].end;
    const char *name = f->name ? f->name : "unknown field";
    if (!ot_read_varint(&s->p, end, 5, &n) || !ot_is_inside(0, n, (uint64_t)(end - s->p)))
        return fail(s, OT_ERROR_PARSE, name,
                    "the field is longer than the message that contains it");
    if (f->name) return known_bytes(s, f, index, (size_t)n);
    OT_TRY(check_text(s, name, s->p, (size_t)n, true));
    s->p += n;
    return OT_OK;
}

static ot_status fixed(struct scan *s, const struct field *f, size_t n) {
    const bool fits = f->kind == FIELD_NONE || (n == 8 && f->kind == FIELD_DOUBLES) ||
                      (n == 4 && (f->kind == FIELD_FLOAT || f->kind == FIELD_FLOATS));
    const char *name = f->name ? f->name : "unknown field";
    if (!fits) return fail(s, OT_ERROR_PARSE, name, "the field has the wrong wire type");
    if ((size_t)(s->level[s->depth].end - s->p) < n)
        return fail(s, OT_ERROR_PARSE, name,
                    "the field is longer than the message that contains it");
    s->p += n;
    return OT_OK;
}

static ot_status one_field(struct scan *s) {
    const struct level *level = &s->level[s->depth];
    uint64_t tag, value;
    if (!ot_read_varint(&s->p, level->end, 5, &tag) || tag > UINT32_MAX || !(tag >> 3))
        return fail(s, OT_ERROR_PARSE, "field", "the field number is invalid");
    const struct field *first = ot_schema(level->message), *f = first;
    while (f->kind && f->number != tag >> 3) f++;
    switch (tag & 7) {
    case OT_WIRE_VARINT:
        if (f->kind && f->kind != FIELD_VARINT && f->kind != FIELD_VARINTS)
            return fail(s, OT_ERROR_PARSE, f->name, "the field has the wrong wire type");
        return ot_read_varint(&s->p, level->end, 10, &value)
                   ? OT_OK
                   : fail(s, OT_ERROR_PARSE, f->name ? f->name : "unknown field",
                          "a number is not terminated");
    case OT_WIRE_64: return fixed(s, f, 8);
    case OT_WIRE_32: return fixed(s, f, 4);
    case OT_WIRE_BYTES: return length_delimited(s, f, (size_t)(f - first));
    default:
        return fail(s, OT_ERROR_PARSE, "field", "the field is a group or has an invalid wire type");
    }
}

/* What a file is that is no ONNX model; "" where its first bytes do not tell. */
static const char *guess(const char *p, size_t n) {
    static const struct {
        size_t at;
        const char *magic, *hint;
    } table[] = {{0, "\x1f\x8b", ": this is a gzip file"},
                 {0, "PK\x03\x04", ": this is a zip archive (npz, PyTorch)"},
                 {4, "ORTM", ": this is an ORT model"},
                 {0, "\x93NUMPY", ": this is an npy file"},
                 {0, "\x89HDF", ": this is an HDF5 file"},
                 {4, "TFL3", ": this is a TensorFlow Lite model"},
                 {0, "ir_version", ": this is ONNX in text form"},
                 {0, "<!", ": this is an HTML page"},
                 {0, "<html", ": this is an HTML page"},
                 {0, "version https://git-lfs", ": this is a Git LFS pointer, not the file"},
                 {0, "<", ": this is a text"},
                 {0, "{", ": this is a text"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t k = strlen(table[i].magic);
        if (n >= table[i].at + k && !memcmp(p + table[i].at, table[i].magic, k))
            return table[i].hint;
    }
    return "";
}

static ot_status scan_fields(struct scan *s) {
    while (true) {
        while (s->p < s->level[s->depth].end) OT_TRY(one_field(s));
        if (!s->depth) return OT_OK;
        s->depth--;
    }
}

ot_status ot_scan(const void *bytes, size_t size, const ot_limits *limits, ot_error *err) {
    struct scan s = {.begin = bytes, .p = bytes, .most = limits->nodes, .err = err};
    s.level[0] = (struct level){.end = s.begin + size, .name = "", .message = MODEL};
    ot_status status = size ? scan_fields(&s) : OT_OK;
    if (status == OT_ERROR_PARSE) {
        const char *hint = guess(bytes, size);
        return *hint ? ot_fail(err, status, "the file is not an ONNX model%s", hint)
                     : ot_fail_in(err, status, "the file is not an ONNX model");
    }
    if (!status && !s.level[0].seen) return ot_fail(err, OT_ERROR_INVALID, "the graph is missing");
    return status;
}
