/* sparse.c - SparseTensorProto: values, and where they stand in the dense tensor. */
#include "onnx/model.h"

#include <string.h>

static bool is_index_type(ot_type type) {
    return type == OT_INT64 || type == OT_INT32 || type == OT_INT16 || type == OT_INT8;
}

static ot_status check_dims(struct import *im, const Onnx__SparseTensorProto *s,
                            struct tensor *shape) {
    int64_t count;
    if (!s->n_dims) return ot_import_fail(im, OT_ERROR_INVALID, "the sparse tensor has no dims");
    if (s->n_dims > OT_MAX_RANK)
        return ot_import_fail(im, OT_ERROR_LIMIT, "the rank is %zu, at most %d is allowed",
                              s->n_dims, OT_MAX_RANK);
    *shape = (struct tensor){.rank = (int)s->n_dims, .role = OT_ROLE_CONST};
    for (size_t i = 0; i < s->n_dims; i++) {
        shape->dim[i] = s->dims[i];
        if (s->dims[i] <= 0)
            return ot_import_fail(im, OT_ERROR_INVALID, "dims[%zu] is %lld, expected at least 0", i,
                                  (long long)s->dims[i]);
    }
    if (!ot_shape_count(shape->dim, shape->rank, INT64_MAX / 8, &count))
        return ot_import_fail(im, OT_ERROR_INVALID, "the product of dims is too large");
    return OT_OK;
}

/* The limit of elements is for values: zeros are not kept, or ot_import_expand counts them. */
ot_status ot_sparse_check(struct import *im, const Onnx__SparseTensorProto *s, struct tensor *shape,
                          ot_type *file_type, enum value_spelling *spelling) {
    struct tensor values, indices;
    ot_type index_type;
    OT_TRY(check_dims(im, s, shape));
    if (!s->values) return ot_import_fail(im, OT_ERROR_INVALID, "the sparse tensor has no values");
    ot_status status = ot_payload_check(im, s->values, &values, file_type);
    if (status) return ot_fail_in(&im->last, status, "values");
    shape->type = values.type;
    if (values.rank != 1)
        return ot_import_fail(im, OT_ERROR_INVALID, "the values have rank %d, expected 1",
                              values.rank);
    *spelling = OT_SPELL_SPARSE_LINEAR;
    if (!s->indices)
        return values.dim[0]
                   ? ot_import_fail(im, OT_ERROR_INVALID, "the sparse tensor has no indices")
                   : OT_OK;
    status = ot_payload_check(im, s->indices, &indices, &index_type);
    if (status) return ot_fail_in(&im->last, status, "indices");
    if (!is_index_type(index_type))
        return ot_import_fail(im, OT_ERROR_INVALID, "the indices are %s, expected int64",
                              ot_type_name(index_type));
    if (indices.rank != 1 && indices.rank != 2)
        return ot_import_fail(im, OT_ERROR_INVALID, "the indices have rank %d, expected 1 or 2",
                              indices.rank);
    if (indices.dim[0] != values.dim[0])
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "the sparse tensor has %lld indices for %lld values",
                              (long long)indices.dim[0], (long long)values.dim[0]);
    if (indices.rank == 2 && indices.dim[1] != shape->rank)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "the indices have %lld coordinates, but the rank is %d",
                              (long long)indices.dim[1], shape->rank);
    if (indices.rank == 2) *spelling = OT_SPELL_SPARSE_COO;
    return OT_OK;
}

static int64_t index_at(const char *data, ot_type type, int64_t i) {
    int64_t wide;
    int32_t word;
    int16_t half;
    switch (type) {
    case OT_INT64: memcpy(&wide, data + 8 * i, sizeof wide); return wide;
    case OT_INT32: memcpy(&word, data + 4 * i, sizeof word); return word;
    case OT_INT16: memcpy(&half, data + 2 * i, sizeof half); return half;
    default: return (signed char)data[i];
    }
}

/* Row-major position of entry i; each coordinate is checked against its dimension. */
static ot_status position_of(struct import *im, const char *data, const struct tensor *indices,
                             const struct tensor *shape, int64_t i, int64_t *position) {
    const bool linear = indices->rank == 1;
    const int n = linear ? 1 : shape->rank;
    int64_t p = 0;
    for (int k = 0; k < n; k++) {
        int64_t x = index_at(data, indices->type, i * n + k);
        int64_t most = linear ? ot_elements(shape) : shape->dim[k];
        if (x < 0 || x >= most)
            return ot_import_fail(
                im, OT_ERROR_INVALID,
                "index %lld at entry %lld is out of range, expected 0 to less than %lld",
                (long long)x, (long long)i, (long long)most);
        p = linear ? x : p * shape->dim[k] + x;
    }
    *position = p;
    return OT_OK;
}

ot_status ot_sparse_positions(struct import *im, const Onnx__SparseTensorProto *s,
                              const struct tensor *shape, int64_t **position, int64_t *n) {
    struct tensor indices;
    ot_type type;
    *n = s->values->dims[0];
    *position = NULL;
    if (!*n) return OT_OK;
    OT_TRY(ot_payload_check(im, s->indices, &indices, &type));
    if (type != OT_INT64)
        ot_log(&im->options->log, OT_LOG_WARNING,
               "sparse tensor '%.80s': indices are %s, the standard asks for int64",
               s->values->name ? s->values->name : "", ot_type_name(type));
    char *data = ot_arena_alloc(&im->scratch, ot_bytes(&indices), 1);
    int64_t *out = ot_arena_alloc(&im->scratch, (size_t)*n, sizeof *out);
    if (!data || !out) return ot_import_no_room(im, &im->scratch, (size_t)*n * sizeof *out);
    OT_TRY(ot_payload_read(im, s->indices, &indices, data));
    for (int64_t i = 0; i < *n; i++) {
        OT_TRY(position_of(im, data, &indices, shape, i, &out[i]));
        if (i && out[i] <= out[i - 1])
            return ot_import_fail(im, OT_ERROR_INVALID, "the indices do not ascend at entry %lld",
                                  (long long)i);
    }
    *position = out;
    return OT_OK;
}
