/* counter.h - an allocator for tests: counts what is out, and fails at the n-th request. */
#ifndef OT_TESTS_COUNTER_H
#define OT_TESTS_COUNTER_H

#include <stdlib.h>
#include <string.h>

#include "runtime/onnxtrain.h"

struct counter {
    long requests, fail_at, live; /* fail_at 0: never */
};

static inline void *counter_alloc(void *context, size_t size, size_t align) {
    struct counter *c = context;
    void *p = NULL;
    if (++c->requests == c->fail_at || posix_memalign(&p, align, size)) return NULL;
    memset(p, 0xa5, size);
    c->live++;
    return p;
}

static inline void counter_free(void *context, void *p) {
    ((struct counter *)context)->live--;
    free(p);
}

static inline ot_allocator counting_allocator(struct counter *c) {
    return (ot_allocator){counter_alloc, counter_free, c};
}

#endif
