/* constrain.h - which slots of a weight stay under a constraint: the best by their scores, and of
 * equal ones the first.
 *
 * score and keep have an element for each slot. (Without a constraint: ot_keep_best of keep.h.)
 */
#ifndef OT_TOPOLOGY_CONSTRAIN_H
#define OT_TOPOLOGY_CONSTRAIN_H

#include "runtime/base/pattern.h"

/* The `most` best of each row; rows that have fewer keep all. */
void ot_keep_fan_in(const struct pattern *p, const float *score, int most, bool *keep);

/* The n best of each group of m neighbouring inputs. taps: columns of one input channel of a
 * convolution, else 1; a group is m channels at one tap. m divides the number of channels. */
ot_status ot_keep_nm(const struct pattern *p, const float *score, int taps, int n, int m,
                     bool *keep, ot_error *err);

/* The `most` best blocks of rows x cols elements, by the sum of the squares of their scores, with
 * the signs of these. The block divides the matrix. */
ot_status ot_keep_blocks(const struct pattern *p, const float *score, int rows, int cols,
                         int64_t most, bool *keep, ot_error *err);

#endif
