/* init.c - `onnx-train init`: a sparse network with random masks and weights. */
#include "tools/command.h"
#include "tools/out_file.h"
#include "tools/out_model.h"
#include "tools/sparsity.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_UNITS = 1001 };

/* "784-300-10". */
static int read_units(const char *text, int64_t *units, int *n, struct failure *f) {
    const char *at = text;
    for (*n = 0; *n < MAX_UNITS;) {
        char *end;
        units[*n] = strtoll(at, &end, 10);
        if (end == at || units[*n] < 1) break;
        ++*n;
        if (!*end && *n > 1) return 0;
        if (*end != '-') break;
        at = end + 1;
    }
    return ot_refuse(f, EXIT_USAGE,
                     "mlp: '%s' is not a list of 2 to %d numbers of units, such as 784-300-10",
                     text, MAX_UNITS);
}

static int open_model(struct model *m, const struct settings *s, struct failure *f) {
    const char *mlp = ot_text(s, OPTION_mlp);
    int n = 0;
    if (!mlp) return ot_model_open(m, s, f);
    if (ot_text(s, OPTION_model))
        return ot_refuse(f, EXIT_USAGE, "mlp=%s and MODEL '%s' are both given", mlp,
                         ot_text(s, OPTION_model));
    int64_t *units = ot_take(MAX_UNITS, sizeof *units, f);
    int code = units ? read_units(mlp, units, &n, f) : f->code;
    if (!code) code = ot_model_open_mlp(m, s, units, n, f);
    free(units);
    return code;
}

static int draw(struct model *m, const struct settings *s, struct sparsity *p, struct failure *f) {
    ot_error err = {0};
    p->options.start = (ot_start_kind)ot_integer(s, OPTION_init, 0);
    p->options.dense_fan = (int)ot_integer(s, OPTION_fan, 0);
    const ot_status status = ot_draw_weights(m->session, &p->options, &err);
    if (!status) return 0;
    return ot_refuse_status(f, status == OT_ERROR_ARGUMENT ? EXIT_USAGE : EXIT_MODEL, &err);
}

int ot_run_init(struct settings *s, struct failure *f) {
    const char *model = ot_text(s, OPTION_model), *out = ot_text(s, OPTION_out);
    if (!out) return ot_refuse(f, EXIT_USAGE, "no out=FILE given");
    if (model && ot_same_file(model, out))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' is the model itself", out);
    struct model m = {0};
    struct sparsity *p = ot_take(1, sizeof *p, f);
    if (!p) return f->code;
    const ot_export_options options = {
        .size = sizeof options, .sparse = (ot_export_sparse)ot_integer(s, OPTION_made_sparse, 0)};
    int code = ot_out_check(s, f);
    if (!code) code = ot_sparsity_open(p, s, f);
    if (!code) code = open_model(&m, s, f);
    if (!code) code = draw(&m, s, p, f);
    if (!code && !ot_out_is_standard(out)) code = ot_sparsity_print(&m, f);
    if (!code) code = ot_model_write(&m, out, &options, f);
    ot_sparsity_close(p);
    free(p);
    ot_model_close(&m);
    return code;
}
