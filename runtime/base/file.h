/* file.h - files that are either there, whole, or not. */
#ifndef OT_BASE_FILE_H
#define OT_BASE_FILE_H

#include "runtime/base/arena.h"
#include "runtime/base/digest.h"

struct pool;

/* Reads a regular file of at most `most` bytes into a block of `allocator` (ot_block_free). pool:
 * its threads touch the block first, see ot_pool_block_alloc; NULL: the caller alone reads. */
ot_status ot_file_read(const ot_allocator *allocator, struct pool *pool, const char *path,
                       uint64_t most, void **bytes, size_t *size, ot_error *err);

/* A file being written: a temporary name in the target's folder until commit. */
struct file_writer {
    int fd;
    const char *path;
    char temporary[4200];
    ot_status status;     /* sticky: the first failure */
    struct digest digest; /* of the bytes so far */
};

ot_status ot_file_begin(struct file_writer *w, const char *path, ot_error *err);
ot_status ot_file_write(struct file_writer *w, const void *bytes, size_t size, ot_error *err);
/* fsync, reading the bytes back, rename over path, fsync of the folder. On failure the temporary
 * file is gone. */
ot_status ot_file_commit(struct file_writer *w, ot_error *err);
void ot_file_abort(struct file_writer *w);

#endif
