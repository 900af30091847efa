/* view.c - strides of values that were moved without moving anything. */
#include "runtime/base/view.h"

void ot_view_init(struct view *v, int rank, const int64_t *dim) {
    int64_t stride = 1;
    *v = (struct view){.rank = rank};
    for (int i = rank - 1; i >= 0; i--) {
        v->step[i] = (struct view_step){dim[i], stride};
        v->end[i] = i + 1;
        stride *= dim[i];
    }
}

int64_t ot_view_extent(const struct view *v, int axis) {
    int64_t n = 1;
    for (int i = ot_view_begin(v, axis); i < v->end[axis]; i++) n *= v->step[i].extent;
    return n;
}

static int steps_of(const struct view *v) { return v->rank ? v->end[v->rank - 1] : 0; }

bool ot_view_transpose(struct view *v, const int *perm) {
    const struct view x = *v;
    int n = 0;
    for (int i = 0; i < x.rank; i++) {
        for (int k = ot_view_begin(&x, perm[i]); k < x.end[perm[i]]; k++) v->step[n++] = x.step[k];
        v->end[i] = n;
    }
    return true;
}

/* Takes strides from the front of those that are left, until they are `extent` elements. */
static bool take_strides(struct view_step *left, int *from, int to, int64_t extent, struct view *v,
                         int *n) {
    while (extent > 1) {
        if (*from == to || *n == OT_VIEW_STEPS) return false;
        struct view_step *s = &left[*from];
        if (extent % s->extent == 0) {
            extent /= s->extent;
            v->step[(*n)++] = *s;
            ++*from;
        } else if (s->extent % extent == 0) {
            s->extent /= extent;
            v->step[(*n)++] = (struct view_step){extent, s->stride * s->extent};
            extent = 1;
        } else {
            return false;
        }
    }
    return true;
}

bool ot_view_reshape(struct view *v, int rank, const int64_t *dim) {
    struct view_step left[OT_VIEW_STEPS];
    int to = 0, from = 0, n = 0;
    if (rank > OT_MAX_RANK) return false;
    for (int i = 0; i < steps_of(v); i++) {
        if (!v->step[i].extent) return false;
        if (v->step[i].extent > 1) left[to++] = v->step[i];
    }
    for (int i = 0; i < rank; i++) {
        if (!take_strides(left, &from, to, dim[i], v, &n)) return false;
        v->end[i] = n;
    }
    v->rank = rank;
    return from == to;
}

bool ot_view_slice(struct view *v, int axis, int64_t from, int64_t count) {
    const int first = ot_view_begin(v, axis);
    int64_t inner = 1;
    if (first == v->end[axis]) return !from && count == 1;
    for (int i = first + 1; i < v->end[axis]; i++) inner *= v->step[i].extent;
    if (from % inner || count % inner) return false;
    v->offset += from / inner * v->step[first].stride;
    v->step[first].extent = count / inner;
    return true;
}

bool ot_view_expand(struct view *v, int rank, const int64_t *dim) {
    const struct view x = *v;
    const int added = rank - x.rank;
    int n = 0;
    if (added < 0 || rank > OT_MAX_RANK) return false;
    for (int i = 0; i < rank; i++) {
        const int64_t extent = i < added ? 1 : ot_view_extent(&x, i - added);
        if (extent != dim[i] && extent != 1) return false;
        if (n + (i < added ? 1 : x.end[i - added]) >= OT_VIEW_STEPS) return false;
        if (extent != dim[i])
            v->step[n++] = (struct view_step){dim[i], 0};
        else if (i >= added)
            for (int k = ot_view_begin(&x, i - added); k < x.end[i - added]; k++)
                v->step[n++] = x.step[k];
        v->end[i] = n;
    }
    v->rank = rank;
    return true;
}

/* A step of a view, and the stride of the view's own elements. */
struct pair {
    struct view_step step;
    int64_t own;
};

/* The steps of more than one element, the largest stride first. */
static int sort_steps(const struct view *v, struct pair *sorted) {
    int64_t own = 1;
    int n = 0;
    for (int i = steps_of(v) - 1; i >= 0; own *= v->step[i--].extent) {
        if (v->step[i].extent == 1) continue;
        int at = n++;
        for (; at && sorted[at - 1].step.stride < v->step[i].stride; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = (struct pair){v->step[i], own};
    }
    return n;
}

bool ot_view_invert(const struct view *v, int rank, const int64_t *dim, struct view *inverse) {
    struct pair sorted[OT_VIEW_STEPS];
    struct view_step left[OT_VIEW_STEPS];
    const int count = sort_steps(v, sorted);
    int64_t stride = 1;
    int from = 0, n = 0;
    for (int i = count - 1; i >= 0; stride *= sorted[i--].step.extent)
        if (sorted[i].step.stride != stride) return false;
    for (int i = 0; i < count; i++)
        left[i] = (struct view_step){sorted[i].step.extent, sorted[i].own};
    *inverse = (struct view){.rank = rank};
    for (int i = 0; i < rank; i++) {
        if (!take_strides(left, &from, count, dim[i], inverse, &n)) return false;
        inverse->end[i] = n;
    }
    return from == count && !v->offset;
}

/* Where strides below `period` reach in it: from *low to *high; false: beyond, or strides from
 * there on are no multiples. */
static bool reach_in_period(const struct view *v, int64_t period, int64_t *low, int64_t *high) {
    *low = *high = v->offset % period;
    for (int i = 0; i < steps_of(v); i++) {
        if (v->step[i].stride < period)
            *high += (v->step[i].extent - 1) * v->step[i].stride;
        else if (v->step[i].stride % period)
            return false;
    }
    return *high < period;
}

bool ot_view_disjoint(const struct view *a, const struct view *b) {
    int64_t low_a, high_a, low_b, high_b;
    for (int i = 0; i < steps_of(a); i++) {
        const int64_t period = a->step[i].stride;
        if (period > 1 && reach_in_period(a, period, &low_a, &high_a) &&
            reach_in_period(b, period, &low_b, &high_b) && (high_a < low_b || high_b < low_a))
            return true;
    }
    return reach_in_period(a, INT64_MAX, &low_a, &high_a) &&
           reach_in_period(b, INT64_MAX, &low_b, &high_b) && (high_a < low_b || high_b < low_a);
}

void ot_view_positions(const struct view *v, int from, int to, int64_t *position) {
    int64_t n = 1;
    position[0] = 0;
    for (int i = ot_view_begin(v, from); to > from && i < v->end[to - 1]; i++) {
        const struct view_step *s = &v->step[i];
        for (int64_t k = n - 1; k >= 0; k--)
            for (int64_t j = s->extent - 1; j >= 0; j--)
                position[k * s->extent + j] = position[k] + j * s->stride;
        n *= s->extent;
    }
}
