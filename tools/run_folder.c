/* run_folder.c - the folder of a training run: making it, finding it again, its logs. */
#include "tools/run_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char columns[] =
    "epoch,step,time,train/loss,train/accuracy,val/loss,metrics/accuracy_top1,lr/pg0\n";

char *ot_run_file(const struct run_folder *run, const char *file, struct failure *f) {
    return ot_join_path(run->path, file, f);
}

/* mkdir -p. */
static int make_folders(const char *path, struct failure *f) {
    char *copy = ot_copy_text(path, f);
    if (!copy) return f->code;
    int code = 0;
    for (char *p = copy + (*copy == '/'); !code && *p; p++) {
        if (*p != '/' && p[1]) continue;
        const char kept = *p;
        if (kept == '/') *p = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST)
            code = ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", copy, strerror(errno));
        *p = kept;
    }
    free(copy);
    return code;
}

static int make_subfolder(const struct run_folder *run, const char *name, struct failure *f) {
    char *path = ot_run_file(run, name, f);
    int code = path ? 0 : f->code;
    if (!code && mkdir(path, 0777) && errno != EEXIST)
        code = ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", path, strerror(errno));
    free(path);
    return code;
}

/* Opens a log for reading and writing; an old one keeps its contents. */
static int open_log(const struct run_folder *run, const char *name, FILE **file,
                    struct failure *f) {
    char *path = ot_run_file(run, name, f);
    if (!path) return f->code;
    *file = fopen(path, "a+");
    const int code =
        *file ? 0 : ot_refuse(f, EXIT_RUNTIME, "cannot open '%s': %s", path, strerror(errno));
    free(path);
    return code;
}

/* Subfolders and logs of a folder that exists. */
static int furnish(struct run_folder *run, struct failure *f) {
    int code = make_subfolder(run, "weights", f);
    if (!code) code = make_subfolder(run, "checkpoints", f);
    if (!code) code = open_log(run, "metrics.jsonl", &run->metrics, f);
    if (!code) code = open_log(run, "results.csv", &run->results, f);
    if (!code && fseek(run->results, 0, SEEK_END) == 0 && ftell(run->results) == 0)
        fputs(columns, run->results);
    return code;
}

/* The first of runs/train1, runs/train2, ... that is not there, made. */
static int make_numbered(struct run_folder *run, struct failure *f) {
    char name[64];
    if (mkdir("runs", 0777) && errno != EEXIST)
        return ot_refuse(f, EXIT_RUNTIME, "cannot make folder 'runs': %s", strerror(errno));
    for (int i = 1; i < 1000000; i++) {
        snprintf(name, sizeof name, "runs/train%d", i);
        if (mkdir(name, 0777) == 0) {
            run->path = ot_copy_text(name, f);
            return run->path ? 0 : f->code;
        }
        if (errno != EEXIST) break;
    }
    return ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", name, strerror(errno));
}

/* A folder of the user's name that holds no run yet. */
static int make_named(struct run_folder *run, const char *out, struct failure *f) {
    struct stat info;
    run->path = ot_copy_text(out, f);
    char *args = ot_join_path(out, "args.yaml", f);
    int code = run->path && args ? 0 : f->code;
    if (!code && stat(args, &info) == 0)
        code = ot_refuse(f, EXIT_USAGE,
                         "out: '%s' holds a run already; continue it with "
                         "resume=%s or name another folder",
                         out, out);
    if (!code) code = make_folders(out, f);
    free(args);
    return code;
}

int ot_run_create(struct run_folder *run, const struct settings *s, struct failure *f) {
    const char *out = ot_text(s, OPTION_out);
    *run = (struct run_folder){0};
    int code = out ? make_named(run, out, f) : make_numbered(run, f);
    if (!code) code = furnish(run, f);
    if (code) ot_run_close(run);
    return code;
}

/* The folder above a checkpoint's, from the root. Fresh memory. */
static char *folder_above(const char *checkpoint, struct failure *f) {
    char *folder = ot_copy_text(checkpoint, f);
    if (!folder) return NULL;
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    char *up = ot_join_path(slash ? folder : ".", "..", f);
    char *whole = up ? realpath(up, NULL) : NULL;
    if (up && !whole) ot_refuse(f, EXIT_USAGE, "resume: '%s': %s", up, strerror(errno));
    free(folder);
    free(up);
    return whole;
}

int ot_run_resume(struct run_folder *run, const struct settings *s, char **checkpoint,
                  struct failure *f) {
    const char *resume = ot_text(s, OPTION_resume);
    struct stat info;
    *run = (struct run_folder){0};
    *checkpoint = NULL;
    if (stat(resume, &info))
        return ot_refuse(f, EXIT_USAGE, "resume: '%s': %s", resume, strerror(errno));
    const bool folder = S_ISDIR(info.st_mode);
    run->path = folder ? ot_copy_text(resume, f) : folder_above(resume, f);
    *checkpoint =
        folder ? ot_join_path(resume, "checkpoints/last.otc", f) : ot_copy_text(resume, f);
    char *args = run->path ? ot_join_path(run->path, "args.yaml", f) : NULL;
    int code = args && *checkpoint ? 0 : f->code;
    if (!code && stat(*checkpoint, &info))
        code = ot_refuse(f, EXIT_USAGE,
                         "resume: '%s' is not there; the run was stopped before "
                         "its first checkpoint",
                         *checkpoint);
    if (!code && stat(args, &info)) {
        free(run->path);
        code = ot_run_create(run, s, f);
    } else if (!code) {
        code = furnish(run, f);
    }
    free(args);
    if (code) {
        ot_run_close(run);
        free(*checkpoint);
        *checkpoint = NULL;
    }
    return code;
}

static int cut(FILE *file, long length, struct failure *f) {
    if (length < 0 || fflush(file) || fseek(file, 0, SEEK_END) || ftell(file) <= length) return 0;
    if (ftruncate(fileno(file), length))
        return ot_refuse(f, EXIT_RUNTIME, "cannot shorten a log: %s", strerror(errno));
    return 0;
}

int ot_run_rewind(struct run_folder *run, long metrics, long results, struct failure *f) {
    const int code = cut(run->metrics, metrics, f);
    return code ? code : cut(run->results, results, f);
}

static int settle(FILE *file, long *length, struct failure *f) {
    if (fflush(file) || fsync(fileno(file)) || fseek(file, 0, SEEK_END))
        return ot_refuse(f, EXIT_RUNTIME, "cannot write a log: %s", strerror(errno));
    *length = ftell(file);
    return 0;
}

int ot_run_lengths(struct run_folder *run, long *metrics, long *results, struct failure *f) {
    const int code = settle(run->metrics, metrics, f);
    return code ? code : settle(run->results, results, f);
}

void ot_run_close(struct run_folder *run) {
    if (run->metrics) fclose(run->metrics);
    if (run->results) fclose(run->results);
    free(run->path);
    *run = (struct run_folder){0};
}

/* ---- args.yaml ---------------------------------------------------------------------------- */

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
    char *path = ot_run_file(run, "args.yaml", f), *fresh = ot_run_file(run, "args.yaml.new", f);
    int code = path && fresh ? 0 : f->code;
    FILE *file = code ? NULL : fopen(fresh, "w");
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
