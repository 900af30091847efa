/* out_file.h - what out= names: a file that is written whole and replaces none unasked, or standard
 * output. */
#ifndef OT_TOOLS_OUT_FILE_H
#define OT_TOOLS_OUT_FILE_H

#include "tools/options.h"

#include <stdio.h>

struct out_file {
    FILE *file; /* to write to */
    const char *path;
    char *temporary; /* beside path; NULL: standard output */
    char *bytes;     /* for standard output, until all is there: .npz is not written in order */
    size_t size;
    int fd;           /* of the temporary */
    uint64_t written; /* bytes, and their CRC-32: what the temporary has to read back as */
    unsigned long crc;
};

/* Whether `out` is standard output: "-", or "-.npy" and its like, which say the format. */
bool ot_out_is_standard(const char *out);

/* Refuses an `out` that is there already, unless force=1 was given; EXIT_USAGE. */
int ot_out_check(const struct settings *s, struct failure *f);

/* Opens a file to write to. *o stays where it is until the end. */
int ot_out_begin(struct out_file *o, const char *path, struct failure *f);

/* Ends it: `good` says whether all was written. The bytes are read back before the file gets its
 * name. What cannot be finished is not there. */
int ot_out_finish(struct out_file *o, bool good, struct failure *f);

#endif
