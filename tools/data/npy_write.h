/* npy_write.h - writes tensors as .npy, and several of them as .npz. */
#ifndef OT_TOOLS_DATA_NPY_WRITE_H
#define OT_TOOLS_DATA_NPY_WRITE_H

#include "tools/tool.h"

/* Types: OT_FLOAT, OT_DOUBLE, integers, OT_BOOL. A file that cannot be finished is not there;
 * one that was is replaced. "-" is standard output, see out_file.h. */
int ot_npy_write(const char *path, const ot_tensor *t, struct failure *f);

/* Members are named names[i] + ".npy", stored without compression; at most 4 GiB together. */
int ot_npz_write(const char *path, const ot_tensor *t, const char *const *names, int n,
                 struct failure *f);

#endif
