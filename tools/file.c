/* file.c - opens and reads regular files, whole. */
#include "tools/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* No file is larger than the machine's memory. */
static uint64_t most_bytes(void) {
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : (uint64_t)1 << 32;
}

/* A descriptor of a regular file, and its size; -1 after a failure. O_NONBLOCK: a FIFO that nobody
 * writes must not make us wait before fstat tells what it is. */
static int open_regular(const char *path, int code, size_t *size, struct failure *f) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &info))
        ot_refuse(f, code, "cannot open '%s': %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        ot_refuse(f, code, "'%s' is not a regular file", path);
    else if ((uint64_t)info.st_size >= most_bytes())
        ot_refuse(f, code, "'%s' is larger than the memory of this machine", path);
    else
        return *size = (size_t)info.st_size, fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* At most `most` bytes; fewer only at the end of the file. -1: errno says why. */
static ssize_t read_all(int fd, unsigned char *p, size_t most) {
    size_t n = 0;
    while (n < most) {
        const ssize_t r = read(fd, p + n, most - n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

int ot_read_head(const char *path, int code, unsigned char *head, size_t most, size_t *n,
                 size_t *size, struct failure *f) {
    const int fd = open_regular(path, code, size, f);
    if (fd < 0) return f->code;
    const ssize_t r = read_all(fd, head, most);
    const int error = errno;
    close(fd);
    *n = r < 0 ? 0 : (size_t)r;
    return r < 0 ? ot_refuse(f, code, "cannot read '%s': %s", path, strerror(error)) : 0;
}

int ot_read_file(const char *path, int code, unsigned char **bytes, size_t *size,
                 struct failure *f) {
    *bytes = NULL;
    const int fd = open_regular(path, code, size, f);
    if (fd < 0) return f->code;
    unsigned char *p = ot_take(*size + 1, 1, f);
    /* a byte more is asked for: some files of /proc, and those that grow, have another size */
    const ssize_t n = p ? read_all(fd, p, *size + 1) : 0;
    const int error = errno;
    close(fd);
    if (!p) return f->code;
    if (n == (ssize_t)*size) {
        p[*size] = '\0';
        *bytes = p;
        return 0;
    }
    free(p);
    return ot_refuse(f, code, "cannot read '%s': %s", path,
                     n < 0 ? strerror(error) : "its size changes");
}

uint64_t ot_most_claimed(uint64_t size) {
    const uint64_t free_bytes = (uint64_t)64 << 20;
    return size > (UINT64_MAX - free_bytes) / 64 ? UINT64_MAX : free_bytes + 64 * size;
}
