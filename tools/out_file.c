/* out_file.c - files that commands write for their users. */
#include "tools/out_file.h"
#include "tools/stale.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

bool ot_out_is_standard(const char *out) {
    return out && out[0] == '-' && (!out[1] || (out[1] == '.' && !strchr(out, '/')));
}

int ot_out_check(const struct settings *s, struct failure *f) {
    const char *out = ot_text(s, OPTION_out);
    struct stat info;
    if (!out || ot_out_is_standard(out) || lstat(out, &info)) return 0;
    if (!S_ISREG(info.st_mode))
        return ot_refuse(f, EXIT_USAGE, "out: '%s' exists and is not a regular file", out);
    if (ot_integer(s, OPTION_force, 0)) return 0;
    return ot_refuse(f, EXIT_USAGE, "out: '%s' already exists; force=1 replaces it", out);
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

/* ---- the stream: whatever passes is counted ---- */

static ssize_t put(void *out, const char *p, size_t n) {
    struct out_file *o = out;
    for (size_t done = 0; done < n;) {
        const ssize_t r = write(o->fd, p + done, n - done);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return 0; /* errno says why */
        done += (size_t)r;
    }
    o->crc = crc32_z(o->crc, (const Bytef *)p, n);
    o->written += n;
    return (ssize_t)n;
}

/* Where the stream is; it goes nowhere else. */
static int seek(void *out, off64_t *offset, int whence) {
    const struct out_file *o = out;
    if (whence != SEEK_CUR || *offset) return -1;
    *offset = (off64_t)o->written;
    return 0;
}

int ot_out_begin(struct out_file *o, const char *path, struct failure *f) {
    static const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    *o = (struct out_file){.path = path, .fd = -1};
    if (ot_out_is_standard(path)) {
        o->file = open_memstream(&o->bytes, &o->size);
        if (o->file) return 0;
        return ot_refuse(f, EXIT_MEMORY, "cannot allocate a buffer for standard output");
    }
    const size_t room = strlen(path) + 48;
    o->temporary = ot_take(room, 1, f);
    if (!o->temporary) return f->code;
    if (clean(path, f)) {
        free(o->temporary);
        return f->code;
    }
    snprintf(o->temporary, room, "%s.%ld-0.tmp", path, (long)getpid());
    o->fd = open(o->temporary, flags, 0666);
    if (o->fd >= 0)
        o->file = fopencookie(o, "wb", (cookie_io_functions_t){.write = put, .seek = seek});
    if (o->file) return 0;
    ot_refuse(f, EXIT_RUNTIME, "cannot create '%s': %s", path, strerror(errno));
    if (o->fd >= 0) {
        close(o->fd);
        unlink(o->temporary);
    }
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

/* Do the bytes that were written stand in the temporary? 0, or what errno may say; -1 where other
 * bytes do. */
static int read_back(const struct out_file *o) {
    unsigned char piece[1 << 14];
    uint64_t n = 0;
    unsigned long crc = 0;
    while (true) {
        const ssize_t r = pread(o->fd, piece, sizeof piece, (off_t)n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return errno;
        if (r == 0) return n == o->written && crc == o->crc ? 0 : -1;
        crc = crc32_z(crc, piece, (z_size_t)r);
        n += (uint64_t)r;
    }
}

int ot_out_finish(struct out_file *o, bool good, struct failure *f) {
    if (!o->temporary) return print(o, good, f);
    good = good && !ferror(o->file) && fflush(o->file) == 0 && fsync(o->fd) == 0;
    int problem = good ? read_back(o) : errno;
    fclose(o->file);
    if (close(o->fd) && good && !problem) problem = errno;
    good = good && !problem;
    if (good && rename(o->temporary, o->path)) {
        good = false;
        problem = errno;
    }
    if (!good) unlink(o->temporary);
    free(o->temporary);
    if (good) return 0;
    return ot_refuse(f, EXIT_RUNTIME, "cannot write '%s': %s", o->path,
                     problem < 0 ? "its bytes read back differently" : strerror(problem));
}
