/* kernels.c - which tables of kernels this machine runs. */
#include "ops/kernels/kernels.h"

extern const struct kernels ot_kernels_generic;

#if defined(__x86_64__)
extern const struct kernels ot_kernels_avx2, ot_kernels_avx512;

static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

static int always(void) { return 1; }

static const struct {
    const struct kernels *table;
    int (*runs)(void);
} tables[] = {
#if defined(__x86_64__)
    {&ot_kernels_avx512, has_avx512},
    {&ot_kernels_avx2, has_avx2},
#endif
    {&ot_kernels_generic, always},
};

const struct kernels *ot_kernels_at(int i) {
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        if (tables[t].runs() && i-- == 0) return tables[t].table;
    return NULL;
}
