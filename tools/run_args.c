/* run_args.c - args.yaml: the options of a run, which repeat it. */
#include "tools/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* A new file of this name, whatever stood there; links are not followed. */
static FILE *create(const char *path) {
    if (unlink(path) && errno != ENOENT) return NULL;
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file && fd >= 0) close(fd);
    return file;
}

int ot_run_write_args(const struct run_folder *run, const struct settings *s, const struct model *m,
                      struct failure *f) {
    char name[64];
    snprintf(name, sizeof name, "args.yaml.%ld-0.tmp", (long)getpid());
    char *path = ot_run_file(run, "args.yaml", f), *fresh = ot_run_file(run, name, f);
    int code = path && fresh ? 0 : f->code;
    FILE *file = code ? NULL : create(fresh);
    bool good = file != NULL;
    if (file) {
        put_settings(file, s, m);
        good = !ferror(file) && fflush(file) == 0 && fsync(fileno(file)) == 0;
        good = fclose(file) == 0 && good && rename(fresh, path) == 0;
    }
    if (!code && !good) {
        code = ot_refuse(f, EXIT_RUNTIME, "cannot write '%s': %s", path, strerror(errno));
        unlink(fresh);
    }
    free(path);
    free(fresh);
    return code;
}
