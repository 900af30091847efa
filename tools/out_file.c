/* out_file.c - files that commands write for their users. */
#include "tools/out_file.h"
#include "tools/stale.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool ot_out_is_standard(const char *out) {
    return out && out[0] == '-' && (!out[1] || (out[1] == '.' && !strchr(out, '/')));
}

int ot_out_check(const struct settings *s, struct failure *f) {
    const char *out = ot_text(s, OPTION_out);
    struct stat info;
    if (!out || ot_out_is_standard(out) || lstat(out, &info)) return 0;
    if (!S_ISREG(info.st_mode))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' is there and is not a regular file", out);
    if (ot_integer(s, OPTION_force, 0)) return 0;
    return ot_refuse(f, EXIT_USAGE, "out: '%s' is there already; force=1 replaces it", out);
}

/* Removes what earlier, killed runs left beside path. */
static int clean(const char *path, struct failure *f) {
    char *copy = ot_copy_text(path, f);
    if (!copy) return f->code;
    char *slash = strrchr(copy, '/');
    if (slash) *slash = '\0';
    ot_stale_remove(slash ? (*copy ? copy : "/") : ".", slash ? slash + 1 : copy);
    free(copy);
    return 0;
}

int ot_out_begin(struct out_file *o, const char *path, struct failure *f) {
    *o = (struct out_file){.path = path};
    if (ot_out_is_standard(path)) {
        o->file = open_memstream(&o->bytes, &o->size);
        if (o->file) return 0;
        return ot_refuse(f, EXIT_MEMORY, "cannot allocate a buffer for standard output");
    }
    const size_t room = strlen(path) + 48;
    o->temporary = ot_take(room, 1, f);
    if (!o->temporary || clean(path, f)) return f->code;
    snprintf(o->temporary, room, "%s.%ld-0.tmp", path, (long)getpid());
    const int fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    o->file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (o->file) return 0;
    ot_refuse(f, EXIT_RUNTIME, "cannot create '%s': %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    free(o->temporary);
    return f->code;
}

/* The bytes of the buffer go to standard output. */
static int print(struct out_file *o, bool good, struct failure *f) {
    good = fclose(o->file) == 0 && good;
    int code = good ? 0 : ot_refuse(f, EXIT_MEMORY, "cannot allocate a buffer for standard output");
    if (!code && (fwrite(o->bytes, 1, o->size, stdout) != o->size || fflush(stdout)))
        code = ot_refuse(f, EXIT_RUNTIME, "cannot write to standard output: %s", strerror(errno));
    free(o->bytes);
    return code;
}

int ot_out_finish(struct out_file *o, bool good, struct failure *f) {
    if (!o->temporary) return print(o, good, f);
    good = good && !ferror(o->file) && fflush(o->file) == 0 && fsync(fileno(o->file)) == 0;
    int problem = errno;
    if (fclose(o->file) && good) {
        good = false;
        problem = errno;
    }
    if (good && rename(o->temporary, o->path)) {
        good = false;
        problem = errno;
    }
    if (!good) unlink(o->temporary);
    free(o->temporary);
    return good ? 0
                : ot_refuse(f, EXIT_RUNTIME, "cannot write '%s': %s", o->path, strerror(problem));
}
