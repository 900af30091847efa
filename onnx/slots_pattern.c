/* slots_pattern.c - slots that were read become the pattern of a weight and its values, on as many
 * threads as there are. */
#include <string.h>

#include "onnx/pieces.h"
#include "onnx/slots.h"
#include "runtime/base/pattern.h"

/* Columns become rows a tile at a time, SEGMENTS high and so wide that the lines which are written
 * to, one a column and array, stay in a core's own cache; wider where a segment has fewer slots
 * than WORTH in that many columns. */
enum { SEGMENTS = 512, COLUMNS = 1024, WORTH = 8 };
enum { STEP = 512 }; /* runs that are copied at once */

/* The runs are divided into groups that follow each other, one a thread. */
struct build {
    const struct slots *s;
    struct pattern *p;
    float *value;
    int groups;
    int *count;    /* [groups][columns of the file]: slots; then, where the group's next one goes
                    */
    int64_t tile;  /* columns */
    int64_t first; /* run of this step */
};

static int64_t first_run(const struct build *b, int group) {
    return b->s->runs * group / b->groups;
}

static int *group_counts(const struct build *b, int group) { return b->count + group * b->s->cols; }

/* Slots of one segment. */
struct segment {
    int64_t row, base; /* element `at` stands in column base + at */
    const uint16_t *at;
    const float *value;
    int first, n; /* number of its first slot; how many */
};

/* Goes from segment to segment. */
struct walk {
    int64_t run, runs;       /* the current run; the end of the walk */
    int64_t next, from, end; /* the next segment; those of the run */
};

static int64_t first_segment(const struct slots *s, int64_t run) {
    return run < s->runs ? run + run * OT_PIECE / s->cols : s->segments;
}

static struct walk walk_runs(const struct slots *s, int64_t run, int64_t runs) {
    const int64_t from = first_segment(s, run);
    return (struct walk){run, runs, from, from, first_segment(s, run + 1)};
}

static struct walk walk_group(const struct build *b, int group) {
    return walk_runs(b->s, first_run(b, group), first_run(b, group + 1));
}

/* false: the walk has ended. */
static bool next_segment(const struct slots *s, struct walk *w, struct segment *g) {
    if (w->next == w->end) {
        if (w->run + 1 >= w->runs) return false;
        *w = walk_runs(s, w->run + 1, w->runs);
    }
    const int64_t i = w->next++, row = i - w->run;
    const int first = s->segment[i], before = first - s->segment[w->from];
    *g = (struct segment){.row = row,
                          .base = w->run * OT_PIECE - row * s->cols,
                          .at = s->run[w->run].at + before,
                          .value = s->run[w->run].value + before,
                          .first = first,
                          .n = s->segment[i + 1] - first};
    return true;
}

/* ---- rows remain rows ---- */

static void copy_segments(void *arg, int task, int worker) {
    const struct build *b = arg;
    struct walk w = walk_runs(b->s, b->first + task, b->first + task + 1);
    struct segment g;
    (void)worker;
    while (next_segment(b->s, &w, &g)) {
        int *col = b->p->col + g.first;
        for (int j = 0; j < g.n; j++) col[j] = (int)(g.base + g.at[j]);
        if (g.n) memcpy(b->value + g.first, g.value, (size_t)g.n * sizeof *g.value);
    }
}

/* ---- columns become rows ---- */

/* Slots of segments from their `next` on, to where their columns go on. */
static void move_tile(const struct build *b, int *count, const struct segment *segment, int n,
                      int *next, int64_t end) {
    int *const to_col = b->p->col;
    float *const to_value = b->value;
    for (int i = 0; i < n; i++) {
        const struct segment *g = &segment[i];
        const int64_t most = end - g->base;
        int j = next[i];
        for (; j < g->n && g->at[j] < most; j++) {
            const int to = count[g->base + g->at[j]]++;
            to_col[to] = (int)g->row;
            to_value[to] = g->value[j];
        }
        next[i] = j;
    }
}

static void scatter(void *arg, int group, int worker) {
    const struct build *b = arg;
    struct walk w = walk_group(b, group);
    struct segment segment[SEGMENTS];
    int n;
    (void)worker;
    do {
        int next[SEGMENTS] = {0};
        for (n = 0; n < SEGMENTS && next_segment(b->s, &w, &segment[n]);) n++;
        for (int64_t col = 0; col < b->s->cols; col += b->tile)
            move_tile(b, group_counts(b, group), segment, n, next, col + b->tile);
    } while (n == SEGMENTS);
}

/* ---- counts ---- */

static void count_group(void *arg, int group, int worker) {
    const struct build *b = arg;
    int *const count = group_counts(b, group);
    struct walk w = walk_group(b, group);
    struct segment g;
    (void)worker;
    while (next_segment(b->s, &w, &g))
        for (int j = 0; j < g.n; j++) count[g.base + g.at[j]]++;
}

/* Whether a column has any; that is soon known. */
static void mark_columns(void *arg, int group, int worker) {
    const struct build *b = arg;
    int *const met = group_counts(b, group);
    struct walk w = walk_group(b, group);
    struct segment g;
    int64_t missing = b->s->cols;
    (void)worker;
    while (missing && next_segment(b->s, &w, &g))
        for (int j = 0; j < g.n; j++) {
            missing -= !met[g.base + g.at[j]];
            met[g.base + g.at[j]] = 1;
        }
}

/* How many rows of the file have a slot. start: what follows the last one of each; or NULL. */
static int find_rows(const struct slots *s, int *start) {
    int live = 0, n = 0;
    for (int64_t r = 0; r < s->rows; r++) {
        const int end = s->segment[r + ((r + 1) * s->cols - 1) / OT_PIECE + 1];
        live += end > n;
        n = end;
        if (start) start[r + 1] = end;
    }
    return live;
}

/* The same of its columns, whose counts become places. */
static int find_cols(const struct build *b, int *start) {
    int live = 0, n = 0;
    for (int64_t c = 0; c < b->s->cols; c++) {
        const int before = n;
        for (int g = 0; g < b->groups; g++) {
            int *count = &group_counts(b, g)[c];
            const int slots = *count;
            *count = n;
            n += slots;
        }
        live += n > before;
        if (start) start[c + 1] = n;
    }
    return live;
}

/* ---- all of it ---- */

/* What has been copied is given back, for the rest of the pattern. */
static void keep_rows(struct import *im, struct slots *s, struct build *b) {
    ot_import_parallel(im, b->groups, mark_columns, b);
    b->p->live_rows = find_rows(s, b->p->row);
    b->p->live_cols = find_cols(b, NULL);
    for (int64_t left; b->first < s->runs; b->first += STEP) {
        left = s->runs - b->first;
        ot_import_parallel(im, left < STEP ? (int)left : STEP, copy_segments, b);
        ot_slots_release(im, s, b->first + STEP);
    }
}

static void transpose(struct import *im, const struct slots *s, struct build *b) {
    ot_import_parallel(im, b->groups, count_group, b);
    b->p->live_rows = find_cols(b, b->p->row);
    b->p->live_cols = find_rows(s, NULL);
    const double slots = (double)s->n / (double)s->segments / (double)s->cols; /* a column */
    const double width = slots > 0 ? WORTH / slots : 0;
    b->tile =
        width > COLUMNS ? (int64_t)(width < (double)s->cols ? width : (double)s->cols) : COLUMNS;
    ot_import_parallel(im, b->groups, scatter, b);
}

/* Each has a run, and its counts take no more memory than slots do. */
static int choose_groups(const struct import *im, const struct slots *s) {
    const int workers = ot_import_workers(im), most = workers < OT_LANES ? workers : OT_LANES;
    const int64_t slots = s->n / (s->cols + 1), worth = slots < s->runs ? slots : s->runs;
    return worth < 1 ? 1 : worth < most ? (int)worth : most;
}

ot_status ot_slots_pattern(struct import *im, struct slots *s, bool transposed, struct tensor *t) {
    struct pattern *p = NULL;
    float *value = ot_arena_alloc_dirty(&im->g->arena, (size_t)s->n, sizeof *value);
    if (!value) return ot_import_no_room(im, &im->g->arena, (size_t)s->n * sizeof *value);
    OT_TRY(ot_pattern_alloc(&im->allocator, s->rows, s->cols, transposed, s->n, &p, &im->last));
    t->pattern = p; /* freed with the tensor */
    t->data = value;
    struct build b = {.s = s, .p = p, .value = value, .groups = choose_groups(im, s)};
    b.count = ot_block_alloc(&im->allocator, (size_t)b.groups * (size_t)s->cols, sizeof *b.count);
    if (!b.count) return ot_import_fail(im, OT_ERROR_NO_MEMORY, "out of memory for a weight");
    if (transposed)
        transpose(im, s, &b);
    else
        keep_rows(im, s, &b);
    ot_block_free(&im->allocator, b.count);
    return OT_OK;
}
