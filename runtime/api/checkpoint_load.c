/* checkpoint_load.c - a session takes the state of a checkpoint. */
#include <string.h>

#include "runtime/api/checkpoint.h"

/* ---- loading: everything is checked before anything changes ---- */

static bool same_shape(const struct safetensor *a, const struct safetensor *b) {
    return a->type == b->type && a->rank == b->rank &&
           !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

static size_t bytes_of(const struct safetensor *t) {
    size_t bytes = ot_type_size(t->type);
    for (int i = 0; i < t->rank; i++) bytes *= (size_t)t->dim[i]; /* checked by the reader */
    return bytes;
}

static ot_status check_model(const struct ot_session *s, const struct safetensors *file,
                             ot_error *err) {
    char here[65];
    const char *format = ot_safetensors_note(file, OT_NOTE_FORMAT);
    const char *model = ot_safetensors_note(file, OT_NOTE_MODEL);
    ot_checkpoint_hash(s, here);
    if (!format)
        return ot_fail(err, OT_ERROR_INVALID, "the file is not a checkpoint of onnx-train");
    if (strcmp(format, OT_CHECKPOINT_FORMAT))
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "the format is '%s', expected '%s'", format,
                       OT_CHECKPOINT_FORMAT);
    if (!model || strcmp(model, here))
        return ot_fail(err, OT_ERROR_STATE,
                       "the checkpoint belongs to the model with SHA-256 %s, but this model has %s",
                       model ? model : "(none)", here);
    return OT_OK;
}

static ot_status check_part(const struct part *part, const struct safetensor *expected,
                            const struct safetensor *found, ot_error *err) {
    if (!found && part->block) return OT_OK;
    if (!found) return ot_fail(err, OT_ERROR_INVALID, "tensor '%s' is missing", expected->name);
    if (!same_shape(found, expected)) {
        struct tensor a = {.rank = found->rank}, b = {.rank = expected->rank};
        char have[128], want[128];
        memcpy(a.dim, found->dim, sizeof a.dim);
        memcpy(b.dim, expected->dim, sizeof b.dim);
        return ot_fail(err, OT_ERROR_INVALID, "tensor '%s' is %s %s, expected %s %s",
                       expected->name, ot_type_name(found->type),
                       ot_shape_text(&a, have, sizeof have), ot_type_name(expected->type),
                       ot_shape_text(&b, want, sizeof want));
    }
    if (part->fixed && memcmp(found->data, part->data, bytes_of(found)))
        return ot_fail(err, OT_ERROR_INVALID, "tensor '%s': the mask is not that of the model",
                       expected->name);
    return OT_OK;
}

static ot_status check_finite(const struct ot_session *s, const struct safetensor *t,
                              ot_error *err) {
    if (t->type != OT_FLOAT ||
        ot_all_finite(s->context.pool, t->data, (int64_t)(bytes_of(t) / sizeof(float))))
        return OT_OK;
    return ot_fail(err, OT_ERROR_NUMERIC, "tensor '%s' contains values that are not finite",
                   t->name);
}

/* What has been checked and waits until everything is. */
struct copies {
    struct arena arena;
    struct copy {
        const struct parameter *p;
        float **block;    /* of its state; NULL: its values. All of them may still move */
        const void *from; /* NULL: zeros */
        size_t bytes;
    } * copy;
    int n, used;               /* used: tensors of the file that are known */
    struct rewiring *rewiring; /* masks that change */
    int rewirings;
};

/* What the weight's pattern will be. */
static const struct pattern *pattern_of(const struct copies *all, const struct parameter *p) {
    for (int i = 0; i < all->rewirings; i++)
        if (all->rewiring[i].p == p) return all->rewiring[i].pattern;
    return p->t.pattern;
}

static ot_status read_parameter(struct ot_session *s, struct parameter *p,
                                const struct safetensors *file, struct copies *all, ot_error *err) {
    struct part part[OT_PARTS];
    int parts = ot_checkpoint_parts(p, pattern_of(all, p), part);
    for (int k = 0; k < parts; k++) {
        struct safetensor expected;
        OT_TRY(ot_checkpoint_describe(&all->arena, p, &part[k], &expected, err));
        const struct safetensor *found = ot_safetensors_find(file, expected.name);
        if (p->is_number) { /* unless it was a weight where the checkpoint was written */
            if (!found) return OT_OK;
            ot_parameter_wake(s->model->graph, s->model->parameter, (int)(p - s->model->parameter),
                              s->model->parameter_of);
            ot_session_drop_plans(s);
        }
        OT_TRY(check_part(&part[k], &expected, found, err));
        if (found && ot_parameter_changes(p)) OT_TRY(check_finite(s, found, err));
        all->used += found != NULL;
        if (found && part[k].block) /* zeros are as good as none, should a later check fail */
            OT_TRY(ot_state_need(&s->state, s->model, p, part[k].state, err));
        if ((!part[k].block || *part[k].block) && !part[k].fixed)
            all->copy[all->n++] =
                (struct copy){p, part[k].block, found ? found->data : NULL, bytes_of(&expected)};
    }
    return OT_OK;
}

static ot_status check_all(struct ot_session *s, const struct safetensors *file, struct copies *all,
                           struct scalars *c, ot_error *err) {
    OT_TRY(check_model(s, file, err));
    const size_t n = (size_t)s->model->n_parameters;
    int found;
    OT_TRY(ot_scalars_read(s, file, c, &found, err));
    all->copy = ot_arena_alloc(&all->arena, n * OT_PARTS, sizeof *all->copy);
    all->rewiring = ot_block_alloc(&s->allocator, n, sizeof *all->rewiring);
    if (!all->copy || !all->rewiring)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the list of tensors");
    if (c->updates || s->topology.updates)
        OT_TRY(ot_checkpoint_masks(s, file, &all->arena, all->rewiring, &all->rewirings, err));
    for (int i = 0; i < s->model->n_parameters; i++)
        OT_TRY(read_parameter(s, &s->model->parameter[i], file, all, err));
    if (all->used + found == file->n) return OT_OK;
    return ot_fail(err, OT_ERROR_INVALID,
                   "the checkpoint has %d tensors, of which the model has %d", file->n,
                   all->used + found);
}

static ot_status load_state(struct ot_session *s, const struct safetensors *file, ot_error *err) {
    struct scalars c;
    struct copies all = {.n = 0};
    ot_arena_init(&all.arena, &s->allocator, 0);
    ot_status status = check_all(s, file, &all, &c, err);
    if (!status && all.rewirings) {
        status =
            ot_rewire(s->model, &s->context.weights, &s->state, all.rewiring, all.rewirings, err);
        if (!status) ot_session_drop_plans(s);
    }
    for (int i = 0; !status && i < all.n; i++) {
        const struct copy *k = &all.copy[i];
        void *to = k->block ? *k->block : k->p->t.data;
        if (k->from && k->bytes) memcpy(to, k->from, k->bytes);
        if (!k->from) memset(to, 0, k->bytes);
    }
    if (!status) ot_scalars_set(s, &c);
    ot_rewirings_free(&s->allocator, all.rewiring, all.rewirings);
    ot_arena_free(&all.arena);
    return status;
}

ot_status ot_load_checkpoint(ot_session *s, const char *path, ot_note_fn *note, void *context,
                             ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct safetensors file;
    if (!path || !*path) return ot_fail(err, OT_ERROR_ARGUMENT, "path is NULL");
    uint64_t most = s->options.limits.memory_bytes;
    OT_TRY(ot_safetensors_read(&s->allocator, path, most ? most : INT64_MAX, &file, err));
    ot_status status = load_state(s, &file, err);
    if (status) ot_fail_in(err, status, "checkpoint '%s'", path);
    for (int i = 0; !status && note && i < file.n_notes; i++)
        if (strncmp(file.note[i].key, OT_NOTE_RESERVED, strlen(OT_NOTE_RESERVED)))
            note(context, file.note[i].key, file.note[i].value);
    ot_safetensors_free(&file);
    return status;
}
