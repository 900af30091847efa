/* dnnl_parts.h - what the files that see oneDNN share: dnnl.c, dnnl_conv.c and dnnl_step.c. */
#ifndef OT_OPS_PRODUCT_DNNL_PARTS_H
#define OT_OPS_PRODUCT_DNNL_PARTS_H

#include <oneapi/dnnl/dnnl.h>

#include "ops/product/dnnl.h"

enum pass_kind { FORWARD, DATA, WEIGHTS, PASSES };
enum operand { X, W, Y, B, OPERANDS };

/* Strides, zero-based dilations, padding before and behind. */
struct geometry {
    dnnl_dims_t stride, dilate, begin, end;
};

struct md {
    dnnl_memory_desc_t d;
};

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t const_md;

static inline const_md ot_dnnl_md(const struct md *m) { return m->d; }

static inline void ot_dnnl_md_free(const struct md *m) {
    if (m->d) dnnl_memory_desc_destroy(m->d);
}
#else
typedef const dnnl_memory_desc_t *const_md;

static inline const_md ot_dnnl_md(const struct md *m) { return &m->d; }

static inline void ot_dnnl_md_free(const struct md *m) { (void)m; }
#endif

/* What a pass calls its operands, and which it writes. */
struct dnnl_pass {
    int arg[OPERANDS];
    enum operand output;
    const char *name;
};

extern const struct dnnl_pass ot_dnnl_pass[PASSES];

/* One pass over pieces of a certain size. Between plain arrays and the layouts of its choice stand
 * reorders. */
struct pass {
    struct md plain[OPERANDS];
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t conv;
    dnnl_primitive_t reorder[OPERANDS]; /* NULL: the layouts agree */
    size_t bytes[OPERANDS];             /* in the chosen layout, rounded up */
    size_t pad_bytes;                   /* oneDNN's own scratchpad */
};

struct piece {
    int64_t sample, channel; /* the first ones */
    const struct pass *pass; /* NULL: the pass is not wanted */
};

/* A piece has memory objects of its own, in the work memory of each node, because two threads must
 * not set handles of one. */
struct handles {
    dnnl_stream_t stream;
    dnnl_memory_t plain[OPERANDS], chosen[OPERANDS], pad;
};

/* How a pass is cut: along the batch, and where that makes few pieces along the channels of what is
 * made as well (y's of FORWARD and WEIGHTS, x's of DATA). All slices of some samples read the
 * other images whole: these are packed once for all slices. */
struct cut {
    int batches, slices;
    int64_t channels;       /* of a slice; the last may have fewer */
    struct pass pass[2][2]; /* of the last samples or not, of the last slice or not */
    struct piece *piece;    /* [batches][slices] */
    size_t work;            /* where the pieces' handles stand in the node's work memory */
};

static inline int ot_dnnl_pieces(const struct cut *cut) { return cut->batches * cut->slices; }
static inline struct handles *ot_dnnl_handles(const struct op_node *n, const struct cut *cut) {
    return (struct handles *)(void *)((char *)n->work + cut->work);
}

struct dense_conv {
    struct conv_shape shape;
    bool lanes[OPERANDS]; /* X, Y: in lanes of channels */
    struct geometry geometry;
    bool bias;
    unsigned want;
    dnnl_engine_t engine;
    dnnl_primitive_attr_t attr;
    int64_t samples; /* of a piece; the last may have fewer */
    struct cut cut[PASSES];
    bool same_dy;           /* a piece of both gradients reads one dy in one layout */
    size_t worker_bytes[2]; /* scratch of one worker, forward and backward */
};

/* The images that all slices read. */
static inline enum operand ot_dnnl_whole(int kind) { return kind == DATA ? Y : X; }

/* Are the images that all slices read packed before them, and not by each piece? */
static inline bool ot_dnnl_packs_whole(const struct cut *cut, int kind) {
    return cut->slices > 1 && cut->pass[0][0].reorder[ot_dnnl_whole(kind)];
}

/* ---- dnnl.c ---- */

/* Around all work with oneDNN: makes it sequential on the calling thread, and returns what to give
 * to ot_dnnl_end. The blocking of primitives depends on the number of threads as they are made. 0:
 * the process is ending, and oneDNN must not be called; n, if not NULL, gets that fault. */
int ot_dnnl_begin(struct op_node *n);
void ot_dnnl_end(int before);
void ot_dnnl_fault(struct op_node *n, dnnl_status_t status); /* keeps one for ot_op_fault */

/* dnnl_exit.c. False: the gate is closed. */
bool ot_dnnl_enter(void);
void ot_dnnl_leave(void);

dnnl_status_t ot_dnnl_md_new(struct md *m, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag);
dnnl_status_t ot_dnnl_conv_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                enum pass_kind kind, const_md const md[OPERANDS],
                                const struct geometry *g, dnnl_primitive_desc_t hint,
                                dnnl_primitive_attr_t attr);

/* The first dims of parent, as it stands in memory. */
dnnl_status_t ot_dnnl_md_part(struct md *m, const struct md *parent, int rank,
                              const dnnl_dims_t dims);

/* ---- dnnl_cut.c ---- */

bool ot_dnnl_has_pass(const struct dense_conv *c, int kind);
bool ot_dnnl_has_operand(const struct dense_conv *c, int kind, int operand);
/* Chooses samples and the cut of each pass, by the shape alone, and takes memory for pieces. */
ot_status ot_dnnl_choose_cuts(struct op_node *n, struct dense_conv *c, ot_error *err);
/* The plain arrays that a piece of so many samples and channels reads and writes, and what oneDNN
 * may choose a layout for. */
dnnl_status_t ot_dnnl_plain(const struct dense_conv *c, int kind, int64_t samples, int64_t channels,
                            struct md *plain, struct md *any);

/* ---- dnnl_conv.c ---- */

/* The layout that a pass has chosen for an operand. */
const_md ot_dnnl_chosen(const struct pass *p, int kind, int operand);
/* Bytes of one partial dW and db: of a slice. */
size_t ot_dnnl_partial_bytes(const struct dense_conv *c);
/* Bytes of the packed weights of all slices, and of the images that they share. */
size_t ot_dnnl_packed_bytes(const struct dense_conv *c, int kind);
size_t ot_dnnl_whole_bytes(const struct dense_conv *c, int kind);

#endif
