/* seeds_model.c - a model for each small test case of each operator, networks, checkpoints. */
#include "tests/cases.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"
#include "tests/networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 6000, OPSET = 27 };

/* ---- test cases of operators ---- */

static void put_attribute(struct wire *w, const struct attr *a) {
    static const int types[] = {0, 2, 1, 3, 4, 7, 6, 8}; /* AttributeProto.type by attr_kind */
    wire_begin(w, 5);
    wire_string(w, 1, a->name);
    if (a->kind == OT_ATTR_INT) wire_int(w, 3, a->i);
    if (a->kind == OT_ATTR_FLOAT) wire_float(w, 2, a->f);
    if (a->kind == OT_ATTR_STRING) wire_bytes(w, 4, a->s, (size_t)a->n);
    for (int64_t i = 0; a->kind == OT_ATTR_INTS && i < a->n; i++) wire_int(w, 8, a->ints[i]);
    for (int64_t i = 0; a->kind == OT_ATTR_FLOATS && i < a->n; i++) wire_float(w, 7, a->floats[i]);
    for (int64_t i = 0; a->kind == OT_ATTR_STRINGS && i < a->n; i++)
        wire_string(w, 9, a->strings[i]);
    if (a->kind == OT_ATTR_TENSOR) {
        wire_open_tensor(w, 5, NULL, (int)a->t->type, a->t->rank, a->t->dim);
        wire_bytes(w, 9, a->t->data, ot_bytes(a->t));
        wire_end(w);
    }
    wire_int(w, 20, types[a->kind]);
    wire_end(w);
}

static void put_names(struct wire *w, unsigned field, char letter, const struct case_tensor *t,
                      int n) {
    char name[16];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%c%d", letter, i);
        wire_string(w, field, t[i].absent ? "" : name);
    }
}

static void put_node(struct wire *w, const struct op_case *c) {
    wire_begin(w, 1);
    put_names(w, 1, 'x', c->in, c->n_in);
    put_names(w, 2, 'y', c->out, c->n_out ? c->n_out : 1);
    wire_string(w, 3, "n");
    wire_string(w, 4, c->op->name);
    if (c->op->domain) wire_string(w, 7, c->op->domain);
    for (int i = 0; i < c->node.n_attr; i++)
        if (c->node.attr[i].kind != OT_ATTR_OTHER) put_attribute(w, &c->node.attr[i]);
    wire_end(w);
}

/* Weights and what is written out in the case are initializers, all else is fed. */
static void put_inputs(struct wire *w, const struct op_case *c, void *const *x) {
    char name[16];
    for (int i = 0; i < c->n_in; i++) {
        const struct case_tensor *t = &c->in[i];
        int64_t n;
        if (t->absent || !ot_shape_count(t->dim, t->rank, MOST_BYTES, &n)) continue;
        snprintf(name, sizeof name, "x%d", i);
        if (!t->value && !t->sparse && !(c->op->parameters >> i & 1)) {
            wire_value(w, 11, name, (int)t->type, t->rank, t->dim);
            continue;
        }
        wire_open_tensor(w, 5, name, (int)t->type, t->rank, t->dim);
        wire_bytes(w, 9, x[i], (size_t)n * ot_type_size(t->type));
        wire_end(w);
    }
}

/* An output of a known type and unknown shape. */
static void put_output(struct wire *w, const char *name) {
    wire_begin(w, 12);
    wire_string(w, 1, name);
    wire_begin(w, 2);
    wire_begin(w, 1);
    wire_int(w, 1, OT_FLOAT);
    for (int i = 0; i < 3; i++) wire_end(w);
}

static void seed_case(const struct op *op, int number) {
    struct op_case c = {0};
    void *x[CASE_TENSORS];
    ot_error err;
    char name[96];
    struct wire w = {0};
    if (ot_case_parse(&c, op, op->cases[number], &err) || ot_case_draw(&c, x, &err)) goto done;
    if (op->domain) {
        wire_begin(&w, 8);
        wire_string(&w, 1, op->domain);
        wire_int(&w, 2, c.node.opset);
        wire_end(&w);
    }
    wire_open_model_at(&w, op->domain ? OPSET : c.node.opset);
    put_node(&w, &c);
    put_inputs(&w, &c, x);
    put_output(&w, "y0");
    wire_close_model(&w);
    snprintf(name, sizeof name, "%.60s-%d", op->name, number);
    if (w.n <= MOST_BYTES) seed_write("model", name, w.p, w.n);
done:
    wire_free(&w);
    ot_arena_free(&c.arena);
}

/* ---- words ---- */

/* The names in "alpha:f axis:i". */
static void seed_attributes(const char *text) {
    while (*text) {
        const size_t n = strcspn(text, ": ");
        if (n) seed_word("model", text, n);
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
}

static void seed_words(void) {
    static const char *const more[] = {"Constant",
                                       "If",
                                       "Loop",
                                       "Scan",
                                       "then_branch",
                                       "else_branch",
                                       "body",
                                       "value",
                                       "SequenceConstruct",
                                       "SequenceAt",
                                       "SplitToSequence",
                                       "ConcatFromSequence",
                                       FUZZ_DATA,
                                       "location",
                                       "offset",
                                       "length",
                                       "checksum",
                                       "basepath"};
    for (int i = 0; ot_op_at(i); i++) {
        if (ot_op_at(i)->internal) continue;
        seed_word("model", ot_op_at(i)->name, strlen(ot_op_at(i)->name));
        seed_attributes(ot_op_at(i)->attributes);
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        seed_word("model", more[i], strlen(more[i]));
}

/* ---- networks and their checkpoints ---- */

static void copy_file(const char *target, const char *name, const char *path) {
    static unsigned char bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) fuzz_fail("cannot read %s", path);
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    seed_write(target, name, bytes, n);
}

static void seed_network(make_fn *make, const char *name) {
    static const char *const rules[] = {"sgd", "adam", "adamw", "adagrad", "adam_onnx"};
    char file[64];
    size_t size;
    unsigned char *model = make(&size);
    seed_write("model", name, model, size);
    free(model);
    for (int kind = OT_SGD; kind <= OT_ADAM_ONNX; kind++) {
        struct fixture f;
        const ot_optimizer_options rule = {
            .kind = (ot_optimizer_kind)kind, .lr = 0.01f, .momentum = kind ? 0 : 0.9f};
        const ot_export_options how = {.training_info = 1};
        const ot_note note = {"epoch", "1"};
        fixture_open(&f, make, &(ot_options){.threads = 1});
        if (ot_set_optimizer(f.s, &rule, NULL)) fuzz_fail("optimizer %d", kind);
        fixture_train(&f);
        if (kind && ot_optimizer_step(f.s, NULL)) fuzz_fail("a step with optimizer %d", kind);
        snprintf(file, sizeof file, "%s-%s", name, rules[kind]);
        if (!ot_save_checkpoint(f.s, fuzz_path("c"), &note, 1, NULL) && make == network_mlp)
            copy_file("checkpoint", file, fuzz_path("c"));
        if (!ot_optimizer_step(f.s, NULL) && !ot_export_onnx(f.s, fuzz_path("m"), &how, NULL))
            copy_file("model", file, fuzz_path("m"));
        ot_close(f.s);
    }
}

/* ---- external data ---- */

enum { UNKNOWN = 1000, RAW_AT = 4, EXTERNAL_DATA = 13, DATA_LOCATION = 14 };

static void put_external(struct wire *w, const char *name, int type, const int64_t *dim,
                         const char *offset, const char *length) {
    wire_open_tensor(w, 5, name, type, 2, dim);
    wire_entry(w, EXTERNAL_DATA, "location", FUZZ_DATA);
    wire_entry(w, EXTERNAL_DATA, "offset", offset);
    wire_entry(w, EXTERNAL_DATA, "length", length);
    wire_int(w, DATA_LOCATION, 1);
    wire_end(w);
}

/* The data stand in a field of the model that nobody knows, which is its first: x [N,8] -> y [N,8]
 * by a pruned and a dense weight, and one of half floats in the same bytes. */
static void seed_external(void) {
    static const int64_t square[] = {8, 8}, x[] = {-1, 8};
    float data[128];
    struct wire w = {0};
    for (int i = 0; i < 128; i++) data[i] = i < 64 && i % 5 ? i % 3 ? 0 : -0.0f : 0.25f * (i % 7);
    wire_bytes(&w, UNKNOWN, data, sizeof data);
    if (memcmp(w.p + RAW_AT, data, sizeof data)) fuzz_fail("data are not where they should be");
    wire_open_model(&w);
    put_external(&w, "w0", OT_FLOAT, square, "4", "256");
    put_external(&w, "w1", OT_FLOAT, square, "260", "256");
    put_external(&w, "w2", OT_FLOAT16, square, "260", "128");
    wire_value(&w, 11, "x", OT_FLOAT, 2, x);
    wire_node(&w, "MatMul", "x w0", "a");
    wire_node(&w, "Gemm", "a w1", "b");
    wire_node(&w, "MatMul", "b w2", "y");
    wire_value(&w, 12, "y", OT_FLOAT, 2, x);
    wire_close_model(&w);
    seed_write("model", "external", w.p, w.n);
    wire_free(&w);
}

void seed_models(void) {
    static const char *const words[] = {
        "__metadata__", "crc32",    "dtype", "shape", "data_offsets", "onnx_train.",
        "value:",       "moment0:", "F32",   "I64",   "\\u0000"};
    for (int i = 0; ot_op_at(i); i++)
        for (int k = 0; ot_op_at(i)->cases && ot_op_at(i)->cases[k]; k++)
            if (!ot_op_at(i)->internal) seed_case(ot_op_at(i), k);
    seed_words();
    seed_external();
    seed_network(network_mlp, "mlp");
    seed_network(network_cnn, "cnn");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        seed_word("checkpoint", words[i], strlen(words[i]));
}
