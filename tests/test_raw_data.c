/* test_raw_data.c - the tree of a file whose raw_data stays where it is, against the tree that
 * protobuf-c makes of the file itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/import.h"
#include "onnx/raw_data.h"
#include "onnx/tree.h"
#include "tests/onnx_build.h"

struct bytes {
    uint8_t *p;
    size_t n;
};

static struct bytes pack(const Onnx__ModelProto *m) {
    struct bytes b = {.n = protobuf_c_message_get_packed_size(&m->base)};
    b.p = zeroed(b.n, 1);
    protobuf_c_message_pack(&m->base, b.p);
    return b;
}

/* Sizes around that of a reference, and around those of lengths of one, two and three bytes. */
static const size_t sizes[] = {0, 1, 15, 16, 17, 127, 128, 129, 16383, 16384, 70000};

static void add_weight(Onnx__TensorProto *t, size_t size) {
    uint8_t *value = zeroed(size, 1);
    for (size_t i = 0; i < size; i++) value[i] = (uint8_t)(i * 37 + size);
    set_dims(t, (int64_t)size, 0);
    set_raw(t, ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, value, size);
    free(value);
}

static Onnx__TensorProto *new_tensor(void) {
    Onnx__TensorProto *t = zeroed(1, sizeof *t);
    onnx__tensor_proto__init(t);
    return t;
}

/* raw_data of initializers, attributes and sparse tensors, among fields that stay as they are. */
static struct bytes example(void) {
    static const float value[3] = {1, 2, 3};
    static const int64_t index[3] = {0, 5, 7};
    Onnx__ModelProto *m = new_model(8, 17);
    add_metadata(m, "key", "value");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        add_weight(add_initializer(m, "weight"), sizes[i]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Onnx__NodeProto *node = add_node(m, "Constant", "", "y");
        Onnx__AttributeProto *a =
            add_attribute(node, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR);
        a->t = new_tensor();
        add_weight(a->t, sizes[i]);
        add_unknown(&a->base);
    }
    add_sparse(m, "sparse", 3, 4, value, index, 3, false);
    add_unknown(&m->base);
    const struct bytes b = pack(m);
    onnx__model_proto__free_unpacked(m, NULL);
    return b;
}

/* Frees all at once, as the arena of an import does. */
struct heap {
    char *p;
    size_t used, size;
};

static void *take(void *context, size_t size) {
    struct heap *h = context;
    char *p = h->p + h->used;
    h->used += (size + 15) & ~(size_t)15;
    return h->used <= h->size ? p : NULL;
}

static void leave(void *context, void *p) {
    (void)context;
    (void)p;
}

static void test_tree_is_the_same(void **state) {
    (void)state;
    const struct bytes file = example();
    const size_t rest = ot_raw_data_short(file.p, file.n);
    assert_true(rest < file.n / 50);
    struct heap heap = {.p = zeroed(1, 1 << 20), .size = 1 << 20};
    ProtobufCAllocator allocator = {take, leave, &heap};
    uint8_t *copy = zeroed(rest, 1);
    ot_raw_data_shorten(file.p, file.n, copy);
    Onnx__ModelProto *m = onnx__model_proto__unpack(&allocator, rest, copy);
    free(copy);
    assert_non_null(m);
    ot_raw_data_restore(m, file.p);
    const struct bytes again = pack(m);
    assert_int_equal(again.n, file.n);
    assert_memory_equal(again.p, file.p, file.n);
    free(again.p);
    free(heap.p);
    free(file.p);
}

/* A file that ends early, or has other bytes in it, is measured without reading beyond it. */
static void test_damaged_files(void **state) {
    (void)state;
    const struct bytes file = example();
    for (size_t n = 0; n < file.n; n += n < 4000 ? 1 : 997) {
        uint8_t *cut = zeroed(n ? n : 1, 1);
        if (n) memcpy(cut, file.p, n);
        assert_true(ot_raw_data_short(cut, n) <= n);
        if (n) cut[n * 7 % n] ^= 0x5a;
        if (n) cut[n / 2] ^= 0xff;
        assert_true(ot_raw_data_short(cut, n) <= n);
        free(cut);
    }
    free(file.p);
}

/* What is nested deeper than any model is left as it is. */
static void test_deep_nesting(void **state) {
    (void)state;
    enum { LEVELS = 1000 };
    uint8_t file[4 * LEVELS];
    size_t n = 0;
    for (int i = 0; i < LEVELS && n < sizeof file / 2; i++) {
        /* graph.node.attribute.graph ..., each as long as what is left */
        const uint8_t tag = i == 0 ? 0x3a : i % 3 == 1 ? 0x0a : i % 3 == 2 ? 0x2a : 0x32;
        const size_t left = sizeof file - n - 3;
        file[n++] = tag;
        file[n++] = (uint8_t)(left & 0x7f) | 0x80;
        file[n++] = (uint8_t)(left >> 7);
    }
    memset(file + n, 0, sizeof file - n);
    assert_int_equal(ot_raw_data_short(file, sizeof file), sizeof file);
}

/* ---- what an import takes ---- */

static struct { size_t held, most; } memory;

static void *count_alloc(void *context, size_t size, size_t align) {
    char *p;
    (void)context;
    if (align < 64) align = 64;
    p = aligned_alloc(align, (size + 2 * align - 1) / align * align + align);
    if (!p) return NULL;
    memcpy(p + align - 2 * sizeof size, (size_t[]){align, size}, 2 * sizeof size);
    memory.held += size;
    if (memory.held > memory.most) memory.most = memory.held;
    return p + align;
}

static void count_free(void *context, void *p) {
    size_t note[2];
    (void)context;
    if (!p) return;
    memcpy(note, (char *)p - sizeof note, sizeof note);
    memory.held -= note[1];
    free((char *)p - note[0]);
}

/* The file is the caller's, the weight stays: there is no third copy on the way. */
static void test_import_holds_no_copy(void **state) {
    (void)state;
    enum { SIDE = 512 };
    float *w = zeroed((size_t)SIDE * SIDE, sizeof *w);
    for (int i = 0; i < SIDE * SIDE; i++) w[i] = (float)(i % 1000 + 1);
    Onnx__ModelProto *m = new_model(8, 17);
    add_input(m, "x", -1, SIDE);
    add_raw(m, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, SIDE, SIDE, w,
            (size_t)SIDE * SIDE * sizeof *w);
    add_node(m, "MatMul", "x w", "y");
    add_output(m, "y", -1, SIDE);
    const struct bytes file = pack(m);
    onnx__model_proto__free_unpacked(m, NULL);
    const struct import_options options = {.limits = {1 << 30, 1000, 1 << 30, 1 << 30},
                                           .allocator = {count_alloc, count_free, NULL}};
    struct graph *g;
    ot_error err;
    if (ot_import_buffer(file.p, file.n, &options, &g, &err)) fail_msg("%s", err.message);
    assert_true(memory.held > (size_t)SIDE * SIDE * sizeof *w);
    assert_true(memory.most < (size_t)SIDE * SIDE * sizeof *w + (256 << 10));
    int v = 0;
    while (strcmp(g->value[v].name, "w") != 0) v++;
    assert_memory_equal(g->value[v].constant->data, w, (size_t)SIDE * SIDE * sizeof *w);
    ot_graph_free(g);
    assert_int_equal(memory.held, 0);
    free(file.p);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_is_the_same),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_import_holds_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
