/* arena.h - memory of one owner, freed in one call, with a budget.
 *
 * Blocks come zeroed and 64-byte aligned. Nothing but large blocks is freed before the arena is.
 */
#ifndef OT_BASE_ARENA_H
#define OT_BASE_ARENA_H

#include "runtime/base/error.h"

struct arena {
    ot_allocator allocator; /* fn pointers never NULL after ot_arena_init */
    struct arena_chunk *chunk;
    size_t used;    /* bytes asked for so far, padding included */
    size_t held;    /* bytes taken from the allocator for them */
    size_t budget;  /* 0: none */
    size_t refused; /* bytes last asked for above the budget, or the total */
    size_t total;   /* budget of this arena, of `beside`, and of `apart` bytes; 0: none */
    size_t apart;
    const struct arena *beside; /* NULL is fine */
};

/* The C library's allocator where `from` is NULL or empty. */
ot_allocator ot_allocator_or_default(const ot_allocator *from);

void ot_arena_init(struct arena *a, const ot_allocator *allocator, size_t budget);
void ot_arena_free(struct arena *a); /* leaves an empty, usable arena */

/* NULL when memory or budget is exhausted. count * size is checked for overflow. size 0 is fine. */
void *ot_arena_alloc(struct arena *a, size_t count, size_t size);
/* The same for whoever writes all of it at once: its contents are anything. */
void *ot_arena_alloc_dirty(struct arena *a, size_t count, size_t size);
/* Would budget or total, not the machine, refuse `bytes` more? */
int ot_arena_refuses(const struct arena *a, size_t bytes);
/* Returns a block to the allocator where it has a chunk of its own, as large ones have; else it
 * stays until the arena is freed. */
void ot_arena_give_back(struct arena *a, void *block);
char *ot_arena_strdup(struct arena *a, const char *s);
char *ot_arena_strndup(struct arena *a, const char *s, size_t n);

/* Gives memory that was freed back to the system, after much of it was. */
void ot_allocator_trim(const ot_allocator *allocator);

/* A block that one owner frees by itself: zeroed, 64-byte aligned. */
void *ot_block_alloc(const ot_allocator *allocator, size_t count, size_t size);
/* The same with any contents, for whoever writes all of it. */
void *ot_block_alloc_dirty(const ot_allocator *allocator, size_t count, size_t size);
void ot_block_free(const ot_allocator *allocator, void *block); /* NULL is fine */

/* a * b and a + b; false on overflow, then *r is untouched. */
static inline int ot_mul(size_t a, size_t b, size_t *r) { return !__builtin_mul_overflow(a, b, r); }
static inline int ot_add(size_t a, size_t b, size_t *r) { return !__builtin_add_overflow(a, b, r); }

#endif
