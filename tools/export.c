/* export.c - `onnx-train export`: writes a model in another spelling, form, with the weights of a
 * checkpoint, or with training_info. */
#include "tools/command.h"
#include "tools/out_file.h"
#include "tools/stale.h"
#include "tools/train/algorithm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Loss and optimizer, for training_info. The optimizer of a checkpoint stays. */
static int set_algorithm(struct model *m, struct settings *s, struct failure *f) {
    struct algorithm a;
    int code = ot_algorithm_read(&a, m, s, f);
    if (!code) code = ot_algorithm_freeze(m, s, f);
    if (!code) code = ot_model_set_loss(m, s, f);
    return code ? code : ot_algorithm_set(&a, m, s, 0, f);
}

/* Copies the file to standard output. */
static int print_file(const char *path, struct failure *f) {
    char buffer[1 << 16];
    FILE *file = fopen(path, "rb");
    bool good = file != NULL;
    for (size_t n; good && (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        good = fwrite(buffer, 1, n, stdout) == n;
    good = good && !ferror(file) && fflush(stdout) == 0;
    const int problem = errno;
    if (file) fclose(file);
    if (good) return 0;
    return ot_refuse(f, EXIT_RUNTIME, "cannot write to standard output: %s", strerror(problem));
}

/* To standard output, by way of a file: the model is checked before its first byte is out. One
 * whose weights lie in a second file cannot go there. */
static int export_standard(const struct model *m, const ot_export_options *options,
                           struct failure *f) {
    const char *root = getenv("TMPDIR");
    char **names = NULL;
    int64_t n = 0;
    ot_error err = {0};
    char *folder = ot_join_path(root && *root ? root : "/tmp", "onnx-train-XXXXXX", f);
    if (!folder) return f->code;
    if (!mkdtemp(folder)) {
        const int code =
            ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", folder, strerror(errno));
        free(folder);
        return code;
    }
    char *path = ot_join_path(folder, "model.onnx", f);
    int code = path ? 0 : f->code;
    if (!code && ot_export_onnx(m->session, path, options, &err))
        code = ot_refuse_status(f, EXIT_MODEL, &err);
    if (!code) code = ot_names_read(folder, &names, &n, f);
    if (!code && n != 1)
        code = ot_refuse(f, EXIT_USAGE,
                         "out: the model has a second file with its weights and cannot go to "
                         "standard output; give a file name");
    if (!code) code = print_file(path, f);
    ot_names_free(names, n);
    ot_folder_remove(folder);
    free(path);
    free(folder);
    return code;
}

static int export_file(const struct model *m, const char *out, const ot_export_options *options,
                       struct failure *f) {
    ot_error err = {0};
    if (ot_out_is_standard(out)) return export_standard(m, options, f);
    if (ot_export_onnx(m->session, out, options, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    printf("%s\n", out);
    return 0;
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
    if (!code) code = export_file(&m, out, &options, f);
    ot_model_close(&m);
    return code;
}
