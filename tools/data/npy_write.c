/* npy_write.c - writes tensors as .npy (numpy.lib.format 1.0) and .npz (APPNOTE.TXT 6.3). */
#include "tools/data/npy_write.h"
#include "tools/out_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEADER = 640 }; /* 10 bytes, then text, blanks and a line feed up to a multiple of 64 */

static const struct {
    ot_type type;
    const char *descr;
    size_t size;
} types[] = {{OT_FLOAT, "<f4", 4},  {OT_DOUBLE, "<f8", 8}, {OT_UINT8, "|u1", 1},
             {OT_INT8, "|i1", 1},   {OT_UINT16, "<u2", 2}, {OT_INT16, "<i2", 2},
             {OT_INT32, "<i4", 4},  {OT_INT64, "<i8", 8},  {OT_UINT32, "<u4", 4},
             {OT_UINT64, "<u8", 8}, {OT_BOOL, "|b1", 1}};

/* Makes the header of t; the number of bytes of data, or 0 with *descr NULL for other types. */
static size_t make_header(char *header, const ot_tensor *t, bool *known) {
    size_t k = 0, count = 1;
    while (k < sizeof types / sizeof *types && types[k].type != t->type) k++;
    *known = k < sizeof types / sizeof *types;
    if (!*known) return 0;
    memset(header, ' ', HEADER);
    memcpy(header, "\x93NUMPY\1\0", 8);
    header[8] = (char)((HEADER - 10) & 255);
    header[9] = (char)((HEADER - 10) >> 8);
    int used = 10 + sprintf(header + 10, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                            types[k].descr);
    for (int i = 0; i < t->rank; i++) {
        used += sprintf(header + used, "%" PRId64 ", ", t->dim[i]);
        count *= (size_t)t->dim[i];
    }
    used += sprintf(header + used, "), }");
    header[used] = ' ';
    header[HEADER - 1] = '\n';
    return count * types[k].size;
}

int ot_npy_write(const char *path, const ot_tensor *t, struct failure *f) {
    char header[HEADER];
    bool known;
    const size_t size = make_header(header, t, &known);
    if (!known) return ot_refuse(f, EXIT_MODEL, "'%s': NumPy has no such element type", path);
    struct out_file o;
    const int code = ot_out_begin(&o, path, f);
    if (code) return code;
    const bool good =
        fwrite(header, 1, HEADER, o.file) == HEADER && fwrite(t->data, 1, size, o.file) == size;
    return ot_out_finish(&o, good, f);
}

/* ---- .npz --------------------------------------------------------------------------------- */

static void put(unsigned char *p, uint32_t value, int n) {
    for (int i = 0; i < n; i++) p[i] = (unsigned char)(value >> (8 * i));
}

/* The part that local header and directory entry share: version to lengths. */
static void put_common(unsigned char *p, uint32_t crc, uint32_t size, uint32_t name) {
    put(p, 20, 2);           /* version needed */
    put(p + 2, 0x800, 2);    /* names are UTF-8 */
    put(p + 4, 0, 2);        /* stored */
    put(p + 6, 0x210000, 4); /* 1 January 1980, midnight: the file depends on its contents alone */
    put(p + 10, crc, 4);
    put(p + 14, size, 4);
    put(p + 18, size, 4);
    put(p + 22, name, 2);
    put(p + 24, 0, 2);
}

struct entry {
    uint32_t crc, size, offset;
};

static bool write_member(FILE *file, const ot_tensor *t, const char *name, struct entry *e) {
    char header[HEADER];
    unsigned char local[30];
    bool known;
    const size_t size = make_header(header, t, &known);
    const long offset = ftell(file);
    if (!known || offset < 0 || size + HEADER > 0xfffffffful - (size_t)offset) {
        errno = EFBIG;
        return false;
    }
    *e = (struct entry){.size = (uint32_t)(size + HEADER), .offset = (uint32_t)offset};
    e->crc = (uint32_t)crc32_z(crc32_z(0, (const Bytef *)header, HEADER), t->data, size);
    const uint32_t length = (uint32_t)strlen(name) + 4;
    put(local, 0x04034b50, 4);
    put_common(local + 4, e->crc, e->size, length);
    return fwrite(local, 1, sizeof local, file) == sizeof local &&
           fprintf(file, "%s.npy", name) == (int)length &&
           fwrite(header, 1, HEADER, file) == HEADER && fwrite(t->data, 1, size, file) == size;
}

static bool write_directory(FILE *file, const char *const *names, const struct entry *e, int n) {
    const long start = ftell(file);
    unsigned char head[46] = {0}, end[22] = {0};
    bool good = start >= 0;
    for (int i = 0; i < n && good; i++) {
        put(head, 0x02014b50, 4);
        put(head + 4, 20, 2);
        put_common(head + 6, e[i].crc, e[i].size, (uint32_t)strlen(names[i]) + 4);
        put(head + 42, e[i].offset, 4);
        good = fwrite(head, 1, sizeof head, file) == sizeof head &&
               fprintf(file, "%s.npy", names[i]) > 0;
    }
    const long stop = ftell(file);
    put(end, 0x06054b50, 4);
    put(end + 8, (uint32_t)n, 2);
    put(end + 10, (uint32_t)n, 2);
    put(end + 12, (uint32_t)(stop - start), 4);
    put(end + 16, (uint32_t)start, 4);
    return good && stop >= 0 && fwrite(end, 1, sizeof end, file) == sizeof end;
}

int ot_npz_write(const char *path, const ot_tensor *t, const char *const *names, int n,
                 struct failure *f) {
    struct entry *e = ot_take((size_t)n, sizeof *e, f);
    if (!e) return f->code;
    struct out_file o;
    int code = ot_out_begin(&o, path, f);
    bool good = !code;
    for (int i = 0; i < n && good; i++) good = write_member(o.file, &t[i], names[i], &e[i]);
    good = good && write_directory(o.file, names, e, n);
    free(e);
    return code ? code : ot_out_finish(&o, good, f);
}
