/* sparse_product.h - a sparse layer between its prepare (sparse_prepare.c) and its runs: in lanes
 * (sparse.c, sparse_weight.c) or in rows (sparse_rows.c); sparse_gather.c is what these share. A
 * linear layer in rows is one of few samples (sparse_few.c). A run gets its pool and work memory
 * from the node that it is a part of.
 *
 * A sub-block is 16 lanes of one block. Nobody else includes this.
 */
#ifndef OT_OPS_PRODUCT_SPARSE_PRODUCT_H
#define OT_OPS_PRODUCT_SPARSE_PRODUCT_H

#include "ops/product/sparse.h"
#include "ops/product/stream.h"

/* Shares of the weight gradient's sum, where rows give too few tasks. */
enum { OT_SPARSE_SHARES = 8 };

/* A linear layer over a few samples in rows (sparse_few.c). */
struct few_layer {
    const struct pattern *pattern; /* of the weight */
    int log;                       /* its width is 1 << log samples */
    uint16_t *col16;               /* the pattern's columns in 16 bits, for one sample; or NULL */
    int pieces;                    /* of the columns; with several of them: */
    int32_t *column;               /* pieces + 1: where each begins */
    int32_t *cut;                  /* of each but the first, and row: its first slot */
    int32_t *count;                /* slots of neighbouring columns, while these are cut */
};

struct sparse_product {
    const struct kernels *kernels;
    int64_t n;      /* samples */
    int lanes;      /* 0: rows */
    int units;      /* sub-blocks per block that stand side by side in a pixel; 1 if flat */
    int flat_units; /* flat: units of a pixel, taken as neighbouring pixels; else 1 */
    int64_t blocks; /* sub-blocks */
    size_t x_block, y_block; /* floats of a block; in rows of a sample */
    struct few_layer *few;   /* NULL, or in place of all that follows */
    struct stream forward;
    struct stream backward; /* a plane for each residue of the stride */
    int shares;
    bool joint;    /* one pass over dy may give both gradients */
    size_t work;   /* where its struct sparse_work stands in the node's work memory */
    size_t packed; /* floats of scratch of a worker for a packed panel */
    size_t rows;   /* and for a tile of each row: partial sums, or dy, or both */
    size_t dy;     /* where both: offset of dy behind the partial sums */
    size_t shared; /* floats of scratch of all workers: in rows, all packed inputs */
};

/* A product's part of the work memory of its node. */
struct sparse_work {
    bool hold;     /* values stay as they are */
    bool fresh[2]; /* while they do: copies for forward and backward are up to date */
};

static inline struct sparse_work *ot_sparse_work(const struct op_node *n,
                                                 const struct sparse_product *p) {
    return (struct sparse_work *)(void *)((char *)n->work + p->work);
}

/* Where workers' scratch stands. */
static inline float *ot_sparse_worker(const struct sparse_product *p, float *scratch, int worker) {
    return scratch + p->shared + (size_t)worker * (p->packed + p->rows);
}

/* In rows, floats of a packed row of dy. */
static inline size_t ot_sparse_dy_size(const struct sparse_product *p) {
    return (size_t)p->forward.tiles_w * (size_t)p->forward.tile_w * OT_UNIT;
}

/* Forward or data gradient in lanes while it runs. */
struct gather_job {
    struct op_node *n;
    const struct sparse_product *p;
    const struct stream *s;
    const float *x, *value, *bias;
    float *y;
    size_t x_block, y_block;
    int64_t items;   /* tiles of all blocks */
    int tasks;       /* for each */
    bool past_cache; /* y is written past the caches */
    float *scratch;
};

/* Seconds of a joint pass: in the data gradient, and in all. */
struct joint_time {
    double data, all;
};

/* The weight gradient while it runs. */
struct weight_job {
    struct op_node *n;
    const struct sparse_product *p;
    const float *x, *dy;
    float *scratch, *sums; /* sums: shares x (nnz + rows) */
    float *dvalue, *dbias;
    int tasks;                     /* in lanes, for each share */
    const struct gather_job *data; /* the data gradient that is made along with it; or NULL */
    struct joint_time *time;       /* of each share; NULL: nobody asks */
};

/* ---- prepare (sparse_view.c, sparse_prepare.c, sparse_transpose.c) ---- */

/* The shape as streams see it: 1x1 products without stride or pads are rows of units. */
struct sparse_view {
    struct conv_shape s;
    bool flat;
    size_t pixel; /* floats from pixel to pixel */
};

struct sparse_view ot_sparse_view(const struct conv_shape *shape, int lanes);
/* Where `channels` of `lines` lines of `width` pixels stand. */
struct image ot_sparse_image(const struct sparse_view *v, int64_t channels, int64_t lines,
                             int64_t width);
/* In rows, the grid is one line of units. false: out of memory or out of range. */
bool ot_sparse_set_grid(struct stream *s, const struct sparse_product *p, struct arena *arena);
ot_status ot_sparse_out_of_memory(struct op_node *n, ot_error *err);
/* What is known of the weight's kernel while streams are made. */
struct sparse_taps {
    struct stream_weight weight;
    struct stream_tap *tap; /* kh * kw */
    int64_t *axis;          /* room for kh + kw numbers */
};

/* Builds p->backward. */
ot_status ot_sparse_transpose(struct op_node *n, struct sparse_product *p,
                              const struct sparse_view *v, struct sparse_taps *taps, ot_error *err);

/* ---- lanes (sparse_gather.c) ---- */

/* First float of a sub-block. */
static inline size_t ot_sparse_block(const struct sparse_product *p, size_t block_floats,
                                     int64_t block) {
    return (size_t)(block / p->units) * block_floats + (size_t)(block % p->units) * OT_UNIT;
}

/* Does the busiest of the workers get more than an eighth above the mean? */
bool ot_sparse_uneven(int64_t tasks, int64_t workers);
/* Tasks that share the chunks of each item, at least `least`: as few as keep all workers busy,
 * since each packs the inputs of its tiles. */
int ot_sparse_tasks(const struct op_node *n, const struct stream *s, int64_t items, int64_t least);

/* Those of one of these tasks. */
static inline struct chunks ot_sparse_chunks(const struct stream *s, int task, int tasks) {
    return (struct chunks){s->chunks * task / tasks, s->chunks * (task + 1) / tasks};
}

/* A tile of all rows of some chunks. packed: its inputs, all panels, or NULL. */
void ot_sparse_gather_tile(const struct gather_job *job, int64_t item, struct chunks c, int worker,
                           const float *packed);

/* ---- what both layouts share (sparse_weight.c, sparse_gather.c) ---- */

/* The gradients of the weight and of the bias, of which either may be NULL. data: that of x, to be
 * made along with them, if the product is a joint one; or NULL. */
void ot_sparse_weight(struct op_node *n, const struct sparse_product *p, const float *x,
                      const float *dy, float *dvalue, float *dbias, const struct gather_job *data,
                      float *scratch);

/* What `at` of the stream numbers: the values of the weight, or a copy of them in another order,
 * which is brought up to date. */
const float *ot_sparse_values(const struct op_node *n, const struct sparse_product *p,
                              const struct stream *s, const float *value);
/* The sums of a share; `clear`: with those of these chunks zeroed. */
float *ot_sparse_sums(const struct weight_job *job, struct chunks c, int share, bool clear);

/* ---- few samples of a linear layer (sparse_few.c) ---- */

/* Sets p->few, p->joint and the sizes of scratch. The pattern stays as long as p, which has room
 * for patterns of so many slots. */
ot_status ot_sparse_few_prepare(struct op_node *n, struct sparse_product *p,
                                const struct pattern *w, int slots, const struct conv_shape *s,
                                uint32_t want, size_t *forward, size_t *backward, ot_error *err);
/* The same layer with another pattern. */
void ot_sparse_few_follow(const struct sparse_product *p, const struct pattern *w);
void ot_sparse_few_forward(struct op_node *n, const struct sparse_product *p, const float *x,
                           const float *value, const float *bias, float *y, float *scratch);
void ot_sparse_few_backward(struct op_node *n, const struct sparse_product *p, const float *x,
                            const float *value, const float *dy, float *dx, float *dvalue,
                            float *dbias, float *scratch);

/* ---- rows (sparse_rows.c) ---- */

void ot_sparse_rows_forward(struct op_node *n, const struct sparse_product *p, const float *x,
                            const float *value, const float *bias, float *y, float *scratch);
void ot_sparse_rows_backward(struct op_node *n, const struct sparse_product *p, const float *value,
                             const float *dy, float *dx, float *scratch);
/* Fills in job->sums. */
void ot_sparse_rows_weight(const struct weight_job *job);

#endif
