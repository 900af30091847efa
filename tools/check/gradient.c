/* gradient.c - gradients of one case of a suite: against differences; and, input by input,
 * with the input as a sparse weight against the same weight with its zeros computed. */
#include "tools/check/check.h"
#include "tools/check/model_constants.h"
#include "tools/check/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double SPARSE_TOLERANCE = 1e-5; /* of the largest element */

/* A case, and which of its inputs have become initializers: those with a name in `fixed`. There
 * is one place more than inputs, for an initializer whose values are replaced. */
struct subject {
    struct check_case *c;
    const struct settings *settings;
    struct proto model;
    int n;
    struct proto_tensor *t;
    const char **input_name, **fixed;
    ot_tensor *x; /* of the inputs that are not fixed */
};

/* ---- sessions ----------------------------------------------------------------------------- */

/* Opens the model, its inputs fixed as the subject says, with a probe. */
static int open_probe(struct subject *u, struct check_case *c, ot_sparse_mode sparse,
                      ot_session **session, struct probe *p, struct failure *f) {
    unsigned char *bytes = NULL;
    size_t size;
    int n = 0;
    int code = ot_model_fix_inputs(u->model, u->n + 1, u->fixed, u->t, &bytes, &size, f);
    for (int i = 0; i < u->n; i++)
        if (!u->fixed[i]) u->x[n++] = ot_check_view(&u->t[i]);
    if (!code && !ot_check_open(c, bytes, size, sparse, u->settings, session))
        code = ot_probe_open(p, *session, u->x, f);
    for (int i = 0; i < n && *session; i++)
        if (u->x[i].type == OT_FLOAT) ot_want_input_gradient(*session, i, 1, NULL);
    free(bytes);
    return code;
}

/* Whether the model runs where nobody asks for gradients: then it is one that has none. */
static bool runs(const struct probe *p) {
    return ot_run(p->session, p->x, p->n, p->y, p->m, NULL) == OT_OK;
}

static int compare_gradients(struct subject *u, struct tally *t, struct failure *f) {
    struct probe p = {0};
    ot_session *session = NULL;
    const ot_sparse_mode sparse = (ot_sparse_mode)ot_integer(u->settings, OPTION_sparse, 0);
    u->c->outcome = CHECK_PASSED;
    int code = open_probe(u, u->c, sparse, &session, &p, f);
    if (!code && u->c->outcome == CHECK_PASSED) code = ot_probe_compare(&p, u->c, t, f);
    if (!code && u->c->outcome == CHECK_REFUSED && p.x && runs(&p)) u->c->outcome = CHECK_SKIPPED;
    ot_probe_close(&p);
    ot_close(session);
    return code;
}

/* Fixes what an operator may want constant: nothing, all that is not floating-point, all but the
 * first, all. Returns whether that is another set than before. */
static bool fix(struct subject *u, int attempt) {
    bool new = attempt == 0;
    for (int i = 0; i < u->n; i++) {
        const bool number = u->t[i].type == OT_FLOAT && u->t[i].count;
        const bool fixed = attempt == 1 ? !number : attempt == 3 || (attempt == 2 && i > 0);
        new = new || fixed != !!u->fixed[i];
        u->fixed[i] = fixed ? u->input_name[i] : NULL;
    }
    return new;
}

/* ---- sparse against dense ----------------------------------------------------------------- */

static bool near(const float *a, const float *b, size_t n) {
    double largest = 0, difference = 0;
    for (size_t k = 0; k < n; k++) {
        largest = fmax(largest, fabs((double)b[k]));
        difference = fmax(difference, fabs((double)a[k] - b[k]));
    }
    return difference <= SPARSE_TOLERANCE * largest;
}

/* Outputs and gradients of inputs; both have been differentiated. */
static const char *compare_probes(const struct probe *a, const struct probe *b) {
    for (int i = 0; i < a->m; i++)
        if (a->y[i].type == OT_FLOAT && !near(a->base[i], b->base[i], ot_count_of(&a->y[i])))
            return "output";
    for (int i = 0; i < a->n; i++) {
        ot_tensor g, h;
        if (a->x[i].type != OT_FLOAT) continue;
        if (ot_get_input_gradient(a->session, i, &g, NULL) ||
            ot_get_input_gradient(b->session, i, &h, NULL) || !g.data != !h.data ||
            (g.data && !near(g.data, h.data, ot_count_of(&g))))
            return "gradient of an input";
    }
    return NULL;
}

/* The weight of this name among those of the session; -1 where it is none. */
static int find_weight(const ot_session *session, const char *name, ot_parameter_info *info) {
    for (int k = 0; k < ot_parameter_count(session); k++)
        if (!ot_get_parameter(session, k, info, NULL) && !strcmp(info->name, name)) return k;
    return -1;
}

static int compare_weights(const struct probe *a, const struct probe *b, const char *name,
                           bool *equal, struct failure *f) {
    ot_parameter_info info;
    const int i = find_weight(a->session, name, &info), j = find_weight(b->session, name, &info);
    const size_t n = (size_t)info.elements;
    float *g = ot_take(2 * n, sizeof *g, f);
    if (!g) return f->code;
    const bool trained = !ot_get_gradient(a->session, i, g, NULL);
    *equal = trained == !ot_get_gradient(b->session, j, g + n, NULL);
    if (trained && *equal) *equal = near(g, g + n, n);
    free(g);
    return 0;
}

static int compare_sparse(struct subject *u, const char *name, struct probe *p, int64_t *sparse,
                          struct failure *f) {
    struct check_case *c = u->c;
    ot_parameter_info info;
    ot_error err = {0};
    ot_tensor *gradient = ot_take((size_t)p[0].m, sizeof *gradient, f);
    bool equal = true;
    int code = gradient ? 0 : f->code;
    for (int k = 0; k < 2 && !code; k++) {
        code = ot_probe_start(&p[k], c, f);
        if (!code && c->outcome == CHECK_PASSED && ot_probe_differentiate(&p[k], gradient, &err))
            ot_check_status(c, &err);
    }
    free(gradient);
    if (code || c->outcome != CHECK_PASSED) return code;
    if (find_weight(p[0].session, name, &info) < 0 || !info.is_sparse) return 0;
    const char *what = compare_probes(&p[0], &p[1]);
    code = compare_weights(&p[0], &p[1], name, &equal, f);
    if (!code && (what || !equal))
        ot_check_fail(c, "sparse weight '%s': its %s differs from the dense run", name,
                      what ? what : "gradient");
    *sparse += 1;
    return code;
}

/* Tensor i as a weight of this name, with two thirds of zeros. Whether any kernel computes with
 * it sparse, the plan decides. */
static int check_sparse(struct subject *u, int i, const char *name, int64_t *sparse,
                        struct failure *f) {
    static const ot_sparse_mode modes[2] = {OT_SPARSE_ALWAYS, OT_SPARSE_NEVER};
    struct probe p[2] = {{0}, {0}};
    ot_session *session[2] = {NULL, NULL};
    float *x = u->t[i].data;
    int code = 0;
    for (size_t k = 0; k < u->t[i].count; k++)
        if ((k * 2654435761u >> 7) % 3) x[k] = 0;
    u->fixed[i] = name;
    for (int k = 0; k < 2 && !code && u->c->outcome == CHECK_PASSED; k++)
        code = open_probe(u, u->c, modes[k], &session[k], &p[k], f);
    if (!code && u->c->outcome == CHECK_PASSED) code = compare_sparse(u, name, p, sparse, f);
    u->fixed[i] = NULL;
    for (int k = 0; k < 2; k++) {
        ot_probe_close(&p[k]);
        ot_close(session[k]);
    }
    return code;
}

/* The weights that the model brings, one after the other in the last place. */
static int check_sparse_weights(struct subject *u, const ot_session *session, int64_t *sparse,
                                struct failure *f) {
    struct proto_tensor *t = &u->t[u->n];
    int code = 0;
    for (int k = 0; k < ot_parameter_count(session) && !code && u->c->outcome == CHECK_PASSED;
         k++) {
        ot_parameter_info info;
        if (ot_get_parameter(session, k, &info, NULL) || info.rank < 2) continue;
        if (!ot_model_has_initializer(u->model, info.name)) continue; /* of a branch or body */
        *t = (struct proto_tensor){.type = OT_FLOAT,
                                   .size = sizeof(float),
                                   .rank = info.rank,
                                   .count = (size_t)info.elements};
        memcpy(t->dim, info.dim, sizeof t->dim);
        t->data = ot_take(t->count, sizeof(float), f);
        code = t->data ? 0 : f->code;
        if (!code && !ot_read_parameter(session, k, t->data, NULL))
            code = check_sparse(u, u->n, info.name, sparse, f);
        free(t->data);
    }
    *t = (struct proto_tensor){0};
    return code;
}

static bool may_be_weight(const struct subject *u, int i) {
    const struct proto_tensor *t = &u->t[i];
    return !u->fixed[i] && t->type == OT_FLOAT && t->rank >= 2 && t->count >= 4;
}

/* ---- one case ----------------------------------------------------------------------------- */

/* With the first set of fixed inputs that the model takes. */
static int compare_somehow(struct subject *u, struct tally *t, struct failure *f) {
    struct check_case first = {0};
    int code = 0;
    for (int attempt = 0; attempt < 4 && !code; attempt++) {
        if (!fix(u, attempt)) continue;
        *t = (struct tally){0};
        code = compare_gradients(u, t, f);
        if (attempt == 0) first = *u->c;
        if (u->c->outcome != CHECK_REFUSED) return code;
    }
    *u->c = first;
    return code;
}

static int check_subject(struct subject *u, const ot_session *session, bool casts,
                         struct failure *f) {
    struct check_case *c = u->c;
    if (casts) { /* such a node has steps: no difference says what its slope is */
        ot_check_skip(c, "a node rounds to 16 bits, which finite differences cannot measure");
        return 0;
    }
    struct tally t = {0};
    int64_t sparse = 0;
    int code = compare_somehow(u, &t, f);
    if (code || c->outcome != CHECK_PASSED) return code;
    if (!t.compared || !t.moves) {
        ot_check_skip(c, t.compared ? "the gradient is zero everywhere"
                         : t.kinks  ? "every element is at a kink or a jump"
                                    : "nothing to differentiate");
        return 0;
    }
    for (int i = 0; i < u->n && !code && c->outcome == CHECK_PASSED; i++)
        if (may_be_weight(u, i)) code = check_sparse(u, i, u->input_name[i], &sparse, f);
    if (!code && session) code = check_sparse_weights(u, session, &sparse, f);
    if (c->outcome == CHECK_REFUSED) c->outcome = CHECK_FAILED;
    c->compared = t.compared;
    c->kinks = t.kinks;
    c->sparse = sparse;
    return code;
}

static int load_subject(struct subject *u, const struct check_input *in, const char *folder,
                        struct failure *f) {
    const int n = in->n_in;
    struct check_tensors inputs = {0};
    char *set = ot_join_path(folder, "test_data_set_0", f);
    u->t = ot_take((size_t)n + 1, sizeof *u->t, f);
    u->input_name = ot_take((size_t)n, sizeof *u->input_name, f);
    u->fixed = ot_take((size_t)n + 1, sizeof *u->fixed, f);
    u->x = ot_take((size_t)n, sizeof *u->x, f);
    int code = set && u->t && u->input_name && u->fixed && u->x ? 0 : f->code;
    if (!code) code = ot_check_load(&inputs, set, "input", n, f);
    for (int i = 0; i < n && !code; i++) {
        u->t[u->n++] = inputs.t[i];
        u->input_name[i] = in->input[i];
    }
    free(inputs.t);
    free(set);
    return code;
}

int ot_check_gradients(struct check_case *c, const char *folder, const struct settings *s,
                       struct failure *f) {
    struct check_input in = {0};
    struct subject u = {.c = c, .settings = s};
    ot_session *session = NULL;
    int code = ot_check_read(&in, folder, f);
    if (!code) ot_check_name(c, &in);
    u.model = (struct proto){in.model, in.model + in.size};
    if (!code) ot_check_open(c, in.model, in.size, OT_SPARSE_AUTO, s, &session);
    if (!code && (session || c->outcome == CHECK_REFUSED)) {
        code = load_subject(&u, &in, folder, f);
        if (!session && code == EXIT_DATA)
            code = 0; /* its tensors are no numbers either */
        else if (!code)
            code = check_subject(&u, session, in.casts, f);
    }
    for (int i = 0; i < u.n; i++) free(u.t[i].data);
    free(u.t);
    free(u.input_name);
    free(u.fixed);
    free(u.x);
    ot_close(session);
    ot_check_forget(&in);
    return code;
}
