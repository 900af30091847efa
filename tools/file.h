/* file.h - every file that the command reads itself goes through here. */
#ifndef OT_TOOLS_FILE_H
#define OT_TOOLS_FILE_H

#include "tools/tool.h"

/* The whole file in fresh memory, with a NUL behind it. Only regular files are read, so that no
 * FIFO or device makes the command wait. Failures have the exit code `code` and name the path. */
int ot_read_file(const char *path, int code, unsigned char **bytes, size_t *size,
                 struct failure *f);

/* Its first bytes, at most `most`. *n: how many there are. *size: of the file. */
int ot_read_head(const char *path, int code, unsigned char *head, size_t most, size_t *n,
                 size_t *size, struct failure *f);

/* Memory that a decoder may take at once on the word of a file of `size` bytes: 64 MiB and 64 times
 * the file. */
uint64_t ot_most_claimed(uint64_t size);

#endif
