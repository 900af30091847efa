/* probes.h - the best positions outside the masks of weights, by the gradients that probes of a
 * training step tell.
 *
 * The lists are made once, for the most positions that any update asks for; plans are made with
 * p.request, and a run that is to fill the lists gets p.sink (struct loss_io). Before the first
 * such run of an update comes ot_probes_start, before each one ot_probes_restart, and at the end
 * ot_probes_finish. Gradients at all positions are those of the last run. Those at random
 * candidates are summed over all runs, as gradients of slots are.
 */
#ifndef OT_TRAIN_PROBES_H
#define OT_TRAIN_PROBES_H

#include "runtime/run/context.h"
#include "runtime/topology/best.h"

/* Positions of a weight that an update may ask for, at most; 0: none. */
struct probe_count {
    int whole;      /* of the whole weight */
    int row;        /* of each of its rows; only among all positions */
    int candidates; /* random positions to choose among; 0: all */
};

struct probe_lists {
    struct best whole, rows;
    struct pattern *drawn; /* the candidates; NULL: all positions */
    float *sum;            /* of their gradients */
};

/* Which random numbers candidates are drawn with: parameter i has those of `stream` + i. */
struct probe_draw {
    uint64_t seed, stream;
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
 * the patterns that the model has now. Draws candidates: at most half of the positions that have no
 * slots. */
ot_status ot_probes_start(struct probes *p, const struct model *m, const struct probe_count *count,
                          const struct probe_draw *draw, ot_error *err);
/* Another run: forgets what was found among all positions. */
void ot_probes_restart(struct probes *p);
/* The gradients of all runs so far count for nothing: so do those of candidates. */
void ot_probes_clear(struct probes *p);
/* From here on list[0] of p.lists[i].whole holds the best positions, ascending, and .rows those of
 * each row. */
void ot_probes_finish(struct probes *p);
/* The same of one parameter. */
void ot_probe_lists_finish(struct probe_lists *l);
/* The lists of a parameter; NULL: it has none. */
struct probe_lists *ot_probes_of(struct probes *p, int parameter);

#endif
