/* export.c - `onnx-train export`: writes a model in another spelling, form, or with the weights of
 * a checkpoint. */
#include "tools/command.h"
#include "tools/model.h"

#include <stdio.h>

int ot_run_export(const struct settings *s, struct failure *f) {
    const char *model = ot_text(s, OPTION_model), *out = ot_text(s, OPTION_out);
    if (model && !out) return ot_refuse(f, EXIT_USAGE, "no out=FILE given");
    if (model && ot_same_file(model, out))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' is the model itself", out);
    struct model m;
    int code = ot_model_open(&m, s, f);
    if (code) return code;
    code = ot_model_load(&m, s, f);
    const ot_export_options options = {.sparse =
                                           (ot_export_sparse)ot_integer(s, OPTION_export_sparse, 0),
                                       .form = (ot_export_form)ot_integer(s, OPTION_form, 0)};
    ot_error err = {0};
    if (!code && ot_export_onnx(m.session, out, &options, &err))
        code = ot_refuse_status(f, EXIT_MODEL, &err);
    if (!code) printf("%s\n", out);
    ot_model_close(&m);
    return code;
}
