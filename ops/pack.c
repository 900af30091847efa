/* pack.c - copies the input of one tile into a small contiguous buffer. */
#include "ops/pack.h"

#include <string.h>

enum { FARTHEST = 1 << 20 }; /* from one tap to another */

int ot_axis_run(const struct axis *a, int64_t tap) {
    int residue = (int)((tap - a->first) % a->step);
    for (int i = 0; i < a->runs; i++)
        if (a->run[i].from % a->step == residue) return i;
    return -1;
}

bool ot_axis_init(struct axis *a, struct arena *arena, int64_t size, int step, const int64_t *tap,
                  int n) {
    int64_t first = n ? tap[0] : 0, last = first;
    for (int i = 1; i < n; i++) {
        if (tap[i] < first) first = tap[i];
        if (tap[i] > last) last = tap[i];
    }
    if (size > INT32_MAX || first < -FARTHEST || last > FARTHEST) return false;
    *a = (struct axis){.size = (int)size, .step = step, .first = (int)first};
    a->run = ot_arena_alloc(arena, (size_t)(n ? n : 1), sizeof *a->run);
    if (!a->run) return false;
    for (int i = 0; i < n; i++) { /* count is the last position of the class until the end */
        int u = (int)(tap[i] - first), r = ot_axis_run(a, tap[i]);
        if (r < 0) {
            a->run[r = a->runs++] = (struct axis_run){.from = u, .count = u};
        } else {
            if (u < a->run[r].from) a->run[r].from = u;
            if (u > a->run[r].count) a->run[r].count = u;
        }
    }
    for (int i = 0; i < a->runs; i++) {
        a->run[i].count = (a->run[i].count - a->run[i].from) / step;
        a->reach += a->run[i].count;
    }
    return true;
}

void ot_axis_tile(struct axis *a, int tile) {
    a->length = 0;
    for (int i = 0; i < a->runs; i++) {
        a->run[i].count += tile;
        a->run[i].base = a->length;
        a->length += a->run[i].count;
    }
}

int ot_axis_base(const struct axis *a, int64_t tap) {
    const struct axis_run *run = &a->run[ot_axis_run(a, tap)];
    return run->base + (int)(tap - a->first - run->from) / a->step;
}

int64_t ot_axis_clip(const struct axis *a, const struct axis_run *run, int output, int *from,
                     int *to) {
    int64_t start = (int64_t)output * a->step + a->first + run->from, s = a->step;
    int64_t lo = start < 0 ? (s - 1 - start) / s : 0;
    int64_t hi = start < a->size ? (a->size - start + s - 1) / s : 0;
    if (hi > run->count) hi = run->count;
    if (lo > hi) lo = hi;
    *from = (int)lo;
    *to = (int)hi;
    return start;
}

/* Lines [from, to) of a run of lines; `out` is the first line of that run. */
static void pack_columns(const struct kernels *k, const struct axis *columns,
                         const struct image *image, int ox, struct pack *p, const float *x,
                         float *out) {
    p->in_step = (size_t)columns->step * image->pixel;
    for (int i = 0; i < columns->runs; i++) {
        const struct axis_run *run = &columns->run[i];
        int from, to;
        int64_t start = ot_axis_clip(columns, run, ox, &from, &to);
        p->left = from;
        p->units = to - from;
        p->right = run->count - to;
        int64_t skip = to > from ? (start + (int64_t)from * columns->step) * (int64_t)image->pixel
                                 : 0;
        p->in = x + skip;
        p->out = out + (size_t)run->base * OT_UNIT;
        k->pack(p);
    }
}

static void pack_channel(const struct kernels *k, const struct axis *lines,
                         const struct axis *columns, const struct image *image, const float *x,
                         struct fetch fetch, int oy, int ox, float *out) {
    const size_t length = (size_t)columns->length * OT_UNIT;
    for (int i = 0; i < lines->runs; i++) {
        const struct axis_run *run = &lines->run[i];
        int from, to;
        int64_t start = ot_axis_clip(lines, run, oy, &from, &to);
        float *o = out + (size_t)run->base * length;
        if (from) memset(o, 0, (size_t)from * length * sizeof *o);
        if (to < run->count)
            memset(o + (size_t)to * length, 0, (size_t)(run->count - to) * length * sizeof *o);
        if (to == from) continue;
        size_t skip = (size_t)(start + (int64_t)from * lines->step) * image->line;
        struct pack p = {.lines = to - from, .in_line = (size_t)lines->step * image->line,
                         .out_line = length, .fetch = fetch};
        pack_columns(k, columns, image, ox, &p, x + skip, o + (size_t)from * length);
    }
}

void ot_pack(const struct kernels *k, const struct axis *lines, const struct axis *columns,
             const struct image *image, const float *x, const int32_t *channel, int n,
             struct fetch fetch, int oy, int ox, float *out) {
    const size_t size = (size_t)lines->length * (size_t)columns->length * OT_UNIT;
    for (int i = 0; i < n; i++)
        pack_channel(k, lines, columns, image, x + (size_t)channel[i] * image->channel, fetch, oy,
                     ox, out + (size_t)i * size);
}
