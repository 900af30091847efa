/* best.h - the best of many candidates, which come in pieces and are never held all at once.
 *
 * Candidates are the positions of a matrix that are not slots of its pattern; a position is
 * row * cols + col. Of two candidates the one with the larger absolute gradient is better, and of
 * equal ones the one with the smaller position. This order is total: the result depends neither on
 * the pieces in which candidates come, nor on which worker takes them.
 *
 * Each worker has a list with room for a few times as many candidates as are asked for. When the
 * list is full, the best ones are selected by histograms of digits, without sorting; from then on
 * a candidate has to have a gradient that is not below theirs.
 */
#ifndef OT_TOPOLOGY_BEST_H
#define OT_TOPOLOGY_BEST_H

#include "runtime/base/pattern.h"

/* Some of the candidates that one worker has seen. */
struct best_list {
    float *gradient;
    int64_t *position;
    int n, room;    /* with so many candidates the list is full */
    uint32_t least; /* bits of the least absolute gradient of those selected last; 0: none were */
};

struct best {
    ot_allocator allocator;
    const struct pattern *pattern; /* of the matrix; slots are not candidates */
    int capacity;                  /* the most candidates that can be asked for */
    int count;                     /* candidates that are asked for */
    int workers;
    struct best_list *list; /* of each worker */
    /* The best of each row, where those are asked for: row r has row_n[r] of them, from number
     * r * count on, with ascending columns. */
    int rows; /* 0: the best of the whole matrix */
    int *row_n;
    float *row_gradient;
    int64_t *row_position;
};

/* Lists for up to `capacity` candidates of the matrix, and so many workers. */
ot_status ot_best_new(const ot_allocator *allocator, int capacity, int workers, struct best *b,
                      ot_error *err);
/* The same for up to `capacity` candidates of each of `rows` rows. */
ot_status ot_best_new_rows(const ot_allocator *allocator, int rows, int capacity, int workers,
                           struct best *b, ot_error *err);
void ot_best_free(struct best *b); /* zeroed is fine */
/* Bytes that such lists take; rows 0: the best of the whole matrix. */
size_t ot_best_bytes(int rows, int capacity, int workers);

/* Forgets all candidates. 0 <= count <= capacity. The pattern stays until the end. */
void ot_best_start(struct best *b, const struct pattern *pattern, int count);
/* n gradients of a row, from column col on. Calls at once are of different workers and different
 * rows. A row whose best are asked for comes in pieces with ascending columns, all of them from one
 * worker, with no other row between them. */
void ot_best_take(struct best *b, int worker, int row, int col, const float *gradient, int n);
/* One candidate of the whole matrix, which may be a slot: one that goes competes with positions
 * that have none. From one thread at a time, when all pieces have been taken. */
void ot_best_add(struct best *b, int64_t position, float gradient);
/* After all candidates have come: list[0] holds the best of the matrix, their positions ascending;
 * returns how many. Of rows, nothing is left to do. */
int ot_best_finish(struct best *b);

#endif
