/* pool.c - worker threads that sleep between calls and take tasks from one counter.
 *
 * A call publishes a job under the lock and wakes the workers; everybody, the caller included,
 * takes task numbers until none is left. Which thread takes which task does not matter: tasks
 * write disjoint places.
 */
#include "runtime/base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    ot_allocator allocator;
    ot_parallel_for_fn *host;
    void *host_context;
    int workers; /* the caller included */
    int started; /* threads that run */
    pid_t owner; /* a forked child has none of the threads */
    struct worker *worker;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    bool quit;
    unsigned generation; /* of the job below */
    int busy;            /* workers that have not finished the job */
    int tasks;
    atomic_int next;
    ot_task_fn *fn;
    void *arg;
};

static void take_tasks(struct pool *p, int worker) {
    for (;;) {
        int i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->tasks) return;
        p->fn(p->arg, i, worker);
    }
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->generation == seen) pthread_cond_wait(&p->wake, &p->lock);
        if (p->quit) break;
        seen = p->generation;
        pthread_mutex_unlock(&p->lock);
        take_tasks(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0) pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* The host's signals are the host's: workers block them all. */
static void start_threads(struct pool *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < p->workers - 1; i++) {
        p->worker[i] = (struct worker){.pool = p, .index = i + 1};
        if (pthread_create(&p->worker[i].thread, NULL, work, &p->worker[i])) break;
        p->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

ot_status ot_pool_new(const ot_allocator *allocator, int threads, ot_parallel_for_fn *host,
                      void *host_context, struct pool **pool, ot_error *err) {
    ot_allocator al = ot_allocator_or_default(allocator);
    struct pool *p = ot_block_alloc(&al, 1, sizeof *p);
    if (!p) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the thread pool");
    p->allocator = al;
    p->host = host;
    p->host_context = host_context;
    p->workers = threads < 1 ? 1 : threads;
    p->owner = getpid();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    if (!host && p->workers > 1) {
        p->worker = ot_block_alloc(&al, (size_t)p->workers - 1, sizeof *p->worker);
        if (!p->worker) {
            ot_pool_free(p);
            return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the thread pool");
        }
        start_threads(p);
    }
    *pool = p;
    return OT_OK;
}

void ot_pool_free(struct pool *p) {
    if (!p) return;
    ot_allocator al = p->allocator;
    if (p->owner == getpid()) {
        pthread_mutex_lock(&p->lock);
        p->quit = true;
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
        for (int i = 0; i < p->started; i++) pthread_join(p->worker[i].thread, NULL);
        pthread_mutex_destroy(&p->lock);
        pthread_cond_destroy(&p->wake);
        pthread_cond_destroy(&p->done);
    }
    ot_block_free(&al, p->worker);
    ot_block_free(&al, p);
}

int ot_pool_workers(const struct pool *pool) { return pool->workers; }

void ot_parallel_for(struct pool *p, int tasks, ot_task_fn *fn, void *arg) {
    if (tasks <= 0) return;
    if (tasks > 1 && p->host) {
        p->host(p->host_context, tasks, fn, arg);
        return;
    }
    if (tasks == 1 || !p->started || p->owner != getpid()) {
        for (int i = 0; i < tasks; i++) fn(arg, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->arg = arg;
    p->tasks = tasks;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    p->busy = p->started;
    p->generation++;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    take_tasks(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->busy) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
