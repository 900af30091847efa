/* file.c - whole files in, whole files out. */
#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/pool.h"

/* At most `size` bytes; fewer only at the end of the file. -1: errno says why. */
static ssize_t read_all(int fd, char *p, size_t size) {
    size_t n = 0;
    while (n < size) {
        ssize_t r = read(fd, p + n, size - n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

/* One byte more is asked for than the file says it has: one that grows, and those of /proc that
 * lie about their size, are told from whole files that way. */
static ssize_t read_exactly(int fd, char *p, size_t size) {
    char more;
    ssize_t n = read_all(fd, p, size);
    if (n < 0 || (size_t)n < size) return n;
    ssize_t rest = read_all(fd, &more, 1);
    return rest < 0 ? -1 : n + rest;
}

ot_status ot_file_read(const ot_allocator *allocator, struct pool *pool, const char *path,
                       uint64_t most, void **bytes, size_t *size, ot_error *err) {
    ot_status status = OT_OK;
    void *block = NULL;
    struct stat st;
    /* O_NONBLOCK: a FIFO that nobody writes must not hang us before fstat tells what it is */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return ot_fail(err, OT_ERROR_IO, "'%s': cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st)) {
        status = ot_fail(err, OT_ERROR_IO, "'%s': %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        status = ot_fail(err, OT_ERROR_IO, "'%s' is not a regular file", path);
        goto done;
    }
    if ((uint64_t)st.st_size > most) {
        status = ot_fail(err, OT_ERROR_LIMIT, "'%s' has %lld bytes, at most %llu are allowed", path,
                         (long long)st.st_size, (unsigned long long)most);
        goto done;
    }
    const ot_allocator al = ot_allocator_or_default(allocator);
    block = pool && ot_pool_workers(pool) > 1 ? ot_pool_block_alloc(pool, &al, (size_t)st.st_size)
                                              : ot_block_alloc_dirty(&al, (size_t)st.st_size, 1);
    if (!block) {
        status = ot_fail(err, OT_ERROR_NO_MEMORY, "'%s': out of memory for %lld bytes", path,
                         (long long)st.st_size);
        goto done;
    }
    ssize_t n = read_exactly(fd, block, (size_t)st.st_size);
    if (n != st.st_size) {
        status = n < 0 ? ot_fail(err, OT_ERROR_IO, "'%s': cannot read: %s", path, strerror(errno))
                       : ot_fail(err, OT_ERROR_IO, "'%s' changed while it was read", path);
        ot_block_free(&al, block);
        goto done;
    }
    *bytes = block;
    *size = (size_t)st.st_size;
done:
    close(fd);
    return status;
}

/* ---- writing ---- */

static ot_status writer_fail(struct file_writer *w, ot_error *err, const char *what) {
    int saved = errno;
    ot_file_abort(w);
    w->status = OT_ERROR_IO;
    return ot_fail(err, OT_ERROR_IO, "'%s': cannot %s: %s", w->path, what, strerror(saved));
}

ot_status ot_file_begin(struct file_writer *w, const char *path, ot_error *err) {
    enum { ATTEMPTS = 100 };
    struct stat st;
    *w = (struct file_writer){.fd = -1, .path = path, .status = OT_ERROR_IO};
    if (!lstat(path, &st) && !S_ISREG(st.st_mode)) {
        w->status = OT_ERROR_PATH;
        return ot_fail(err, w->status, "'%s' exists and is not a regular file", path);
    }
    for (int i = 0; i < ATTEMPTS && w->fd < 0; i++) {
        int n =
            snprintf(w->temporary, sizeof w->temporary, "%s.%ld-%d.tmp", path, (long)getpid(), i);
        if (n < 0 || (size_t)n >= sizeof w->temporary) {
            w->temporary[0] = 0;
            return ot_fail(err, OT_ERROR_IO, "the file name has %zu bytes, which is too long",
                           strlen(path));
        }
        w->fd = open(w->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (w->fd < 0 && errno != EEXIST) break;
    }
    if (w->fd < 0) {
        w->temporary[0] = 0; /* it is not ours to remove */
        return ot_fail(err, OT_ERROR_IO, "'%s': cannot create a temporary file in its folder: %s",
                       path, strerror(errno));
    }
    w->status = OT_OK;
    return OT_OK;
}

ot_status ot_file_write(struct file_writer *w, const void *bytes, size_t size, ot_error *err) {
    const char *p = bytes;
    if (w->status) return ot_fail(err, w->status, "'%s' failed before", w->path);
    while (size) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return writer_fail(w, err, "write");
        ot_digest_add(&w->digest, p, (size_t)n);
        p += n;
        size -= (size_t)n;
    }
    return OT_OK;
}

/* Do the bytes that stand in the file have the digest of those that were written? */
static ot_status read_back(struct file_writer *w, ot_error *err) {
    struct digest found = {0};
    char piece[4096];
    while (true) {
        ssize_t n = pread(w->fd, piece, sizeof piece, (off_t)found.bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return writer_fail(w, err, "read back");
        if (!n) break;
        ot_digest_add(&found, piece, (size_t)n);
    }
    if (ot_digest_equal(&found, &w->digest)) return OT_OK;
    ot_file_abort(w);
    return ot_fail(err, OT_ERROR_IO, "'%s': the bytes written do not read back: %llu of %llu",
                   w->path, (unsigned long long)found.bytes, (unsigned long long)w->digest.bytes);
}

/* Makes the rename durable. */
static int sync_folder(struct file_writer *w) {
    char *slash = strrchr(w->temporary, '/');
    if (slash == w->temporary) slash++; /* the folder is "/" */
    if (slash) *slash = 0;
    int fd = open(slash ? w->temporary : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->temporary[0] = 0;
    if (fd < 0) return -1;
    int r = fsync(fd);
    if (r && errno == EINVAL) r = 0; /* file systems that cannot sync folders say so this way */
    close(fd);
    return r;
}

ot_status ot_file_commit(struct file_writer *w, ot_error *err) {
    if (w->status) return ot_fail(err, w->status, "'%s' failed before", w->path);
    if (fsync(w->fd)) return writer_fail(w, err, "write to disk");
    OT_TRY(read_back(w, err));
    int fd = w->fd;
    w->fd = -1;
    if (close(fd)) return writer_fail(w, err, "close");
    if (rename(w->temporary, w->path)) return writer_fail(w, err, "rename the new file");
    w->status = OT_ERROR_IO; /* nothing more can be written */
    if (sync_folder(w))
        return ot_fail(err, OT_ERROR_IO, "'%s': cannot sync its folder: %s", w->path,
                       strerror(errno));
    return OT_OK;
}

void ot_file_abort(struct file_writer *w) {
    if (w->fd >= 0) close(w->fd);
    if (w->temporary[0]) unlink(w->temporary);
    w->fd = -1;
    w->temporary[0] = 0;
    if (!w->status) w->status = OT_ERROR_IO;
}
