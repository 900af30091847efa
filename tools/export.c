/* export.c - `onnx-train export`: writes a model in another spelling, form, with the weights of a
 * checkpoint, or with training_info. */
#include "tools/command.h"
#include "tools/out_file.h"
#include "tools/out_model.h"
#include "tools/train/algorithm.h"

/* Loss and optimizer, for training_info. The optimizer of a checkpoint stays. */
static int set_algorithm(struct model *m, struct settings *s, struct failure *f) {
    struct algorithm a;
    int code = ot_algorithm_read(&a, m, s, f);
    if (!code) code = ot_algorithm_freeze(m, s, f);
    if (!code) code = ot_model_set_loss(m, s, f);
    return code ? code : ot_algorithm_set(&a, m, s, 0, f);
}

int ot_run_export(struct settings *s, struct failure *f) {
    const char *model = ot_text(s, OPTION_model), *out = ot_text(s, OPTION_out);
    if (model && !out) return ot_refuse(f, EXIT_USAGE, "no out=FILE given");
    if (model && ot_same_file(model, out))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' is the model itself", out);
    struct model m;
    int code = ot_out_check(s, f);
    if (!code) code = ot_model_open(&m, s, f);
    if (code) return code;
    const ot_export_options options = {
        .size = sizeof options,
        .sparse = (ot_export_sparse)ot_integer(s, OPTION_export_sparse, 0),
        .form = (ot_export_form)ot_integer(s, OPTION_form, 0),
        .training_info = (int)ot_integer(s, OPTION_export_training_info, 0)};
    if (options.training_info) code = set_algorithm(&m, s, f);
    if (!code) code = ot_model_load(&m, s, f);
    if (!code) code = ot_model_write(&m, out, &options, f);
    ot_model_close(&m);
    return code;
}
