/* einsum.c - Einsum: y = the sum of the product of all inputs over the labels that y does not have
 * (ONNX Einsum-12): letters, repeated ones, and an ellipsis for axes that broadcast; of integers
 * too, which wrap around.
 *
 * Operands are taken from left to right, two at a time; each step is a contraction, and so are its
 * gradients. What comes between two steps is kept for backward.
 */
#include <ctype.h>
#include <string.h>

#include "ops/number.h"
#include "ops/walk/contraction.h"

enum { LETTERS = 52, NAMES = LETTERS + OT_MAX_RANK, OPERANDS = 8, LABELS = OT_ARRAY_RANK };

/* Axes of one operand by name: a letter, or behind those an axis of the ellipsis. */
struct term {
    int n, axis[2 * OT_MAX_RANK];
    int ellipsis; /* position of it; -1: none */
};

struct step {
    struct contraction forward, da, db;
    int64_t between;       /* elements of what it makes; 0: y */
    size_t save, gradient; /* their place in save, that of their gradient in scratch, in elements */
};

struct einsum_plan {
    int labels, label_of[NAMES]; /* -1: not used */
    int64_t dim[LABELS];
    int steps;
    struct step step[OPERANDS];
    union {
        float real;
        int64_t integer;
    } one; /* the other operand of a single one; of a narrow integer the first bytes */
};

static int name_of(char c) { return c >= 'a' ? c - 'a' + 26 : c - 'A'; }

/* A term up to ',' or '-' or the end; the ellipsis's axes come later. */
static ot_status parse_term(const struct op_node *n, const char **text, struct term *t,
                            ot_error *err) {
    const char *p = *text;
    *t = (struct term){.ellipsis = -1};
    for (; *p && *p != ',' && *p != '-'; p++) {
        if (*p == ' ') continue;
        if (!strncmp(p, "...", 3) && t->ellipsis < 0) {
            t->ellipsis = t->n;
            p += 2;
        } else if (isalpha((unsigned char)*p) && t->n < OT_MAX_RANK) {
            t->axis[t->n++] = name_of(*p);
        } else {
            return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'equation' has '%.20s'", p);
        }
    }
    *text = p;
    return OT_OK;
}

/* Puts `extra` axes in place of the ellipsis; the last one is always the last name. */
static void expand(struct term *t, int extra) {
    if (t->ellipsis < 0) return;
    memmove(t->axis + t->ellipsis + extra, t->axis + t->ellipsis,
            (size_t)(t->n - t->ellipsis) * sizeof *t->axis);
    for (int i = 0; i < extra; i++) t->axis[t->ellipsis + i] = NAMES - extra + i;
    t->n += extra;
}

/* Without "->": the ellipsis, then the letters that come once, in their order. */
static void implicit_output(const struct term *in, int n, int extra, struct term *out) {
    int count[NAMES] = {0};
    *out = (struct term){.ellipsis = -1};
    for (int i = 0; i < n; i++)
        for (int k = 0; k < in[i].n; k++) count[in[i].axis[k]]++;
    for (int i = 0; i < extra; i++) out->axis[out->n++] = NAMES - extra + i;
    for (int l = 0; l < LETTERS; l++)
        if (count[l] == 1 && out->n < 2 * OT_MAX_RANK) out->axis[out->n++] = l;
}

static ot_status parse(const struct op_node *n, struct term *in, struct term *out, ot_error *err) {
    const char *p = ot_attr_string(n->node, "equation", "");
    int extra = 0; /* axes of the longest ellipsis */
    for (int i = 0; i < n->n_in; i++) {
        OT_TRY(parse_term(n, &p, &in[i], err));
        const int more = n->x[i]->rank - in[i].n;
        if (more < 0 || (more > 0 && in[i].ellipsis < 0) || (*p == ',') != (i < n->n_in - 1))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute 'equation' does not fit input %d of rank %d", i,
                              n->x[i]->rank);
        if (more > extra) extra = more;
        expand(&in[i], more);
        p += *p == ',';
    }
    if (!*p) {
        implicit_output(in, n->n_in, extra, out);
        return OT_OK;
    }
    if (*p++ != '-' || *p++ != '>')
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'equation' has '%.20s'", p - 1);
    OT_TRY(parse_term(n, &p, out, err));
    if (*p) return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'equation' has '%.20s'", p);
    expand(out, extra);
    return OT_OK;
}

/* Numbers the names that are used, and finds their extents. */
static ot_status find_labels(const struct op_node *n, struct einsum_plan *plan,
                             const struct term *in, ot_error *err) {
    for (int i = 0; i < NAMES; i++) plan->label_of[i] = -1;
    for (int i = 0; i < n->n_in; i++)
        for (int k = 0; k < in[i].n; k++) {
            int *l = &plan->label_of[in[i].axis[k]];
            const int64_t dim = n->x[i]->dim[k];
            if (*l < 0 && plan->labels == LABELS)
                return ot_op_fail(n, err, OT_ERROR_LIMIT,
                                  "attribute 'equation' has more than %d labels", LABELS);
            if (*l < 0) plan->dim[ *l = plan->labels++] = dim;
            if (plan->dim[*l] == 1) plan->dim[*l] = dim;
            if (dim != plan->dim[*l] && dim != 1)
                return ot_op_fail(n, err, OT_ERROR_INVALID,
                                  "axis %d of input %d has extent %lld, expected %lld", k, i,
                                  (long long)dim, (long long)plan->dim[*l]);
        }
    return OT_OK;
}

static ot_status set_output(struct op_node *n, const struct einsum_plan *plan,
                            const struct term *out, ot_error *err) {
    int64_t dim[2 * OT_MAX_RANK];
    uint32_t seen = 0;
    for (int k = 0; k < out->n; k++) {
        const int l = plan->label_of[out->axis[k]];
        if (l < 0 || seen >> l & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute 'equation': axis %d of the result is not an axis of the "
                              "inputs, or is given twice",
                              k);
        seen |= 1u << l;
        dim[k] = plan->dim[l];
    }
    return ot_op_set(n, n->y[0], n->x[0]->type, out->n, dim, err);
}

/* ---- steps ---- */

static struct label_view view_of(const struct einsum_plan *plan, const struct term *t,
                                 const struct tensor *x) {
    struct label_view v = {.count = ot_elements(x)};
    int64_t stride = 1;
    for (int k = x->rank - 1; k >= 0; k--) {
        const int l = plan->label_of[t->axis[k]];
        if (x->dim[k] == plan->dim[l]) {
            v.labels |= 1u << l;
            v.stride[l] += stride;
        }
        stride *= x->dim[k];
    }
    return v;
}

/* What lies between two steps: these labels, in rows. */
static struct label_view view_between(const struct einsum_plan *plan, uint32_t labels) {
    struct label_view v = {.labels = labels, .count = 1};
    for (int l = plan->labels - 1; l >= 0; l--) {
        if (!(labels >> l & 1)) continue;
        v.stride[l] = v.count;
        v.count *= plan->dim[l];
    }
    return v;
}

static ot_status make_step(struct op_node *n, struct einsum_plan *plan, struct step *step,
                           const struct label_view *a, const struct label_view *b,
                           const struct label_view *c, ot_error *err) {
    OT_TRY(ot_contraction_make(n, plan->dim, plan->labels, a, b, c, &step->forward, err));
    n->flops += 2.0 * (double)(step->forward.batch * step->forward.m * step->forward.n) *
                (double)step->forward.k;
    if (!n->want) return OT_OK;
    OT_TRY(ot_contraction_make(n, plan->dim, plan->labels, c, b, a, &step->da, err));
    return ot_contraction_make(n, plan->dim, plan->labels, a, c, b, &step->db, err);
}

static ot_status make_steps(struct op_node *n, struct einsum_plan *plan, const struct term *in,
                            const struct term *out, ot_error *err) {
    struct label_view view[OPERANDS], y = view_of(plan, out, n->y[0]), a, c;
    for (int i = 0; i < n->n_in; i++) view[i] = view_of(plan, &in[i], n->x[i]);
    if (n->n_in == 1) view[1] = (struct label_view){.count = 1};
    plan->steps = n->n_in > 1 ? n->n_in - 1 : 1;
    a = view[0];
    for (int k = 0; k < plan->steps; k++) {
        uint32_t later = y.labels;
        for (int i = k + 2; i < n->n_in; i++) later |= view[i].labels;
        const bool last = k == plan->steps - 1;
        c = last ? y : view_between(plan, (a.labels | view[k + 1].labels) & later);
        OT_TRY(make_step(n, plan, &plan->step[k], &a, &view[k + 1], &c, err));
        if (!last) plan->step[k].between = c.count;
        a = c;
    }
    return OT_OK;
}

/* Memory: between steps; in scratch the gradients of that, and behind them what a run takes. */
static ot_status size_memory(struct op_node *n, struct einsum_plan *plan, ot_error *err) {
    size_t between = 0, forward = 0, backward = 0;
    for (int k = 0; k < plan->steps; k++) {
        struct step *step = &plan->step[k];
        const size_t f = ot_contraction_scratch(&step->forward);
        const size_t da = n->want ? ot_contraction_scratch(&step->da) : 0;
        const size_t db = n->want ? ot_contraction_scratch(&step->db) : 0;
        forward = f > forward ? f : forward;
        backward = da > backward ? da : backward;
        backward = db > backward ? db : backward;
        step->save = step->gradient = between;
        between += (size_t)step->between;
    }
    const size_t size = ot_type_size(n->y[0]->type);
    if (!ot_mul(between, size, &n->save_size) || !ot_mul(forward, size, &n->forward_scratch_size) ||
        !ot_mul(between + backward, size, &n->backward_scratch_size))
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the products need too much scratch memory");
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct einsum_plan *plan = ot_op_plan(n);
    struct term in[OPERANDS], out;
    const ot_type type = n->x[0]->type;
    if (type == OT_FLOAT)
        plan->one.real = 1;
    else
        plan->one.integer = 1;
    if (n->n_in > OPERANDS)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "the node has %d inputs, at most %d are supported", n->n_in, OPERANDS);
    if (!ot_is_integer(type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    for (int i = 1; i < n->n_in; i++) OT_TRY(ot_op_type(n, i, type, err));
    OT_TRY(parse(n, in, &out, err));
    OT_TRY(find_labels(n, plan, in, err));
    OT_TRY(set_output(n, plan, &out, err));
    if (type == OT_FLOAT) n->kernel = "dnnl gemm";
    OT_TRY(make_steps(n, plan, in, &out, err));
    return size_memory(n, plan, err);
}

/* ---- running ---- */

static void *between(const struct op_node *n, int step) {
    const struct einsum_plan *plan = n->plan;
    return (char *)n->save + plan->step[step].save * ot_type_size(n->y[0]->type);
}

static const void *left_operand(const struct op_node *n, int step) {
    return step ? between(n, step - 1) : n->x[0]->data;
}

static const void *right_operand(const struct op_node *n, int step) {
    return n->n_in > 1 ? n->x[step + 1]->data
                       : (const void *)&((const struct einsum_plan *)n->plan)->one;
}

static void forward(struct op_node *n) {
    const struct einsum_plan *plan = n->plan;
    for (int k = 0; k < plan->steps; k++)
        ot_contraction_run(n, &plan->step[k].forward, left_operand(n, k), right_operand(n, k),
                           k == plan->steps - 1 ? n->y[0]->data : between(n, k), n->scratch);
}

static void backward(struct op_node *n) {
    const struct einsum_plan *plan = n->plan;
    float *gradient = n->scratch;
    float *rest = gradient + n->save_size / sizeof(float);
    const float *dc = ot_f(n->dy[0]);
    for (int k = plan->steps - 1; k >= 0; k--) {
        const struct step *step = &plan->step[k];
        if (n->n_in > 1 && n->dx[k + 1])
            ot_contraction_run(n, &step->db, left_operand(n, k), dc, ot_f(n->dx[k + 1]), rest);
        float *da = k ? gradient + plan->step[k - 1].gradient : n->dx[0] ? ot_f(n->dx[0]) : NULL;
        if (da) ot_contraction_run(n, &step->da, dc, right_operand(n, k), da, rest);
        dc = da;
    }
}

static const char *const cases[] = {
    "A[3,4] B[4,5] equation=ij,jk->ik -> Y[3,5]",
    "A[2,5,3,4] B[2,6,3,4]:p equation=bqhd,bkhd->bhqk -> Y[2,3,5,6]",
    "A[2,3,5,6] B[2,6,3,4] equation=bhqk,bkhd->bqhd -> Y[2,5,3,4]",
    "A[3,4] equation=ij->ji -> Y[4,3]",
    "A[3,4] equation=ij->i -> Y[3]",
    "A[3,4] equation=ij-> -> Y[]",
    "A[4,4] equation=ii -> Y[]",
    "A[2,4,4] equation=...ii->...i -> Y[2,4]",
    "A[2,1,3,4] B[5,4,2] equation=...ij,...jk->...ik -> Y[2,5,3,2]",
    "A[3] B[4] equation=i,j -> Y[3,4]",
    "A[3] B[3] equation=i,i -> Y[]",
    "A[2,3] B[4] equation=ij,k->ik -> Y[2,4]",
    "A[2,3] B[3,4] C[4,5] equation=ab,bc,cd->ad -> Y[2,5]",
    "A[2,3] B[2] C[2,4] D[3] equation=ij,i,ik,j->jk -> Y[3,4]",
    "A[1,3] B[2,3] equation=ij,ij->ij -> Y[2,3]",
    "A[3,4] equation=Ba -> Y[3,4]",
    "A[2,0] B[0,3] equation=ij,jk->ik -> Y[2,3]",
    "i64[2,3]{7,-4,-2,1,2,5} i64[2,3]{7,-4,-2,1,2,5} equation=ij,kj->ik -> "
    "i64[2,2]{69,-11,-11,30}",
    "i32[2,2]{1,2,3,4} equation=ii -> i32(5)",
    "i8[2,2]{1,2,3,4} i8{5,6} i8[2,2]{1,0,0,40} equation=ij,j,jk->ki -> i8[2,2]{5,15,-32,-64}",
    "u16[2,3]{1,2,3,4,5,65535} equation=ij->ji -> u16[3,2]{1,4,2,5,3,65535}",
    "i64{1} f{1} equation=i,i -> error: input 1 is float, expected int64",
    "b{1} equation=i -> error: input 0 is bool",
    "A[2,3] B[4,3] equation=ij,jk->ik -> error: axis 0 of input 1 has extent 4, expected 3",
    "A[2,3] equation=ijk->i -> error: does not fit input 0",
    "A[2,3] equation=ij,jk->i -> error: does not fit input 0",
    "A[2,3] equation=i?->i -> error: has '?->i'",
    "A[2,3] equation=ij->ik -> error: axis 1 of the result",
    "A[2,3] equation=ij->ii -> error: axis 1 of the result",
    NULL};

const struct op ot_op_Einsum = {
    .name = "Einsum",
    .since = 12,
    .min_in = 1,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "equation:s",
    .needs = OT_X_ALL,
    .parameters = OT_X_ALL,
    .plan_size = sizeof(struct einsum_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
