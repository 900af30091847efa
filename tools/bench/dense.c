/* dense.c - the dense side of `bench --kernels`: oneDNN's convolution in the layouts of its
 * own choice, and its sgemm, on all samples at once and without any reorder. For 2.6 and 3.x. */
#include "tools/bench/bench.h"
#include "tools/progress.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

/* oneDNN's threads are OpenMP's, where it was built with them. */
extern void omp_set_num_threads(int) __attribute__((weak));

enum { OPERANDS = 3 };

struct dense_layer {
    struct layer_shape shape;
    int threads;
    float *x, *w, *y, *dx, *dw, *dy; /* of the matrix product */

    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc[PASSES];
    dnnl_primitive_t primitive[PASSES];
    dnnl_exec_arg_t arg[PASSES][OPERANDS];
};

/* What a pass calls x, W and y. */
static const int args[PASSES][OPERANDS] = {
    {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
    {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
    {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};

void ot_dense_layer_isa(const char *isa) {
    if (isa && strcmp(isa, "avx2") == 0)
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    else if (isa && strcmp(isa, "generic") == 0)
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
}

static int refuse(dnnl_status_t status, struct failure *f) {
    if (status == dnnl_success) return 0;
    return ot_refuse(f, status == dnnl_out_of_memory ? EXIT_MEMORY : EXIT_RUNTIME,
                     "oneDNN failed with status %d", (int)status);
}

/* ---- what differs between oneDNN 2 and 3 ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t const_md;
typedef dnnl_memory_desc_t md;

static dnnl_status_t md_new(md *m, const dnnl_dims_t dims) {
    return dnnl_memory_desc_create_with_tag(m, 4, dims, dnnl_f32, dnnl_format_tag_any);
}

static void md_free(md *m) {
    if (*m) dnnl_memory_desc_destroy(*m);
}

static dnnl_status_t make_desc(struct dense_layer *d, enum pass pass, const md any[OPERANDS],
                               const dnnl_dims_t stride, const dnnl_dims_t pad) {
    const dnnl_dims_t dilation = {0, 0};
    const dnnl_alg_kind_t how = dnnl_convolution_direct;
    dnnl_primitive_desc_t *desc = &d->desc[pass], hint = d->desc[PASS_FORWARD];
    if (pass == PASS_FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(
            desc, d->engine, dnnl_forward_training, how, any[0], any[1], NULL, any[2], stride,
            dilation, pad, pad, NULL);
    if (pass == PASS_DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(
            desc, d->engine, how, any[0], any[1], any[2], stride, dilation, pad, pad, hint, NULL);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        desc, d->engine, how, any[0], any[1], NULL, any[2], stride, dilation, pad, pad, hint, NULL);
}
#else
typedef const dnnl_memory_desc_t *const_md;
typedef dnnl_memory_desc_t md;

static dnnl_status_t md_new(md *m, const dnnl_dims_t dims) {
    return dnnl_memory_desc_init_by_tag(m, 4, dims, dnnl_f32, dnnl_format_tag_any);
}

static void md_free(md *m) { (void)m; }

static dnnl_status_t make_desc(struct dense_layer *d, enum pass pass, const md any[OPERANDS],
                               const dnnl_dims_t stride, const dnnl_dims_t pad) {
    const dnnl_alg_kind_t how = dnnl_convolution_direct;
    const md *x = &any[0], *w = &any[1], *y = &any[2];
    dnnl_convolution_desc_t conv;
    dnnl_status_t status;
    if (pass == PASS_FORWARD)
        status = dnnl_convolution_forward_desc_init(&conv, dnnl_forward_training, how, x, w, NULL,
                                                    y, stride, pad, pad);
    else if (pass == PASS_DATA)
        status = dnnl_convolution_backward_data_desc_init(&conv, how, x, w, y, stride, pad, pad);
    else
        status = dnnl_convolution_backward_weights_desc_init(&conv, how, x, w, NULL, y, stride, pad,
                                                             pad);
    if (status) return status;
    return dnnl_primitive_desc_create(&d->desc[pass], &conv, NULL, d->engine,
                                      pass == PASS_FORWARD ? NULL : d->desc[PASS_FORWARD]);
}
#endif

/* ---- convolution ---- */

/* Memory for one operand, filled with small numbers: zeros would run no slower, NaN might. */
static dnnl_status_t make_operand(struct dense_layer *d, enum pass pass, int i) {
    const const_md desc =
        dnnl_primitive_desc_query_md(d->desc[pass], dnnl_query_exec_arg_md, args[pass][i]);
    dnnl_memory_t memory;
    dnnl_status_t status = dnnl_memory_create(&memory, desc, d->engine, DNNL_MEMORY_ALLOCATE);
    if (status) return status;
    d->arg[pass][i] = (dnnl_exec_arg_t){args[pass][i], memory};
    void *data = NULL;
    status = dnnl_memory_get_data_handle(memory, &data);
    if (!status)
        ot_fill_uniform(data, (int64_t)(dnnl_memory_desc_get_size(desc) / sizeof(float)), 1);
    return status;
}

static dnnl_status_t make_conv(struct dense_layer *d) {
    const struct layer_shape *s = &d->shape;
    const int64_t out = ot_layer_out(s);
    const dnnl_dims_t dims[OPERANDS] = {
        {s->n, s->c, s->size, s->size}, {s->m, s->c, s->k, s->k}, {s->n, s->m, out, out}};
    const dnnl_dims_t stride = {s->stride, s->stride}, pad = {s->k / 2, s->k / 2};
    md any[OPERANDS];
    memset(any, 0, sizeof any);
    dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
    for (int i = 0; i < OPERANDS && !status; i++) status = md_new(&any[i], dims[i]);
    for (int pass = 0; pass < PASSES && !status; pass++) {
        status = make_desc(d, (enum pass)pass, any, stride, pad);
        if (!status) status = dnnl_primitive_create(&d->primitive[pass], d->desc[pass]);
        for (int i = 0; i < OPERANDS && !status; i++) status = make_operand(d, (enum pass)pass, i);
    }
    for (int i = 0; i < OPERANDS; i++) md_free(&any[i]);
    return status;
}

/* ---- matrix product: y [n,m] = x [n,c] W [m,c]^T, row-major ---- */

static int make_product(struct dense_layer *d, struct failure *f) {
    const struct layer_shape *s = &d->shape;
    const struct {
        float **at;
        int64_t floats;
    } array[] = {{&d->x, s->n * s->c},  {&d->w, s->m * s->c},  {&d->y, s->n * s->m},
                 {&d->dx, s->n * s->c}, {&d->dw, s->m * s->c}, {&d->dy, s->n * s->m}};
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        *array[i].at = ot_take((size_t)array[i].floats, sizeof(float), f);
        if (!*array[i].at) return f->code;
        ot_fill_uniform(*array[i].at, array[i].floats, i);
    }
    return 0;
}

static dnnl_status_t run_product(struct dense_layer *d, enum pass pass) {
    const int64_t n = d->shape.n, c = d->shape.c, m = d->shape.m;
    if (pass == PASS_FORWARD) return dnnl_sgemm('N', 'T', n, m, c, 1, d->x, c, d->w, c, 0, d->y, m);
    if (pass == PASS_DATA) return dnnl_sgemm('N', 'N', n, c, m, 1, d->dy, m, d->w, c, 0, d->dx, c);
    return dnnl_sgemm('T', 'N', m, c, n, 1, d->dy, m, d->x, c, 0, d->dw, c);
}

/* ---- both ---- */

int ot_dense_layer_open(const struct layer_shape *shape, int threads, struct dense_layer **layer,
                        struct failure *f) {
    struct dense_layer *d = ot_take(1, sizeof *d, f);
    *layer = d;
    if (!d) return f->code;
    d->shape = *shape;
    d->threads = threads;
    if (omp_set_num_threads) omp_set_num_threads(threads);
    return shape->size ? refuse(make_conv(d), f) : make_product(d, f);
}

void ot_dense_layer_close(struct dense_layer *d) {
    if (!d) return;
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < OPERANDS; i++)
            if (d->arg[pass][i].memory) dnnl_memory_destroy(d->arg[pass][i].memory);
        if (d->primitive[pass]) dnnl_primitive_destroy(d->primitive[pass]);
        if (d->desc[pass]) dnnl_primitive_desc_destroy(d->desc[pass]);
    }
    if (d->stream) dnnl_stream_destroy(d->stream);
    if (d->engine) dnnl_engine_destroy(d->engine);
    float *const arrays[] = {d->x, d->w, d->y, d->dx, d->dw, d->dy};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
    free(d);
}

int ot_dense_layer_run(struct dense_layer *d, enum pass pass, double *seconds, struct failure *f) {
    if (omp_set_num_threads) omp_set_num_threads(d->threads);
    const double start = ot_now();
    dnnl_status_t status = d->shape.size ? dnnl_primitive_execute(d->primitive[pass], d->stream,
                                                                  OPERANDS, d->arg[pass])
                                         : run_product(d, pass);
    if (!status && d->stream) status = dnnl_stream_wait(d->stream);
    *seconds = ot_now() - start;
    return refuse(status, f);
}
