/* masked_parts.h - what masked.c and masked_find.c share. */
#ifndef OT_COMPILE_MASKED_PARTS_H
#define OT_COMPILE_MASKED_PARTS_H

#include <string.h>

#include "onnx/import.h"
#include "runtime/compile/const_value.h"

/* A node that lets some elements of input `input` through, and zeros elsewhere. */
struct masking {
    int node, input, root;           /* root: the weight */
    int named;                       /* the constant that is called its mask */
    int made[OT_CONST_MOST], n_made; /* nodes that make the mask */
    int64_t count;
    const uint8_t *lets; /* a bit an element of its input */
    const int *number;   /* the element of the root that each is; NULL: the same */
    bool wrong;
};

struct masks {
    const struct compiler *compiler;
    const struct kernels *kernels;
    struct graph *g;
    struct arena arena;   /* for the time of this work */
    int *origin;          /* of each value: the weight whose elements it holds, or -1 */
    int *uses;            /* of each value by nodes */
    bool *turned;         /* of each value: elements have moved on the way from its origin */
    struct masking *list; /* by node */
    int n, room;
    int64_t budget; /* elements that may still be looked at: no file makes this slow */
    uint8_t **open; /* of each value: the elements of its origin that it holds; NULL: all */
    uint8_t **seen; /* of each weight: the elements that somebody uses; NULL: none yet */
    bool *product;  /* of each weight: a product is among those */
    enum weight_use *use;
};

static inline bool ot_bit(const uint8_t *bits, int64_t i) { return bits[i / 8] >> i % 8 & 1; }
static inline void ot_set_bit(uint8_t *bits, int64_t i) { bits[i / 8] |= (uint8_t)(1 << i % 8); }
static inline size_t ot_bit_bytes(int64_t n) { return (size_t)(n + 7) / 8; }

/* ---- masked_find.c ---- */

/* The first pass: origin, turned and list, with `wrong` where a mask is no mask alone. */
ot_status ot_masked_find(struct masks *m, ot_error *err);
/* The weight that input i of a node holds, moved or masked perhaps, or -1. */
int ot_masked_origin(const struct masks *m, const struct node *node, int i);
/* Does it pass on elements of its first input, moved or rounded? */
bool ot_masked_passes(const struct graph *g, const struct node *node);

static inline bool ot_masked_is(const struct node *node, const char *op_type) {
    return !*node->domain && !strcmp(node->op_type, op_type);
}
static inline ot_status ot_masked_no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for masks of weights");
}

#endif
