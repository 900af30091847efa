/* pool.h - the one way to run in parallel.
 *
 * Work is cut into tasks by shape, never by the number of threads, and no two tasks write the same
 * place: that is why results do not depend on the number of threads.
 */
#ifndef OT_BASE_POOL_H
#define OT_BASE_POOL_H

#include "runtime/base/arena.h"

struct pool;

/* That this process may run on; at least 1. */
int ot_usable_processors(void);

/* threads >= 1 workers in all, the caller included: 1 starts nothing. Threads that cannot be
 * started are done without. With `host` set, no thread is started and host runs everything. */
ot_status ot_pool_new(const ot_allocator *allocator, int threads, ot_parallel_for_fn *host,
                      void *host_context, struct pool **pool, ot_error *err);
void ot_pool_free(struct pool *pool); /* NULL is fine; safe in a forked child */

int ot_pool_workers(const struct pool *pool); /* NULL: 1 */

/* fn(arg, i, worker) for all i in [0, tasks); returns when all are done. One task, or a pool of
 * one thread, or NULL, runs on the caller. Inside a task only NULL may be used. */
void ot_parallel_for(struct pool *pool, int tasks, ot_task_fn *fn, void *arg);

/* A block as ot_block_alloc gives it. All threads write its zeros: the first touch of a page, which
 * is when the system finds memory for it, takes longer than anything that is later done to it. */
void *ot_pool_block_alloc(struct pool *pool, const ot_allocator *allocator, size_t bytes);

#endif
