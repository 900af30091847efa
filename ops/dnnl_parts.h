/* dnnl_parts.h - what the files that see oneDNN share: dnnl.c, dnnl_conv.c and dnnl_step.c. */
#ifndef OT_OPS_DNNL_PARTS_H
#define OT_OPS_DNNL_PARTS_H

#include <oneapi/dnnl/dnnl.h>

#include "ops/dnnl.h"

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

static inline void ot_dnnl_md_free(struct md *m) {
    if (m->d) dnnl_memory_desc_destroy(m->d);
}
#else
typedef const dnnl_memory_desc_t *const_md;

static inline const_md ot_dnnl_md(const struct md *m) { return &m->d; }

static inline void ot_dnnl_md_free(struct md *m) { (void)m; }
#endif

/* What a pass calls its operands, and which it writes. */
struct dnnl_pass {
    int arg[OPERANDS];
    enum operand output;
    const char *name;
};

extern const struct dnnl_pass ot_dnnl_pass[PASSES];

/* The batch is cut into at most PIECES pieces, enough for 8 threads, of SAMPLES or more. */
enum { PIECES = 8, SAMPLES = 4 };

/* One pass over a piece of a certain size. Between plain arrays and the layouts of its choice stand
 * reorders, for X and Y within each piece, for W once for all pieces. */
struct pass {
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t conv;
    dnnl_primitive_t reorder[OPERANDS]; /* NULL: the layouts agree */
    size_t bytes[OPERANDS];             /* in the chosen layout, rounded up */
    size_t pad_bytes;                   /* oneDNN's own scratchpad */
};

/* The three passes for pieces of one size. */
struct pass_set {
    int64_t samples;
    struct md plain[OPERANDS];
    struct pass pass[PASSES];
    bool same_dy; /* both gradients read dy in the same layout */
};

/* A piece has memory objects of its own, because two threads must not set handles of one. */
struct piece {
    int64_t from;
    const struct pass_set *set;
    dnnl_stream_t stream;
    struct piece_pass {
        dnnl_memory_t plain[OPERANDS], chosen[OPERANDS], pad;
    } pass[PASSES];
};

struct dense_conv {
    struct op_node *node;
    struct conv_shape shape;
    struct geometry geometry;
    bool bias;
    unsigned want;
    dnnl_engine_t engine;
    dnnl_primitive_attr_t attr;
    struct pass_set set[2]; /* full pieces, and the last one where it is smaller */
    int pieces;
    struct piece piece[PIECES];
    size_t worker_bytes[2]; /* scratch of one worker, forward and backward */
};

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

/* ---- dnnl_conv.c ---- */

/* The layout that a pass has chosen for an operand. */
const_md ot_dnnl_chosen(const struct pass *p, int kind, int operand);
/* Bytes of one partial dW and db. */
size_t ot_dnnl_partial_bytes(const struct dense_conv *c);

#endif
