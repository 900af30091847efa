/* open_under.h - opens a file beneath a folder, whatever its name tries. */
#ifndef OT_ONNX_OPEN_UNDER_H
#define OT_ONNX_OPEN_UNDER_H

#include "runtime/base/error.h"

/* `path` is taken letter by letter: relative, of plain components, none of them empty, "." or "..",
 * none of them a symbolic link. Else OT_ERROR_PATH, before anything is opened or by the kernel
 * (openat2). Never waits, whatever kind of file it is. The caller closes *fd. */
ot_status ot_open_under(int folder, const char *path, int *fd, ot_error *err);

/* The same without openat2, a component at a time, for kernels that lack it. */
ot_status ot_open_under_stepwise(int folder, const char *path, int *fd, ot_error *err);

#endif
