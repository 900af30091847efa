/* run_folder.c - the folder of a training run: making it, finding it again, its logs. */
#include "tools/stale.h"
#include "tools/train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char columns[] =
    "epoch,step,time,train/loss,train/accuracy,val/loss,metrics/accuracy_top1,lr/pg0\n";

char *ot_run_file(const struct run_folder *run, const char *file, struct failure *f) {
    return ot_join_path(run->temporary ? run->temporary : run->path, file, f);
}

/* ---- what is in the folder; links in it are not followed ---- */

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
    struct stat info;
    char *path = ot_run_file(run, name, f);
    int code = path ? 0 : f->code;
    if (!code && mkdir(path, 0777) && errno != EEXIST)
        code = ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", path, strerror(errno));
    if (!code && (lstat(path, &info) || !S_ISDIR(info.st_mode)))
        code = ot_refuse(f, EXIT_RUNTIME, "'%s' is a link, or not a folder", path);
    if (!code) ot_stale_remove(path, NULL);
    free(path);
    return code;
}

/* Opens a log for reading and writing; an old one keeps its contents. */
static int open_log(const struct run_folder *run, const char *name, FILE **file,
                    struct failure *f) {
    static const int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    struct stat info;
    char *path = ot_run_file(run, name, f);
    if (!path) return f->code;
    const int fd = open(path, flags, 0666);
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) *file = fdopen(fd, "a+");
    if (fd >= 0 && !*file) close(fd);
    const int code = *file ? 0
                           : ot_refuse(f, EXIT_RUNTIME, "cannot open '%s' as a regular file: %s",
                                       path, errno ? strerror(errno) : "it is not a regular file");
    free(path);
    return code;
}

/* One process writes into a run's folder. The lock lies on metrics.jsonl, and goes with the
 * process however that ends. */
static int lock(const struct run_folder *run, struct failure *f) {
    struct flock request = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, holder = request;
    const int fd = fileno(run->metrics);
    if (fcntl(fd, F_SETLK, &request) == 0) return 0;
    if (errno != EACCES && errno != EAGAIN) {
        fprintf(stderr,
                "onnx-train: cannot lock '%s': %s; make sure that no other process trains there\n",
                run->path, strerror(errno));
        return 0;
    }
    if (fcntl(fd, F_GETLK, &holder) || holder.l_type == F_UNLCK) holder.l_pid = 0;
    return ot_refuse(f, EXIT_USAGE, "run '%s' is in use: process %ld trains it", run->path,
                     (long)holder.l_pid);
}

static void put_columns(FILE *file) {
    if (fseek(file, 0, SEEK_END) == 0 && ftell(file) == 0) fputs(columns, file);
}

/* The lock, then subfolders and logs, of a folder that exists. */
static int furnish(struct run_folder *run, struct failure *f) {
    int code = open_log(run, "metrics.jsonl", &run->metrics, f);
    if (!code) code = lock(run, f);
    if (!code) ot_stale_remove(run->temporary ? run->temporary : run->path, NULL);
    if (!code) code = make_subfolder(run, "weights", f);
    if (!code) code = make_subfolder(run, "checkpoints", f);
    if (!code) code = open_log(run, "results.csv", &run->results, f);
    if (!code) put_columns(run->results);
    return code;
}

/* ---- making it ---- */

/* A folder of another name, which gets its own when args.yaml is in it: there are no halves. */
static int make_temporary(struct run_folder *run, const char *wanted, struct failure *f) {
    const size_t room = strlen(wanted) + 48;
    char *copy = ot_copy_text(wanted, f);
    run->temporary = ot_take(room, 1, f);
    int code = copy && run->temporary ? 0 : f->code;
    if (!code) {
        char *slash = strrchr(copy, '/');
        snprintf(run->temporary, room, "%s.%ld-0.tmp", copy, (long)getpid());
        if (slash) *slash = '\0';
        if (slash && *copy) code = make_folders(copy, f);
        if (!code) ot_stale_remove(slash ? (*copy ? copy : "/") : ".", slash ? slash + 1 : copy);
    }
    if (!code && mkdir(run->temporary, 0777)) {
        code = ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", run->temporary,
                         strerror(errno));
        free(run->temporary);
        run->temporary = NULL;
    }
    free(copy);
    return code;
}

/* A folder of the user's name that holds no run yet. */
static int make_named(struct run_folder *run, const char *out, struct failure *f) {
    struct stat info;
    size_t n = strlen(out);
    char *args = ot_join_path(out, "args.yaml", f);
    run->path = ot_copy_text(out, f);
    int code = run->path && args ? 0 : f->code;
    if (!code && lstat(args, &info) == 0)
        code = ot_refuse(
            f, EXIT_USAGE,
            "out: '%s' already holds a run; continue it with resume=%s, or name another folder",
            out, out);
    free(args);
    if (code) return code;
    while (n > 1 && run->path[n - 1] == '/') run->path[--n] = '\0';
    if (lstat(run->path, &info) && errno == ENOENT) return make_temporary(run, run->path, f);
    if (stat(run->path, &info) || !S_ISDIR(info.st_mode))
        return ot_refuse(f, EXIT_RUNTIME, "out: '%s' is not a folder", out);
    return 0;
}

int ot_run_create(struct run_folder *run, const struct settings *s, struct failure *f) {
    const char *out = ot_text(s, OPTION_out);
    *run = (struct run_folder){0};
    if (!out) run->path = ot_copy_text("runs/train", f); /* a number follows */
    int code = out ? make_named(run, out, f) : run->path ? 0 : f->code;
    if (!code && !out) code = make_temporary(run, run->path, f);
    run->is_numbered = !out;
    if (!code) code = furnish(run, f);
    if (code) ot_run_close(run);
    return code;
}

/* The first of runs/train1, runs/train2, ... that is not there. */
static int publish_numbered(struct run_folder *run, struct failure *f) {
    char name[64];
    struct stat info;
    for (int i = 1; i < 1000000; i++) {
        snprintf(name, sizeof name, "runs/train%d", i);
        if (lstat(name, &info) == 0) continue;
        if (rename(run->temporary, name) == 0) {
            free(run->path);
            run->path = ot_copy_text(name, f);
            return run->path ? 0 : f->code;
        }
        if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) break;
    }
    return ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", name, strerror(errno));
}

int ot_run_publish(struct run_folder *run, struct failure *f) {
    int code = 0;
    if (!run->temporary) return 0;
    if (run->is_numbered)
        code = publish_numbered(run, f);
    else if (rename(run->temporary, run->path))
        code =
            ot_refuse(f, EXIT_RUNTIME, "cannot make folder '%s': %s", run->path, strerror(errno));
    if (code) return code;
    free(run->temporary);
    run->temporary = NULL;
    return 0;
}

/* ---- finding it again ---- */

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

/* Whether the run was stopped before its first checkpoint: nothing has been recorded, and there is
 * none. Then it begins. */
static int begin_again(struct run_folder *run, const char *checkpoint, struct failure *f) {
    struct stat info;
    char *best = ot_run_file(run, "checkpoints/best.otc", f);
    if (!best) return f->code;
    const bool lost =
        lstat(best, &info) == 0 || fseek(run->metrics, 0, SEEK_END) || ftell(run->metrics) > 0;
    free(best);
    if (lost) return ot_refuse(f, EXIT_USAGE, "resume: '%s' does not exist", checkpoint);
    return ot_run_rewind(run, 0, sizeof columns - 1, f);
}

static bool is_there(const char *path) {
    struct stat info;
    return path && stat(path, &info) == 0;
}

/* The run's folder is there, with its args.yaml. */
static int reopen(struct run_folder *run, const struct settings *s, char **checkpoint,
                  struct failure *f) {
    const char *out = ot_text(s, OPTION_out);
    if (out && !ot_same_file(out, run->path))
        return ot_refuse(f, EXIT_USAGE, "out: a resumed run stays in its folder, '%s'", run->path);
    int code = furnish(run, f);
    if (code || is_there(*checkpoint)) return code;
    code = begin_again(run, *checkpoint, f);
    free(*checkpoint);
    *checkpoint = NULL;
    return code;
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
    if (!code && is_there(args)) {
        code = reopen(run, s, checkpoint, f);
    } else if (!code && !is_there(*checkpoint)) {
        code = ot_refuse(f, EXIT_USAGE, "resume: '%s' is not a run folder: it has no args.yaml",
                         resume);
    } else if (!code) {
        free(run->path);
        code = ot_run_create(run, s, f);
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
    run->kept_metrics = metrics;
    run->kept_results = results;
    return code ? code : cut(run->results, results, f);
}

/* On disk, or, where there is no room, without what could not be written: no line is torn. */
static int settle(FILE *file, long *kept, long *length, struct failure *f) {
    if (fflush(file) || fsync(fileno(file)) || fseek(file, 0, SEEK_END)) {
        const int problem = errno;
        __fpurge(file);
        clearerr(file);
        if (ftruncate(fileno(file), *kept))
            return ot_refuse(f, EXIT_RUNTIME, "cannot repair a log");
        return ot_refuse(f, EXIT_RUNTIME, "cannot write a log: %s", strerror(problem));
    }
    *kept = *length = ftell(file);
    return 0;
}

int ot_run_lengths(struct run_folder *run, long *metrics, long *results, struct failure *f) {
    const int code = settle(run->metrics, &run->kept_metrics, metrics, f);
    return code ? code : settle(run->results, &run->kept_results, results, f);
}

void ot_run_close(struct run_folder *run) {
    if (run->metrics) fclose(run->metrics);
    if (run->results) fclose(run->results);
    if (run->temporary) ot_folder_remove(run->temporary); /* it has not become a run */
    free(run->temporary);
    free(run->path);
    *run = (struct run_folder){0};
}
