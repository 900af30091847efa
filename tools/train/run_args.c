/* run_args.c - args.yaml: the options of a run, which repeat it. */
#include "tools/out_file.h"
#include "tools/train/run_folder.h"

#include <stdlib.h>
#include <string.h>

/* A double-quoted YAML scalar. */
static void put_text(FILE *file, const char *text) {
    fputc('"', file);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(file, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            fprintf(file, "\\x%02x", *p);
        else
            fputc(*p, file);
    }
    fputs("\"\n", file);
}

/* A path that exists is written from the root, so that the file works everywhere. */
static void put_path(FILE *file, const char *text) {
    char *whole = realpath(text, NULL);
    put_text(file, whole ? whole : text);
    free(whole);
}

static void put_settings(FILE *file, const struct settings *s, const struct model *m) {
    fprintf(file, "# onnx-train %s, oneDNN %s; model sha256 ", ot_version(), ot_dnnl_version());
    for (int i = 0; i < 32; i++) fprintf(file, "%02x", m->info.hash[i]);
    fputc('\n', file);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &ot_option_table[i];
        const char *text = ot_text(s, (enum option_id)i);
        const bool here = i == OPTION_out || i == OPTION_resume || i == OPTION_print_config;
        if (!(o->commands & TRAIN) || !text || here) continue;
        fprintf(file, "%s: ", o->key);
        if (i == OPTION_model || i == OPTION_data || i == OPTION_val)
            put_path(file, text);
        else if (o->type == TYPE_TEXT)
            put_text(file, text);
        else
            fprintf(file, "%s\n", text);
    }
}

int ot_run_write_args(const struct run_folder *run, const struct settings *s, const struct model *m,
                      struct failure *f) {
    struct out_file o;
    char *path = ot_run_file(run, "args.yaml", f);
    int code = path ? ot_out_begin(&o, path, f) : f->code;
    if (!code) {
        put_settings(o.file, s, m);
        code = ot_out_finish(&o, true, f);
    }
    free(path);
    return code;
}
