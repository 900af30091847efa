/* arena.c - a chain of chunks; large blocks get a chunk of their own. */
#include "runtime/base/arena.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, CHUNK = 64 * 1024 };
enum { PAGE = 4096, LARGE_PAGE = 2 << 20, LARGE_BYTES = 4 << 20 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used; /* of the bytes behind this header */
};

/* The header takes one aligned unit, so that the first block is aligned too. */
_Static_assert(sizeof(struct arena_chunk) <= ALIGN, "chunk header");

/* Where large pages begin, none of them is lost; what lies before is not touched. */
static void *libc_alloc(void *context, size_t size, size_t align) {
    (void)context;
    void *p = NULL;
    if (size >= LARGE_BYTES) align = LARGE_PAGE;
    return posix_memalign(&p, align, size ? size : align) ? NULL : p;
}

static void libc_free(void *context, void *pointer) {
    (void)context;
    free(pointer);
}

ot_allocator ot_allocator_or_default(const ot_allocator *from) {
    if (from && from->alloc && from->free) return *from;
    return (ot_allocator){libc_alloc, libc_free, NULL};
}

/* The C library keeps what lies between blocks that are in use; a host's allocator knows itself. */
void ot_allocator_trim(const ot_allocator *allocator) {
    if (allocator->alloc == libc_alloc) malloc_trim(0);
}

void ot_arena_init(struct arena *a, const ot_allocator *allocator, size_t budget) {
    *a = (struct arena){.allocator = ot_allocator_or_default(allocator), .budget = budget};
}

void ot_arena_free(struct arena *a) {
    struct arena_chunk *c = a->chunk;
    while (c) {
        struct arena_chunk *next = c->next;
        a->allocator.free(a->allocator.context, c);
        c = next;
    }
    a->chunk = NULL;
    a->used = a->held = 0;
}

/* Large pages must be asked for before the first touch. A hint: no matter if it is refused. */
static void want_large_pages(void *block, size_t bytes) {
    if (bytes >= LARGE_BYTES) madvise(block, bytes & ~(size_t)(PAGE - 1), MADV_HUGEPAGE);
}

static struct arena_chunk *new_chunk(struct arena *a, size_t size, bool dirty) {
    size_t total;
    if (!ot_add(size, ALIGN, &total)) return NULL;
    const size_t align = total >= LARGE_BYTES ? PAGE : ALIGN;
    struct arena_chunk *c = a->allocator.alloc(a->allocator.context, total, align);
    if (!c) return NULL;
    want_large_pages(c, total);
    memset(c, 0, dirty ? sizeof *c : total);
    a->held += total;
    c->size = size;
    /* a chunk made for one large block goes behind the one that still has room */
    if (a->chunk && size > CHUNK) {
        c->next = a->chunk->next;
        a->chunk->next = c;
    } else {
        c->next = a->chunk;
        a->chunk = c;
    }
    return c;
}

/* Blocks are multiples of ALIGN. */
static bool add_block(size_t used, size_t bytes, size_t *sum) {
    return ot_add(bytes, ALIGN - 1, &bytes) && ot_add(used, bytes & ~(size_t)(ALIGN - 1), sum);
}

int ot_arena_refuses(const struct arena *a, size_t bytes) {
    size_t used, all;
    if (!add_block(a->used, bytes, &used) || (a->budget && used > a->budget)) return 1;
    return a->total && (!ot_add(used, a->apart, &all) ||
                        !ot_add(all, a->beside ? a->beside->used : 0, &all) || all > a->total);
}

static void *take_bytes(struct arena *a, size_t count, size_t size, bool dirty) {
    size_t bytes, used;
    if (!ot_mul(count, size, &bytes) || !add_block(0, bytes ? bytes : ALIGN, &bytes)) return NULL;
    if (!ot_add(a->used, bytes, &used)) return NULL;
    if (ot_arena_refuses(a, bytes)) {
        a->refused = bytes;
        return NULL;
    }
    struct arena_chunk *c = a->chunk;
    if (!c || c->size - c->used < bytes)
        c = bytes > CHUNK ? new_chunk(a, bytes, dirty) : new_chunk(a, CHUNK, false);
    if (!c) return NULL;
    void *p = (char *)c + ALIGN + c->used;
    c->used += bytes;
    a->used = used;
    return p;
}

void *ot_arena_alloc(struct arena *a, size_t count, size_t size) {
    return take_bytes(a, count, size, false);
}

void *ot_arena_alloc_dirty(struct arena *a, size_t count, size_t size) {
    return take_bytes(a, count, size, true);
}

void ot_arena_give_back(struct arena *a, void *block) {
    struct arena_chunk **link = &a->chunk;
    while (*link && (char *)*link + ALIGN != block) link = &(*link)->next;
    struct arena_chunk *c = *link;
    if (!c || c->size <= CHUNK) return;
    *link = c->next;
    a->used -= c->used;
    a->held -= c->size + ALIGN;
    a->allocator.free(a->allocator.context, c);
}

char *ot_arena_strndup(struct arena *a, const char *s, size_t n) {
    char *p = ot_arena_alloc(a, n + 1, 1);
    if (p) memcpy(p, s, n);
    return p;
}

char *ot_arena_strdup(struct arena *a, const char *s) { return ot_arena_strndup(a, s, strlen(s)); }

static void *new_block(const ot_allocator *allocator, size_t count, size_t size, bool dirty) {
    size_t bytes;
    if (!ot_mul(count, size, &bytes)) return NULL;
    if (!bytes) bytes = ALIGN;
    char *p = allocator->alloc(allocator->context, bytes, bytes >= LARGE_BYTES ? PAGE : ALIGN);
    if (!p) return NULL;
    want_large_pages(p, bytes);
    if (!dirty) memset(p, 0, bytes);
    return p;
}

void *ot_block_alloc(const ot_allocator *allocator, size_t count, size_t size) {
    return new_block(allocator, count, size, false);
}

void *ot_block_alloc_dirty(const ot_allocator *allocator, size_t count, size_t size) {
    return new_block(allocator, count, size, true);
}

void ot_block_free(const ot_allocator *allocator, void *block) {
    if (block) allocator->free(allocator->context, block);
}
