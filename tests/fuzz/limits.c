/* limits.c - runs a target within limits of time and memory; files for it. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HOOKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOOKS 1
#endif
#endif
#ifdef HOOKS /* of sanitizer/allocator_interface.h, which gcc does not bring */
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
                                              void (*free_hook)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);
#endif

void fuzz_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

/* ---- memory ---- */

static atomic_bool counting;
static atomic_llong live; /* negative where what was there before is freed */
static atomic_llong most;

#ifdef HOOKS
static void after_malloc(const volatile void *p, size_t size) {
    (void)p;
    if (!atomic_load(&counting)) return;
    if (atomic_fetch_add(&live, (long long)size) + (long long)size <= atomic_load(&most)) return;
    atomic_store(&counting, false);
    fuzz_fail("%lld bytes at once, the last %zu of them here: at most %lld are allowed",
              atomic_load(&live), size, atomic_load(&most));
}

static void before_free(const volatile void *p) {
    if (p && atomic_load(&counting))
        atomic_fetch_sub(&live, (long long)__sanitizer_get_allocated_size(p));
}
#endif

static void count_memory(size_t limit) {
#ifdef HOOKS
    static bool installed;
    if (!installed) __sanitizer_install_malloc_and_free_hooks(after_malloc, before_free);
    installed = true;
#endif
    atomic_store(&live, 0);
    atomic_store(&most, (long long)limit);
    atomic_store(&counting, true);
}

/* ---- time ---- */

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void fuzz_run(fuzz_fn *run, const uint8_t *bytes, size_t size) {
    const double began = cpu_seconds(), allowed = 1 + 0.02 * (double)size / (1 << 20);
    fuzz_folder();
    count_memory(((size_t)64 << 20) + 64 * size);
    run(bytes, size);
    atomic_store(&counting, false);
    const double took = cpu_seconds() - began;
    if (took > allowed) fuzz_fail("%.2f s of CPU time, at most %.2f are allowed", took, allowed);
}

/* ---- files ---- */

static char folder[64];

static void remove_folder(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) fprintf(stderr, "cannot remove %s\n", folder);
}

const char *fuzz_folder(void) {
    if (*folder) return folder;
    strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/fuzz_XXXXXX" : "/dev/shm/fuzz_XXXXXX");
    if (!mkdtemp(folder)) fuzz_fail("cannot make a folder");
    atexit(remove_folder);
    return folder;
}

const char *fuzz_path(const char *name) {
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

const char *fuzz_file(const uint8_t *bytes, size_t size) {
    static int fd = -1;
    static char path[32];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, bytes, size, 0) != (ssize_t)size)
        fuzz_fail("cannot make a file of %zu bytes", size);
    return path;
}

uint8_t *fuzz_copy(const uint8_t *bytes, size_t size) {
    uint8_t *p = malloc(size ? size : 1);
    if (!p) fuzz_fail("cannot copy %zu bytes", size);
    if (size) memcpy(p, bytes, size);
    return p;
}

uint32_t fuzz_hash(const uint8_t *bytes, size_t size) {
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) h = (h ^ bytes[i]) * 16777619u;
    return h;
}
