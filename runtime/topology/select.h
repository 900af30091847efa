/* select.h - the k best of many scores, without sorting them.
 *
 * Scores are in a total order: the larger one is better, and of two equal ones that with the
 * smaller index. So a selection never depends on threads, nor on the order in which it is made.
 */
#ifndef OT_TOPOLOGY_SELECT_H
#define OT_TOPOLOGY_SELECT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Bits that are in the order of the numbers; -0 counts as 0. Scores are not NaN. */
static inline uint32_t ot_score_key(float score) {
    uint32_t bits;
    score += 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* Where a selection ends: all scores with a larger key are in it, and of those with this key the
 * first `ties`. */
struct cut {
    uint32_t key;
    int64_t ties;
};

/* The cut behind the k best of n scores; 0 <= k <= n. */
struct cut ot_select_best(const float *score, int64_t n, int64_t k);

/* Is the next score, in the order of their indices, among the best? Counts ties down. */
static inline bool ot_cut_takes(struct cut *cut, float score) {
    const uint32_t key = ot_score_key(score);
    const bool ties = key == cut->key, takes = (key > cut->key) | (ties & (cut->ties > 0));
    cut->ties -= ties; /* nobody can predict which scores are large: no branch */
    return takes;
}

#endif
