/* probe.h - a loss on a model: a fixed random combination of its floating-point outputs. */
#ifndef OT_TOOLS_CHECK_PROBE_H
#define OT_TOOLS_CHECK_PROBE_H

#include "tools/check/check.h"

struct probe {
    ot_session *session;
    int n, m;
    ot_tensor *x, *y;
    float **weight; /* of each output in the loss; NULL: it is not floating-point */
    float **base;   /* outputs where the inputs are not changed */
    double noise;   /* of the last loss, by rounding */
    bool finite;    /* all outputs are, at the unchanged inputs */
};

/* Elements of gradients: those that agree with differences, and those without a gradient. */
struct tally {
    int64_t compared, kinks;
    bool moves; /* a gradient was not zero */
};

/* What slopes say of a gradient. `difference` is what it should be. */
enum verdict { AGREES, DIFFERS, HAS_NO_GRADIENT, VERDICTS };
enum verdict ot_judge_slopes(const ot_slopes *s, double tolerance, double *difference);

/* x: as many as the model has inputs; the data stay the caller's, and floats are changed and
 * changed back. Closing a probe leaves its session open; a zeroed one may be closed too. */
int ot_probe_open(struct probe *p, ot_session *session, const ot_tensor *x, struct failure *f);
void ot_probe_close(struct probe *p);

/* Compares the gradients of all floating-point inputs, which have been asked for. */
int ot_probe_compare(struct probe *p, struct check_case *c, struct tally *t, struct failure *f);

/* The two steps of it that need no differences: outputs and the loss's weights; then gradients.
 * `gradient` is room for one tensor an output. */
int ot_probe_start(struct probe *p, struct check_case *c, struct failure *f);
/* Forward; the loss, less that where nothing was changed. */
ot_status ot_probe_loss(struct probe *p, double *sum, ot_error *err);
ot_status ot_probe_differentiate(struct probe *p, ot_tensor *gradient, ot_error *err);

/* Numbers in [-1, 1) that depend on k alone. */
float ot_random_unit(uint64_t k);
size_t ot_count_of(const ot_tensor *t); /* elements */

#endif
