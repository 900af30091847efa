/* live_find.c - which rows and input channels of a pattern have slots, and what dense kernels shall
 * see of them. */
#include "ops/product/live.h"

/* A side of the product: the rows of W, or its input channels. */
struct side {
    bool *alive;
    int64_t each, kept; /* in one group */
};

static void mark_live(const struct pattern *p, const struct conv_shape *s, struct side *row,
                      struct side *channel, bool *group) {
    const int taps = s->kh * s->kw;
    for (int r = 0; r < p->rows; r++) {
        const int64_t g = r / row->each;
        if (p->row[r] == p->row[r + 1]) continue;
        row->alive[r] = group[g] = true;
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            channel->alive[g * channel->each + p->col[k] / taps] = true;
    }
}

/* As many as the fullest group has, and more until lanes are full. */
static void choose_kept(struct side *side, int groups, int64_t left, int lanes) {
    int64_t most = 1;
    for (int g = 0; g < groups; g++) {
        int64_t n = 0;
        for (int64_t i = 0; i < side->each; i++) n += side->alive[g * side->each + i];
        if (n > most) most = n;
    }
    while (lanes && most < side->each && most * left % lanes) most++;
    side->kept = 4 * most > 3 * side->each ? side->each : most;
}

/* Those alive in the groups that are left, with others before them in their group as there is
 * room. */
static bool list(struct arena *arena, const struct side *side, int groups, const bool *group,
                 int64_t left, const int32_t **out) {
    *out = NULL;
    if (side->kept == side->each && left == groups) return true;
    int32_t *at = ot_arena_alloc(arena, (size_t)(side->kept * left), sizeof *at);
    if (!at) return false;
    *out = at;
    for (int g = 0; g < groups; g++) {
        const bool *alive = side->alive + g * side->each;
        int64_t room = side->kept;
        if (left < groups && !group[g]) continue;
        for (int64_t i = 0; i < side->each; i++) room -= alive[i];
        for (int64_t i = 0; i < side->each; i++)
            if (alive[i] || room-- > 0) *at++ = (int32_t)(g * side->each + i);
    }
    return true;
}

bool ot_live_find(struct arena *arena, const struct pattern *p, const struct conv_shape *s,
                  int lanes, struct live *live) {
    const int groups = s->groups;
    bool *alive = ot_arena_alloc(arena, (size_t)(s->m + s->c) + (size_t)groups, sizeof *alive);
    if (!alive) return false;
    bool *group = alive + s->m + s->c;
    struct side row = {alive, s->m / groups, 0}, channel = {alive + s->m, s->c / groups, 0};
    int64_t left = 0;
    mark_live(p, s, &row, &channel, group);
    for (int g = 0; g < groups; g++) left += group[g];
    if (!left || 4 * left > 3 * (int64_t)groups) left = groups;
    choose_kept(&row, groups, left, lanes);
    choose_kept(&channel, groups, left, lanes);
    if (lanes && (row.kept * left % lanes || channel.kept * left % lanes)) {
        row.kept = row.each;
        channel.kept = channel.each;
        left = groups;
    }
    live->part = *s;
    live->part.groups = (int)left;
    live->part.m = row.kept * left;
    live->part.c = channel.kept * left;
    return list(arena, &row, groups, group, left, &live->row) &&
           list(arena, &channel, groups, group, left, &live->channel);
}
