/* open_under.c - one openat2, or one openat a component. */
#include "onnx/open_under.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FLAGS = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK };

/* Length of the first component; 0: there is none. */
static size_t component(const char *path) { return strcspn(path, "/"); }

static bool is_relative(const char *path) {
    while (true) {
        size_t n = component(path);
        if (n == 0 || n > NAME_MAX || !strncmp(path, "..", n > 2 ? n : 2) ||
            (n == 1 && *path == '.'))
            return false;
        if (!path[n]) return true;
        path += n + 1;
    }
}

static ot_status check_name(const char *path, ot_error *err) {
    return is_relative(path) ? OT_OK
                             : ot_fail(err, OT_ERROR_PATH,
                                       "external data '%.200s': the path must be relative and stay "
                                       "beneath the model's folder",
                                       path);
}

static ot_status open_failed(const char *path, int error, ot_error *err) {
    const bool refused = error == ELOOP || error == EXDEV || error == ENOTDIR || error == ENXIO;
    return ot_fail(err, refused ? OT_ERROR_PATH : OT_ERROR_IO,
                   "external data '%.200s': cannot open: %s", path,
                   error == ELOOP ? "a symbolic link" : strerror(error));
}

ot_status ot_open_under_stepwise(int folder, const char *path, int *fd, ot_error *err) {
    OT_TRY(check_name(path, err));
    int at = folder;
    for (const char *p = path; *p;) {
        char name[NAME_MAX + 1];
        size_t n = component(p);
        const bool last = !p[n];
        memcpy(name, p, n);
        name[n] = 0;
        int next = openat(at, name, last ? FLAGS : FLAGS | O_DIRECTORY);
        int error = errno;
        if (at != folder) close(at);
        if (next < 0) return open_failed(path, error, err);
        at = next;
        p += n + !last;
    }
    *fd = at;
    return OT_OK;
}

ot_status ot_open_under(int folder, const char *path, int *fd, ot_error *err) {
    const struct open_how how = {
        .flags = FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    OT_TRY(check_name(path, err));
    long r = syscall(SYS_openat2, folder, path, &how, sizeof how);
    /* EPERM: sandboxes that do not know the call refuse it that way */
    if (r < 0 && (errno == ENOSYS || errno == EPERM))
        return ot_open_under_stepwise(folder, path, fd, err);
    if (r < 0) return open_failed(path, errno, err);
    *fd = (int)r;
    return OT_OK;
}
