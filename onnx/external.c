/* external.c - tensor data in other files, only ever from beneath the model's folder. */
#include "onnx/model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/open_under.h"
#include "runtime/base/range.h"

struct location {
    const char *path;
    uint64_t offset, length;
    bool has_length;
};

/* Decimal digits and nothing else. */
static ot_status parse_number(struct import *im, const char *key, const char *text, uint64_t *n) {
    uint64_t v = 0;
    bool good = *text != 0;
    for (const char *p = text; *p && good; p++)
        good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(v, (uint64_t)10, &v) &&
               !__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
    if (!good || v > INT64_MAX)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "external data: %s '%.60s' is not a number of bytes", key, text);
    *n = v;
    return OT_OK;
}

static ot_status check_checksum(struct import *im, const char *text) {
    if (strlen(text) != 40 || strspn(text, "0123456789abcdefABCDEF") != 40)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "external data: checksum '%.60s' is not a SHA-1 in hexadecimal",
                              text);
    ot_log(&im->options->log, OT_LOG_WARNING, "external data: the checksum is not verified");
    return OT_OK;
}

static ot_status parse_entry(struct import *im, const char *key, const char *value, unsigned *seen,
                             struct location *at) {
    static const char *const keys[] = {"location", "offset", "length", "checksum", "basepath"};
    enum { LOCATION, OFFSET, LENGTH, CHECKSUM, BASEPATH, KEYS };
    int k = 0;
    while (k < KEYS && strcmp(keys[k], key) != 0) k++;
    if (k == KEYS || *seen >> k & 1)
        return ot_import_fail(im, OT_ERROR_INVALID, "external data: the key '%.60s' is %s", key,
                              k == KEYS ? "unknown" : "given twice");
    *seen |= 1u << k;
    switch (k) {
    case LOCATION: at->path = value; return OT_OK;
    case OFFSET: return parse_number(im, key, value, &at->offset);
    case LENGTH: at->has_length = true; return parse_number(im, key, value, &at->length);
    case CHECKSUM: return check_checksum(im, value);
    default:
        return *value ? ot_import_fail(im, OT_ERROR_UNSUPPORTED,
                                       "external data: a basepath is not supported")
                      : OT_OK;
    }
}

static ot_status parse_location(struct import *im, const Onnx__TensorProto *t,
                                struct location *at) {
    unsigned seen = 0;
    *at = (struct location){0};
    for (size_t i = 0; i < t->n_external_data; i++) {
        const Onnx__StringStringEntryProto *e = t->external_data[i];
        OT_TRY(parse_entry(im, e->key ? e->key : "", e->value ? e->value : "", &seen, at));
    }
    return at->path
               ? OT_OK
               : ot_import_fail(im, OT_ERROR_INVALID, "external data: the location is missing");
}

/* Regular, of one name, and long enough. */
static ot_status check_file(struct import *im, int fd, const struct location *at, size_t size) {
    struct stat st;
    if (fstat(fd, &st))
        return ot_import_fail(im, OT_ERROR_IO, "external data '%.200s': %s", at->path,
                              strerror(errno));
    if (!S_ISREG(st.st_mode))
        return ot_import_fail(im, OT_ERROR_PATH, "external data '%.200s' is not a regular file",
                              at->path);
    if (st.st_nlink != 1)
        return ot_import_fail(im, OT_ERROR_PATH, "external data '%.200s' has more than one name",
                              at->path);
    if (!ot_is_inside(at->offset, size, (uint64_t)st.st_size))
        return ot_import_fail(
            im, OT_ERROR_INVALID,
            "external data '%.200s' has %lld bytes, %zu from %llu on are expected", at->path,
            (long long)st.st_size, size, (unsigned long long)at->offset);
    if (!at->has_length && at->offset + size != (uint64_t)st.st_size)
        return ot_import_fail(
            im, OT_ERROR_INVALID,
            "external data '%.200s': no length is given, and the file does not end with the tensor",
            at->path);
    return OT_OK;
}

ot_status ot_external_open(struct import *im, const Onnx__TensorProto *t, size_t size,
                           struct external *e) {
    struct location at;
    *e = (struct external){.fd = -1};
    OT_TRY(parse_location(im, t, &at));
    if (at.has_length && at.length != size)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "external data: length is %llu, expected %zu bytes",
                              (unsigned long long)at.length, size);
    if (im->folder < 0)
        return ot_import_fail(
            im, OT_ERROR_PATH,
            "external data '%.200s' cannot be read, because the model is not a file", at.path);
    const struct import_visit *visit = im->visit;
    const bool renamed = visit && visit->data_name && !strcmp(at.path, visit->data_name);
    e->path = renamed ? visit->data_file : at.path;
    OT_TRY(ot_open_under(im->folder, e->path, &e->fd, &im->last));
    e->offset = at.offset;
    ot_status status = check_file(im, e->fd, &at, size);
    if (status) ot_external_close(e);
    return status;
}

ot_status ot_external_take(struct import *im, const Onnx__TensorProto *t, void **bytes,
                           size_t *size) {
    struct location at;
    struct external e;
    struct stat st;
    OT_TRY(parse_location(im, t, &at));
    if (im->folder < 0)
        return ot_import_fail(im, OT_ERROR_PATH,
                              "external data cannot be read, because the model is not a file");
    OT_TRY(ot_open_under(im->folder, at.path, &e.fd, &im->last));
    const bool known = at.has_length || !fstat(e.fd, &st);
    ot_external_close(&e);
    if (!known || (!at.has_length && !ot_is_inside(at.offset, 0, (uint64_t)st.st_size)))
        return ot_import_fail(im, OT_ERROR_IO,
                              "external data '%.200s': the offset is behind the end of the file",
                              at.path);
    *size = at.has_length ? (size_t)at.length : (size_t)((uint64_t)st.st_size - at.offset);
    OT_TRY(ot_external_open(im, t, *size, &e)); /* the file is as long as that */
    *bytes = ot_small_alloc(&im->temporary, *size, 1);
    ot_status status = *bytes ? ot_external_read(&e, 0, *size, *bytes, &im->last)
                              : ot_import_no_room(im, &im->scratch, *size);
    ot_external_close(&e);
    return status;
}

ot_status ot_external_read(const struct external *e, size_t first, size_t size, void *dst,
                           ot_error *err) {
    size_t n = 0;
    while (n < size) {
        ssize_t r = pread(e->fd, (char *)dst + n, size - n, (off_t)(e->offset + first + n));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0)
            return ot_fail(err, OT_ERROR_IO, "external data '%.200s': cannot read: %s", e->path,
                           r ? strerror(errno) : "the file has become shorter");
        n += (size_t)r;
    }
    return OT_OK;
}

void ot_external_close(struct external *e) {
    if (e->fd >= 0) close(e->fd);
    e->fd = -1;
}
