/* error.h - the one way to fail: fill the caller's ot_error and return its status. */
#ifndef OT_BASE_ERROR_H
#define OT_BASE_ERROR_H

#include "runtime/onnxtrain.h"

#if defined(__GNUC__)
#define OT_FORMAT(f, a) __attribute__((format(printf, f, a)))
#else
#define OT_FORMAT(f, a)
#endif

/* Fills *err (NULL allowed) and returns status, so that a check is one line. Bytes outside
 * printable ASCII come out as \xNN, so names from files may be passed as they are. */
ot_status ot_fail(ot_error *err, ot_status status, const char *format, ...) OT_FORMAT(3, 4);

/* Puts "prefix: " before the message of a failure that came from below; returns err->status. */
ot_status ot_fail_in(ot_error *err, ot_status status, const char *format, ...) OT_FORMAT(3, 4);

/* Where warnings and lists of problems go. fn == NULL is silence. */
struct log {
    ot_log_fn *fn;
    void *context;
};
void ot_log(const struct log *log, ot_log_level level, const char *format, ...) OT_FORMAT(3, 4);

/* s, n bytes, with everything but printable ASCII as \xNN, cut to fit; returns buffer. */
const char *ot_escape(char *buffer, size_t size, const char *s, size_t n);

#define OT_TRY(call)                                                                               \
    do {                                                                                           \
        ot_status try_status_ = (call);                                                            \
        if (try_status_) return try_status_;                                                       \
    } while (0)

#endif
