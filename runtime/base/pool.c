/* pool.c - worker threads that take tasks.
 *
 * A call publishes a job; the caller and whichever workers come in time take task numbers until
 * none is left, each first those of its own share, then those that others have not got to. Which
 * thread takes which task does not matter to the result: tasks write disjoint places. But tasks
 * that follow each other read the same lines, and one call after the other the same parts of an
 * array, which a core has in its own cache if its share is one piece, and the same each time. The
 * caller at last closes the job and waits for those inside; who comes later finds it closed.
 *
 * Waking a thread costs tens of microseconds, as much as many a job, and the next job is mostly
 * nearer than that: so workers look out for it for a while before they sleep, and the caller for
 * the last of them. Where there are more threads than processors, whoever looks out is in the way
 * of who works, and all sleep at once.
 */
#include "runtime/base/pool.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"

/* Spins between two readings of the clock, and how long spinning goes on, in nanoseconds. */
enum { SPINS_PER_CLOCK = 64, SPIN_NS = 200000 };
/* The value of `inside` that says that the job is closed. */
enum { CLOSED = 1 << 30 };

/* One cache line each, for all of them count. */
struct worker {
    _Alignas(64) atomic_int next; /* of its share of the tasks */
    int end;
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    ot_allocator allocator;
    ot_parallel_for_fn *host;
    void *host_context;
    int workers;           /* the caller included */
    int started;           /* threads that run */
    pid_t owner;           /* a forked child has none of the threads */
    bool patient;          /* looks out before it sleeps */
    struct worker *worker; /* [workers], the caller first */

    atomic_bool quit;
    atomic_uint generation; /* of the job below */
    atomic_int inside;      /* workers at the job; CLOSED is added when none may come any more */
    ot_task_fn *fn;
    void *arg;

    /* Of those who sleep: workers until there is another generation, the caller until nobody is
     * inside. The counts say whether anybody needs to be woken. */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_int sleepers;
    atomic_bool caller_sleeps;
};

static void share_tasks(struct pool *p, int tasks) {
    for (int i = 0; i < p->workers; i++) {
        struct worker *w = &p->worker[i];
        const int64_t n = tasks, from = n * i / p->workers, to = n * (i + 1) / p->workers;
        atomic_store_explicit(&w->next, (int)from, memory_order_relaxed);
        w->end = (int)to;
    }
}

static void take_tasks(struct pool *p, int worker) {
    for (int k = 0; k < p->workers; k++) {
        struct worker *w = &p->worker[(worker + k) % p->workers];
        while (atomic_load_explicit(&w->next, memory_order_relaxed) < w->end) {
            const int i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
            if (i < w->end) p->fn(p->arg, i, worker);
        }
    }
}

/* ---- waiting ---- */

static void relax(void) {
#ifdef OT_X86_64
    __builtin_ia32_pause();
#endif
}

static bool has_work(struct pool *p, unsigned seen) {
    return atomic_load(&p->generation) != seen || atomic_load(&p->quit);
}

static bool is_empty(struct pool *p, unsigned unused) {
    (void)unused;
    return atomic_load(&p->inside) == CLOSED;
}

/* Waits for `event` for SPIN_NS at most: did it come? */
static bool spin_until(struct pool *p, bool (*event)(struct pool *, unsigned), unsigned seen) {
    if (!p->patient) return event(p, seen);
    const double end = ot_clock() + SPIN_NS * 1e-9;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (event(p, seen)) return true;
            relax();
        }
    } while (ot_clock() < end);
    return false;
}

static void wait_for_work(struct pool *p, unsigned seen) {
    if (spin_until(p, has_work, seen)) return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!has_work(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void wait_for_workers(struct pool *p) {
    if (spin_until(p, is_empty, 0)) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (!is_empty(p, 0)) pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

/* ---- workers ---- */

static void *work(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        wait_for_work(p, seen);
        if (atomic_load(&p->quit)) return NULL;
        seen = atomic_load(&p->generation);
        if (!(atomic_fetch_add(&p->inside, 1) & CLOSED)) take_tasks(p, w->index);
        if (atomic_fetch_sub(&p->inside, 1) == CLOSED + 1 && atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

int ot_usable_processors(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

/* The host's signals are the host's: workers block them all. */
static void start_threads(struct pool *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 1; i < p->workers; i++) {
        p->worker[i].pool = p;
        p->worker[i].index = i;
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
    p->patient = p->workers <= ot_usable_processors();
    atomic_init(&p->inside, CLOSED);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    if (!host && p->workers > 1) {
        p->worker = ot_block_alloc(&al, (size_t)p->workers, sizeof *p->worker);
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
        atomic_store(&p->quit, true);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
        for (int i = 1; i <= p->started; i++) pthread_join(p->worker[i].thread, NULL);
        pthread_mutex_destroy(&p->lock);
        pthread_cond_destroy(&p->wake);
        pthread_cond_destroy(&p->done);
    }
    ot_block_free(&al, p->worker);
    ot_block_free(&al, p);
}

int ot_pool_workers(const struct pool *pool) { return pool ? pool->workers : 1; }

void ot_parallel_for(struct pool *p, int tasks, ot_task_fn *fn, void *arg) {
    if (tasks <= 0) return;
    if (tasks > 1 && p && p->host) {
        p->host(p->host_context, tasks, fn, arg);
        return;
    }
    if (tasks == 1 || !p || !p->started || p->owner != getpid()) {
        for (int i = 0; i < tasks; i++) fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    share_tasks(p, tasks);
    atomic_fetch_sub(&p->inside, CLOSED);
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    take_tasks(p, 0);
    atomic_fetch_add(&p->inside, CLOSED);
    wait_for_workers(p);
}

/* ---- large blocks ---- */

enum { TOUCH = 4 << 20 }; /* bytes: pages of 2 MiB are touched by one thread, but at its ends */

struct touch {
    char *block;
    size_t bytes;
};

static void touch_part(void *arg, int task, int worker) {
    const struct touch *t = arg;
    const size_t from = (size_t)task * TOUCH, left = t->bytes - from;
    (void)worker;
    memset(t->block + from, 0, left < TOUCH ? left : TOUCH);
}

void *ot_pool_block_alloc(struct pool *pool, const ot_allocator *allocator, size_t bytes) {
    struct touch t = {ot_block_alloc_dirty(allocator, bytes, 1), bytes};
    const size_t tasks = bytes / TOUCH + (bytes % TOUCH != 0);
    if (!t.block || tasks > INT_MAX) {
        ot_block_free(allocator, t.block);
        return NULL;
    }
    ot_parallel_for(pool, (int)tasks, touch_part, &t);
    return t.block;
}
