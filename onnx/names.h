/* names.h - (scope, name) -> int, in a hash table that a file cannot make slow.
 *
 * The hash is SipHash-2-4 (Aumasson, Bernstein 2012) under a key that comes from the SHA-256 of the
 * whole file: whoever writes a file cannot choose names that collide in it.
 */
#ifndef OT_ONNX_NAMES_H
#define OT_ONNX_NAMES_H

#include "onnx/small_alloc.h"

#include <stdbool.h>

#define OT_NO_NAME INT32_MIN

struct name_slot {
    const char *name; /* NULL: free */
    uint64_t scope;
    uint32_t hash;
    int32_t value;
};

struct names {
    struct small_alloc *small;
    struct name_slot *slot;
    size_t capacity, used; /* capacity is 0 or a power of two */
    uint64_t key[2];
};

void ot_names_init(struct names *n, struct small_alloc *small, const uint8_t seed[16]);
int ot_names_get(const struct names *n, uint64_t scope, const char *name); /* or OT_NO_NAME */
/* Adds or replaces; the string is not copied. False: out of memory. */
bool ot_names_set(struct names *n, uint64_t scope, const char *name, int value);

#endif
