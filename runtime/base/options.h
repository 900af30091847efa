/* options.h - structs of options that cross the API: their sizes differ between versions. */
#ifndef OT_BASE_OPTIONS_H
#define OT_BASE_OPTIONS_H

#include "runtime/base/error.h"

struct extent;

/* One struct of options. Each begins with a size_t, which is its size. */
struct options_type {
    const char *name;
    size_t first; /* size in version 0.2.0, which a size of 0 stands for */
    size_t now;   /* size in this version */
    const struct extent *member;
    int n_members;
};

extern const struct options_type ot_options_type, ot_loss_options_type, ot_optimizer_options_type,
    ot_export_options_type, ot_topology_options_type, ot_sparsity_options_type;

/* Copies the caller's struct to `to`, which has the size of this version. Members that the caller's
 * version does not have become zero. OT_ERROR_ARGUMENT if the caller's size is not plausible or
 * ends inside a member, or if a member that this version does not have is not zero. */
ot_status ot_options_read(const struct options_type *type, const void *from, void *to,
                          ot_error *err);

/* Copies a struct of this version to the caller's, whose size is set, and leaves that size as it
 * is. Members that the caller's version does not have are dropped; members that this version does
 * not have become zero. */
ot_status ot_options_write(const struct options_type *type, const void *from, void *to,
                           ot_error *err);

#endif
