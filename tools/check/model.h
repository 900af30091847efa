/* model.h - what `onnx-train check MODEL` finds. */
#ifndef OT_TOOLS_CHECK_MODEL_H
#define OT_TOOLS_CHECK_MODEL_H

#include "tools/check/probe.h"

/* What the slopes of an operator's nodes, or of the whole model, said. */
struct verdicts {
    const char *op;
    int64_t nodes, count[VERDICTS];
};

/* The directions of the input that was written last. */
struct directions {
    const char *op, *node, *name; /* op NULL: none yet */
    int64_t count[VERDICTS];
    char text[600]; /* of the first that differs */
};

struct findings {
    struct directions input;
    struct verdicts row[256];
    int rows;
    struct verdicts all, whole;
    const char *last; /* node that was written last */
    char first[600];  /* what is off, or "" */
};

/* Compares the gradients of at most 24 of the trainable weights, evenly chosen, with differences of
 * the whole model's outputs. */
int ot_check_whole(struct model *m, const ot_tensor *inputs, struct findings *v, struct failure *f);

#endif
