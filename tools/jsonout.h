/* jsonout.h - pieces of JSON printed to a file. */
#ifndef OT_TOOLS_JSONOUT_H
#define OT_TOOLS_JSONOUT_H

#include "tools/tool.h"

#include <stdio.h>

/* A string with its quotes. */
void ot_print_string(FILE *file, const char *text);

/* A number with `digits` significant digits; "nan", "inf" or "-inf" as strings. */
void ot_print_number(FILE *file, double number, int digits);

/* [1, 2, 3] without blanks; -1 becomes null (a free dimension). */
void ot_print_shape(FILE *file, int rank, const int64_t *dim);

#endif
