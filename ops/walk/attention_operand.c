/* attention_operand.c - matrices of attention, in place or copied. */
#include "ops/walk/attention_operand.h"

enum { RUN = 8 /* tokens side by side that are worth a copy of their own */ };

/* ---- tables ---- */

static int steps_to(const struct view *v, int axis) { return axis ? v->end[axis - 1] : 0; }

bool ot_operand_lanes(const struct view *v, int64_t sample_elements) {
    const int64_t s = sample_elements;
    const int tokens = steps_to(v, v->rank - 2), features = steps_to(v, v->rank - 1);
    int64_t last = s ? v->offset % s : 0;
    for (int i = 0; i < v->end[v->rank - 1]; i++) {
        const struct view_step *step = &v->step[i];
        const bool moves = step->extent > 1;
        if (!s || (moves && i >= tokens && i < features && step->stride != s)) return false;
        if (moves && i >= features && step->stride >= s) return false;
        if (step->stride >= s && step->stride % s) return false;
        if (step->stride < s) last += (step->extent - 1) * step->stride;
    }
    return last < s;
}

/* The part of the view that says which sample, or which element of one. */
static struct view view_part(const struct view *v, int64_t s, bool sample) {
    struct view part = *v;
    for (int i = 0; i < v->end[v->rank - 1]; i++) {
        int64_t *stride = &part.step[i].stride;
        if (sample)
            *stride = *stride >= s ? *stride / s : 0;
        else
            *stride = *stride >= s ? 0 : *stride;
    }
    return part;
}

static int64_t even(const int64_t *position, int64_t n) {
    const int64_t step = n > 1 ? position[1] - position[0] : 1;
    for (int64_t i = 2; i < n; i++)
        if (position[i] - position[i - 1] != step) return 0;
    return step;
}

ot_status ot_operand_prepare(const struct op_node *n, const struct view *v, const struct tensor *t,
                             struct operand *o, ot_error *err) {
    const int last = v->rank - 1;
    *o = (struct operand){.matrices = 1,
                          .tokens = ot_view_extent(v, last - 1),
                          .features = ot_view_extent(v, last),
                          .lanes = t ? t->lanes : 0,
                          .sample_elements = t ? ot_sample_elements(t) : 0};
    for (int i = 0; i < last - 1; i++) o->matrices *= ot_view_extent(v, i);
    const size_t total = 2 * (size_t)o->matrices + (size_t)o->tokens + (size_t)o->features;
    o->sample = ot_arena_alloc(n->arena, total, sizeof *o->sample);
    if (!o->sample) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    o->matrix = o->sample + o->matrices;
    o->token = o->matrix + o->matrices;
    o->feature = o->token + o->tokens;
    const int64_t s = o->lanes ? o->sample_elements : INT64_MAX;
    const struct view samples = view_part(v, s, true), elements = view_part(v, s, false);
    ot_view_positions(&samples, 0, last - 1, o->sample);
    ot_view_positions(&elements, 0, last - 1, o->matrix);
    ot_view_positions(o->lanes ? &samples : &elements, last - 1, last, o->token);
    ot_view_positions(&elements, last, last + 1, o->feature);
    for (int64_t m = 0; m < o->matrices; m++) {
        o->sample[m] += v->offset / s;
        o->matrix[m] += v->offset % s;
    }
    o->token_step = even(o->token, o->tokens);
    o->feature_step = even(o->feature, o->features);
    return OT_OK;
}

/* ---- places ---- */

/* Of token t of matrix m, feature 0. */
static int64_t token_offset(const struct operand *o, int64_t m, int64_t t) {
    if (!o->lanes) return o->matrix[m] + o->token[t];
    const int64_t sample = o->sample[m] + o->token[t];
    return (sample / o->lanes * o->sample_elements + o->matrix[m]) * o->lanes + sample % o->lanes;
}

static int64_t feature_place(const struct operand *o, int64_t f) {
    return o->feature[f] * (o->lanes ? o->lanes : 1);
}

/* Is it a matrix that products take as it is? */
static bool is_direct(const struct operand *o, int64_t m) {
    if (o->angle[0] || !o->token_step || !o->feature_step) return false;
    if (!o->lanes) return o->token_step == 1 || o->feature_step == 1;
    return o->token_step == 1 && (o->sample[m] + o->token[0]) % o->lanes + o->tokens <= o->lanes;
}

static struct matrix matrix_in_place(const struct operand *o, const struct tensor *x, int64_t m) {
    const int64_t lanes = o->lanes ? o->lanes : 1;
    return (struct matrix){ot_f(x) + token_offset(o, m, 0) + feature_place(o, 0), o->tokens,
                           o->features, o->token_step, o->feature_step * lanes};
}

static struct matrix packed_matrix(const struct operand *o, float *room) {
    const bool by_token = !o->lanes && o->feature_step == 1;
    return (struct matrix){room, o->tokens, o->features, by_token ? o->features : 1,
                           by_token ? 1 : o->tokens};
}

/* ---- copies ---- */

/* Features of tokens [from, to), which are neighbours. */
static void copy_run(const struct operand *o, float *x, int64_t from, int64_t to, int64_t place,
                     struct matrix c, bool back) {
    for (int64_t f = 0; f < o->features; f++) {
        float *there = x + place + feature_place(o, f), *here = c.p + f * c.col + from;
        for (int64_t t = 0; t < to - from; t++) {
            if (back)
                there[t] = here[t];
            else
                here[t] = there[t];
        }
    }
}

static void copy_token(const struct operand *o, float *x, int64_t t, int64_t place, struct matrix c,
                       bool back) {
    float *here = c.p + t * c.row;
    for (int64_t f = 0; f < o->features; f++) {
        float *there = x + place + feature_place(o, f);
        if (back)
            *there = here[f * c.col];
        else
            here[f * c.col] = *there;
    }
}

/* All of matrix m, from or to the packed form. */
static void copy_matrix(const struct operand *o, const struct tensor *x, int64_t m, struct matrix c,
                        bool back) {
    for (int64_t t = 0; t < o->tokens;) {
        const int64_t place = token_offset(o, m, t);
        int64_t to = t + 1;
        while (c.row == 1 && to < o->tokens && token_offset(o, m, to) == place + to - t) to++;
        if (to - t >= RUN)
            copy_run(o, ot_f(x), t, to, place, c, back);
        else
            for (int64_t i = t; i < to; i++)
                copy_token(o, ot_f(x), i, token_offset(o, m, i), c, back);
        t = to;
    }
}

/* ---- angles ---- */

int64_t ot_operand_angle_key(const struct operand *o, int64_t m) {
    return o->angle[0]->matrix[m] + o->angle[1]->matrix[m];
}

void ot_operand_angles(const struct operand *o, struct tensor *const angles[2], int64_t m,
                       float *tables) {
    for (int i = 0; i < 2; i++) {
        const struct operand *a = o->angle[i];
        const float *x = ot_f(angles[i]) + a->matrix[m];
        const struct matrix c = packed_matrix(o, tables + (size_t)i * ot_operand_size(o));
        for (int64_t t = 0; t < o->tokens; t++)
            for (int64_t f = 0; f < o->features; f++)
                c.p[t * c.row + f * c.col] = x[a->token[t] + a->feature[f]];
    }
}

/* (a, b) becomes (a cos - b sin, b cos + a sin), where each of the two has its own cosine and sine;
 * back: the gradient's way. */
static void rotate_run(float *restrict a, float *restrict b, const float *cosine, const float *sine,
                       int64_t distance, int64_t n, bool back) {
    const float *cosine_b = cosine + distance, *sine_b = sine + distance;
    if (back)
        for (int64_t i = 0; i < n; i++) {
            const float low = a[i] * cosine[i] + b[i] * sine_b[i];
            b[i] = b[i] * cosine_b[i] - a[i] * sine[i];
            a[i] = low;
        }
    else
        for (int64_t i = 0; i < n; i++) {
            const float low = a[i] * cosine[i] - b[i] * sine[i];
            b[i] = b[i] * cosine_b[i] + a[i] * sine_b[i];
            a[i] = low;
        }
}

/* Turns the pairs (f, f + half the features) of a packed matrix. */
static void rotate_pairs(const struct operand *o, const float *tables, struct matrix c, bool back) {
    const int64_t half = o->features / 2;
    const float *sines = tables + ot_operand_size(o);
    if (c.row == 1) {
        rotate_run(c.p, c.p + half * c.col, tables, sines, half * c.col, half * c.col, back);
        return;
    }
    for (int64_t t = 0; t < o->tokens; t++) {
        const int64_t at = t * c.row;
        rotate_run(c.p + at, c.p + at + half, tables + at, sines + at, half, half, back);
    }
}

/* ---- matrices ---- */

struct matrix ot_operand_target(const struct operand *o, const struct tensor *x, int64_t m,
                                float **room) {
    if (is_direct(o, m)) return matrix_in_place(o, x, m);
    const struct matrix c = packed_matrix(o, *room);
    *room += ot_operand_size(o);
    return c;
}

struct matrix ot_operand_read(const struct operand *o, const struct tensor *x, int64_t m,
                              const float *tables, float **room) {
    const struct matrix c = ot_operand_target(o, x, m, room);
    if (is_direct(o, m)) return c;
    copy_matrix(o, x, m, c, false);
    if (o->angle[0]) rotate_pairs(o, tables, c, false);
    return c;
}

void ot_operand_write(const struct operand *o, const struct tensor *x, int64_t m,
                      const float *tables, struct matrix c) {
    if (is_direct(o, m)) return;
    if (o->angle[0]) rotate_pairs(o, tables, c, true);
    copy_matrix(o, x, m, c, true);
}
