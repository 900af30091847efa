/* batch.h - batches of samples as the model takes them. */
#ifndef OT_TOOLS_DATA_BATCH_H
#define OT_TOOLS_DATA_BATCH_H

#include "tools/data/transform.h"

/* What targets are, by the loss. */
enum target_kind {
    TARGET_NONE,    /* there are none, or nobody asks for them */
    TARGET_CLASSES, /* int64 */
    TARGET_VALUES   /* float */
};

/* A data set, or a part of it, seen through a model. The data set is not owned. */
struct feed {
    const struct data_source *data;
    int64_t count;         /* samples */
    const int64_t *subset; /* their numbers in the data set; NULL: all. Not owned */
    int n_inputs;
    struct transform input[MAX_INPUTS];
    enum target_kind target;
    int target_rank;                 /* with the batch */
    int64_t target_dim[OT_MAX_RANK]; /* dim[0] is not used */
    int64_t target_elements;         /* of one sample */
};

struct batch {
    int64_t room;  /* samples it has memory for */
    int64_t count; /* samples in it */
    int n_inputs;
    ot_tensor input[MAX_INPUTS], target; /* target.rank 0: none */
    void *memory[MAX_INPUTS + 1];
};

/* Connects data to a model's inputs, without targets: tools/train/loss.h knows those. */
int ot_feed_make(struct feed *feed, const struct settings *s, const struct data_source *d,
                 const ot_value_info *inputs, int n_inputs, struct failure *f);

int ot_batch_make(struct batch *b, const struct feed *feed, int64_t room, struct failure *f);
void ot_batch_free(struct batch *b);

/* Shapes b for `count` samples without reading any. */
void ot_batch_shape(struct batch *b, const struct feed *feed, int64_t count);

/* Reads the feed's samples index[0..count), count <= b->room. */
int ot_batch_fill(struct batch *b, const struct feed *feed, const int64_t *index, int64_t count,
                  struct failure *f);

#endif
