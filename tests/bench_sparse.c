/* bench_sparse.c - sparse layers against the same layers dense in oneDNN, in one process.
 *
 *   bench_sparse [threads=1] [batch=64] [density=0.1] [isa=0] [only=TEXT] [rounds=7]
 *
 * Sparse and dense run alternately; medians. GF/s counts useful work: 2 per nonzero, sample and
 * output position, in each of forward, data and weight gradient.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <dnnl.h>

#include "ops/kernels/kernels.h"
#include "ops/product/sparse.h"
#include "runtime/base/rng.h"

struct layer {
    const char *name;
    int c, m, size, k, stride, groups;
};

static const struct layer layers[] = {
    {"conv 3x3 64 56", 64, 64, 56, 3, 1, 1},
    {"conv 3x3 128 28", 128, 128, 28, 3, 1, 1},
    {"conv 3x3 256 14", 256, 256, 14, 3, 1, 1},
    {"conv 3x3 512 7", 512, 512, 7, 3, 1, 1},
    {"linear 1024 1024", 1024, 1024, 1, 1, 1, 1},
    {"conv 3x3s2 64-128 56", 64, 128, 56, 3, 2, 1},
    {"conv 1x1s2 128-256 28", 128, 256, 28, 1, 2, 1},
    {"conv 1x1 256-64 56", 256, 64, 56, 1, 1, 1},
    {"conv 1x1 64-256 56", 64, 256, 56, 1, 1, 1},
    {"conv 1x1 2048-512 7", 2048, 512, 7, 1, 1, 1},
    {"linear 768 3072", 768, 3072, 1, 1, 1, 1},
    {"linear 3072 768", 3072, 768, 1, 1, 1, 1},
};

struct options {
    int threads, batch, isa, rounds;
    double density;
    const char *only;
};

/* Processor time with one thread: other processes then count less. */
static double now(int threads) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void *memory(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 2 << 20, bytes + 64)) exit(1);
    madvise(p, bytes, MADV_HUGEPAGE);
    float *f = p;
    for (size_t i = 0; i < bytes / sizeof *f; i++) f[i] = ot_random_float(1, 2, i) - 0.5f;
    return p;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

/* ---- dense ---- */

enum { FORWARD, DATA, WEIGHT, PASSES };

struct dense {
    dnnl_stream_t stream;
    dnnl_primitive_t primitive[PASSES];
    dnnl_exec_arg_t args[PASSES][3];
};

static void must(dnnl_status_t status) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN: status %d\n", (int)status);
    exit(1);
}

static dnnl_memory_t buffer(const_dnnl_primitive_desc_t pd, dnnl_query_t what,
                            dnnl_engine_t engine) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, what, 0);
    dnnl_memory_t m;
    must(dnnl_memory_create(&m, md, engine, memory(dnnl_memory_desc_get_size(md))));
    return m;
}

static void dense_pass(struct dense *d, int pass, const_dnnl_op_desc_t cd,
                       const_dnnl_primitive_desc_t hint, dnnl_engine_t engine,
                       dnnl_primitive_desc_t *pd) {
    static const int arg[PASSES][3] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
                                       {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC},
                                       {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS}};
    static const dnnl_query_t query[PASSES][3] = {
        {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
        {dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md},
        {dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md}};
    must(dnnl_primitive_desc_create(pd, cd, NULL, engine, hint));
    must(dnnl_primitive_create(&d->primitive[pass], *pd));
    for (int i = 0; i < 3; i++)
        d->args[pass][i] = (dnnl_exec_arg_t){arg[pass][i], buffer(*pd, query[pass][i], engine)};
}

static void dense_linear(struct dense *d, const struct layer *l, int batch, dnnl_engine_t engine) {
    const dnnl_dims_t x = {batch, l->c}, w = {l->m, l->c}, y = {batch, l->m};
    dnnl_memory_desc_t xd, wd, yd;
    dnnl_inner_product_desc_t desc;
    dnnl_primitive_desc_t forward, other;
    must(dnnl_memory_desc_init_by_tag(&xd, 2, x, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&wd, 2, w, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&yd, 2, y, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_training, &xd, &wd, NULL, &yd));
    dense_pass(d, FORWARD, &desc, NULL, engine, &forward);
    must(dnnl_inner_product_backward_data_desc_init(&desc, &xd, &wd, &yd));
    dense_pass(d, DATA, &desc, forward, engine, &other);
    must(dnnl_inner_product_backward_weights_desc_init(&desc, &xd, &wd, NULL, &yd));
    dense_pass(d, WEIGHT, &desc, forward, engine, &other);
}

static void dense_conv(struct dense *d, const struct layer *l, int batch, dnnl_engine_t engine) {
    const int out = (l->size + 2 * (l->k / 2) - l->k) / l->stride + 1;
    const dnnl_dims_t x = {batch, l->c, l->size, l->size}, w = {l->m, l->c, l->k, l->k};
    const dnnl_dims_t y = {batch, l->m, out, out}, stride = {l->stride, l->stride};
    const dnnl_dims_t pad = {l->k / 2, l->k / 2};
    const dnnl_alg_kind_t how = dnnl_convolution_direct;
    dnnl_memory_desc_t xd, wd, yd;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t forward, other;
    must(dnnl_memory_desc_init_by_tag(&xd, 4, x, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&wd, 4, w, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&yd, 4, y, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, how, &xd, &wd, NULL, &yd,
                                            stride, pad, pad));
    dense_pass(d, FORWARD, &desc, NULL, engine, &forward);
    must(dnnl_convolution_backward_data_desc_init(&desc, how, &xd, &wd, &yd, stride, pad, pad));
    dense_pass(d, DATA, &desc, forward, engine, &other);
    must(dnnl_convolution_backward_weights_desc_init(&desc, how, &xd, &wd, NULL, &yd, stride, pad,
                                                     pad));
    dense_pass(d, WEIGHT, &desc, forward, engine, &other);
}

static double dense_run(struct dense *d, int pass, int threads) {
    double start = now(threads);
    must(dnnl_primitive_execute(d->primitive[pass], d->stream, 3, d->args[pass]));
    must(dnnl_stream_wait(d->stream));
    return now(threads) - start;
}

/* ---- sparse ---- */

struct sparse {
    struct arena arena;
    struct op op;
    struct node node;
    struct op_node n;
    struct pattern *pattern;
    const struct sparse_product *product;
    float *x, *y, *dx, *dy, *value, *dvalue;
    void *scratch;
};

static void sparse_make(struct sparse *s, const struct layer *l, const struct options *o,
                        struct pool *pool) {
    const int out = (l->size + 2 * (l->k / 2) - l->k) / l->stride + 1, pad = l->k / 2;
    const int conv_lanes = o->batch < 16 ? 0 : 16;
    const int wide = o->batch >= 128 ? 128 : (o->batch + 15) / 16 * 16;
    const int lanes = l->size > 1 ? conv_lanes : wide;
    const struct conv_shape shape = {.n = o->batch,
                                     .c = l->c,
                                     .h = l->size,
                                     .w = l->size,
                                     .m = l->m,
                                     .oh = out,
                                     .ow = out,
                                     .kh = l->k,
                                     .kw = l->k,
                                     .stride_h = l->stride,
                                     .stride_w = l->stride,
                                     .dilation_h = 1,
                                     .dilation_w = 1,
                                     .pad_top = pad,
                                     .pad_left = pad,
                                     .pad_bottom = pad,
                                     .pad_right = pad,
                                     .groups = 1};
    const int64_t cols = (int64_t)l->c * l->k * l->k;
    int64_t *position = memory((size_t)(l->m * cols) * sizeof *position), nnz = 0;
    for (int64_t i = 0; i < l->m * cols; i++)
        if (ot_random_float(5, 6, (uint64_t)i) < o->density) position[nnz++] = i;
    size_t forward, backward;
    ot_error err;
    memset(s, 0, sizeof *s);
    ot_arena_init(&s->arena, NULL, 0);
    s->op.name = "Conv";
    s->node.name = l->name;
    s->n = (struct op_node){.op = &s->op,
                            .node = &s->node,
                            .arena = &s->arena,
                            .pool = pool,
                            .workers = ot_pool_workers(pool),
                            .kernels = ot_kernels_at(o->isa)};
    if (ot_pattern_new(NULL, l->m, cols, false, position, nnz, NULL, &s->pattern, &err) ||
        ot_sparse_prepare(&s->n, s->pattern, &shape, lanes, OT_SPARSE_DATA | OT_SPARSE_WEIGHT,
                          &s->product, &forward, &backward, &err) ||
        ot_op_open(&s->n, &s->arena, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    const size_t block = lanes ? (size_t)lanes : 1;
    const size_t samples = ((size_t)o->batch + block - 1) / block * block * sizeof(float);
    const size_t x = samples * (size_t)(l->c * l->size * l->size);
    const size_t y = samples * (size_t)(l->m * out * out);
    s->x = memory(x);
    s->dx = memory(x);
    s->y = memory(y);
    s->dy = memory(y);
    s->value = memory((size_t)nnz * sizeof(float));
    s->dvalue = memory((size_t)nnz * sizeof(float));
    s->scratch = memory(forward > backward ? forward : backward);
    free(position);
}

static double sparse_run(struct sparse *s, int pass, int threads) {
    double start = now(threads);
    if (pass == FORWARD)
        ot_sparse_forward(&s->n, s->product, s->x, s->value, NULL, s->y, s->scratch);
    else
        ot_sparse_backward(&s->n, s->product, s->x, s->value, s->dy, pass == DATA ? s->dx : NULL,
                           pass == WEIGHT ? s->dvalue : NULL, NULL, s->scratch);
    return now(threads) - start;
}

static void sparse_free(struct sparse *s) {
    void *block[] = {s->x, s->dx, s->y, s->dy, s->value, s->dvalue, s->scratch};
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) free(block[i]);
    ot_pattern_unref(s->pattern);
    ot_arena_free(&s->arena);
}

/* ---- report ---- */

static void bench(const struct layer *l, const struct options *o, struct pool *pool,
                  dnnl_engine_t engine) {
    enum { MOST = 64 };
    static double dense_time[PASSES][MOST], sparse_time[PASSES][MOST];
    struct sparse s;
    struct dense d;
    sparse_make(&s, l, o, pool);
    must(dnnl_stream_create(&d.stream, engine, dnnl_stream_default_flags));
    (l->size > 1 ? dense_conv : dense_linear)(&d, l, o->batch, engine);
    for (int i = -1; i < o->rounds; i++)
        for (int pass = 0; pass < PASSES; pass++) {
            double a = dense_run(&d, pass, o->threads), b = sparse_run(&s, pass, o->threads);
            dense_time[pass][i < 0 ? 0 : i] = a;
            sparse_time[pass][i < 0 ? 0 : i] = b;
        }
    const int out = (l->size + 2 * (l->k / 2) - l->k) / l->stride + 1;
    const double flops = 2e-6 * s.pattern->nnz * (double)out * out * o->batch;
    double dense_sum = 0, sparse_sum = 0;
    printf("%-22s", l->name);
    for (int pass = 0; pass < PASSES; pass++) {
        double a = median(dense_time[pass], o->rounds), b = median(sparse_time[pass], o->rounds);
        dense_sum += a;
        sparse_sum += b;
        printf(" | %6.2f %6.2f %5.1fx %5.1f GF/s", a, b, a / b, flops / b);
    }
    printf(" | %5.2fx\n", dense_sum / sparse_sum);
    fflush(stdout);
    sparse_free(&s);
}

int main(int argc, char **argv) {
    struct options o = {.threads = 1, .batch = 64, .rounds = 7, .density = 0.1, .only = ""};
    for (int i = 1; i < argc; i++) {
        sscanf(argv[i], "threads=%d", &o.threads);
        sscanf(argv[i], "batch=%d", &o.batch);
        sscanf(argv[i], "density=%lf", &o.density);
        sscanf(argv[i], "isa=%d", &o.isa);
        sscanf(argv[i], "rounds=%d", &o.rounds);
        if (!strncmp(argv[i], "only=", 5)) o.only = argv[i] + 5;
    }
    if (o.rounds < 1 || o.rounds > 64 || !ot_kernels_at(o.isa)) return 2;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", o.threads);
    setenv("OMP_NUM_THREADS", threads, 1);
    struct pool *pool;
    dnnl_engine_t engine;
    if (ot_pool_new(NULL, o.threads, NULL, NULL, &pool, NULL)) return 1;
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    printf("batch %d, density %g, %d thread(s), %s; ms dense, ms sparse, ratio of forward | data "
           "gradient | weight gradient | all\n",
           o.batch, o.density, o.threads, ot_kernels_at(o.isa)->name);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (strstr(layers[i].name, o.only)) bench(&layers[i], &o, pool, engine);
    ot_pool_free(pool);
    return 0;
}
