/* safetensors.h - named tensors and notes in one file, with a checksum.
 *
 * Format (safetensors, github.com/huggingface/safetensors): u64 length of the header; the header, a
 * JSON object {name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {key:
 * string}}; the data without holes; all little-endian. On top of that the metadata holds "crc32",
 * eight hexadecimal digits, the CRC-32 of
 *     name 0 type rank dims begin end   for each tensor (type to end as u64 each),
 *     key 0 value 0                     for each other metadata entry,
 *     the data,
 * all in the file's order. A file without it, or with another one, is refused.
 */
#ifndef OT_BASE_SAFETENSORS_H
#define OT_BASE_SAFETENSORS_H

#include "runtime/base/arena.h"

struct safetensor {
    const char *name; /* UTF-8, not empty, unique */
    ot_type type;     /* any with a fixed size */
    int rank;
    int64_t dim[OT_MAX_RANK];
    const void *data;
};

/* Writes path atomically (file.h). Tensors stand in the file by falling element size, else in the
 * given order, so that all data is aligned; the same arguments give the same bytes. The notes must
 * not have the key "crc32". */
ot_status ot_safetensors_write(const ot_allocator *allocator, const char *path,
                               const struct safetensor *tensor, int n, const ot_note *note,
                               int n_notes, ot_error *err);

struct safetensors {
    struct arena arena;
    void *bytes; /* the file */
    int n, n_notes;
    struct safetensor *tensor;       /* data points into bytes, aligned to its element size */
    const struct safetensor **place; /* a hash table of them by name; NULL: free */
    size_t places;                   /* a power of two */
    uint64_t key[2];                 /* of its hash */
    ot_note *note;                   /* without "crc32" */
};

/* All or nothing: the whole file has been checked when this returns OT_OK. `most`: bytes that the
 * file may have. On failure *s is empty. */
ot_status ot_safetensors_read(const ot_allocator *allocator, const char *path, uint64_t most,
                              struct safetensors *s, ot_error *err);
/* The same from memory; bytes, aligned to 8, stay the caller's and must outlive *s. */
ot_status ot_safetensors_view(const ot_allocator *allocator, const void *bytes, size_t size,
                              struct safetensors *s, ot_error *err);
void ot_safetensors_free(struct safetensors *s);

const struct safetensor *ot_safetensors_find(const struct safetensors *s, const char *name);
const char *ot_safetensors_note(const struct safetensors *s, const char *key); /* NULL: absent */

#endif
