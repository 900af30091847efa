/* tensor.c - sizes and names of tensors. */
#include "runtime/base/tensor.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/pattern.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [OT_UNDEFINED] = {"undefined", 0}, [OT_FLOAT] = {"float", 4},       [OT_UINT8] = {"uint8", 1},
    [OT_INT8] = {"int8", 1},           [OT_UINT16] = {"uint16", 2},     [OT_INT16] = {"int16", 2},
    [OT_INT32] = {"int32", 4},         [OT_INT64] = {"int64", 8},       [OT_STRING] = {"string", 0},
    [OT_BOOL] = {"bool", 1},           [OT_FLOAT16] = {"float16", 2},   [OT_DOUBLE] = {"double", 8},
    [OT_UINT32] = {"uint32", 4},       [OT_UINT64] = {"uint64", 8},     [14] = {"complex64", 0},
    [15] = {"complex128", 0},          [OT_BFLOAT16] = {"bfloat16", 2},
};

static bool is_known_type(ot_type type) {
    return (unsigned)type < sizeof types / sizeof *types && types[type].name;
}

size_t ot_type_size(ot_type type) { return is_known_type(type) ? types[type].size : 0; }
const char *ot_type_name(ot_type type) {
    return is_known_type(type) ? types[type].name : "unknown";
}

int64_t ot_count(const struct tensor *t) {
    if (t->pattern) return t->pattern->nnz;
    if (!t->lanes) return ot_elements(t);
    return ot_lane_blocks(t) * ot_sample_elements(t) * t->lanes;
}

size_t ot_bytes(const struct tensor *t) { return (size_t)ot_count(t) * ot_type_size(t->type); }

bool ot_shape_count(const int64_t *dim, int n, int64_t most, int64_t *count) {
    int64_t product = 1;
    bool empty = false;
    for (int i = 0; i < n; i++) {
        if (dim[i] < 0) return false;
        if (dim[i] == 0) {
            empty = true; /* the others must fit all the same */
        } else if (__builtin_mul_overflow(product, dim[i], &product) || product > most) {
            return false;
        }
    }
    *count = empty ? 0 : product;
    return true;
}

bool ot_same_shape(const struct tensor *a, const struct tensor *b) {
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

const char *ot_shape_text(const struct tensor *t, char *buffer, size_t size) {
    size_t k = 0;
    if (!size) return buffer;
    buffer[0] = 0;
    for (int i = 0; i <= t->rank && k < size; i++) {
        int n = i < t->rank
                    ? snprintf(buffer + k, size - k, "%s%lld", i ? "," : "[", (long long)t->dim[i])
                    : snprintf(buffer + k, size - k, "%s", t->rank ? "]" : "[]");
        if (n < 0) break;
        k += (size_t)n;
    }
    return buffer;
}
