/* dnnl.c - oneDNN as a sequential library, what differs between its versions 2.6 and 3.x, and its
 * matrix product. */
#include "ops/product/dnnl_parts.h"

/* oneDNN's OpenMP has one team a calling thread; we want teams of one. The symbols are those of
 * whatever OpenMP runtime oneDNN brings along, and missing where it was built without. */
extern void omp_set_num_threads(int) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

int ot_dnnl_begin(struct op_node *n) {
    if (!ot_dnnl_enter()) {
        if (n) atomic_store_explicit(&n->fault, OT_FAULT_ENDING, memory_order_relaxed);
        return 0;
    }
    int before = omp_get_max_threads && omp_set_num_threads ? omp_get_max_threads() : 1;
    if (before != 1) omp_set_num_threads(1);
    return before;
}

void ot_dnnl_end(int before) {
    if (!before) return;
    if (before != 1) omp_set_num_threads(before);
    ot_dnnl_leave();
}

int ot_dnnl_block(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), wide = dnnl_cpu_isa_avx512_core;
    return (isa & wide) == wide ? 16 : 0;
}

#define DNNL_TEXT_(x) #x
#define DNNL_TEXT(x)  DNNL_TEXT_(x)

const char *ot_dnnl_version(void) {
    return DNNL_TEXT(DNNL_VERSION_MAJOR) "." DNNL_TEXT(DNNL_VERSION_MINOR) "." DNNL_TEXT(
        DNNL_VERSION_PATCH);
}

void ot_dnnl_fault(struct op_node *n, dnnl_status_t status) {
    if (status) atomic_store_explicit(&n->fault, (int)status, memory_order_relaxed);
}

/* ---- what differs between oneDNN 2 and 3 ---- */

#if DNNL_VERSION_MAJOR >= 3
#define MD_INIT dnnl_memory_desc_create_with_tag
#define MD_PART dnnl_memory_desc_create_submemory

dnnl_status_t ot_dnnl_conv_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                enum pass_kind kind, const_md const md[OPERANDS],
                                const struct geometry *g, dnnl_primitive_desc_t hint,
                                dnnl_primitive_attr_t attr) {
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    if (kind == FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(
            pd, engine, dnnl_forward_training, alg, md[X], md[W], md[B], md[Y], g->stride,
            g->dilate, g->begin, g->end, attr);
    if (kind == DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, alg, md[X], md[W],
                                                                    md[Y], g->stride, g->dilate,
                                                                    g->begin, g->end, hint, attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, alg, md[X], md[W], md[B], md[Y], g->stride, g->dilate, g->begin, g->end, hint,
        attr);
}
#else
#define MD_INIT dnnl_memory_desc_init_by_tag
#define MD_PART dnnl_memory_desc_init_submemory

dnnl_status_t ot_dnnl_conv_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                enum pass_kind kind, const_md const md[OPERANDS],
                                const struct geometry *g, dnnl_primitive_desc_t hint,
                                dnnl_primitive_attr_t attr) {
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    dnnl_convolution_desc_t d;
    dnnl_status_t status;
    if (kind == FORWARD)
        status = dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_training, alg, md[X],
                                                            md[W], md[B], md[Y], g->stride,
                                                            g->dilate, g->begin, g->end);
    else if (kind == DATA)
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &d, alg, md[X], md[W], md[Y], g->stride, g->dilate, g->begin, g->end);
    else
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &d, alg, md[X], md[W], md[B], md[Y], g->stride, g->dilate, g->begin, g->end);
    return status ? status : dnnl_primitive_desc_create(pd, &d, attr, engine, hint);
}
#endif

dnnl_status_t ot_dnnl_md_new(struct md *m, int rank, const dnnl_dims_t dims,
                             dnnl_format_tag_t tag) {
    return MD_INIT(&m->d, rank, dims, dnnl_f32, tag);
}

dnnl_status_t ot_dnnl_md_part(struct md *m, const struct md *parent, int rank,
                              const dnnl_dims_t dims) {
    dnnl_dims_t none = {0}, to = {0};
    for (int i = 0; i < rank; i++) to[i] = dims[i];
    return MD_PART(&m->d, ot_dnnl_md(parent), to, none);
}

/* ---- the matrix product ---- */

void ot_dense_sgemm(struct op_node *n, const struct sgemm_call *call) {
    const int before = ot_dnnl_begin(n);
    if (!before) return;
    ot_dnnl_fault(n, dnnl_sgemm(call->ta ? 'T' : 'N', call->tb ? 'T' : 'N', call->m, call->n,
                                call->k, call->alpha, call->a, call->lda, call->b, call->ldb,
                                call->beta, call->c, call->ldc));
    ot_dnnl_end(before);
}
