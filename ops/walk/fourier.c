/* fourier.c - discrete Fourier transforms by the prime factors of their size. */
#include "ops/walk/fourier.h"

#include <math.h>

enum { LARGEST = 1 << 24 }; /* a small file may ask for any size: its table takes time */

ot_status ot_fourier_make(const struct op_node *n, int64_t size, struct fourier *f, ot_error *err) {
    if (size > LARGEST)
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "the transform has length %lld, expected at most %d", (long long)size,
                          (int)LARGEST);
    f->size = size;
    f->turn = ot_arena_alloc(n->arena, (size_t)size, sizeof *f->turn);
    if (!f->turn) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t k = 0; k < size; k++) {
        const double angle = 6.283185307179586 * (double)k / (double)size;
        f->turn[k] = (struct number){cos(angle), sin(angle)};
    }
    return OT_OK;
}

static int64_t least_factor(int64_t n) {
    for (int64_t r = 2; r * r <= n; r++)
        if (n % r == 0) return r;
    return n;
}

double ot_fourier_flops(const struct fourier *f) {
    double factors = 0;
    for (int64_t n = f->size, r; n > 1; n /= r) factors += (double)(r = least_factor(n));
    return 8 * (double)f->size * factors;
}

/* Of n numbers, `step` apart, that turn by N / n. */
static void transform(const struct fourier *f, double sign, int64_t n, int64_t step,
                      const struct number *from, struct number *to, struct number *some) {
    const int64_t r = least_factor(n), m = n / r, jump = f->size / n;
    if (n == 1) {
        *to = *from;
        return;
    }
    for (int64_t q = 0; q < r; q++)
        transform(f, sign, m, step * r, from + q * step, to + q * m, some);
    for (int64_t k = 0; k < m; k++) {
        for (int64_t q = 0; q < r; q++) some[q] = to[q * m + k];
        for (int64_t at = k; at < n; at += m) {
            struct number sum = {0, 0};
            for (int64_t q = 0, angle = 0; q < r; q++, angle += at * jump) {
                if (angle >= f->size) angle -= f->size;
                const double re = f->turn[angle].re, im = sign * f->turn[angle].im;
                sum.re += some[q].re * re - some[q].im * im;
                sum.im += some[q].re * im + some[q].im * re;
            }
            to[at] = sum;
        }
    }
}

void ot_fourier_run(const struct fourier *f, double sign, const struct number *from,
                    struct number *to, struct number *some) {
    transform(f, sign, f->size, 1, from, to, some);
}
