/* fault_shim.c - LD_PRELOAD: the n-th call of one kind that the program makes fails, once.
 *
 * FAULT_KIND   write, fsync, rename, open, read or malloc
 * FAULT_AT     n, from 1 on; 0 or nothing: none fails
 * FAULT_COUNT  a file that gets the number of such calls
 * Only calls of the program's own code count: what the C library and oneDNN allocate for themselves
 * is theirs to bear. Streams of stdio write when they are flushed and closed; standard input,
 * output and errors do not count.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { WRITE, FSYNC, RENAME, OPEN, READ, MALLOC, KINDS };
static const char *const names[KINDS] = {"write", "fsync", "rename", "open", "read", "malloc"};
static const int errors[KINDS] = {ENOSPC, EIO, EACCES, EMFILE, EIO, ENOMEM};

static int chosen = -1;
static long at, count;
static const char *count_file;
static const char *begin, *end; /* the program's code */

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* ISO C has no way from an object's address to a function's. */
#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real) *(void **)&real = next(#name)

/* The n-th call? */
static bool fails(enum kind kind) {
    if ((int)kind != chosen) return false;
    if (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) != at) return false;
    errno = errors[kind];
    return true;
}

static bool is_own(const void *caller) {
    return (const char *)caller >= begin && (const char *)caller < end;
}
#define OWN is_own(__builtin_return_address(0))

/* The mappings of the program, by its name in /proc/self/maps. */
static void find_program(void) {
    static char maps[1 << 16], path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    int (*real_open)(const char *, int, ...);
    ssize_t (*real_read)(int, void *, size_t);
    *(void **)&real_open = next("open");
    *(void **)&real_read = next("read");
    const int fd = real_open("/proc/self/maps", O_RDONLY);
    size_t n = 0;
    for (ssize_t r = 1; fd >= 0 && r > 0 && n<sizeof maps - 1; n += r> 0 ? (size_t)r : 0)
        r = real_read(fd, maps + n, sizeof maps - 1 - n);
    if (fd >= 0) close(fd);
    for (char *line = strtok(maps, "\n"); line && length > 0; line = strtok(NULL, "\n")) {
        if (!strstr(line, path)) continue;
        char *dash;
        const unsigned long low = strtoul(line, &dash, 16), high = strtoul(dash + 1, NULL, 16);
        if (!begin) begin = (const char *)low;
        end = (const char *)high;
    }
}

__attribute__((constructor)) static void start(void) {
    const char *kind = getenv("FAULT_KIND"), *n = getenv("FAULT_AT");
    count_file = getenv("FAULT_COUNT");
    find_program();
    at = n ? atol(n) : 0;
    for (int i = 0; i < KINDS && kind; i++)
        if (!strcmp(kind, names[i])) chosen = i;
}

__attribute__((destructor)) static void finish(void) {
    char text[32];
    const long calls = count;
    chosen = -1;
    if (!count_file) return;
    const int fd = open(count_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int length = snprintf(text, sizeof text, "%ld\n", calls);
    if (fd < 0 || write(fd, text, (size_t)length) != length) _exit(99);
    close(fd);
}

/* ---- memory ---- */

/* What dlsym itself asks for while the first call looks up its function. */
static void *early(size_t size) {
    static char pool[4096];
    static size_t used;
    void *p = pool + used;
    used += (size + 15) & ~(size_t)15;
    return used <= sizeof pool ? p : NULL;
}

#define LOOK_UP(name)                                                                              \
    static __typeof__(&name) real;                                                                 \
    static bool looking;                                                                           \
    if (!real && looking) return early(size);                                                      \
    if (!real) {                                                                                   \
        looking = true;                                                                            \
        *(void **)&real = next(#name);                                                             \
    }

void *malloc(size_t size) {
    LOOK_UP(malloc)
    return OWN && fails(MALLOC) ? NULL : real(size);
}

void *calloc(size_t n, size_t size) {
    LOOK_UP(calloc)
    return OWN && fails(MALLOC) ? NULL : real(n, size);
}

void *realloc(void *p, size_t size) {
    LOOK_UP(realloc)
    return OWN && fails(MALLOC) ? NULL : real(p, size);
}

void *aligned_alloc(size_t align, size_t size) {
    LOOK_UP(aligned_alloc)
    return OWN && fails(MALLOC) ? NULL : real(align, size);
}

int posix_memalign(void **p, size_t align, size_t size) {
    REAL(posix_memalign);
    return OWN && fails(MALLOC) ? ENOMEM : real(p, align, size);
}

char *strdup(const char *s) {
    REAL(strdup);
    return OWN && fails(MALLOC) ? NULL : real(s);
}

/* ---- files ---- */

ssize_t write(int fd, const void *p, size_t n) {
    REAL(write);
    return fd > 2 && OWN && fails(WRITE) ? -1 : real(fd, p, n);
}

ssize_t read(int fd, void *p, size_t n) {
    REAL(read);
    return fd > 2 && OWN && fails(READ) ? -1 : real(fd, p, n);
}

ssize_t pread(int fd, void *p, size_t n, off_t offset) {
    REAL(pread);
    return OWN && fails(READ) ? -1 : real(fd, p, n, offset);
}

int fsync(int fd) {
    REAL(fsync);
    return OWN && fails(FSYNC) ? -1 : real(fd);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return OWN && fails(RENAME) ? -1 : real(from, to);
}

int open(const char *path, int flags, ...) {
    REAL(open);
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return OWN && fails(OPEN) ? -1 : real(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    REAL(openat);
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return OWN && fails(OPEN) ? -1 : real(folder, path, flags, mode);
}

/* ---- stdio: the C library writes when a stream is flushed or closed ---- */

/* What was buffered is lost, and the stream says so. */
static int lose(FILE *file) {
    const int error = errno;
    __fpurge(file);
    file->_flags |= 0x20; /* _IO_ERR_SEEN */
    errno = error;
    return EOF;
}

FILE *fopen(const char *path, const char *mode) {
    REAL(fopen);
    return OWN && fails(OPEN) ? NULL : real(path, mode);
}

int fflush(FILE *file) {
    REAL(fflush);
    return OWN && file && fileno(file) > 2 && fails(WRITE) ? lose(file) : real(file);
}

int fclose(FILE *file) {
    REAL(fclose);
    const bool fail = OWN && fileno(file) > 2 && __fpending(file) && fails(WRITE);
    if (!fail) return real(file);
    const int error = errno;
    lose(file);
    real(file);
    errno = error;
    return EOF;
}

char *fgets(char *line, int size, FILE *file) {
    REAL(fgets);
    if (!OWN || fileno(file) < 3 || !fails(READ)) return real(line, size, file);
    file->_flags |= 0x20;
    return NULL;
}
