/* payload.c - the contents of a TensorProto: exactly as many values as its shape asks for, in the
 * one field that its type allows; floating-point types become float. */
#include "onnx/model.h"

#include "runtime/base/half.h"

#include <limits.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little-endian");

enum family { NO_FAMILY, FLOATS, INT32S, STRINGS, INT64S, DOUBLES, UINT64S };

/* By TensorProto.DataType: the typed field that holds it, and what an int32_data entry may be. */
static const struct {
    enum family family;
    int32_t low, high;
} types[] = {
    [OT_FLOAT] = {FLOATS, 0, 0},          [OT_UINT8] = {INT32S, 0, 255},
    [OT_INT8] = {INT32S, -128, 127},      [OT_UINT16] = {INT32S, 0, 65535},
    [OT_INT16] = {INT32S, -32768, 32767}, [OT_INT32] = {INT32S, INT32_MIN, INT32_MAX},
    [OT_INT64] = {INT64S, 0, 0},          [OT_BOOL] = {INT32S, INT32_MIN, INT32_MAX},
    [OT_FLOAT16] = {INT32S, 0, 65535},    [OT_DOUBLE] = {DOUBLES, 0, 0},
    [OT_UINT32] = {UINT64S, 0, 0},        [OT_UINT64] = {UINT64S, 0, 0},
    [OT_BFLOAT16] = {INT32S, 0, 65535},
};

enum { NEWEST_DATA_TYPE = 28 }; /* FLOAT6E3M2, the last that ONNX 1.23 defines */

static bool is_float(ot_type type) {
    return type == OT_FLOAT || type == OT_FLOAT16 || type == OT_DOUBLE || type == OT_BFLOAT16;
}

/* Entries of a family's field. */
static size_t entries(const Onnx__TensorProto *t, enum family family) {
    const size_t n[] = {[NO_FAMILY] = 0,
                        [FLOATS] = t->n_float_data,
                        [INT32S] = t->n_int32_data,
                        [STRINGS] = t->n_string_data,
                        [INT64S] = t->n_int64_data,
                        [DOUBLES] = t->n_double_data,
                        [UINT64S] = t->n_uint64_data};
    return n[family];
}

static ot_status check_type(struct import *im, const Onnx__TensorProto *t) {
    int type = t->has_data_type ? t->data_type : OT_UNDEFINED;
    if (type <= OT_UNDEFINED || type > NEWEST_DATA_TYPE)
        return ot_import_fail(im, OT_ERROR_INVALID, "data_type %d is unknown", type);
    if ((size_t)type >= sizeof types / sizeof *types || types[type].family == NO_FAMILY)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "data_type %d (%s) is not supported", type,
                              ot_type_name((ot_type)type));
    if (t->segment)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED,
                              "the tensor is stored in segments, which is not supported");
    return OT_OK;
}

static ot_status check_shape(struct import *im, const Onnx__TensorProto *t, struct tensor *shape,
                             int64_t *count) {
    const uint64_t most = im->options->limits.tensor_elements;
    if (t->n_dims > OT_MAX_RANK)
        return ot_import_fail(im, OT_ERROR_LIMIT, "the rank is %zu, at most %d is allowed",
                              t->n_dims, OT_MAX_RANK);
    *shape = (struct tensor){.rank = (int)t->n_dims, .role = OT_ROLE_CONST};
    for (size_t i = 0; i < t->n_dims; i++) {
        shape->dim[i] = t->dims[i];
        if (t->dims[i] < 0)
            return ot_import_fail(im, OT_ERROR_INVALID, "dims[%zu] is %lld, expected at least 0", i,
                                  (long long)t->dims[i]);
    }
    /* no element takes more than 8 bytes, here or in the file */
    if (!ot_shape_count(shape->dim, shape->rank, INT64_MAX / 8, count))
        return ot_import_fail(im, OT_ERROR_INVALID, "the product of dims is too large");
    if ((uint64_t)*count > most)
        return ot_import_fail(im, OT_ERROR_LIMIT,
                              "the tensor has %lld elements, at most %llu are allowed",
                              (long long)*count, (unsigned long long)most);
    return OT_OK;
}

/* Exactly one field holds data, or none where there is nothing to hold. */
static ot_status check_inline(struct import *im, const Onnx__TensorProto *t, ot_type type,
                              size_t count) {
    const enum family own = types[type].family;
    const size_t raw = t->has_raw_data ? t->raw_data.len : 0;
    for (int f = FLOATS; f <= UINT64S; f++)
        if (entries(t, (enum family)f) && ((enum family)f != own || raw))
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  raw ? "the data are both in raw_data and in another field"
                                      : "the data are in a field that is not for type %s",
                                  ot_type_name(type));
    if (raw || !entries(t, own)) {
        size_t expected = count * ot_type_size(type);
        if (raw != expected)
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  "the tensor has %zu bytes of data, %zu expected", raw, expected);
    } else if (entries(t, own) != count) {
        return ot_import_fail(im, OT_ERROR_INVALID, "the tensor has %zu values, %zu expected",
                              entries(t, own), count);
    }
    return OT_OK;
}

ot_status ot_payload_check(struct import *im, const Onnx__TensorProto *t, struct tensor *shape,
                           ot_type *file_type) {
    int64_t count;
    OT_TRY(check_type(im, t));
    OT_TRY(check_shape(im, t, shape, &count));
    *file_type = (ot_type)t->data_type;
    shape->type = is_float(*file_type) ? OT_FLOAT : *file_type;
    if (!t->has_data_location || t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT)
        return check_inline(im, t, *file_type, (size_t)count);
    if (t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return ot_import_fail(im, OT_ERROR_INVALID, "data_location is %d, expected 0 or 1",
                              (int)t->data_location);
    for (int f = FLOATS; f <= UINT64S; f++)
        if (entries(t, (enum family)f) || (t->has_raw_data && t->raw_data.len))
            return ot_import_fail(im, OT_ERROR_INVALID, "the data are both external and inline");
    struct external e;
    OT_TRY(ot_external_open(im, t, (size_t)count * ot_type_size(*file_type), &e));
    ot_external_close(&e);
    return OT_OK;
}

/* ---- conversion ---------------------------------------------------------------------------------
 */

static void convert_raw(ot_type type, const char *raw, size_t n, void *dst) {
    float *f = dst;
    bool *b = dst;
    if (!n) return;
    switch (type) {
    case OT_FLOAT16:
    case OT_BFLOAT16:
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, raw + 2 * i, sizeof h);
            f[i] = type == OT_FLOAT16 ? ot_float16_to_float(h) : ot_bfloat16_to_float(h);
        }
        break;
    case OT_DOUBLE:
        for (size_t i = 0; i < n; i++) {
            double d;
            memcpy(&d, raw + 8 * i, sizeof d);
            f[i] = (float)d;
        }
        break;
    case OT_BOOL: /* any byte but 0 is true */
        for (size_t i = 0; i < n; i++) b[i] = raw[i] != 0;
        break;
    default: memcpy(dst, raw, n * ot_type_size(type));
    }
}

static ot_status convert_int32s(const Onnx__TensorProto *t, size_t first, size_t n, void *dst,
                                ot_error *err) {
    const ot_type type = (ot_type)t->data_type;
    const size_t size = ot_type_size(type);
    for (size_t i = 0; i < n; i++) {
        int32_t v = t->int32_data[first + i];
        if (v < types[type].low || v > types[type].high)
            return ot_fail(err, OT_ERROR_INVALID, "value %zu is %d, out of range for %s", first + i,
                           (int)v, ot_type_name(type));
        if (type == OT_FLOAT16)
            ((float *)dst)[i] = ot_float16_to_float((uint16_t)v);
        else if (type == OT_BFLOAT16)
            ((float *)dst)[i] = ot_bfloat16_to_float((uint16_t)v);
        else if (type == OT_BOOL)
            ((bool *)dst)[i] = v != 0;
        else
            memcpy((char *)dst + i * size, &v, size); /* little-endian: the low bytes */
    }
    return OT_OK;
}

static ot_status convert_uint64s(const Onnx__TensorProto *t, size_t first, size_t n, void *dst,
                                 ot_error *err) {
    const ot_type type = (ot_type)t->data_type;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = t->uint64_data[first + i];
        if (type == OT_UINT32 && v > UINT32_MAX)
            return ot_fail(err, OT_ERROR_INVALID, "value %zu is out of range for uint32",
                           first + i);
        memcpy((char *)dst + i * ot_type_size(type), &v, ot_type_size(type));
    }
    return OT_OK;
}

static ot_status convert_typed(const Onnx__TensorProto *t, size_t first, size_t n, void *dst,
                               ot_error *err) {
    switch (types[t->data_type].family) {
    case FLOATS: memcpy(dst, t->float_data + first, n * sizeof *t->float_data); break;
    case INT64S: memcpy(dst, t->int64_data + first, n * sizeof *t->int64_data); break;
    case DOUBLES:
        for (size_t i = 0; i < n; i++) ((float *)dst)[i] = (float)t->double_data[first + i];
        break;
    case INT32S: return convert_int32s(t, first, n, dst, err);
    case UINT64S: return convert_uint64s(t, first, n, dst, err);
    default: break;
    }
    return OT_OK;
}

/* What stands in the file as it does here is read to where it stays. */
static ot_status read_external(const struct payload *p, size_t first, size_t n, void *dst,
                               ot_error *err) {
    const ot_type type = (ot_type)p->t->data_type;
    const size_t size = ot_type_size(type);
    const size_t to_size = is_float(type) ? sizeof(float) : size;
    char piece[4096];
    if (type == OT_FLOAT || (!is_float(type) && type != OT_BOOL))
        return ot_external_read(&p->external, first * size, n * size, dst, err);
    for (size_t i = 0; i < n;) {
        const size_t k = n - i < sizeof piece / size ? n - i : sizeof piece / size;
        OT_TRY(ot_external_read(&p->external, (first + i) * size, k * size, piece, err));
        convert_raw(type, piece, k, (char *)dst + i * to_size);
        i += k;
    }
    return OT_OK;
}

ot_status ot_payload_open(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          struct payload *p) {
    const size_t bytes = (size_t)ot_elements(shape) * ot_type_size((ot_type)t->data_type);
    *p = (struct payload){.t = t, .external.fd = -1};
    p->is_external = bytes && t->has_data_location &&
                     t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    return p->is_external ? ot_external_open(im, t, bytes, &p->external) : OT_OK;
}

const void *ot_payload_in_place(const struct payload *p, size_t first) {
    const Onnx__TensorProto *t = p->t;
    if (p->is_external || t->data_type != OT_FLOAT) return NULL;
    if (!t->has_raw_data || !t->raw_data.len) return t->float_data ? t->float_data + first : NULL;
    return t->raw_data.data + first * sizeof(float);
}

ot_status ot_payload_part(const struct payload *p, size_t first, size_t n, void *dst,
                          ot_error *err) {
    const Onnx__TensorProto *t = p->t;
    const ot_type type = (ot_type)t->data_type;
    if (!n) return OT_OK;
    if (p->is_external) return read_external(p, first, n, dst, err);
    if (!t->has_raw_data || !t->raw_data.len) return convert_typed(t, first, n, dst, err);
    convert_raw(type, (const char *)t->raw_data.data + first * ot_type_size(type), n, dst);
    return OT_OK;
}

void ot_payload_close(struct payload *p) { ot_external_close(&p->external); }

ot_status ot_payload_read(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          void *dst) {
    struct payload p;
    OT_TRY(ot_payload_open(im, t, shape, &p));
    ot_status status = ot_payload_part(&p, 0, (size_t)ot_elements(shape), dst, &im->last);
    ot_payload_close(&p);
    return status;
}

ot_status ot_payload_tensor(struct import *im, const Onnx__TensorProto *t, struct tensor **tensor,
                            ot_type *file_type) {
    struct tensor shape;
    OT_TRY(ot_payload_check(im, t, &shape, file_type));
    struct tensor *x = ot_small_alloc(&im->kept, 1, sizeof *x);
    if (!x) return ot_import_no_room(im, &im->g->arena, sizeof *x);
    *x = shape;
    x->data = ot_small_alloc(&im->kept, ot_bytes(x), 1);
    if (!x->data) return ot_import_no_room(im, &im->g->arena, ot_bytes(x));
    *tensor = x;
    return ot_payload_read(im, t, x, x->data);
}
