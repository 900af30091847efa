/* clock.h - a clock that only goes forward. */
#ifndef OT_BASE_CLOCK_H
#define OT_BASE_CLOCK_H

#include <time.h>

static inline double ot_clock(void) { /* seconds */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
