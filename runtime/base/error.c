/* error.c - messages of failures and log lines. */
#include "runtime/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ot_escape(char *buffer, size_t size, const char *s, size_t n) {
    static const char hex[] = "0123456789abcdef";
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        int plain = c >= 0x20 && c < 0x7f;
        if (k + (plain ? 1 : 4) >= size) break;
        if (plain) {
            buffer[k++] = (char)c;
        } else {
            buffer[k++] = '\\';
            buffer[k++] = 'x';
            buffer[k++] = hex[c >> 4];
            buffer[k++] = hex[c & 15];
        }
    }
    if (size) buffer[k] = 0;
    return buffer;
}

static void format_escaped(char *out, size_t size, const char *format, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    ot_escape(out, size, text, strlen(text));
}

ot_status ot_fail(ot_error *err, ot_status status, const char *format, ...) {
    if (!err) return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    format_escaped(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

ot_status ot_fail_in(ot_error *err, ot_status status, const char *format, ...) {
    if (!err) return status;
    char prefix[256], rest[sizeof err->message];
    va_list args;
    va_start(args, format);
    format_escaped(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(rest, err->message, sizeof rest);
    rest[sizeof rest - 1] = 0;
    err->status = status;
    size_t n = strlen(prefix);
    memcpy(err->message, prefix, n);
    snprintf(err->message + n, sizeof err->message - n, ": %.*s",
             (int)(sizeof err->message - n - 3), rest);
    return status;
}

void ot_log(const struct log *log, ot_log_level level, const char *format, ...) {
    if (!log || !log->fn) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    format_escaped(line, sizeof line, format, args);
    va_end(args);
    log->fn(log->context, level, line);
}
