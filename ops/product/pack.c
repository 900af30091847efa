/* pack.c - copies the input of one tile into a small contiguous buffer. */
#include "ops/product/pack.h"

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

/* One run of lines crossed with one run of columns. */
static void pack_runs(const struct kernels *k, const struct axis *lines,
                      const struct axis_run *line, const struct axis *columns,
                      const struct axis_run *column, const struct image *image, int oy, int ox,
                      const float *x, struct pack *p) {
    int top, bottom, left, right;
    const int64_t y = ot_axis_clip(lines, line, oy, &top, &bottom);
    const int64_t z = ot_axis_clip(columns, column, ox, &left, &right);
    const bool any = bottom > top && right > left;
    p->top = any ? top : line->count;
    p->lines = any ? bottom - top : 0;
    p->bottom = line->count - p->top - p->lines;
    p->left = any ? left : column->count;
    p->units = any ? right - left : 0;
    p->right = column->count - p->left - p->units;
    p->in = x;
    if (any)
        p->in += (size_t)(y + (int64_t)top * lines->step) * image->line +
                 (size_t)(z + (int64_t)left * columns->step) * image->pixel;
    k->pack(p);
}

void ot_pack(const struct kernels *k, const struct axis *lines, const struct axis *columns,
             const struct image *image, const float *x, const int32_t *channel, int n,
             struct pack_way way, int oy, int ox, float *out) {
    const size_t length = (size_t)columns->length * OT_UNIT;
    struct pack p = {.channel = channel,
                     .channels = n,
                     .in_channel = image->channel,
                     .in_line = (size_t)lines->step * image->line,
                     .in_step = (size_t)columns->step * image->pixel,
                     .out_channel = (size_t)lines->length * length,
                     .out_line = length,
                     .way = way};
    for (int i = 0; i < lines->runs; i++)
        for (int j = 0; j < columns->runs; j++) {
            p.out =
                out + (size_t)lines->run[i].base * length + (size_t)columns->run[j].base * OT_UNIT;
            pack_runs(k, lines, &lines->run[i], columns, &columns->run[j], image, oy, ox, x, &p);
        }
}
