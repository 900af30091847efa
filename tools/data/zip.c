/* zip.c - reads zip archives (APPNOTE.TXT 6.3): stored and deflated members, zip64.
 *
 * The central directory is what counts; local headers must agree with it.
 */
#include "tools/data/zip.h"
#include "tools/file.h"
#include "tools/data/inflate.h"
#include "runtime/base/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    MOST_MEMBERS = 4096,
    MOST_NAME = 4096,
    END_SIZE = 22,
    ENTRY_SIZE = 46,
    LOCAL_SIZE = 30,
    WIDE_SIZE = 56, /* of the zip64 end record */
    STORED = 0,
    DEFLATED = 8
};

struct member {
    char *name;
    unsigned flags, method;
    uint32_t crc;
    uint64_t packed, size, local; /* bytes in the file, bytes unpacked, offset of local header */
};

struct zip {
    char *path;
    unsigned char *bytes;
    size_t size;
    int n;
    struct member *member;
};

static uint64_t little(const unsigned char *p, int n) {
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static int broken(const struct zip *zip, const char *what, struct failure *f) {
    return ot_refuse(f, EXIT_DATA, "'%s': broken zip archive: %s", zip->path, what);
}

/* The end record, searched backwards over a comment of at most 65535 bytes; -1. */
static int64_t find_end(const struct zip *zip) {
    for (size_t back = END_SIZE; back <= zip->size && back <= END_SIZE + 65535; back++) {
        const unsigned char *p = zip->bytes + zip->size - back;
        if (little(p, 4) == 0x06054b50 && little(p + 20, 2) == back - END_SIZE)
            return (int64_t)(zip->size - back);
    }
    return -1;
}

/* Number of members and offset of the directory, from the zip64 end record where there is one. */
static int find_directory(const struct zip *zip, uint64_t *n, uint64_t *start, struct failure *f) {
    const int64_t end = find_end(zip);
    if (end < 0) return broken(zip, "no end record", f);
    const unsigned char *p = zip->bytes + end;
    *n = little(p + 10, 2);
    *start = little(p + 16, 4);
    if (end < 20 || little(p - 20, 4) != 0x07064b50) return 0;
    const uint64_t wide = little(p - 12, 8);
    if (!ot_is_inside(wide, WIDE_SIZE, zip->size) || little(zip->bytes + wide, 4) != 0x06064b50)
        return broken(zip, "the zip64 end record is not where its locator says", f);
    *n = little(zip->bytes + wide + 32, 8);
    *start = little(zip->bytes + wide + 48, 8);
    return 0;
}

/* Takes 64-bit sizes from the zip64 extra field, for those that are all ones. */
static bool widen(const unsigned char *extra, size_t n, struct member *m) {
    uint64_t *wide[3] = {&m->size, &m->packed, &m->local};
    while (n >= 4) {
        const uint64_t tag = little(extra, 2), length = little(extra + 2, 2);
        if (length > n - 4) return false;
        const unsigned char *p = extra + 4, *end = p + length;
        for (int i = 0; tag == 1 && i < 3; i++) {
            if (*wide[i] != 0xffffffff) continue;
            if (end - p < 8) return false;
            *wide[i] = little(p, 8);
            p += 8;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return true;
}

/* One directory entry at *offset, which moves behind it. */
static int read_entry(struct zip *zip, uint64_t *offset, struct failure *f) {
    if (!ot_is_inside(*offset, ENTRY_SIZE, zip->size))
        return broken(zip, "the directory ends early", f);
    const unsigned char *p = zip->bytes + *offset;
    const size_t name = little(p + 28, 2), extra = little(p + 30, 2), note = little(p + 32, 2);
    if (little(p, 4) != 0x02014b50 ||
        !ot_is_inside(*offset + ENTRY_SIZE, name + extra + note, zip->size))
        return broken(zip, "a directory entry is cut", f);
    if (name > MOST_NAME || memchr(p + ENTRY_SIZE, 0, name))
        return broken(zip, "a member's name is too long or holds NUL", f);
    struct member *m = &zip->member[zip->n];
    *m = (struct member){.flags = (unsigned)little(p + 8, 2),
                         .method = (unsigned)little(p + 10, 2),
                         .crc = (uint32_t)little(p + 16, 4),
                         .packed = little(p + 20, 4),
                         .size = little(p + 24, 4),
                         .local = little(p + 42, 4)};
    if (!widen(p + ENTRY_SIZE + name, extra, m)) return broken(zip, "a zip64 field is cut", f);
    m->name = ot_take(name + 1, 1, f);
    if (!m->name) return f->code;
    memcpy(m->name, p + ENTRY_SIZE, name);
    *offset += ENTRY_SIZE + name + extra + note;
    zip->n++;
    return 0;
}

static int by_place(const void *a, const void *b) {
    const struct member *x = a, *y = b;
    return (x->local > y->local) - (x->local < y->local);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* The local header of m says the same, and its bytes end before `limit`, a place in the file. */
static int check_local(const struct zip *zip, const struct member *m, uint64_t limit,
                       struct failure *f) {
    if (!ot_is_inside(m->local, LOCAL_SIZE, limit))
        return broken(zip, "members overlap, or one lies outside the file", f);
    const unsigned char *p = zip->bytes + m->local;
    const uint64_t name = little(p + 26, 2), extra = little(p + 28, 2);
    const uint64_t head = LOCAL_SIZE + name + extra;
    if (little(p, 4) != 0x04034b50 || !ot_is_inside(head, m->packed, limit - m->local))
        return broken(zip, "members overlap, or one lies outside the file", f);
    if (name != strlen(m->name) || memcmp(p + LOCAL_SIZE, m->name, name))
        return broken(zip, "a member's two names differ", f);
    struct member local = {.packed = little(p + 18, 4), .size = little(p + 22, 4)};
    if (!widen(p + LOCAL_SIZE + name, extra, &local)) return broken(zip, "a zip64 field is cut", f);
    const bool later = m->flags & 8; /* sizes stand behind the data, zeros here */
    if (!later && (local.packed != m->packed || local.size != m->size))
        return broken(zip, "a member's two sizes differ", f);
    return 0;
}

static int check_members(struct zip *zip, uint64_t directory, struct failure *f) {
    uint64_t limit = directory;
    if (!zip->n) return 0;
    qsort(zip->member, (size_t)zip->n, sizeof *zip->member, by_name);
    for (int i = 1; i < zip->n; i++)
        if (strcmp(zip->member[i - 1].name, zip->member[i].name) == 0)
            return broken(zip, "two members have one name", f);
    qsort(zip->member, (size_t)zip->n, sizeof *zip->member, by_place);
    /* from the last on, so that each limit is a place that has been found to lie in the file */
    for (int i = zip->n - 1; i >= 0; i--) {
        const int code = check_local(zip, &zip->member[i], limit, f);
        if (code) return code;
        limit = zip->member[i].local;
    }
    return 0;
}

int ot_zip_open(const char *path, struct zip **out, struct failure *f) {
    uint64_t n = 0, start = 0;
    *out = NULL;
    struct zip *zip = ot_take(1, sizeof *zip, f);
    if (!zip) return f->code;
    zip->path = ot_copy_text(path, f);
    int code = zip->path ? ot_read_file(path, EXIT_DATA, &zip->bytes, &zip->size, f) : f->code;
    if (!code) code = find_directory(zip, &n, &start, f);
    if (!code && (n > MOST_MEMBERS || !ot_is_inside(start, 0, zip->size)))
        code = broken(zip, "too many members, or a directory outside the file", f);
    if (!code) {
        zip->member = ot_take((size_t)n, sizeof *zip->member, f);
        code = zip->member ? 0 : f->code;
    }
    uint64_t offset = start;
    for (uint64_t i = 0; i < n && !code; i++) code = read_entry(zip, &offset, f);
    if (!code) code = check_members(zip, start, f);
    if (code)
        ot_zip_close(zip);
    else
        *out = zip;
    return code;
}

void ot_zip_close(struct zip *zip) {
    if (!zip) return;
    for (int i = 0; i < zip->n; i++) free(zip->member[i].name);
    free(zip->member);
    free(zip->bytes);
    free(zip->path);
    free(zip);
}

int ot_zip_count(const struct zip *zip) { return zip->n; }

int ot_zip_find(const struct zip *zip, const char *name) {
    for (int i = 0; i < zip->n; i++)
        if (strcmp(zip->member[i].name, name) == 0) return i;
    return -1;
}

const char *ot_zip_name(const struct zip *zip, int member) { return zip->member[member].name; }

int ot_zip_read(const struct zip *zip, int member, unsigned char **bytes, size_t *size,
                struct failure *f) {
    const struct member *m = &zip->member[member];
    *bytes = NULL;
    if (m->flags & 1)
        return ot_refuse(f, EXIT_DATA, "'%s': member '%s' is encrypted", zip->path, m->name);
    if (m->method != STORED && m->method != DEFLATED)
        return ot_refuse(f, EXIT_DATA, "'%s': member '%s' uses compression method %u", zip->path,
                         m->name, m->method);
    /* deflate makes at most 1032 bytes of one */
    if (m->method == STORED ? m->size != m->packed : m->size / 1032 > m->packed + 64)
        return ot_refuse(f, EXIT_DATA, "'%s': member '%s' claims %llu bytes from %llu", zip->path,
                         m->name, (unsigned long long)m->size, (unsigned long long)m->packed);
    const unsigned char *p = zip->bytes + m->local;
    p += LOCAL_SIZE + little(p + 26, 2) + little(p + 28, 2);
    unsigned char *out = NULL;
    int code = EXIT_DATA;
    if (m->method == STORED) {
        out = ot_take((size_t)m->size + 1, 1, f);
        if (!out) return f->code;
        memcpy(out, p, (size_t)m->size);
    } else {
        code = ot_inflate(p, (size_t)m->packed, false, m->size, &out, f);
        if (code == EXIT_MEMORY) return code;
    }
    if (!out || crc32_z(0, out, (z_size_t)m->size) != m->crc) {
        free(out);
        return ot_refuse(f, EXIT_DATA, "'%s': member '%s' is damaged", zip->path, m->name);
    }
    *bytes = out;
    *size = (size_t)m->size;
    return 0;
}
