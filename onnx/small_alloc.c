/* small_alloc.c - small blocks share blocks of an arena. */
#include "onnx/small_alloc.h"

#include <string.h>

enum { UNIT = 16, BLOCK = 8192 };

void *ot_small_alloc(struct small_alloc *b, size_t count, size_t size) {
    size_t bytes;
    if (!ot_mul(count, size, &bytes) || !ot_add(bytes, UNIT - 1, &bytes)) return NULL;
    bytes &= ~(size_t)(UNIT - 1);
    if (!bytes) bytes = UNIT;
    if (bytes > BLOCK / 8) {
        void *own = ot_arena_alloc(b->arena, bytes, 1);
        if (!own) b->refused = bytes;
        return own;
    }
    if (b->left < bytes) {
        char *p = ot_arena_alloc(b->arena, BLOCK, 1);
        if (!p) b->refused = BLOCK;
        if (!p) return NULL;
        b->p = p;
        b->left = BLOCK;
    }
    void *p = b->p;
    b->p += bytes;
    b->left -= bytes;
    return p;
}

char *ot_small_strndup(struct small_alloc *b, const char *s, size_t n) {
    size_t bytes;
    char *p = ot_add(n, 1, &bytes) ? ot_small_alloc(b, bytes, 1) : NULL;
    if (p && n) memcpy(p, s, n);
    return p;
}
