/* out_model.c - a model goes to the file that out= names, or to standard output. */
#include "tools/out_model.h"
#include "tools/out_file.h"
#include "tools/stale.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int ot_model_write(const struct model *m, const char *out, const ot_export_options *options,
                   struct failure *f) {
    ot_error err = {0};
    if (ot_out_is_standard(out)) return export_standard(m, options, f);
    if (ot_export_onnx(m->session, out, options, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    printf("%s\n", out);
    return 0;
}
