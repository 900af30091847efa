/* small_alloc.h - many small blocks from an arena, packed at 16 bytes instead of 64. Zeroed, never
 * freed.
 */
#ifndef OT_ONNX_SMALL_ALLOC_H
#define OT_ONNX_SMALL_ALLOC_H

#include "runtime/base/arena.h"

struct small_alloc {
    struct arena *arena;
    char *p;
    size_t left;
    size_t refused; /* bytes that could not be had */
};

/* NULL when memory or the arena's budget is exhausted. count * size is checked for overflow. */
void *ot_small_alloc(struct small_alloc *b, size_t count, size_t size);
char *ot_small_strndup(struct small_alloc *b, const char *s, size_t n);

#endif
