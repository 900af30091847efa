/* dnnl_exit.c - keeps threads out of oneDNN while the process ends.
 *
 * exit() destroys kernels that oneDNN keeps in static variables, while other threads may be inside
 * of them. So a handler closes a gate first and waits for those who are inside; who comes later is
 * turned away, and the step fails. Handlers run in the reverse order of their registration, and
 * oneDNN makes its variables when a kind of call is met for the first time: the handler is
 * registered again after 1, 2, 4, 8, ... calls, at most 64 times, so as to run before any of them
 * is destroyed.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "ops/product/dnnl_parts.h"
#include "runtime/base/clock.h"

enum { LONGEST_WAIT = 2 }; /* seconds: no call takes that long */

static atomic_int inside;
static atomic_bool closed;
static _Atomic uint64_t calls;
static atomic_int
    owner; /* the process whose threads are counted; a forked child has none of them */

static void close_gate(void) {
    const double start = ot_clock();
    atomic_store(&closed, true);
    while (atomic_load(&inside) > 0 && atomic_load(&owner) == (int)getpid() &&
           ot_clock() - start < LONGEST_WAIT)
        sched_yield();
}

bool ot_dnnl_enter(void) {
    atomic_fetch_add(&inside, 1);
    if (!atomic_load(&closed)) return true;
    atomic_fetch_sub(&inside, 1);
    return false;
}

void ot_dnnl_leave(void) {
    const uint64_t n = atomic_fetch_add(&calls, 1) + 1;
    if (!(n & (n - 1))) {
        atomic_store(&owner, (int)getpid());
        atexit(close_gate);
    }
    atomic_fetch_sub(&inside, 1);
}
