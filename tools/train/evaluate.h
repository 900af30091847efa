/* evaluate.h - one pass over labelled data in inference form. */
#ifndef OT_TOOLS_TRAIN_EVALUATE_H
#define OT_TOOLS_TRAIN_EVALUATE_H

#include "tools/data/batch.h"
#include "tools/model.h"

struct score {
    double loss, accuracy;             /* means over the targets that count */
    double loss_error, accuracy_error; /* standard errors: of batch means, and binomial */
    int64_t n;
};

/* Called now and then with the number of samples done; true stops the pass. NULL: nobody asks. */
typedef bool ot_tick_fn(void *context, int64_t done);

/* Batches of at most `batch` samples. A model that takes one sample at a time gets one. A stopped
 * pass gives the score of what was done. */
int ot_evaluate(struct model *m, const struct feed *feed, int64_t batch, ot_tick_fn *tick,
                void *context, struct score *score, struct failure *f);

/* The first samples in order, as indices from..from+count. */
void ot_count_up(int64_t *index, int64_t from, int64_t count);

#endif
