/* checkpoint.c - the whole state of a session as one safetensors file.
 *
 * Tensors, for each parameter NAME: "value:NAME" (float: its shape, or [nnz] with a pattern),
 * "row:NAME" and "col:NAME" (int32: the pattern's CSR arrays), and where they exist
 * "moment0:NAME", "moment1:NAME" and, between micro-batches, "gradient:NAME". Scalars: the options
 * of the optimizer and all counters, see `scalars`. Metadata: format, hash of the model, notes.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/safetensors.h"

#define FORMAT "onnx-train checkpoint 1"
static const char format_key[] = "onnx_train.format", model_key[] = "onnx_train.model";
static const char reserved[] = "onnx_train.";

/* ---- the scalars ---- */

struct scalars {
    ot_optimizer_options o;
    int32_t is_set;
    int64_t steps, head_classes;
    struct accumulation sum;
    uint64_t seed, step;
    double gradient_norm;
};

_Static_assert(sizeof(ot_optimizer_kind) == 4 && sizeof(ot_schedule_kind) == 4, "enums are int32");

#define SCALAR(name, type, member)                                                                 \
    { name, type, offsetof(struct scalars, member), false }
#define BETWEEN(name, type, member)                                                                \
    { name, type, offsetof(struct scalars, member), true }
static const struct {
    const char *name;
    ot_type type;
    size_t offset;
    bool between; /* there between the batches of one step only; 0.1.0 did not write it */
} scalars[] = {
    SCALAR("optimizer.kind", OT_INT32, o.kind),
    SCALAR("optimizer.lr", OT_FLOAT, o.lr),
    SCALAR("optimizer.momentum", OT_FLOAT, o.momentum),
    SCALAR("optimizer.dampening", OT_FLOAT, o.dampening),
    SCALAR("optimizer.nesterov", OT_INT32, o.nesterov),
    SCALAR("optimizer.beta1", OT_FLOAT, o.beta1),
    SCALAR("optimizer.beta2", OT_FLOAT, o.beta2),
    SCALAR("optimizer.eps", OT_FLOAT, o.eps),
    SCALAR("optimizer.lr_decay", OT_FLOAT, o.lr_decay),
    SCALAR("optimizer.weight_decay", OT_FLOAT, o.weight_decay),
    SCALAR("optimizer.post_decay", OT_FLOAT, o.post_decay),
    SCALAR("optimizer.clip_norm", OT_FLOAT, o.clip_norm),
    SCALAR("schedule.kind", OT_INT32, o.schedule),
    SCALAR("schedule.warmup_steps", OT_INT64, o.warmup_steps),
    SCALAR("schedule.total_steps", OT_INT64, o.total_steps),
    SCALAR("schedule.step_size", OT_INT64, o.step_size),
    SCALAR("schedule.gamma", OT_FLOAT, o.gamma),
    SCALAR("schedule.final_factor", OT_FLOAT, o.final_factor),
    SCALAR("optimizer.steps_before", OT_INT64, o.steps_before),
    SCALAR("optimizer.is_set", OT_INT32, is_set),
    SCALAR("optimizer.steps", OT_INT64, steps),
    SCALAR("optimizer.gradient_norm", OT_DOUBLE, gradient_norm),
    SCALAR("session.accumulated", OT_INT64, sum.steps),
    BETWEEN("session.host_losses", OT_INT64, sum.host),
    BETWEEN("session.targets", OT_INT64, sum.targets),
    BETWEEN("session.unit", OT_INT64, sum.unit),
    SCALAR("session.head_classes", OT_INT64, head_classes),
    SCALAR("session.seed", OT_UINT64, seed),
    SCALAR("session.step", OT_UINT64, step),
};
enum { SCALARS = sizeof scalars / sizeof *scalars };

static void get_scalars(const struct ot_session *s, struct scalars *c) {
    *c = (struct scalars){.o = s->optimizer.options,
                          .is_set = s->optimizer.is_set,
                          .steps = s->optimizer.steps,
                          .sum = s->accumulation,
                          .head_classes = s->head_classes,
                          .seed = s->context.random.seed,
                          .step = s->context.random.step,
                          .gradient_norm = s->gradient_norm};
}

static void set_scalars(struct ot_session *s, const struct scalars *c) {
    s->optimizer.options = c->o;
    s->optimizer.is_set = c->is_set;
    s->optimizer.steps = c->steps;
    s->accumulation = c->sum;
    s->context.random.seed = c->seed;
    s->context.random.step = c->step;
    s->gradient_norm = c->gradient_norm;
    s->optimizer.bound = 0;
}

static const int64_t most_count = INT64_C(1) << 62; /* counters must not overflow later */

static bool good_sum(const struct accumulation *sum) {
    const int64_t all[] = {sum->steps, sum->host, sum->targets, sum->unit};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < 0 || all[i] > most_count) return false;
    return sum->host <= sum->steps && (sum->unit > 0 || sum->targets == 0);
}

static ot_status check_scalars(const struct ot_session *s, struct scalars *c, ot_error *err) {
    ot_optimizer_options filled;
    if (c->steps < 0 || c->steps > most_count || !good_sum(&c->sum) ||
        c->step > (uint64_t)most_count || c->is_set < 0 || c->is_set > 1)
        return ot_fail(err, OT_ERROR_INVALID, "a counter is out of range");
    if (isnan(c->gradient_norm))
        return ot_fail(err, OT_ERROR_INVALID, "the gradient norm is not a number");
    if (ot_optimizer_check(&c->o, &filled, err))
        return ot_fail_in(err, OT_ERROR_INVALID, "the optimizer's options");
    if (c->is_set) c->o = filled;
    if (c->head_classes == s->head_classes) return OT_OK;
    return ot_fail(err, OT_ERROR_STATE,
                   "the checkpoint's model has a new head for %lld classes, this one for %lld "
                   "(0: its own head)",
                   (long long)c->head_classes, (long long)s->head_classes);
}

/* ---- the tensors of a parameter ---- */

enum { PARTS = 6, NAME_ROOM = 16 }; /* NAME_ROOM: the longest prefix */

struct part {
    const char *prefix;
    const void *data; /* NULL: the session does not hold it now */
    ot_type type;
    int64_t count;         /* entries; -1: the shape of the parameter */
    enum state_part state; /* which part of the state it is, if it is one */
    float **block;         /* of what can be made on demand: gradient and moments */
    bool fixed;            /* the pattern: must be the same here and there */
};

static int parts_of(struct parameter *p, struct part part[PARTS]) {
    const struct pattern *pattern = p->t.pattern;
    int64_t count = pattern ? pattern->nnz : -1;
    int n = 0;
    part[n++] = (struct part){"value", p->t.data, OT_FLOAT, count, 0, NULL, false};
    part[n++] = (struct part){"moment0",         p->moment[0],  OT_FLOAT, count,
                              OT_STATE_MOMENT_0, &p->moment[0], false};
    part[n++] = (struct part){"moment1",         p->moment[1],  OT_FLOAT, count,
                              OT_STATE_MOMENT_1, &p->moment[1], false};
    const float *gradient = ot_parameter_gradient(p);
    part[n++] = (struct part){"gradient",        gradient,     OT_FLOAT, count,
                              OT_STATE_GRADIENT, &p->gradient, false};
    if (!pattern) return n;
    int64_t rows = pattern->rows;
    part[n++] = (struct part){"row", pattern->row, OT_INT32, rows + 1, 0, NULL, true};
    part[n++] = (struct part){"col", pattern->col, OT_INT32, pattern->nnz, 0, NULL, true};
    return n;
}

static ot_status describe(struct arena *arena, const struct parameter *p, const struct part *part,
                          struct safetensor *t, ot_error *err) {
    size_t size = strlen(p->name) + NAME_ROOM;
    char *name = ot_arena_alloc(arena, size, 1);
    if (!name) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the list of tensors");
    snprintf(name, size, "%s:%s", part->prefix, p->name);
    *t = (struct safetensor){.name = name, .type = part->type, .rank = 1, .data = part->data};
    t->dim[0] = part->count;
    if (part->count >= 0) return OT_OK;
    t->rank = p->t.rank;
    memcpy(t->dim, p->t.dim, sizeof t->dim);
    return OT_OK;
}

static void hex_of(const uint8_t hash[32], char text[65]) {
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

/* ---- saving ---- */

static ot_status list_tensors(const struct ot_session *s, const struct scalars *c,
                              struct arena *arena, struct safetensor *list, int *n, ot_error *err) {
    for (int i = 0; i < SCALARS; i++)
        if (!scalars[i].between || s->accumulation.steps)
            list[(*n)++] = (struct safetensor){.name = scalars[i].name,
                                               .type = scalars[i].type,
                                               .data = (const char *)c + scalars[i].offset};
    for (int i = 0; i < s->model->n_parameters; i++) {
        if (s->model->parameter[i].is_number) continue;
        struct part part[PARTS];
        int parts = parts_of(&s->model->parameter[i], part);
        for (int k = 0; k < parts; k++) {
            bool is_gradient = part[k].block == &s->model->parameter[i].gradient;
            if (!part[k].data || (is_gradient && !s->accumulation.steps)) continue;
            OT_TRY(describe(arena, &s->model->parameter[i], &part[k], &list[(*n)++], err));
        }
    }
    return OT_OK;
}

static ot_status list_notes(const ot_note *notes, int n, ot_note *list, ot_error *err) {
    for (int i = 0; i < n; i++) {
        if (!notes[i].key || !notes[i].value)
            return ot_fail(err, OT_ERROR_ARGUMENT, "note %d has no key or no value", i);
        if (!strncmp(notes[i].key, reserved, strlen(reserved)))
            return ot_fail(err, OT_ERROR_ARGUMENT,
                           "note '%s': keys that begin with %s are reserved", notes[i].key,
                           reserved);
        for (int k = 0; k < i; k++)
            if (!strcmp(notes[i].key, notes[k].key))
                return ot_fail(err, OT_ERROR_ARGUMENT, "note '%s' is given twice", notes[i].key);
        list[i] = notes[i];
    }
    return OT_OK;
}

ot_status ot_save_checkpoint(const ot_session *s, const char *path, const ot_note *notes, int n,
                             ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    OT_TRY(ot_session_check_finite(s, err));
    char model[65];
    struct scalars c;
    struct arena arena;
    int count = 0;
    if (!path || !*path || n < 0 || (n && !notes))
        return ot_fail(err, OT_ERROR_ARGUMENT, "path is NULL, or notes is NULL although n is %d",
                       n);
    ot_status status = OT_ERROR_NO_MEMORY;
    ot_arena_init(&arena, &s->allocator, 0);
    struct safetensor *list =
        ot_arena_alloc(&arena, SCALARS + (size_t)s->model->n_parameters * PARTS, sizeof *list);
    ot_note *all = ot_arena_alloc(&arena, (size_t)n + 2, sizeof *all);
    if (!list || !all) {
        ot_fail(err, status, "no memory for the list of tensors");
        goto done;
    }
    get_scalars(s, &c);
    hex_of(s->model->graph->hash, model);
    all[0] = (ot_note){format_key, FORMAT};
    all[1] = (ot_note){model_key, model};
    status = list_notes(notes, n, all + 2, err);
    if (!status) status = list_tensors(s, &c, &arena, list, &count, err);
    if (!status) status = ot_safetensors_write(&s->allocator, path, list, count, all, n + 2, err);
done:
    ot_arena_free(&arena);
    return status;
}

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

/* *found: how many there are. */
static ot_status read_scalars(const struct safetensors *file, struct scalars *c, int *found,
                              ot_error *err) {
    bool between = false;
    *c = (struct scalars){.o.exact = 1}; /* options are kept with their defaults filled in */
    for (int i = 0; i < SCALARS; i++) {
        const struct safetensor *t = ot_safetensors_find(file, scalars[i].name);
        if (!t && scalars[i].between) continue;
        if (!t || t->type != scalars[i].type || t->rank)
            return ot_fail(err, OT_ERROR_INVALID, "'%s' is missing, or not a scalar of type %s",
                           scalars[i].name, ot_type_name(scalars[i].type));
        memcpy((char *)c + scalars[i].offset, t->data, ot_type_size(t->type));
        between |= scalars[i].between;
        ++*found;
    }
    if (!between) c->sum.host = c->sum.steps; /* of 0.1.0: each batch counts as much */
    return OT_OK;
}

static ot_status check_model(const struct ot_session *s, const struct safetensors *file,
                             ot_error *err) {
    char here[65];
    const char *format = ot_safetensors_note(file, format_key);
    const char *model = ot_safetensors_note(file, model_key);
    hex_of(s->model->graph->hash, here);
    if (!format)
        return ot_fail(err, OT_ERROR_INVALID, "the file is not a checkpoint of onnx-train");
    if (strcmp(format, FORMAT))
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "format is '%s', expected '%s'", format, FORMAT);
    if (!model || strcmp(model, here))
        return ot_fail(err, OT_ERROR_STATE,
                       "the checkpoint belongs to the model with SHA-256 %s, this model has %s",
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
    return ot_fail(err, OT_ERROR_NUMERIC, "tensor '%s' holds values that are not finite", t->name);
}

/* What has been checked and waits until everything is. */
struct copies {
    struct arena arena;
    struct copy {
        float **block; /* of the state, which may still move; or NULL: */
        void *to;
        const void *from; /* NULL: zeros */
        size_t bytes;
    } * copy;
    int n, used; /* used: tensors of the file that are known */
};

static ot_status read_parameter(struct ot_session *s, struct parameter *p,
                                const struct safetensors *file, struct copies *all, ot_error *err) {
    struct part part[PARTS];
    int parts = parts_of(p, part);
    for (int k = 0; k < parts; k++) {
        struct safetensor expected;
        OT_TRY(describe(&all->arena, p, &part[k], &expected, err));
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
            all->copy[all->n++] = (struct copy){part[k].block, p->t.data,
                                                found ? found->data : NULL, bytes_of(&expected)};
    }
    return OT_OK;
}

static ot_status check_all(struct ot_session *s, const struct safetensors *file, struct copies *all,
                           struct scalars *c, ot_error *err) {
    OT_TRY(check_model(s, file, err));
    int found = 0;
    OT_TRY(read_scalars(file, c, &found, err));
    OT_TRY(check_scalars(s, c, err));
    all->copy =
        ot_arena_alloc(&all->arena, (size_t)s->model->n_parameters * PARTS, sizeof *all->copy);
    if (!all->copy) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the list of tensors");
    for (int i = 0; i < s->model->n_parameters; i++)
        OT_TRY(read_parameter(s, &s->model->parameter[i], file, all, err));
    if (all->used + found == file->n) return OT_OK;
    return ot_fail(err, OT_ERROR_INVALID,
                   "the checkpoint has %d tensors, of which the model has %d", file->n,
                   all->used + found);
}

static ot_status load(struct ot_session *s, const struct safetensors *file, ot_error *err) {
    struct scalars c;
    struct copies all = {.n = 0};
    ot_arena_init(&all.arena, &s->allocator, 0);
    ot_status status = check_all(s, file, &all, &c, err);
    for (int i = 0; !status && i < all.n; i++) {
        const struct copy *k = &all.copy[i];
        void *to = k->block ? *k->block : k->to; /* blocks may have moved since */
        if (k->from && k->bytes) memcpy(to, k->from, k->bytes);
        if (!k->from) memset(to, 0, k->bytes);
    }
    if (!status) set_scalars(s, &c);
    ot_arena_free(&all.arena);
    return status;
}

ot_status ot_load_checkpoint(ot_session *s, const char *path, ot_note_fn *note, void *context,
                             ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct safetensors file;
    if (!path || !*path) return ot_fail(err, OT_ERROR_ARGUMENT, "no path to read from");
    uint64_t most = s->options.limits.memory_bytes;
    OT_TRY(ot_safetensors_read(&s->allocator, path, most ? most : INT64_MAX, &file, err));
    ot_status status = load(s, &file, err);
    if (status) ot_fail_in(err, status, "checkpoint '%s'", path);
    for (int i = 0; !status && note && i < file.n_notes; i++)
        if (strncmp(file.note[i].key, reserved, strlen(reserved)))
            note(context, file.note[i].key, file.note[i].value);
    ot_safetensors_free(&file);
    return status;
}
