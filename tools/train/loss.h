/* loss.h - which loss data and model have together, and what targets it takes. */
#ifndef OT_TOOLS_TRAIN_LOSS_H
#define OT_TOOLS_TRAIN_LOSS_H

#include "tools/model.h"

/* Connects data to a model: its inputs, then the loss of the settings, or the one that the data ask
 * for, then the targets. batch: samples in one. Sets the session's loss; *info tells it. */
int ot_loss_feed(struct feed *feed, const struct settings *s, struct model *m,
                 const struct data_source *d, int64_t batch, ot_loss_info *info, struct failure *f);

/* The same for other data of a loss that ot_loss_feed has found. */
int ot_loss_feed_more(struct feed *feed, const struct settings *s, const struct model *m,
                      const struct data_source *d, const ot_loss_info *info, struct failure *f);

/* Whether the loss counts right answers. */
bool ot_counts_right(ot_loss_kind kind);

/* "cross_entropy of 5 classes", in buffer. */
const char *ot_loss_text(const ot_loss_info *info, char *buffer, size_t size);

#endif
