/* jsonout.c - pieces of JSON printed to a file. */
#include "tools/jsonout.h"

#include <inttypes.h>
#include <math.h>

void ot_print_string(FILE *file, const char *text) {
    char safe[4608];
    ot_make_safe(safe, sizeof safe, text); /* leaves nothing but valid UTF-8 */
    fputc('"', file);
    for (const char *s = safe; *s; s++) {
        if (*s == '"' || *s == '\\') fputc('\\', file);
        fputc(*s, file);
    }
    fputc('"', file);
}

void ot_print_number(FILE *file, double number, int digits) {
    if (isfinite(number))
        fprintf(file, "%.*g", digits, number);
    else
        fputs(isnan(number) ? "\"nan\"" : number > 0 ? "\"inf\"" : "\"-inf\"", file);
}

void ot_print_shape(FILE *file, int rank, const int64_t *dim) {
    fputc('[', file);
    for (int i = 0; i < rank; i++) {
        fputs(i ? "," : "", file);
        if (dim[i] < 0)
            fputs("null", file);
        else
            fprintf(file, "%" PRId64, dim[i]);
    }
    fputc(']', file);
}
