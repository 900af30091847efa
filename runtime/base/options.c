/* options.c - structs of options are copied between the caller's version and this one. */
#include "runtime/base/options.h"

#include <string.h>

/* More is a size that was never set. */
enum { MAX_SIZE = 4096 };

/* `last` is the last member that the struct had in version 0.2.0. A new member comes behind all
 * others and never into padding, whose content is undefined: no struct has padding at its end. */
#define END(struct_, member) (offsetof(struct_, member) + sizeof(((struct_ *)0)->member))
#define TYPE(struct_, last)                                                                        \
    { #struct_, END(struct_, last), sizeof(struct_) }

const struct options_type ot_options_type = TYPE(ot_options, parallel_workers);
const struct options_type ot_loss_options_type = TYPE(ot_loss_options, output);
const struct options_type ot_optimizer_options_type = TYPE(ot_optimizer_options, steps_before);
const struct options_type ot_export_options_type = TYPE(ot_export_options, reserved);
const struct options_type ot_topology_options_type = TYPE(ot_topology_options, seed);
const struct options_type ot_sparsity_options_type = TYPE(ot_sparsity_options, seed);

/* The last member of each struct now. */
_Static_assert(END(ot_options, activation) == sizeof(ot_options), "padding");
_Static_assert(END(ot_loss_options, output) == sizeof(ot_loss_options), "padding");
_Static_assert(END(ot_optimizer_options, steps_before) == sizeof(ot_optimizer_options), "padding");
_Static_assert(END(ot_sparsity_options, seed) == sizeof(ot_sparsity_options), "padding");
_Static_assert(END(ot_export_options, reserved) == sizeof(ot_export_options), "padding");
_Static_assert(END(ot_topology_options, seed) == sizeof(ot_topology_options), "padding");

static ot_status find_size(const struct options_type *type, const void *caller, size_t *size,
                           ot_error *err) {
    memcpy(size, caller, sizeof *size);
    if (*size == 0) *size = type->first;
    if (*size >= sizeof *size && *size <= MAX_SIZE) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "%s: size is %zu, which is neither sizeof(%s) nor 0",
                   type->name, *size, type->name);
}

ot_status ot_options_read(const struct options_type *type, const void *from, void *to,
                          ot_error *err) {
    size_t size;
    OT_TRY(find_size(type, from, &size, err));
    const unsigned char *bytes = from;
    for (size_t i = type->now; i < size; i++)
        if (bytes[i])
            return ot_fail(err, OT_ERROR_ARGUMENT,
                           "%s: byte %zu of %zu is not 0, but the struct of version %d.%d.%d has "
                           "%zu bytes: an option of a later version is set",
                           type->name, i, size, OT_VERSION_MAJOR, OT_VERSION_MINOR,
                           OT_VERSION_PATCH, type->now);
    memset(to, 0, type->now);
    memcpy(to, from, size < type->now ? size : type->now);
    return OT_OK;
}

ot_status ot_options_write(const struct options_type *type, const void *from, void *to,
                           ot_error *err) {
    size_t size;
    OT_TRY(find_size(type, to, &size, err));
    const size_t both = size < type->now ? size : type->now;
    memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t), both - sizeof(size_t));
    memset((char *)to + both, 0, size - both);
    return OT_OK;
}
