/* case.c - one case of a suite: its outputs against those of the model. */
#include "tools/check/check.h"
#include "tools/check/model_constants.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ot_check_fail(struct check_case *c, const char *format, ...) {
    char raw[sizeof c->reason];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    ot_make_safe(c->reason, sizeof c->reason, raw);
    c->outcome = CHECK_FAILED;
}

void ot_check_skip(struct check_case *c, const char *reason) {
    ot_check_fail(c, "%s", reason);
    c->outcome = CHECK_SKIPPED;
}

void ot_check_status(struct check_case *c, const ot_error *err) {
    ot_check_fail(c, "%s: %s", ot_status_name(err->status), err->message);
    if (err->status == OT_ERROR_UNSUPPORTED || err->status == OT_ERROR_ARGUMENT)
        c->outcome = CHECK_REFUSED;
}

/* ---- comparison --------------------------------------------------------------------------- */

static double number(ot_type type, const void *data, size_t i) {
    switch (type) {
    case OT_FLOAT: return ((const float *)data)[i];
    case OT_UINT8:
    case OT_BOOL: return ((const uint8_t *)data)[i];
    case OT_INT8: return ((const int8_t *)data)[i];
    case OT_UINT16: return ((const uint16_t *)data)[i];
    case OT_INT16: return ((const int16_t *)data)[i];
    case OT_INT32: return ((const int32_t *)data)[i];
    case OT_UINT32: return ((const uint32_t *)data)[i];
    case OT_INT64: return (double)((const int64_t *)data)[i];
    case OT_UINT64: return (double)((const uint64_t *)data)[i];
    default: return NAN;
    }
}

/* The unit in the last place of v, in a type of so many bits of significand. */
static double unit(double v, int bits) {
    int exponent;
    frexp(v, &exponent);
    return v == 0 ? 0 : ldexp(1, exponent - bits);
}

/* What is left open beside the tolerances, since the expected value v is itself off by it: bfloat16
 * half a unit in the last place, to which v was rounded. In halves, Attention and models that cast
 * to them two units: the suite rounds scores and shares, too, where sums here are kept in float.
 * DFT of floats one unit of the largest element: the suite takes a fast transform in float, whose
 * error goes by that. */
static double slack(const struct check_case *c, const struct check_input *in,
                    const struct proto_tensor *wanted, double v, double largest) {
    const bool brain = wanted->file_type == OT_BFLOAT16;
    if (brain || wanted->file_type == OT_FLOAT16) {
        const bool steps = in->casts || !strcmp(c->op, "Attention");
        return (steps ? 2 : brain ? 0.5 : 0) * unit(v, brain ? 8 : 11);
    }
    return wanted->type == OT_FLOAT && !strcmp(c->op, "DFT") ? unit(largest, 24) : 0;
}

static double largest_of(const struct proto_tensor *t) {
    double largest = 0;
    for (size_t i = 0; t->type == OT_FLOAT && i < t->count; i++) {
        const double v = fabs((double)((const float *)t->data)[i]);
        if (isfinite(v) && v > largest) largest = v;
    }
    return largest;
}

static bool is_near(double got, double wanted, const struct check_input *in, double more) {
    if (isnan(wanted) || isnan(got)) return isnan(wanted) && isnan(got);
    if (isinf(wanted) || isinf(got)) return got == wanted;
    return fabs(got - wanted) <= in->atol + in->rtol * fabs(wanted) + more;
}

static void compare(struct check_case *c, const struct check_input *in, const char *name,
                    const ot_tensor *got, const struct proto_tensor *wanted) {
    size_t bad = 0, first = 0;
    bool same = got->type == wanted->type && got->rank == wanted->rank;
    for (int i = 0; same && i < wanted->rank; i++) same = got->dim[i] == wanted->dim[i];
    if (!same) {
        ot_check_fail(
            c,
            "output '%s' has the wrong type or shape: type %d, rank %d, expected type %d, rank %d",
            name, got->type, got->rank, wanted->type, wanted->rank);
        return;
    }
    const double largest = largest_of(wanted);
    for (size_t i = wanted->count; i-- > 0;) {
        const double v = number(got->type, wanted->data, i);
        const double more = slack(c, in, wanted, v, largest);
        if (is_near(number(got->type, got->data, i), v, in, more)) continue;
        bad++;
        first = i;
    }
    if (bad)
        ot_check_fail(
            c, "output '%s': %zu of %zu elements are wrong; element %zu is %.9g, expected %.9g",
            name, bad, wanted->count, first, number(got->type, got->data, first),
            number(got->type, wanted->data, first));
}

/* ---- running ------------------------------------------------------------------------------ */

/* A data set, and the names of those inputs that are initializers here. */
struct set {
    struct check_tensors inputs, wanted;
    const char **name;
    ot_tensor *x, *y;
};

static void free_set(struct set *set) {
    ot_check_free(&set->inputs);
    ot_check_free(&set->wanted);
    free(set->name);
    free(set->x);
    free(set->y);
}

static int load_set(struct set *set, const struct check_input *in, const char *folder,
                    struct failure *f) {
    const int n = in->n_in, m = in->n_out;
    set->name = ot_take((size_t)n, sizeof *set->name, f);
    set->x = ot_take((size_t)n, sizeof *set->x, f);
    set->y = ot_take((size_t)m, sizeof *set->y, f);
    int code = set->name && set->x && set->y ? 0 : f->code;
    if (!code) code = ot_check_load(&set->inputs, folder, "input", n, f);
    if (!code) code = ot_check_load(&set->wanted, folder, "output", m, f);
    return code;
}

/* Runs the model on those inputs that have no name here, and compares. */
static void run(struct check_case *c, const struct check_input *in, ot_session *session,
                struct set *set) {
    ot_error err = {0};
    int n = 0;
    for (int i = 0; i < set->inputs.n; i++)
        if (!set->name[i]) set->x[n++] = ot_check_view(&set->inputs.t[i]);
    c->outcome = CHECK_PASSED;
    if ((in->trains ? ot_forward : ot_run)(session, set->x, n, set->y, set->wanted.n, &err))
        ot_check_status(c, &err);
    for (int i = 0; i < set->wanted.n && c->outcome == CHECK_PASSED; i++) {
        ot_value_info info = {0};
        ot_get_output(session, i, &info, NULL);
        compare(c, in, info.name, &set->y[i], &set->wanted.t[i]);
    }
}

/* The same with the inputs from `first` on turned into initializers. A later refusal than the one
 * in c tells nothing new. */
static int run_fixed(struct check_case *c, const struct check_input *in, const struct settings *s,
                     struct set *set, int first, struct failure *f) {
    struct check_case again = *c;
    struct proto model = {in->model, in->model + in->size};
    ot_session *fixed = NULL;
    unsigned char *bytes = NULL;
    size_t size;
    for (int i = first; i < set->inputs.n; i++) set->name[i] = in->input[i];
    int code =
        ot_model_fix_inputs(model, set->inputs.n, set->name, set->inputs.t, &bytes, &size, f);
    const ot_sparse_mode sparse = (ot_sparse_mode)ot_integer(s, OPTION_sparse, 0);
    if (!code && !ot_check_open(&again, bytes, size, sparse, s, &fixed))
        run(&again, in, fixed, set);
    if (!code && again.outcome != CHECK_REFUSED) *c = again;
    ot_close(fixed);
    free(bytes);
    return code;
}

/* Shapes, axes, limits and conditions are constants in models, but inputs in many tests. refused:
 * what became of opening the model as it is; NULL where there is a session. */
static int run_set(struct check_case *c, const struct check_input *in, ot_session *session,
                   const struct check_case *refused, const struct settings *s, const char *folder,
                   struct failure *f) {
    struct set set = {0};
    int code = load_set(&set, in, folder, f);
    if (refused) *c = *refused;
    if (refused && code == EXIT_DATA)
        code = 0; /* its tensors are no numbers either */
    else if (!code && !refused)
        run(c, in, session, &set);
    for (int first = 1; first >= 0 && !code && c->outcome == CHECK_REFUSED; first--)
        if (set.inputs.n > first) code = run_fixed(c, in, s, &set, first, f);
    free_set(&set);
    return code;
}

static int run_sets(struct check_case *c, const struct check_input *in, ot_session *session,
                    const struct settings *s, const char *folder, struct failure *f) {
    const struct check_case opened = *c, *refused = session ? NULL : &opened;
    char **names;
    int64_t n, sets = 0;
    int code = ot_names_read(folder, &names, &n, f);
    for (int64_t i = 0; i < n && !code && (!sets || c->outcome == CHECK_PASSED); i++) {
        if (strncmp(names[i], "test_data_set_", 14)) continue;
        char *set = ot_join_path(folder, names[i], f);
        code = set ? run_set(c, in, session, refused, s, set, f) : f->code;
        free(set);
        sets++;
    }
    ot_names_free(names, n);
    if (!code && !sets && c->outcome == CHECK_PASSED) ot_check_fail(c, "it has no test_data_set_0");
    return code;
}

ot_status ot_check_open(struct check_case *c, const void *model, size_t size, ot_sparse_mode sparse,
                        const struct settings *s, ot_session **session) {
    const ot_options options = {.size = sizeof options,
                                .threads = (int)ot_integer(s, OPTION_threads, 1),
                                .isa = ot_text(s, OPTION_isa),
                                .allow_nonfinite = 1, /* of some, IsNaN say, it is the point */
                                .sparse = sparse};
    ot_error err = {0};
    const ot_status status = ot_open_buffer(model, size, &options, session, &err);
    if (status) ot_check_status(c, &err);
    return status;
}

int ot_check_outputs(struct check_case *c, const char *folder, const struct settings *s,
                     struct failure *f) {
    struct check_input in = {0};
    ot_session *session = NULL;
    int code = ot_check_read(&in, folder, f);
    if (!code) ot_check_name(c, &in);
    const ot_sparse_mode sparse = (ot_sparse_mode)ot_integer(s, OPTION_sparse, 0);
    if (!code) ot_check_open(c, in.model, in.size, sparse, s, &session);
    if (!code && (session || c->outcome == CHECK_REFUSED))
        code = run_sets(c, &in, session, s, folder, f);
    ot_close(session);
    ot_check_forget(&in);
    return code;
}
