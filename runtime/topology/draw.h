/* draw.h - random patterns and random values for them.
 *
 * All numbers are functions of (seed, update, layer) and a position or a draw: they depend neither
 * on threads nor on the order of calls. Memory and time grow with the slots and the rows, never
 * with rows x cols.
 */
#ifndef OT_TOPOLOGY_DRAW_H
#define OT_TOPOLOGY_DRAW_H

#include "runtime/base/pattern.h"

/* Who draws: the update that it is for (0: the beginning), and the number of the layer. */
struct draw {
    uint64_t seed;
    uint32_t update;
    uint32_t layer; /* below 2^24 */
};

/* Each position of the matrix is a slot with probability `density`, independent of all others: the
 * slots of a row are binomial, and their positions are drawn by Floyd's method. */
ot_status ot_draw_free(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                       bool transposed, double density, const struct draw *draw,
                       struct pattern **pattern, ot_error *err);

/* Every row has fan_in slots; 0 <= fan_in <= columns. */
ot_status ot_draw_fan_in(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                         bool transposed, int64_t fan_in, const struct draw *draw,
                         struct pattern **pattern, ot_error *err);

/* First values of a weight. */
struct start {
    ot_start_kind kind;
    bool dense_fan; /* true: uniform, with the fans of the dense matrix; false: normal, with the
                     * slots of the row, and the mean number of slots of a column */
    double outputs; /* dense_fan, xavier: outputs that one input of the dense matrix feeds */
};

/* Values for all slots; p NULL: for all rows x cols elements, in the file's order, of a dense
 * weight. Position k of the file's order gets the same number whatever other slots there are. */
void ot_draw_values(const struct pattern *p, int64_t rows, int64_t cols, const struct start *start,
                    const struct draw *draw, float *value);

#endif
