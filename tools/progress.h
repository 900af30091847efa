/* progress.h - what a run shows: a table of epochs, and on a terminal a bar beneath it. */
#ifndef OT_TOOLS_PROGRESS_H
#define OT_TOOLS_PROGRESS_H

#include "tools/options.h"

struct progress {
    bool bar, color;
    double start, epoch_start, shown; /* monotonic seconds */
    int64_t first;                    /* samples of the epoch that were done when it began here */
    bool line_open;                   /* the terminal's cursor stands behind a bar */
};

/* One epoch as the table shows it. NaN: not measured. */
struct row {
    int64_t epoch, epochs; /* epochs 0: nobody knows */
    double loss, val_loss, val_loss_error, accuracy, accuracy_error, lr, sparsity, rate;
    bool best;
};

/* Where a run stands within an epoch. */
struct standing {
    int64_t epoch, epochs, step, done, samples; /* done of `samples` */
    int64_t batches_left;                       /* of the whole run */
    int64_t batch;
    double loss;
};

double ot_now(void); /* monotonic seconds */

void ot_progress_start(struct progress *p, const struct settings *s);
void ot_progress_epoch(struct progress *p, int64_t done); /* an epoch begins, or is resumed */
void ot_progress_head(struct progress *p, bool counts);
void ot_progress_row(struct progress *p, const struct row *row);

/* At most every 0.1 s on a terminal, every 10 s elsewhere. */
void ot_progress_show(struct progress *p, const struct standing *at);

/* Removes the bar, before anything else is printed. */
void ot_progress_clear(struct progress *p);

#endif
