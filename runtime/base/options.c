/* options.c - structs of options are copied between the caller's version and this one. */
#include "runtime/base/options.h"

#include <stdbool.h>
#include <string.h>

/* More is a size that was never set. */
enum { MAX_SIZE = 4096 };

/* Where a member begins and ends. */
struct extent {
    size_t begin, end;
};

#define END(struct_, member) (offsetof(struct_, member) + sizeof(((struct_ *)0)->member))
#define M(struct_, member)                                                                         \
    { offsetof(struct_, member), END(struct_, member) }

/* All members: a new one comes behind all others and never into padding, whose content is
 * undefined: no struct has padding at its end. */
static const struct extent options_members[] = {M(ot_options, size),
                                                M(ot_options, threads),
                                                M(ot_options, isa),
                                                M(ot_options, sparse),
                                                M(ot_options, bn),
                                                M(ot_options, seed),
                                                M(ot_options, allow_nonfinite),
                                                M(ot_options, training_info),
                                                M(ot_options, mask),
                                                M(ot_options, mask_share),
                                                M(ot_options, limits),
                                                M(ot_options, allocator),
                                                M(ot_options, log),
                                                M(ot_options, log_context),
                                                M(ot_options, plans),
                                                M(ot_options, parallel_for),
                                                M(ot_options, parallel_context),
                                                M(ot_options, fix),
                                                M(ot_options, apart),
                                                M(ot_options, parallel_workers),
                                                M(ot_options, activation)};
static const struct extent loss_options_members[] = {M(ot_loss_options, size),
                                                     M(ot_loss_options, kind),
                                                     M(ot_loss_options, label_smoothing),
                                                     M(ot_loss_options, ignore_index),
                                                     M(ot_loss_options, use_ignore_index),
                                                     M(ot_loss_options, huber_delta),
                                                     M(ot_loss_options, class_axis),
                                                     M(ot_loss_options, output)};
static const struct extent optimizer_options_members[] = {
    M(ot_optimizer_options, size),        M(ot_optimizer_options, kind),
    M(ot_optimizer_options, exact),       M(ot_optimizer_options, lr),
    M(ot_optimizer_options, momentum),    M(ot_optimizer_options, dampening),
    M(ot_optimizer_options, nesterov),    M(ot_optimizer_options, beta1),
    M(ot_optimizer_options, beta2),       M(ot_optimizer_options, eps),
    M(ot_optimizer_options, lr_decay),    M(ot_optimizer_options, weight_decay),
    M(ot_optimizer_options, post_decay),  M(ot_optimizer_options, clip_norm),
    M(ot_optimizer_options, schedule),    M(ot_optimizer_options, warmup_steps),
    M(ot_optimizer_options, total_steps), M(ot_optimizer_options, step_size),
    M(ot_optimizer_options, gamma),       M(ot_optimizer_options, final_factor),
    M(ot_optimizer_options, steps_before)};
static const struct extent export_options_members[] = {
    M(ot_export_options, size), M(ot_export_options, sparse), M(ot_export_options, form),
    M(ot_export_options, training_info), M(ot_export_options, reserved)};
static const struct extent topology_options_members[] = {M(ot_topology_options, size),
                                                         M(ot_topology_options, method),
                                                         M(ot_topology_options, drop),
                                                         M(ot_topology_options, grow),
                                                         M(ot_topology_options, newborn),
                                                         M(ot_topology_options, sparsity),
                                                         M(ot_topology_options, drop_fraction),
                                                         M(ot_topology_options, every),
                                                         M(ot_topology_options, start),
                                                         M(ot_topology_options, end),
                                                         M(ot_topology_options, seed),
                                                         M(ot_topology_options, ablation),
                                                         M(ot_topology_options, grow_candidates),
                                                         M(ot_topology_options, no_revival)};
static const struct extent sparsity_options_members[] = {
    M(ot_sparsity_options, size),        M(ot_sparsity_options, budget),
    M(ot_sparsity_options, constraint),  M(ot_sparsity_options, group),
    M(ot_sparsity_options, density),     M(ot_sparsity_options, epsilon),
    M(ot_sparsity_options, layers),      M(ot_sparsity_options, densities),
    M(ot_sparsity_options, n_densities), M(ot_sparsity_options, start),
    M(ot_sparsity_options, dense_fan),   M(ot_sparsity_options, by),
    M(ot_sparsity_options, seed)};

/* `last` is the last member that the struct had in version 0.2.0. */
#define TYPE(struct_, last, members)                                                               \
    { #struct_, END(struct_, last), sizeof(struct_), members, sizeof members / sizeof *members }

const struct options_type ot_options_type = TYPE(ot_options, parallel_workers, options_members);
const struct options_type ot_loss_options_type =
    TYPE(ot_loss_options, output, loss_options_members);
const struct options_type ot_optimizer_options_type =
    TYPE(ot_optimizer_options, steps_before, optimizer_options_members);
const struct options_type ot_export_options_type =
    TYPE(ot_export_options, reserved, export_options_members);
const struct options_type ot_topology_options_type =
    TYPE(ot_topology_options, no_revival, topology_options_members);
const struct options_type ot_sparsity_options_type =
    TYPE(ot_sparsity_options, seed, sparsity_options_members);

/* The last member of each struct now. */
_Static_assert(END(ot_options, activation) == sizeof(ot_options), "padding");
_Static_assert(END(ot_loss_options, output) == sizeof(ot_loss_options), "padding");
_Static_assert(END(ot_optimizer_options, steps_before) == sizeof(ot_optimizer_options), "padding");
_Static_assert(END(ot_sparsity_options, seed) == sizeof(ot_sparsity_options), "padding");
_Static_assert(END(ot_export_options, reserved) == sizeof(ot_export_options), "padding");
_Static_assert(END(ot_topology_options, no_revival) == sizeof(ot_topology_options), "padding");

/* Does a struct of this size end between two members? One of a later version may end anywhere
 * behind them. */
static bool ends_between(const struct options_type *type, size_t size) {
    for (int i = 0; i < type->n_members; i++)
        if (size > type->member[i].begin && size < type->member[i].end) return false;
    return true;
}

static ot_status find_size(const struct options_type *type, const void *caller, size_t *size,
                           ot_error *err) {
    memcpy(size, caller, sizeof *size);
    if (*size == 0) *size = type->first;
    if (*size >= sizeof *size && *size <= MAX_SIZE && ends_between(type, *size)) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT,
                   "%s: size is %zu, which no version of the struct has; expected sizeof(%s) or 0",
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
