/* state.c - blocks of gradients and moments. */
#include "runtime/train/state.h"

#include <string.h>

/* Is there a place for the parameter's gradient and moments? */
static bool has_place(const struct parameter *p) { return ot_is_trained(p) || p->has_state; }

size_t ot_state_size(const struct model *m) {
    size_t floats = 0;
    for (int i = 0; i < m->n_parameters; i++)
        if (has_place(&m->parameter[i])) floats += ot_parameter_room(&m->parameter[i]);
    return floats;
}

static float **block_of(struct state *s, enum state_part part) {
    return part == OT_STATE_GRADIENT ? &s->gradient : &s->moment[part];
}

static float **pointer_of(struct parameter *p, enum state_part part) {
    return part == OT_STATE_GRADIENT ? &p->gradient : &p->moment[part];
}

/* Does each trained weight stand where it would stand now? */
static bool is_laid_out(const struct state *s, const struct model *m) {
    size_t at = 0;
    for (int i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        if (!has_place(p)) continue;
        if (p->state != at) return false;
        at += ot_parameter_room(p);
    }
    return s->floats == at;
}

/* What parameters have of this part goes into the block. */
static void move_part(struct model *m, enum state_part part, float *block, ot_move_fn *move,
                      void *context) {
    for (int i = 0; i < m->n_parameters; i++) {
        struct parameter *p = &m->parameter[i];
        float **pointer = pointer_of(p, part);
        if (!*pointer) continue;
        move(context, p, *pointer, block + p->state);
        *pointer = block + p->state;
    }
}

static void set_places(struct model *m) {
    size_t at = 0;
    for (int i = 0; i < m->n_parameters; i++) {
        struct parameter *p = &m->parameter[i];
        if (!has_place(p)) continue;
        p->state = at;
        at += ot_parameter_room(p);
    }
}

ot_status ot_state_reserve(const struct state *s, size_t floats, struct state *fresh,
                           ot_error *err) {
    bool good = true;
    *fresh = (struct state){.allocator = s->allocator, .floats = floats};
    for (int part = OT_STATE_GRADIENT; part < OT_MOMENTS; part++) {
        const float *block = part < 0 ? s->gradient : s->moment[part];
        if (!block) continue;
        float **to = block_of(fresh, part);
        *to = ot_block_alloc(&s->allocator, floats, sizeof **to);
        good &= *to != NULL;
    }
    if (good) return OT_OK;
    ot_state_free(fresh);
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for gradients");
}

void ot_state_move(struct state *s, struct model *m, const struct state *fresh, ot_move_fn *move,
                   void *context) {
    set_places(m);
    for (int part = OT_STATE_GRADIENT; part < OT_MOMENTS; part++)
        if (*block_of(s, part))
            move_part(m, part, part < 0 ? fresh->gradient : fresh->moment[part], move, context);
    ot_state_free(s);
    *s = *fresh;
}

/* New blocks in place of the present ones. */
static ot_status lay_out_state(struct state *s, struct model *m, ot_error *err) {
    struct state fresh;
    OT_TRY(ot_state_reserve(s, ot_state_size(m), &fresh, err));
    ot_state_move(s, m, &fresh, ot_copy_values, NULL);
    return OT_OK;
}

ot_status ot_state_need(struct state *s, struct model *m, struct parameter *p, enum state_part part,
                        ot_error *err) {
    float **block = block_of(s, part), **pointer = pointer_of(p, part);
    if (*pointer) return OT_OK;
    p->has_state = true;
    if (!is_laid_out(s, m)) OT_TRY(lay_out_state(s, m, err));
    if (!*block) *block = ot_block_alloc(&s->allocator, s->floats, sizeof(float));
    if (!*block)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the gradient of '%s'", p->name);
    *pointer = *block + p->state;
    /* somebody else may have stood there; what lies between parameters is zero, too */
    memset(*pointer, 0, ot_parameter_room(p) * sizeof(float));
    return OT_OK;
}

void ot_state_settle(struct state *s, struct model *m) {
    if (!is_laid_out(s, m)) lay_out_state(s, m, NULL);
}

void ot_state_forget(struct parameter *p) {
    p->has_state = false;
    p->gradient = NULL;
    for (int k = 0; k < OT_MOMENTS; k++) p->moment[k] = NULL;
}

void ot_state_drop_moment(struct state *s, struct model *m, int k) {
    for (int i = 0; i < m->n_parameters; i++) {
        struct parameter *p = &m->parameter[i];
        p->moment[k] = NULL;
        p->has_state = p->gradient || p->moment[0] || p->moment[1] || p->moment[OT_SCORE];
    }
    ot_block_free(&s->allocator, s->moment[k]);
    s->moment[k] = NULL;
}

void ot_state_free(struct state *s) {
    ot_block_free(&s->allocator, s->gradient);
    for (int k = 0; k < OT_MOMENTS; k++) ot_block_free(&s->allocator, s->moment[k]);
}

size_t ot_state_bytes(const struct state *s) {
    size_t blocks = s->gradient != NULL;
    for (int k = 0; k < OT_MOMENTS; k++) blocks += s->moment[k] != NULL;
    return blocks * s->floats * sizeof(float);
}

size_t ot_state_missing(const struct state *s, const struct model *m, int moments) {
    const size_t floats = ot_state_size(m);
    size_t missing = 0;
    for (int k = -1; k < moments; k++) {
        const float *block = k < 0 ? s->gradient : s->moment[k];
        const size_t have = block ? s->floats : 0;
        if (floats > have) missing += floats - have;
    }
    return missing * sizeof(float);
}
