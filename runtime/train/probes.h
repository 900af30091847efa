/* probes.h - the best positions outside the masks of weights, by the gradients that probes of a
 * training step tell.
 *
 * The lists are made once, for the most positions that any update asks for; plans are made with
 * p.request, and a run that is to fill the lists gets p.sink (struct loss_io). A step that fills
 * them begins with ot_probes_start; after the step, ot_best_finish gives what they hold.
 */
#ifndef OT_TRAIN_PROBES_H
#define OT_TRAIN_PROBES_H

#include "runtime/run/context.h"
#include "runtime/topology/best.h"

/* Positions of a weight that an update may ask for, at most; 0: none. */
struct probe_count {
    int whole; /* of the whole weight */
    int row;   /* of each of its rows */
};

struct probe_lists {
    struct best whole, rows;
};

struct probes {
    ot_allocator allocator;
    int n; /* weights */
    struct probe_request *request;
    struct probe_lists *lists;
    struct probe_sink *sink; /* of each parameter of the model; NULL: there are no probes */
};

/* For those parameters whose count is not zero. */
ot_status ot_probes_new(const struct model *m, const struct probe_count *most, int workers,
                        struct probes *p, ot_error *err);
void ot_probes_free(struct probes *p); /* zeroed is fine */
size_t ot_probes_bytes(const struct probes *p, const struct model *m);
/* Forgets what the lists hold; from now on they are for so many positions of each parameter, with
 * the patterns that the model has now. */
void ot_probes_start(struct probes *p, const struct model *m, const struct probe_count *count);
/* The lists of a parameter; NULL: it has none. */
struct probe_lists *ot_probes_of(struct probes *p, int parameter);

#endif
