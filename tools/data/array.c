/* array.c - arrays of samples from the bytes of files: sizes, byte order, element types. */
#include "tools/data/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No array may ask for more than this many bytes: the machine's memory. */
static uint64_t most_bytes(void) {
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : (uint64_t)1 << 32;
}

int64_t ot_array_integer(const struct array *a, int64_t i) {
    return a->type == OT_UINT8 ? ((const uint8_t *)a->data)[i] : ((const int64_t *)a->data)[i];
}

int ot_array_count(const struct array *a, const char *name, size_t *count, struct failure *f) {
    uint64_t n = 1;
    for (int i = 0; i < a->rank; i++) {
        const uint64_t dim = (uint64_t)a->dim[i];
        if (a->dim[i] < 0 || (dim && n > most_bytes() / 8 / dim))
            return ot_refuse(f, EXIT_DATA,
                             "'%s': dimension %d, %" PRId64
                             ", makes the array negative or larger than memory",
                             name, i, a->dim[i]);
        n *= dim;
    }
    *count = (size_t)n;
    return 0;
}

/* IEEE half precision to single precision (IEEE 754-2008, binary16). */
static float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t bits, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 31) {
        bits = sign | 0x7f800000 | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        const float value = (float)fraction / 16777216.0f; /* fraction 2^-24 */
        return sign ? -value : value;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The element's bytes as an unsigned number in the machine's order. */
static uint64_t load(const unsigned char *p, struct element e) {
    uint64_t bits = 0;
    for (int i = 0; i < e.size; i++) bits |= (uint64_t)p[e.swap ? e.size - 1 - i : i] << (8 * i);
    return bits;
}

float ot_float_of(uint64_t bits, int size) {
    const uint32_t low = (uint32_t)bits;
    float single;
    double twice;
    if (size == 2) return from_half((uint16_t)bits);
    if (size == 4) {
        memcpy(&single, &low, sizeof single);
        return single;
    }
    memcpy(&twice, &bits, sizeof twice);
    return (float)twice;
}

/* Sign-extends an element of `size` bytes. */
static int64_t to_integer(uint64_t bits, struct element e) {
    const int unused = 64 - 8 * e.size;
    if (e.kind == 'b') return bits != 0;
    return e.kind == 'i' ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
}

static bool is_known(struct element e) {
    if (e.kind == 'f') return e.size == 2 || e.size == 4 || e.size == 8;
    if (e.kind == 'b') return e.size == 1;
    return (e.kind == 'i' || e.kind == 'u') &&
           (e.size == 1 || e.size == 2 || e.size == 4 || e.size == 8);
}

int ot_array_fill(struct array *a, struct element e, const void *raw, const char *name,
                  struct failure *f) {
    size_t n;
    if (!is_known(e))
        return ot_refuse(f, EXIT_DATA, "'%s': element type '%c%d' is not supported", name, e.kind,
                         e.size);
    const int code = ot_array_count(a, name, &n, f);
    if (code) return code;
    a->type = e.kind == 'f' ? OT_FLOAT : e.kind == 'u' && e.size == 1 ? OT_UINT8 : OT_INT64;
    a->data = ot_take(n, a->type == OT_FLOAT ? 4 : a->type == OT_UINT8 ? 1 : 8, f);
    if (!a->data) return f->code;
    const unsigned char *p = raw;
    if (a->type == OT_UINT8) memcpy(a->data, p, n);
    for (size_t i = 0; a->type == OT_FLOAT && i < n; i++)
        ((float *)a->data)[i] = ot_float_of(load(p + i * (size_t)e.size, e), e.size);
    for (size_t i = 0; a->type == OT_INT64 && i < n; i++) {
        const int64_t value = to_integer(load(p + i * (size_t)e.size, e), e);
        if (e.kind == 'u' && value < 0)
            return ot_refuse(f, EXIT_DATA, "'%s': element %zu is 2^63 or more", name, i);
        ((int64_t *)a->data)[i] = value;
    }
    return 0;
}
