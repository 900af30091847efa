/* attention_operand.h - the operands of attention: matrices of tokens and features, one a sample
 * and head, read and written where a view says that their elements are.
 *
 * In lanes the tokens of a sample are neighbours mostly, and in rows its features: such a matrix is
 * used in place. Any other is copied to and fro, and so is one whose pairs of features are turned
 * by the angle of their token (rotary embedding).
 */
#ifndef OT_OPS_WALK_ATTENTION_OPERAND_H
#define OT_OPS_WALK_ATTENTION_OPERAND_H

#include "ops/op.h"
#include "runtime/base/view.h"

/* Element (m, t, f) has the number matrix[m] + token[t] + feature[f] in rows. In lanes it stands in
 * sample sample[m] + token[t], as element matrix[m] + feature[f]. */
struct operand {
    int64_t matrices, tokens, features;
    int64_t *sample, *matrix, *token, *feature;
    int64_t token_step, feature_step; /* strides, where they are constant; else 0 */
    int lanes;                        /* 0: rows */
    int64_t sample_elements;
    /* Cosines and sines of the angles by which it is turned, as operands in rows; or NULL. */
    const struct operand *angle[2];
};

struct matrix {
    float *p;
    int64_t rows, cols, row, col; /* distances in floats, one of which is 1 */
};

/* All axes but the last two of v are one of matrices. Can matrices be read well in lanes of tensors
 * with this many elements a sample: are tokens neighbours there? Others are read in rows. */
bool ot_operand_lanes(const struct view *v, int64_t sample_elements);
/* Makes the tables in the arena. t says how its elements lie, or NULL: in rows. */
ot_status ot_operand_prepare(const struct op_node *n, const struct view *v, const struct tensor *t,
                             struct operand *o, ot_error *err);

/* Floats that a copy takes, or one of the two tables of angles. */
static inline size_t ot_operand_size(const struct operand *o) {
    return (size_t)(o->tokens * o->features);
}
/* Where its angles differ from those of matrix 0. */
int64_t ot_operand_angle_key(const struct operand *o, int64_t m);
/* Fills the tables of matrix m, cosines and sines of these tensors, which the calls below read. */
void ot_operand_angles(const struct operand *o, struct tensor *const angles[2], int64_t m,
                       float *tables);

/* Matrix m of x to read: in place, or in *room, which moves on. */
struct matrix ot_operand_read(const struct operand *o, const struct tensor *x, int64_t m,
                              const float *tables, float **room);
/* The same to be written; ot_operand_write has to follow. */
struct matrix ot_operand_target(const struct operand *o, const struct tensor *x, int64_t m,
                                float **room);
/* Puts what was written to its place, as a gradient of what was turned. */
void ot_operand_write(const struct operand *o, const struct tensor *x, int64_t m,
                      const float *tables, struct matrix c);

#endif
