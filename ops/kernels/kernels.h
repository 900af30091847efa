/* kernels.h - the contract of every hot loop; one table of them per instruction set.
 *
 * Kernels are single-threaded, allocate nothing, cannot fail, and take pointers, sizes and a row
 * range. All instruction sets compute the same sums; the order of additions may differ between
 * instruction sets, never between calls.
 */
#ifndef OT_OPS_KERNELS_H
#define OT_OPS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct kernels {
    const char *name; /* "generic", "avx2", "avx512" */
    int width;        /* floats in a vector */

    /* out[r * out_pitch + j] = (accumulate ? out : bias ? bias[r] : 0)
     *                          + sum over k in [ptr[r], ptr[r+1]) of value[k] * in[offset[k] + j]
     * for r in [r0, r1), j in [0, n). n is a multiple of 16. */
    void (*spmm)(int r0, int r1, const int32_t *ptr, const int32_t *offset, const float *value,
                 const float *in, const float *bias, int accumulate, float *out, size_t out_pitch,
                 int n);

    /* dvalue[k] += sum over j in [0, n) of dy[r * dy_pitch + j] * in[offset[k] + j]
     * for r in [r0, r1), k in [ptr[r], ptr[r+1]). n is a multiple of 16. */
    void (*sddmm)(int r0, int r1, const int32_t *ptr, const int32_t *offset, const float *in,
                  const float *dy, size_t dy_pitch, float *dvalue, int n);
};

/* The tables that this machine runs, best first; NULL behind the last. */
const struct kernels *ot_kernels_at(int i);

#endif
