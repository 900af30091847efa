/* out_file.h - what out= names: a file that is written whole and replaces none unasked, or standard
 * output. */
#ifndef TOOLS_OUT_FILE_H
#define TOOLS_OUT_FILE_H

#include "tools/options.h"

#include <stdio.h>

struct out_file {
    FILE *file;
    const char *path;
    char *temporary; /* beside path; NULL: standard output */
    char *bytes;     /* for standard output, until all is there: .npz is not written in order */
    size_t size;
};

/* Whether `out` is standard output: "-", or "-.npy" and its like, which say the format. */
bool ot_out_is_standard(const char *out);

/* Refuses an `out` that is there already, unless force=1 was given; EXIT_USAGE. */
int ot_out_check(const struct settings *s, struct failure *f);

/* Opens a file to write to. */
int ot_out_begin(struct out_file *o, const char *path, struct failure *f);

/* Ends it: `good` says whether all was written. What cannot be finished is not there. */
int ot_out_finish(struct out_file *o, bool good, struct failure *f);

#endif
