/* target_model.c - a model: opened, planned, trained a step, run, written, opened again. */
#include "runtime/onnxtrain.h"
#include "tests/counter.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 8, MOST_ELEMENTS = 1 << 14, MOST_WEIGHTS = 1 << 16 };
static const double most_flops = 2e7;
static const uint64_t memory = (uint64_t)24 << 20;

/* One run: what is asked for depends on the bytes alone. */
struct task {
    uint32_t hash;
    struct counter memory;
    ot_session *s;
    ot_tensor in[MOST_TENSORS], out[MOST_TENSORS], target;
    int n_in, n_out;
};

static uint32_t choose(const struct task *t, int shift, uint32_t n) {
    return (t->hash >> shift) % n;
}

static void check_error(ot_status status, const ot_error *err) {
    if (status && (status != err->status || !*err->message))
        fuzz_fail("status %d, error %d '%s'", status, err->status, err->message);
}

/* ---- inputs ---- */

static size_t size_of(ot_type type) {
    switch (type) {
    case OT_FLOAT:
    case OT_INT32:
    case OT_UINT32: return 4;
    case OT_UINT8:
    case OT_INT8:
    case OT_BOOL: return 1;
    case OT_UINT16:
    case OT_INT16:
    case OT_FLOAT16:
    case OT_BFLOAT16: return 2;
    default: return 8;
    }
}

/* Memory for a tensor: floats in [-1, 1), integers 0 and 1. False: it is too large. */
static bool fill(ot_tensor *t, uint32_t seed) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] < 0 || t->dim[i] > MOST_ELEMENTS) return false;
        n *= (size_t)t->dim[i];
        if (n > MOST_ELEMENTS) return false;
    }
    uint8_t *p = calloc(n + 1, size_of(t->type));
    if (!p) fuzz_fail("out of memory");
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        const float value = (float)(int32_t)seed / 2147483648.0f;
        if (t->type == OT_FLOAT) memcpy(p + 4 * i, &value, 4);
        if (t->type != OT_FLOAT) p[i * size_of(t->type)] = seed >> 31;
    }
    t->data = p;
    return true;
}

static bool make_inputs(struct task *t) {
    t->n_in = ot_input_count(t->s);
    if (t->n_in > MOST_TENSORS) return false;
    for (int i = 0; i < t->n_in; i++) {
        ot_value_info info;
        if (ot_get_input(t->s, i, &info, NULL)) fuzz_fail("input %d is not there", i);
        ot_tensor *x = &t->in[i];
        *x = (ot_tensor){.type = info.type, .rank = info.rank < 0 ? 2 : info.rank};
        for (int k = 0; k < x->rank; k++)
            x->dim[k] = info.rank < 0 || info.dim[k] < 0 ? 2 + (k == 1) : info.dim[k];
        if (!fill(x, t->hash + (uint32_t)i)) return false;
    }
    return true;
}

/* ---- a step ---- */

static void add_flops(void *context, const ot_profile_step *step) {
    *(double *)context += step->flops + step->bytes;
}

/* Whether a plan for training (or not) is there and cheap enough to be run here. */
static bool plan(struct task *t, int training) {
    ot_error err = {0};
    size_t bytes = 0;
    double flops = 0;
    const ot_status status = ot_prepare(t->s, training, t->in, t->n_in, &bytes, &err);
    check_error(status, &err);
    if (status) return false;
    if (bytes > memory) fuzz_fail("a plan of %zu bytes", bytes);
    ot_get_profile(t->s, add_flops, &flops, NULL);
    return flops < most_flops;
}

/* False where the weights may have become anything. */
static bool train(struct task *t) {
    ot_error err = {0};
    ot_result r = {0};
    if (ot_get_target(t->s, &t->target, &err) || !fill(&t->target, 7)) return true;
    for (int i = 0; i < 2; i++) {
        ot_status status = ot_train_step(t->s, t->in, t->n_in, &t->target, &r, &err);
        check_error(status, &err);
        if (status || !isfinite(r.loss)) return !status;
        status = ot_optimizer_step(t->s, &err);
        check_error(status, &err);
        if (status) return false;
    }
    check_error(ot_eval_step(t->s, t->in, t->n_in, &t->target, &r, &err), &err);
    return true;
}

static void run(struct task *t) {
    ot_error err = {0};
    t->n_out = ot_output_count(t->s);
    if (t->n_out > MOST_TENSORS || !plan(t, 0)) return;
    const ot_status status = ot_run(t->s, t->in, t->n_in, t->out, t->n_out, &err);
    check_error(status, &err);
    for (int i = 0; i < t->n_out && !status; i++) {
        size_t n = size_of(t->out[i].type);
        for (int k = 0; k < t->out[i].rank; k++) n *= (size_t)t->out[i].dim[k];
        (void)fuzz_hash(t->out[i].data, n); /* all of it can be read */
    }
}

/* ---- there and back ---- */

/* Of a value a that is not pruned, b is in the file: not 0. */
static bool is_same(float a, float b) {
    return a == b || (isnan(a) && isnan(b)) || (a == 0 && fabsf(b) == 0x1p-149f);
}

/* Weights of floats are those of the other session. */
static void compare(const ot_session *a, const ot_session *b) {
    float *v = malloc(2 * MOST_WEIGHTS * sizeof *v), *w = v + MOST_WEIGHTS;
    if (!v) fuzz_fail("out of memory");
    for (int i = 0, k; i < ot_parameter_count(a); i++) {
        ot_parameter_info p, q;
        if (ot_get_parameter(a, i, &p, NULL)) fuzz_fail("parameter %d is not there", i);
        if (p.elements > MOST_WEIGHTS || p.file_type != OT_FLOAT) continue;
        for (k = 0; k < ot_parameter_count(b); k++)
            if (!ot_get_parameter(b, k, &q, NULL) && !strcmp(p.name, q.name)) break;
        if (k == ot_parameter_count(b)) fuzz_fail("parameter '%s' is lost", p.name);
        if (p.elements != q.elements || p.nonzeros != q.nonzeros || p.mask_hash != q.mask_hash)
            fuzz_fail("parameter '%s': another shape or pattern", p.name);
        if (ot_read_parameter(a, i, v, NULL) || ot_read_parameter(b, k, w, NULL))
            fuzz_fail("parameter '%s' cannot be read", p.name);
        for (int64_t j = 0; j < p.elements; j++)
            if (!is_same(v[j], w[j])) fuzz_fail("parameter '%s': %g, %g", p.name, v[j], w[j]);
    }
    free(v);
}

static ot_options options_of(struct task *t) {
    static const ot_sparse_mode modes[] = {OT_SPARSE_AUTO, OT_SPARSE_ALWAYS, OT_SPARSE_NEVER,
                                           OT_SPARSE_LIVE};
    return (ot_options){.threads = 1,
                        .isa = choose(t, 0, 4) ? "generic" : NULL,
                        .sparse = modes[choose(t, 2, 4)],
                        .training_info = (int)choose(t, 4, 2),
                        .limits.memory_bytes = memory,
                        .allocator = counting_allocator(&t->memory)};
}

static void export(struct task *t) {
    const char *path = fuzz_path("out.onnx");
    struct task again = {.hash = t->hash};
    ot_error err = {0};
    const ot_export_options how = {.sparse = (ot_export_sparse)choose(t, 5, 3),
                                   .form = (ot_export_form)choose(t, 7, 3)};
    ot_status status = ot_export_onnx(t->s, path, &how, &err);
    check_error(status, &err);
    if (status) return;
    ot_options options = options_of(&again);
    options.limits.memory_bytes = 4 * memory;
    status = ot_open(path, &options, &again.s, &err);
    if (status)
        fuzz_fail("the exported model (sparse %d, form %d) is refused: %s", how.sparse, how.form,
                  err.message);
    compare(t->s, again.s);
    ot_close(again.s);
}

static void save(struct task *t) {
    ot_error err = {0};
    const ot_note note = {"key", "value"};
    ot_status status = ot_save_checkpoint(t->s, fuzz_path("out.otc"), &note, 1, &err);
    check_error(status, &err);
    if (!status) status = ot_load_checkpoint(t->s, fuzz_path("out.otc"), NULL, NULL, &err);
    if (status && status != OT_ERROR_NUMERIC) fuzz_fail("checkpoint: %s", err.message);
}

/* ---- all of it ---- */

static void use(struct task *t) {
    ot_error err = {0};
    const ot_loss_options loss = {.kind = (ot_loss_kind)choose(t, 9, 7)};
    const ot_optimizer_options rule = {.kind = (ot_optimizer_kind)choose(t, 12, 5),
                                       .lr = 0.01f,
                                       .momentum = choose(t, 15, 2) ? 0.9f : 0,
                                       .weight_decay = choose(t, 16, 2) ? 0.1f : 0};
    bool good = true;
    if (make_inputs(t)) {
        check_error(ot_set_loss(t->s, &loss, &err), &err);
        check_error(ot_set_optimizer(t->s, &rule, &err), &err);
        if (plan(t, 1)) good = train(t);
        run(t);
    }
    if (good && choose(t, 17, 2)) export(t);
    if (good && choose(t, 18, 4) == 0) save(t);
    for (int i = 0; i < MOST_TENSORS; i++) free((void *)(uintptr_t)t->in[i].data);
    free((void *)(uintptr_t)t->target.data);
}

/* ---- opening ---- */

static void write_file(const char *name, const uint8_t *bytes, size_t size) {
    FILE *file = fopen(fuzz_path(name), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
        fuzz_fail("cannot write %s", name);
}

/* External data can be had of a file alone: where the input speaks of FUZZ_DATA, that holds the
 * input, too, and offsets point into the model itself. */
static ot_status open_files(struct task *t, const uint8_t *bytes, size_t size,
                            const ot_options *options, ot_error *err) {
    write_file("in.onnx", bytes, size);
    write_file(FUZZ_DATA, bytes, size);
    return ot_open(fuzz_path("in.onnx"), options, &t->s, err);
}

static ot_status open_copy(struct task *t, const uint8_t *bytes, size_t size,
                           const ot_options *options, ot_error *err) {
    uint8_t *copy = fuzz_copy(bytes, size);
    const ot_status status = ot_open_buffer(copy, size, options, &t->s, err);
    free(copy);
    return status;
}

void fuzz_model(const uint8_t *bytes, size_t size) {
    struct task t = {.hash = fuzz_hash(bytes, size)};
    ot_session *const untouched = (ot_session *)&t;
    ot_error err = {0};
    const ot_options options = options_of(&t);
    t.s = untouched;
    const ot_status status = memmem(bytes, size, FUZZ_DATA, strlen(FUZZ_DATA))
                                 ? open_files(&t, bytes, size, &options, &err)
                                 : open_copy(&t, bytes, size, &options, &err);
    check_error(status, &err);
    if (status && t.s != untouched) fuzz_fail("the session is not as it was");
    if (!status) use(&t);
    if (!status) ot_close(t.s);
    if (t.memory.live) fuzz_fail("%ld blocks are left", t.memory.live);
}
