/* fourier.h - discrete Fourier transforms of complex numbers, any number of them, for DFT and STFT.
 *
 * N is taken apart into its prime factors r: r transforms of N / r numbers, then r of these at a
 * time (Cooley, Tukey, "An algorithm for the machine calculation of complex Fourier series",
 * 1965).
 */
#ifndef OT_OPS_WALK_FOURIER_H
#define OT_OPS_WALK_FOURIER_H

#include "ops/op.h"

struct number {
    double re, im;
};

struct fourier {
    int64_t size;        /* N */
    struct number *turn; /* exp(2 pi i k / N) */
};

/* For prepare: size >= 1; refuses more than 2^24. In n's arena. */
ot_status ot_fourier_make(const struct op_node *n, int64_t size, struct fourier *f, ot_error *err);

/* Operations of one transform: 8 for each number and each of the factors it is a sum over. */
double ot_fourier_flops(const struct fourier *f);

/* to[k] = sum over j of from[j] exp(sign 2 pi i j k / N); some: room for N numbers. */
void ot_fourier_run(const struct fourier *f, double sign, const struct number *from,
                    struct number *to, struct number *some);

#endif
