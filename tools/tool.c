/* tool.c - errors, memory and paths of the onnx-train command. */
#include "tools/tool.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Length of the UTF-8 sequence that begins at s, 0 where there is none (RFC 3629, table 3-7 of
 * Unicode: no overlong forms, no surrogates, nothing above U+10FFFF). */
static int sequence_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    const int n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void ot_append_text(char *line, size_t size, const char *format, ...) {
    const size_t n = strlen(line);
    va_list list;
    va_start(list, format);
    vsnprintf(line + n, size - n, format, list);
    va_end(list);
}

void ot_make_safe(char *out, size_t size, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;
    while (*s && used + 5 < size) {
        const int n = sequence_length(s);
        if (n == 0 || *s < 0x20 || *s == 0x7f) {
            snprintf(out + used, 5, "\\x%02x", *s++);
            used += 4;
            continue;
        }
        memcpy(out + used, s, (size_t)n);
        used += (size_t)n;
        s += n;
    }
    out[used] = '\0';
}

int ot_refuse(struct failure *f, int code, const char *format, ...) {
    char raw[sizeof f->text];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    ot_make_safe(f->text, sizeof f->text, raw);
    f->code = code;
    return code;
}

void *ot_take(size_t count, size_t size, struct failure *f) {
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) ot_refuse(f, EXIT_MEMORY, "cannot allocate %zu x %zu bytes", count, size);
    return p;
}

char *ot_copy_text(const char *text, struct failure *f) {
    char *copy = ot_take(strlen(text) + 1, 1, f);
    if (copy) strcpy(copy, text);
    return copy;
}

char *ot_join_path(const char *folder, const char *name, struct failure *f) {
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = ot_take(size, 1, f);
    const char *slash = folder[0] && folder[strlen(folder) - 1] == '/' ? "" : "/";
    if (path) snprintf(path, size, "%s%s%s", folder, slash, name);
    return path;
}

bool ot_has_suffix(const char *name, const char *suffix) {
    const size_t n = strlen(name), k = strlen(suffix);
    return n >= k && strcasecmp(name + n - k, suffix) == 0;
}

bool ot_same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int ot_count_cpus(void) {
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
}
