/* tool.h - what all parts of the onnx-train command share: exit codes and the one error message.
 *
 * A function that can fail returns an exit code, 0 for success, and fills the caller's `struct
 * failure`; main prints its text as the one line "onnx-train: ..." and exits with its code.
 */
#ifndef OT_TOOLS_TOOL_H
#define OT_TOOLS_TOOL_H

#include "runtime/onnxtrain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1,  /* the operating system refused something */
    EXIT_USAGE = 2,    /* command line or configuration */
    EXIT_MODEL = 3,    /* the model is broken or has unsupported operators */
    EXIT_DATA = 4,     /* the data are broken or do not fit the model */
    EXIT_DIVERGED = 5, /* loss, gradient or result is not finite */
    EXIT_MEMORY = 6,   /* the memory limit is exceeded */
    EXIT_CHECK = 7,    /* a check has found a failure */
    EXIT_SPARSITY = 8, /* a mask changed, which must never happen */
    EXIT_SIGNAL = 128  /* + the signal's number: stopped by it, checkpoint saved */
};

struct failure {
    int code;
    char text[1200];
};

#if defined(__GNUC__)
#define OT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define OT_PRINTF(text, first)
#endif

/* Fills f and returns code. Control characters and broken UTF-8 in the text become \xNN. */
int ot_refuse(struct failure *f, int code, const char *format, ...) OT_PRINTF(3, 4);

/* malloc and friends that fill f where they fail; NULL then. */
void *ot_take(size_t count, size_t size, struct failure *f); /* zeroed */
char *ot_copy_text(const char *text, struct failure *f);

/* "folder/name" in fresh memory. */
char *ot_join_path(const char *folder, const char *name, struct failure *f);

/* Whether name ends in suffix, ASCII letters compared without case. */
bool ot_has_suffix(const char *name, const char *suffix);

/* CPUs that this process may use. */
int ot_count_cpus(void);

/* Whether both paths name one existing file. */
bool ot_same_file(const char *a, const char *b);

/* Adds to a line of `size` bytes what there is room for. */
void ot_append_text(char *line, size_t size, const char *format, ...) OT_PRINTF(3, 4);

/* Copies text to out (size bytes, NUL included), escaping as ot_refuse does. */
void ot_make_safe(char *out, size_t size, const char *text);

#endif
