/* checkpoint.h - the parts of a checkpoint, for those who write and read it.
 *
 * Tensors, for each parameter NAME: "value:NAME" (float: its shape, or [nnz] with a pattern),
 * "row:NAME" and "col:NAME" (int32: the pattern's CSR arrays), and where they exist
 * "moment0:NAME", "moment1:NAME", "score:NAME" and, between micro-batches, "gradient:NAME".
 * Scalars: the options of the optimizer and all counters, see checkpoint_scalars.c. Metadata:
 * format, hash of the model, notes. The patterns are those of the model, unless masks have changed:
 * then they are in force.
 */
#ifndef OT_API_CHECKPOINT_H
#define OT_API_CHECKPOINT_H

#include "runtime/api/session.h"
#include "runtime/base/safetensors.h"

#define OT_CHECKPOINT_FORMAT "onnx-train checkpoint 1"
#define OT_NOTE_RESERVED     "onnx_train." /* keys of notes that begin so are the library's */
#define OT_NOTE_FORMAT       OT_NOTE_RESERVED "format"
#define OT_NOTE_MODEL        OT_NOTE_RESERVED "model"

/* Options of the optimizer, and all counters. */
struct scalars {
    ot_optimizer_options o;
    int32_t is_set;
    int64_t steps, head_classes;
    struct accumulation sum;
    uint64_t seed, step;
    double gradient_norm;
    int64_t updates, last_update; /* of the masks */
};

enum { OT_SCALARS_MOST = 40, OT_PARTS = 7 };

void ot_scalars_get(const struct ot_session *s, struct scalars *c);
void ot_scalars_set(struct ot_session *s, const struct scalars *c);
/* Those that this session's checkpoint has; the data are in c. Returns how many. */
int ot_scalars_list(const struct ot_session *s, const struct scalars *c,
                    struct safetensor list[OT_SCALARS_MOST]);
/* Of a file, checked against each other and the session; *found: how many it has. */
ot_status ot_scalars_read(const struct ot_session *s, const struct safetensors *file,
                          struct scalars *c, int *found, ot_error *err);

/* One tensor of a parameter. */
struct part {
    const char *prefix;
    const void *data; /* NULL: the session does not hold it now */
    ot_type type;
    int64_t count;         /* entries; -1: the shape of the parameter */
    enum state_part state; /* which part of the state it is, if it is one */
    float **block;         /* of what can be made on demand: gradient and moments */
    bool fixed;            /* the pattern: must be the same here and there */
};

/* With this pattern, or none. Returns how many there are. */
int ot_checkpoint_parts(struct parameter *p, const struct pattern *pattern,
                        struct part part[OT_PARTS]);
/* Its name, type and shape; the name stands in the arena. */
ot_status ot_checkpoint_describe(struct arena *arena, const struct parameter *p,
                                 const struct part *part, struct safetensor *t, ot_error *err);
/* Weights whose mask in the file differs from the session's: their patterns become those of the
 * file, and all their slots are new. r: zeroed, one for each parameter; *n: how many there are,
 * also after a failure. */
ot_status ot_checkpoint_masks(const struct ot_session *s, const struct safetensors *file,
                              struct arena *arena, struct rewiring *r, int *n, ot_error *err);
/* The model's SHA-256 as text. */
void ot_checkpoint_hash(const struct ot_session *s, char text[65]);

#endif
