/* bench.h - the parts of `onnx-train bench`. */
#ifndef OT_TOOLS_BENCH_BENCH_H
#define OT_TOOLS_BENCH_BENCH_H

#include "tools/options.h"

/* ---- bench.c: common things, and whole steps ------------------------------------------------ */

double ot_median(double *value, int n); /* sorts; n >= 1 */

/* Numbers in [-1, 1) that depend on seed and position alone. */
void ot_fill_uniform(float *value, int64_t n, uint64_t seed);

/* ---- kernels.c: single layers ---------------------------------------------------------- */

int ot_bench_kernels(const struct settings *s, struct failure *f);

/* ---- limits.c: what the machine can do ------------------------------------------------- */

struct limits {
    double gflops;      /* of fused multiply-adds in registers, all threads together */
    double load_gflops; /* of those that load an operand from the first-level cache */
    double gb_per_s;    /* read and written, arrays far larger than the caches */
};

/* Takes about half a second. isa: one of ot_isa_name. */
int ot_limits_measure(int threads, const char *isa, struct limits *limits, struct failure *f);

/* ---- share.c: where the time of steps goes ------------------------------------------- */

enum phase {
    PHASE_FORWARD,
    PHASE_LOSS,
    PHASE_BACKWARD,
    PHASE_WEIGHT,
    PHASE_COLLECT,
    PHASE_REORDERS,
    PHASE_OPTIMIZER,
    PHASES
};
extern const char *const ot_phase_names[PHASES];

struct share {
    char name[40];
    double seconds, flops, bytes; /* of all calls */
};

struct shares {
    struct share phase[PHASES];
    struct share op[96]; /* by operator, the longest first once sorted */
    int n_ops;
    struct share all;
};

/* An ot_profile_fn; context is a struct shares that was zero. */
void ot_shares_add(void *context, const ot_profile_step *step);
void ot_shares_sort(struct shares *shares);

/* ---- dense.c: a dense layer in oneDNN, in the layouts that oneDNN likes best --------- */

enum pass { PASS_FORWARD, PASS_DATA, PASS_WEIGHT, PASSES };

/* Square images, kernel k with padding k/2; size = 0: a matrix product of n rows. */
struct layer_shape {
    int64_t n, c, m, size, k, stride;
};

static inline int64_t ot_layer_out(const struct layer_shape *l) {
    return l->size ? (l->size + 2 * (l->k / 2) - l->k) / l->stride + 1 : 1;
}

struct dense_layer;

int ot_dense_layer_open(const struct layer_shape *shape, int threads, struct dense_layer **layer,
                        struct failure *f);
void ot_dense_layer_close(struct dense_layer *layer); /* NULL is allowed */
int ot_dense_layer_run(struct dense_layer *layer, enum pass pass, double *seconds,
                       struct failure *f);

/* Keeps oneDNN to an instruction set; before anything else of it is used. */
void ot_dense_layer_isa(const char *isa);

/* ---- case.c: one layer at one sparsity and batch, sparse and dense in turns ---------- */

struct bench_case {
    const char *kind; /* "conv" or "linear" */
    char shape[64];
    struct layer_shape layer;
    double sparsity; /* wanted, in [0, 1) */
    bool counts;     /* in the summary */
    int threads;
    const char *isa; /* one of ot_isa_name */
    /* what ot_bench_case_run fills in */
    int64_t nonzeros;
    int rounds;
    double ms[PASSES], dense_ms[PASSES]; /* medians */
    double reorder_ms;                   /* layout changes around our layer, not counted in ms */
    double ratio;                        /* dense over sparse, forward and backward together */
    double limit;                        /* the ratio if ours ran at the machine's limit */
};

int ot_bench_case_run(struct bench_case *c, const struct limits *limits, struct failure *f);

/* Multiplications and additions of one pass that are not by structural zeros, and all of them. */
double ot_bench_case_flops(const struct bench_case *c);
double ot_bench_case_dense_flops(const struct bench_case *c);

#endif
