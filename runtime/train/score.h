/* score.h - what is added up over steps to tell which weights may go. */
#ifndef OT_TRAIN_SCORE_H
#define OT_TRAIN_SCORE_H

#include "runtime/base/pool.h"
#include "runtime/model/parameter.h"

/* Before an optimizer step: each weight with a score (moment OT_SCORE) gets -rate scale g w added
 * to it: weights that the step moves away from zero gain (Sanh et al., movement pruning, arXiv
 * 2005.07683, eq. 5). */
void ot_score_add(struct parameter *parameter, int n, float rate, float scale, struct pool *pool);

#endif
