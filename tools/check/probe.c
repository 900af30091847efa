/* probe.c - gradients by the library against differences.
 *
 * An element x of an input moves to both sides by h, h/4, h/16, h/64. With d(h) = (L(x+h) -
 * L(x-h)) / 2h, the number (16 d(h/4) - d(h)) / 15 is exact up to h^4: a large step has little
 * noise, a small one does not reach what happens near x. One of them has to be the gradient. Where
 * none is, and the slopes to the right and to the left still differ over the smallest step, or d
 * has not come to rest, the loss has a kink or a jump at x: there is no gradient to compare with,
 * and the element is counted and left out.
 */
#include "tools/check/probe.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTS = 24 };
static const double TOLERANCE = 2e-3; /* of the largest gradient of the input */

float ot_random_unit(uint64_t k) {
    k = (k + 1) * 0x9e3779b97f4a7c15u;
    k = (k ^ (k >> 29)) * 0xbf58476d1ce4e5b9u;
    return (float)((double)(k >> 40) / (1 << 23) - 1);
}

size_t ot_count_of(const ot_tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

/* A tensor of y's shape with these data. */
static ot_tensor shaped(const ot_tensor *y, const float *data) {
    ot_tensor t = *y;
    t.data = data;
    return t;
}

/* ---- the loss ----------------------------------------------------------------------------- */

/* What does not depend on a change cancels exactly. */
ot_status ot_probe_loss(struct probe *p, double *sum, ot_error *err) {
    const ot_status status = ot_forward(p->session, p->x, p->n, p->y, p->m, err);
    double least = 0;
    *sum = p->noise = 0;
    for (int i = 0; i < p->m && !status; i++) {
        const float *y = p->y[i].data;
        const size_t n = p->weight[i] ? ot_count_of(&p->y[i]) : 0;
        for (size_t k = 0; k < n; k++) {
            if (p->weight[i][k] == 0) continue;
            const double rounding = fabs((double)p->weight[i][k] * y[k]) * FLT_EPSILON;
            least = fmax(least, rounding);
            if (y[k] == p->base[i][k]) continue;
            *sum += (double)p->weight[i][k] * ((double)y[k] - p->base[i][k]);
            p->noise += rounding;
        }
    }
    p->noise = fmax(p->noise, least); /* what has not changed may have been rounded back */
    return status;
}

/* Leaves out of the loss the outputs that no gradient flows back from. */
static int find_silent(struct probe *p, struct failure *f) {
    ot_error err = {0};
    ot_tensor *gradient = ot_take((size_t)p->m, sizeof *gradient, f);
    int code = gradient ? 0 : f->code;
    for (int i = 0; p->m > 1 && i < p->m && !code; i++) {
        if (!p->weight[i]) continue;
        gradient[i] = shaped(&p->y[i], p->weight[i]);
        if (ot_forward(p->session, p->x, p->n, p->y, p->m, NULL) ||
            ot_backward(p->session, gradient, p->m, &err)) {
            free(p->weight[i]);
            p->weight[i] = NULL;
        }
        gradient[i].data = NULL;
    }
    free(gradient);
    return code;
}

/* Outputs at the unchanged inputs, and the weights of the loss. */
int ot_probe_start(struct probe *p, struct check_case *c, struct failure *f) {
    ot_error err = {0};
    if (ot_forward(p->session, p->x, p->n, p->y, p->m, &err)) {
        ot_check_status(c, &err);
        return 0;
    }
    p->finite = true;
    for (int i = 0; i < p->m; i++) {
        const size_t n = ot_count_of(&p->y[i]);
        if (p->y[i].type != OT_FLOAT) continue;
        p->weight[i] = ot_take(n, sizeof(float), f);
        p->base[i] = ot_take(n, sizeof(float), f);
        if (!p->weight[i] || !p->base[i]) return f->code;
        memcpy(p->base[i], p->y[i].data, n * sizeof(float));
        for (size_t k = 0; k < n; k++)
            if (isfinite(p->base[i][k]))
                p->weight[i][k] = ot_random_unit(k * 64 + (size_t)i);
            else
                p->finite = false;
    }
    return find_silent(p, f);
}

/* Forward and backward at the unchanged inputs. */
ot_status ot_probe_differentiate(struct probe *p, ot_tensor *gradient, ot_error *err) {
    ot_status status = ot_forward(p->session, p->x, p->n, p->y, p->m, err);
    if (status) return status;
    for (int i = 0; i < p->m; i++) gradient[i] = shaped(&p->y[i], p->weight[i]);
    return ot_backward(p->session, gradient, p->m, err);
}

/* ---- differences -------------------------------------------------------------------------- */

static ot_status look_around(struct probe *p, float *x, ot_slopes *s, ot_error *err) {
    const float middle = *x;
    double h = ldexp(1, ilogb(fmax(fabs((double)middle), 1)) - 6), l;
    ot_status status = OT_OK;
    for (int k = 0; k < OT_SLOPE_LEVELS && !status; k++, h /= 4) {
        s->noise[k] = 0;
        for (int right = 0; right < 2 && !status; right++) {
            *x = (float)(middle + (right ? h : -h));
            status = ot_probe_loss(p, &l, err);
            (right ? s->right : s->left)[k] = l / ((double)*x - middle);
            s->noise[k] = fmax(s->noise[k], p->noise / h);
        }
    }
    *x = middle;
    return status;
}

static double central(const ot_slopes *s, int k) { return (s->left[k] + s->right[k]) / 2; }

enum verdict ot_judge_slopes(const ot_slopes *s, double tolerance, double *difference) {
    enum { LAST = OT_SLOPE_LEVELS - 1 };
    const double scale = tolerance * fmax(s->size, fabs(s->gradient));
    for (int k = 0; k < LAST; k++) {
        *difference = (16 * central(s, k + 1) - central(s, k)) / 15;
        if (fabs(*difference - s->gradient) <= scale + 2 * s->noise[k + 1]) return AGREES;
    }
    const double room = scale + 2 * s->noise[LAST];
    const double bend = fabs(s->right[LAST] - s->left[LAST]);
    const double bend_before = fabs(s->right[LAST - 1] - s->left[LAST - 1]);
    const bool steady = fabs(central(s, LAST) - central(s, LAST - 1)) <= room;
    const bool bent = bend > room && bend > 0.5 * bend_before;
    return steady && !bent ? DIFFERS : HAS_NO_GRADIENT;
}

/* The elements of an input that are looked at: all, or ELEMENTS of them. */
static size_t element(size_t k, size_t count) {
    return count <= ELEMENTS ? k : (k * count) / ELEMENTS + (k * 7919) % (count / ELEMENTS);
}

/* All that is around the elements of input i; then the gradient is compared with it. */
static int look_at_input(struct probe *p, int i, ot_slopes *a, struct check_case *c) {
    float *x = (float *)p->x[i].data; /* whoever opened the probe lets it change */
    ot_error err = {0};
    const size_t count = ot_count_of(&p->x[i]);
    for (size_t k = 0; k < (count < ELEMENTS ? count : ELEMENTS); k++)
        if (look_around(p, &x[element(k, count)], &a[k], &err)) {
            ot_check_status(c, &err);
            return 1;
        }
    return 0;
}

static void compare_input(struct probe *p, int i, ot_slopes *a, struct tally *t,
                          struct check_case *c) {
    ot_tensor gradient;
    ot_error err = {0};
    const size_t count = ot_count_of(&p->x[i]);
    double largest = 0, difference;
    if (ot_get_input_gradient(p->session, i, &gradient, &err)) {
        ot_check_status(c, &err);
        return;
    }
    const float *g = gradient.data;
    for (size_t k = 0; g && k < count; k++) largest = fmax(largest, fabs((double)g[k]));
    t->moves = t->moves || largest > 0;
    for (size_t k = 0; k < (count < ELEMENTS ? count : ELEMENTS); k++) {
        const size_t e = element(k, count);
        a[k].gradient = g ? (double)g[e] : 0;
        a[k].size = largest;
        enum verdict v = ot_judge_slopes(&a[k], TOLERANCE, &difference);
        if (g && !isfinite(g[e]) && !p->finite) v = HAS_NO_GRADIENT; /* nor has it a value */
        t->compared += v == AGREES;
        t->kinks += v == HAS_NO_GRADIENT;
        if (v != DIFFERS || c->outcome != CHECK_PASSED) continue;
        ot_value_info info = {0};
        ot_get_input(p->session, i, &info, NULL);
        ot_check_fail(c, "gradient of input '%s': element %zu is %.6g, the finite difference %.6g",
                      info.name, e, g ? (double)g[e] : 0, difference);
    }
}

int ot_probe_compare(struct probe *p, struct check_case *c, struct tally *t, struct failure *f) {
    ot_error err = {0};
    ot_slopes *a = ot_take((size_t)p->n * ELEMENTS, sizeof *a, f);
    ot_tensor *gradient = ot_take((size_t)p->m, sizeof *gradient, f);
    int code = a && gradient ? ot_probe_start(p, c, f) : f->code;
    for (int i = 0; i < p->n && !code && c->outcome == CHECK_PASSED; i++)
        if (p->x[i].type == OT_FLOAT) look_at_input(p, i, &a[i * ELEMENTS], c);
    if (!code && c->outcome == CHECK_PASSED && ot_probe_differentiate(p, gradient, &err))
        ot_check_status(c, &err);
    for (int i = 0; i < p->n && !code && c->outcome == CHECK_PASSED; i++)
        if (p->x[i].type == OT_FLOAT) compare_input(p, i, &a[i * ELEMENTS], t, c);
    free(gradient);
    free(a);
    return code;
}

/* ---- life --------------------------------------------------------------------------------- */

int ot_probe_open(struct probe *p, ot_session *session, const ot_tensor *x, struct failure *f) {
    *p = (struct probe){
        .session = session, .n = ot_input_count(session), .m = ot_output_count(session)};
    p->x = ot_take((size_t)p->n, sizeof *p->x, f);
    p->y = ot_take((size_t)p->m, sizeof *p->y, f);
    p->weight = ot_take((size_t)p->m, sizeof *p->weight, f);
    p->base = ot_take((size_t)p->m, sizeof *p->base, f);
    if (!p->x || !p->y || !p->weight || !p->base) return f->code;
    for (int i = 0; i < p->n; i++) p->x[i] = x[i];
    return 0;
}

void ot_probe_close(struct probe *p) {
    for (int i = 0; p->weight && p->base && i < p->m; i++) {
        free(p->weight[i]);
        free(p->base[i]);
    }
    free(p->weight);
    free(p->base);
    free(p->x);
    free(p->y);
}
