/* attention_parts.h - what attention_place.c and attention_move.c share. */
#ifndef OT_COMPILE_ATTENTION_PARTS_H
#define OT_COMPILE_ATTENTION_PARTS_H

#include "runtime/base/attention_form.h"
#include "runtime/base/view.h"
#include "runtime/compile/plan.h"

enum { OT_PLACE_VIEWS = 4 /* of x, cosines, sines, and features */ };

/* What is being found out: the node, and the way of one operand. */
struct place {
    struct plan *p;
    struct node *node;
    struct attr *attr;
    int64_t divide;
    int factors, masks;
    int64_t mode[OT_ATTENTION_MASKS];
    float fill[OT_ATTENTION_MASKS];
    struct tensor at;                 /* the shape on the way */
    struct view view[OT_PLACE_VIEWS]; /* views that are moved along with the shape */
    int views;
    bool by_token; /* the operand of an Attention that was placed last has no axis of heads */
    int broken;    /* the node that is looked at */
    ot_error *err;
};

/* Takes what is on the way through a node whose output `out` is read. */
ot_status ot_place_move(struct place *w, const struct node *node, int out, bool *moved);

/* Draws the shape of all that is on the way anew. */
bool ot_place_shape(struct place *w, const struct tensor *to);

#endif
