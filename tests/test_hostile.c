/* test_hostile.c - models that must be refused, each by its id in the list of hostile inputs, and
 * their harmless neighbours. Every case runs twice, counts what it allocates, and runs again with
 * each single allocation failing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile.h"

/* ---- wire ----------------------------------------------------------------------------------------- */

static void empty(struct wire *w) { (void)w; }

static void model_without_graph(struct wire *w) { wire_int(w, 1, 8); }

/* A model around something that stands in its graph. */
static void good_end(struct wire *w) {
    wire_value(w, 11, "x", OT_FLOAT, 1, (int64_t[]){4});
    wire_value(w, 12, "y", OT_FLOAT, 1, (int64_t[]){4});
    wire_close_model(w);
}

static void good(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}

static void varint_of_11_bytes(struct wire *w) {
    wire_tag(w, 1, 0);
    wire_put(w, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11);
}

static void varint_without_end(struct wire *w) {
    good(w);
    wire_tag(w, 1, 0);
    wire_put(w, "\xff", 1);
}

static void length(struct wire *w, uint64_t n) {
    wire_tag(w, 7, 2);
    wire_varint(w, n);
    wire_put(w, "abc", 3);
}
static void length_2_31(struct wire *w) { length(w, ((uint64_t)1 << 31) - 1); }
static void length_2_32(struct wire *w) { length(w, (uint64_t)1 << 32); }
static void length_2_63(struct wire *w) { length(w, (uint64_t)1 << 63); }

static void field_0(struct wire *w) { wire_int(w, 0, 1); }
static void field_2_29(struct wire *w) {
    good(w);
    wire_varint(w, (uint64_t)1 << 32);
    wire_put(w, "\0", 1);
}
static void field_below_2_29(struct wire *w) {
    good(w);
    wire_varint(w, UINT32_MAX - 7); /* field 2^29 - 1, varint */
    wire_put(w, "\0", 1);
}
static void group_start(struct wire *w) { wire_tag(w, 50, 3); }
static void group_end(struct wire *w) { wire_tag(w, 50, 4); }
static void wire_type_6(struct wire *w) { wire_tag(w, 50, 6); }
static void wire_type_7(struct wire *w) { wire_tag(w, 50, 7); }

static void graph_as_varint(struct wire *w) { wire_int(w, 7, 1); }
static void dims_as_fixed32(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 5);
    wire_float(w, 1, 1);
    wire_end(w);
    good_end(w);
}

/* Graph in attribute in node in graph ... `levels` deep, each as short as it can be. */
static void nested_graphs(struct wire *w, int levels) {
    uint8_t *body = NULL;
    size_t n = 0;
    for (int i = 0; i < 3 * levels; i++) {
        static const unsigned field[3] = {6, 5, 1}; /* g, attribute, node */
        struct wire up = {0};
        wire_bytes(&up, field[i % 3], body, n);
        free(body);
        body = up.p;
        n = up.n;
    }
    wire_bytes(w, 7, body, n);
    free(body);
}
static void nested_88(struct wire *w) { nested_graphs(w, 88); }
static void nested_3000(struct wire *w) { nested_graphs(w, 3000); }

static void nested_types(struct wire *w) {
    enum { LEVELS = 6000 };
    uint8_t *body = NULL;
    size_t n = 0;
    for (int i = 0; i < 2 * LEVELS; i++) {
        struct wire up = {0};
        wire_bytes(&up, i % 2 ? 4 : 1, body, n); /* sequence_type, elem_type */
        free(body);
        body = up.p;
        n = up.n;
    }
    wire_open_model(w);
    wire_begin(w, 11);
    wire_string(w, 1, "x");
    wire_bytes(w, 2, body, n);
    wire_end(w);
    free(body);
    good_end(w);
}

static void graph_twice(struct wire *w) {
    good(w);
    wire_bytes(w, 7, "", 0);
}
static void graph_130000_times(struct wire *w) {
    for (int i = 0; i < 130000; i++) wire_bytes(w, 7, "\x12\x00", 2);
}
static void type_twice(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 11);
    wire_string(w, 1, "x");
    wire_bytes(w, 2, "", 0);
    wire_bytes(w, 2, "", 0);
    wire_end(w);
    good_end(w);
}
static void attribute_message_twice(struct wire *w, unsigned field) {
    wire_open_model(w);
    wire_open_node(w, "Constant", "", "c");
    wire_begin(w, 5);
    wire_string(w, 1, "value");
    wire_bytes(w, field, "", 0);
    wire_bytes(w, field, "", 0);
    wire_end(w);
    wire_end(w);
    good_end(w);
}
static void t_twice(struct wire *w) { attribute_message_twice(w, 5); }
static void g_twice(struct wire *w) { attribute_message_twice(w, 6); }
static void values_twice(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 15);
    wire_bytes(w, 1, "", 0);
    wire_bytes(w, 1, "", 0);
    wire_end(w);
    good_end(w);
}
static void ir_version_twice(struct wire *w) {
    wire_int(w, 1, 77);
    good(w); /* the last one counts */
}

static void a_million(struct wire *w, unsigned field) {
    wire_open_model(w);
    for (int i = 0; i < 1000000; i++) wire_bytes(w, field, "", 0);
    good_end(w);
}
static void million_nodes(struct wire *w) { a_million(w, 1); }
static void million_tensors(struct wire *w) { a_million(w, 5); }
static void unknown_fields(struct wire *w, int n) {
    for (int i = 0; i < n; i++) wire_int(w, 50, 1);
    good(w);
}
static void some_unknown_fields(struct wire *w) { unknown_fields(w, 100000); }
static void million_unknown_fields(struct wire *w) { unknown_fields(w, 1000000); }
static void long_unknown_field(struct wire *w) {
    const size_t n = (size_t)20 << 20;
    char *p = calloc(n, 1);
    assert_non_null(p);
    good(w);
    wire_bytes(w, 50, p, n);
    free(p);
}
static void half_a_float(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 5);
    wire_bytes(w, 4, "abcde", 5);
    wire_end(w);
    good_end(w);
}

static void named_node(struct wire *w, const char *name, size_t n) {
    wire_open_model(w);
    wire_open_node(w, "Relu", "x", "y");
    wire_bytes(w, 3, name, n);
    wire_end(w);
    good_end(w);
}
static void nul_in_name(struct wire *w) { named_node(w, "a\0b", 3); }
static void overlong_utf8(struct wire *w) { named_node(w, "\xc0\xaf", 2); }
static void surrogate_utf8(struct wire *w) { named_node(w, "\xed\xa0\x80", 3); }
static void cut_utf8(struct wire *w) { named_node(w, "\xe2\x82", 2); }
static void long_name(struct wire *w) {
    char name[4097];
    memset(name, 'n', sizeof name);
    named_node(w, name, sizeof name);
}
static void longest_name(struct wire *w) {
    char name[4096];
    memset(name, 'n', sizeof name);
    named_node(w, name, sizeof name);
}
static void bad_utf8_in_doc(struct wire *w) {
    wire_bytes(w, 6, "\xff\xfe", 2);
    good(w);
}
static void escape_in_name(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "\x1b[31m\"\n", "y");
    good_end(w);
}
static void attribute_type_77(struct wire *w) {
    wire_open_model(w);
    wire_open_node(w, "Relu", "x", "y");
    wire_begin(w, 5);
    wire_string(w, 1, "a");
    wire_int(w, 3, 1);
    wire_int(w, 20, 77);
    wire_end(w);
    wire_end(w);
    good_end(w);
}

static void gzip(struct wire *w) { wire_put(w, "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8); }
static void zip(struct wire *w) { wire_put(w, "PK\x03\x04\x14\x00\x00\x00", 8); }
static void html(struct wire *w) { wire_put(w, "<!DOCTYPE html><html>", 21); }
static void text_form(struct wire *w) { wire_put(w, "ir_version: 8 producer", 22); }
static void two_models(struct wire *w) {
    good(w);
    good(w);
}
static void trailing_garbage(struct wire *w) {
    good(w);
    wire_put(w, "\xde\xad\xbe\xef", 4);
}

/* ---- header and functions ----------------------------------------------------------------------------- */

static void ir_version(struct wire *w, int64_t v) {
    good(w);
    wire_int(w, 1, v);
}
static void ir_0(struct wire *w) { ir_version(w, 0); }
static void ir_negative(struct wire *w) { ir_version(w, -1); }
static void ir_new(struct wire *w) { ir_version(w, 99); }
static void ir_missing(struct wire *w) {
    wire_begin(w, 7);
    wire_string(w, 2, "g");
    wire_end(w);
}
static void no_opset(struct wire *w) {
    wire_int(w, 1, 8);
    ir_missing(w);
}
static void opset(struct wire *w, const char *domain, int64_t v) {
    wire_begin(w, 8);
    wire_string(w, 1, domain);
    wire_int(w, 2, v);
    wire_end(w);
}
static void opset_0(struct wire *w) {
    good(w);
    opset(w, "a", 0);
}
static void opset_negative(struct wire *w) {
    good(w);
    opset(w, "a", -1);
}
static void opset_2_40(struct wire *w) {
    good(w);
    opset(w, "a", (int64_t)1 << 40);
}
static void opset_new(struct wire *w) {
    opset(w, "", 99);
    good(w);
}
static void opset_twice(struct wire *w) {
    good(w);
    opset(w, "ai.onnx", 12);
}
static void opset_alias(struct wire *w) {
    good(w);
    opset(w, "ai.onnx", 13);
}
static void domain_missing(struct wire *w) {
    wire_open_model(w);
    wire_open_node(w, "Relu", "x", "y");
    wire_string(w, 7, "other");
    wire_end(w);
    good_end(w);
}
static void graph_without_name(struct wire *w) {
    wire_int(w, 1, 8);
    opset(w, "", 13);
    wire_begin(w, 7);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}
static void no_outputs(struct wire *w) {
    wire_open_model(w);
    wire_close_model(w);
}
static void identity_graph(struct wire *w) {
    wire_open_model(w);
    wire_value(w, 11, "x", OT_FLOAT, 1, (int64_t[]){4});
    wire_value(w, 12, "x", OT_FLOAT, 1, (int64_t[]){4});
    wire_close_model(w);
}

/* Function `name` whose body calls `callee` n times; the graph calls function "f0". */
static void function(struct wire *w, const char *name, const char *callee, int n) {
    wire_begin(w, 25);
    wire_string(w, 1, name);
    wire_string(w, 4, "a");
    wire_string(w, 5, "b");
    wire_string(w, 10, "f");
    for (int i = 0; i < n; i++) {
        char out[16] = "b";
        if (i + 1 < n) {
            out[0] = 't';
            out[1] = (char)('0' + i);
        }
        wire_begin(w, 7);
        wire_string(w, 1, "a");
        wire_string(w, 2, out);
        wire_string(w, 4, callee);
        if (*callee == 'f') wire_string(w, 7, "f");
        wire_end(w);
    }
    wire_begin(w, 9);
    wire_int(w, 2, 13);
    wire_end(w);
    wire_begin(w, 9);
    wire_string(w, 1, "f");
    wire_int(w, 2, 1);
    wire_end(w);
    wire_end(w);
}
static void calling_model(struct wire *w) {
    opset(w, "f", 1);
    wire_open_model(w);
    wire_open_node(w, "f0", "x", "y");
    wire_string(w, 7, "f");
    wire_end(w);
    good_end(w);
}
static void function_calls_itself(struct wire *w) {
    calling_model(w);
    function(w, "f0", "f0", 1);
}
static void functions_call_each_other(struct wire *w) {
    calling_model(w);
    function(w, "f0", "f1", 1);
    function(w, "f1", "f0", 1);
}
static void chain(struct wire *w, int length_of_chain, int calls) {
    char name[16] = "f0", next[16];
    calling_model(w);
    for (int i = 0; i < length_of_chain; i++) {
        const bool last = i + 1 == length_of_chain;
        next[0] = 'f';
        int k = i + 1, digits = k > 99 ? 3 : k > 9 ? 2 : 1;
        next[1 + digits] = 0;
        for (int d = digits; d; d--, k /= 10) next[d] = (char)('0' + k % 10);
        function(w, name, last ? "Relu" : next, last ? 1 : calls);
        memcpy(name, next, sizeof name);
    }
}
static void chain_of_100(struct wire *w) { chain(w, 100, 1); }
static void chain_of_200(struct wire *w) { chain(w, 200, 1); }
static void expansion_bomb(struct wire *w) { chain(w, 10, 10); }
static void function_twice(struct wire *w) {
    calling_model(w);
    function(w, "f0", "Relu", 1);
    function(w, "f0", "Relu", 1);
}
static void metadata_twice(struct wire *w) {
    good(w);
    wire_entry(w, 14, "k", "1");
    wire_entry(w, 14, "k", "2");
}
static void much_metadata(struct wire *w) {
    good(w);
    for (int i = 0; i < 4097; i++) wire_entry(w, 14, "", "");
}

/* ---- graph ------------------------------------------------------------------------------------------------ */

static void self_loop(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "y", "y");
    good_end(w);
}
static void cycle(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "b", "a");
    wire_node(w, "Relu", "a", "b");
    wire_node(w, "Relu", "b", "y");
    good_end(w);
}
static void not_sorted(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "a", "y");
    wire_node(w, "Relu", "x", "a");
    good_end(w);
}
static void undefined_input(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "nowhere", "y");
    good_end(w);
}
static void name_written_twice(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "x", "y");
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}
static void input_written(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "x", "y");
    wire_node(w, "Relu", "y", "x");
    good_end(w);
}
static void outputs_of_one_name(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Split", "x", "y y");
    good_end(w);
}
static void output_missing(struct wire *w) {
    wire_open_model(w);
    good_end(w);
}
static void output_twice(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "x", "y");
    wire_value(w, 12, "y", OT_FLOAT, 1, (int64_t[]){4});
    good_end(w);
}
static void input_twice(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "x", "y");
    wire_value(w, 11, "x", OT_FLOAT, 1, (int64_t[]){4});
    good_end(w);
}
static void input_without_type(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 11);
    wire_string(w, 1, "z");
    wire_end(w);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}
static void input_of_negative_size(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 11);
    wire_string(w, 1, "z");
    for (int i = 0; i < 4; i++) wire_begin(w, (unsigned[]){2, 1, 2, 1}[i]);
    wire_int(w, 1, -1);
    for (int i = 0; i < 2; i++) wire_end(w);
    wire_int(w, 1, OT_FLOAT);
    for (int i = 0; i < 3; i++) wire_end(w);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}
static void sparse_input(struct wire *w) {
    wire_open_model(w);
    wire_begin(w, 11);
    wire_string(w, 1, "z");
    wire_begin(w, 2);
    wire_begin(w, 8);
    wire_int(w, 1, OT_FLOAT);
    for (int i = 0; i < 3; i++) wire_end(w);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}
static void identity_chain(struct wire *w) {
    char in[16] = "x", out[16];
    wire_open_model(w);
    for (int i = 0; i < 2000; i++) {
        out[0] = 't';
        for (int d = 4, k = i; d; d--, k /= 10) out[d] = (char)('0' + k % 10);
        out[5] = 0;
        wire_node(w, "Identity", in, out);
        memcpy(in, out, sizeof in);
    }
    wire_node(w, "Relu", in, "y");
    good_end(w);
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

static void attribute_case(struct wire *w, const char *op, void (*fill)(struct wire *w)) {
    wire_open_model(w);
    wire_open_node(w, op, *op == 'C' ? "" : "x", *op == 'C' ? "c" : "y");
    fill(w);
    wire_end(w);
    if (*op == 'C') wire_node(w, "Relu", "x", "y");
    good_end(w);
}
static void fill_twice(struct wire *w) {
    wire_attr_int(w, "a", 1);
    wire_attr_int(w, "a", 1);
}
static void fill_many(struct wire *w) {
    for (int i = 0; i < 257; i++) wire_bytes(w, 5, "", 0);
}
static void fill_wrong_type(struct wire *w) {
    wire_begin(w, 5);
    wire_string(w, 1, "a");
    wire_int(w, 3, 1);
    wire_int(w, 20, 1);
    wire_end(w);
}
static void fill_two_values(struct wire *w) {
    wire_begin(w, 5);
    wire_string(w, 1, "a");
    wire_int(w, 3, 1);
    wire_float(w, 2, 1);
    wire_end(w);
}
static void fill_reference(struct wire *w) {
    wire_begin(w, 5);
    wire_string(w, 1, "a");
    wire_string(w, 21, "b");
    wire_end(w);
}
static void fill_nothing(struct wire *w) { (void)w; }
static void fill_both(struct wire *w) {
    wire_attr_int(w, "value_int", 1);
    wire_attr_int(w, "value_int", 1);
}
static void attribute_twice(struct wire *w) { attribute_case(w, "Relu", fill_twice); }
static void too_many_attributes(struct wire *w) { attribute_case(w, "Relu", fill_many); }
static void attribute_of_wrong_type(struct wire *w) { attribute_case(w, "Relu", fill_wrong_type); }
static void attribute_of_two_values(struct wire *w) { attribute_case(w, "Relu", fill_two_values); }
static void reference_in_graph(struct wire *w) { attribute_case(w, "Relu", fill_reference); }
static void constant_of_nothing(struct wire *w) { attribute_case(w, "Constant", fill_nothing); }
static void constant_of_two(struct wire *w) { attribute_case(w, "Constant", fill_both); }

/* ---- sparse tensors --------------------------------------------------------------------------------- */

/* dims [4, 3]; index_rank 1: linear, 2: [n, coordinates]. */
static void sparse(struct wire *w, const int64_t *dim, int n_dim, int values, int index_rank,
                   int64_t coordinates, const int64_t *index, int entries) {
    const float value[4] = {1, 2, 3, 4};
    const int64_t shape[2] = {index_rank == 2 && coordinates ? entries / coordinates : entries,
                              coordinates};
    wire_open_model(w);
    wire_begin(w, 15);
    wire_floats(w, 1, "s", 1, (int64_t[]){values}, value);
    if (index) {
        wire_open_tensor(w, 2, NULL, OT_INT64, index_rank, shape);
        wire_bytes(w, 9, index, (size_t)entries * sizeof *index);
        wire_end(w);
    }
    for (int i = 0; i < n_dim; i++) wire_int(w, 3, dim[i]);
    wire_end(w);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}
#define INDEX(...) (int64_t[]){__VA_ARGS__}, sizeof(int64_t[]){__VA_ARGS__} / sizeof(int64_t)
#define SPARSE(name, ...) \
    static void name(struct wire *w) { sparse(w, __VA_ARGS__); }
static const int64_t dims[2] = {4, 3}, huge[2] = {(int64_t)1 << 20, (int64_t)1 << 20};
SPARSE(sparse_good, dims, 2, 2, 1, 0, INDEX(0, 11))
SPARSE(sparse_coo_good, dims, 2, 2, 2, 2, INDEX(0, 1, 3, 2))
SPARSE(sparse_beyond, dims, 2, 2, 1, 0, INDEX(0, 12))
SPARSE(sparse_negative, dims, 2, 2, 1, 0, INDEX(-1, 2))
SPARSE(sparse_coo_beyond, dims, 2, 2, 2, 2, INDEX(0, 3, 1, 0))
SPARSE(sparse_coo_negative, dims, 2, 2, 2, 2, INDEX(0, -1, 1, 0))
SPARSE(sparse_descends, dims, 2, 2, 1, 0, INDEX(3, 2))
SPARSE(sparse_repeats, dims, 2, 2, 1, 0, INDEX(3, 3))
SPARSE(sparse_coo_descends, dims, 2, 2, 2, 2, INDEX(1, 1, 1, 0))
SPARSE(sparse_count, dims, 2, 3, 1, 0, INDEX(0, 1))
SPARSE(sparse_coordinates, dims, 2, 1, 2, 3, INDEX(0, 1, 2))
SPARSE(sparse_no_indices, dims, 2, 1, 1, 0, NULL, 0)
SPARSE(sparse_empty, dims, 2, 0, 1, 0, NULL, 0)
SPARSE(sparse_no_dims, dims, 0, 1, 1, 0, INDEX(0))
SPARSE(sparse_zero_dim, ((int64_t[]){4, 0}), 2, 1, 1, 0, INDEX(0))
SPARSE(sparse_overflow, ((int64_t[]){(int64_t)1 << 40, (int64_t)1 << 40}), 2, 1, 1, 0, INDEX(0))
SPARSE(sparse_bomb, huge, 2, 3, 1, 0, INDEX(0, 1, 2))

static const struct hostile cases[] = {
    {"good model", OT_OK, "", good},
    {"W01 empty file", INVALID, "no graph", empty},
    {"W02 only ir_version", INVALID, "no graph", model_without_graph},
    {"W03 varint of 11 bytes", PARSE, "does not end", varint_of_11_bytes},
    {"W03 varint without end", PARSE, "does not end", varint_without_end},
    {"W04 length 2^31 - 1", PARSE, "longer", length_2_31},
    {"W04 length 2^32", PARSE, "longer", length_2_32},
    {"W04 length 2^63", PARSE, "longer", length_2_63},
    {"W05 field 0", PARSE, "field number", field_0},
    {"W05 field 2^29", PARSE, "field number", field_2_29},
    {"W05 field 2^29 - 1 is unknown", OT_OK, "", field_below_2_29},
    {"W05 wire type 3", PARSE, "group", group_start},
    {"W05 wire type 4", PARSE, "group", group_end},
    {"W05 wire type 6", PARSE, "group", wire_type_6},
    {"W05 wire type 7", PARSE, "group", wire_type_7},
    {"W06 graph as varint", PARSE, "graph", graph_as_varint},
    {"W06 dims as fixed32", PARSE, "dims", dims_as_fixed32},
    {"W07 88 nested graphs", LIMIT, "too deep", nested_88},
    {"W07 3000 nested graphs", LIMIT, "too deep", nested_3000},
    {"W08 6000 nested types", LIMIT, "too deep", nested_types},
    {"W09 graph twice", INVALID, "twice", graph_twice},
    {"W09 graph 130000 times", INVALID, "twice", graph_130000_times},
    {"W10 type twice", INVALID, "type: this field is there twice", type_twice},
    {"W10 t twice", INVALID, "t: this field is there twice", t_twice},
    {"W10 g twice", INVALID, "g: this field is there twice", g_twice},
    {"W10 values twice", INVALID, "values: this field is there twice", values_twice},
    {"W11 ir_version twice, the last counts", OT_OK, "", ir_version_twice},
    {"W12 a million empty nodes", LIMIT, "", million_nodes},
    {"W12 a million empty tensors", LIMIT, "", million_tensors},
    {"W13 100000 unknown fields", OT_OK, "", some_unknown_fields},
    {"W13 a million unknown fields", LIMIT, "", million_unknown_fields},
    {"W13 a long unknown field", LIMIT, "unknown", long_unknown_field},
    {"W16 half a float", PARSE, "float_data", half_a_float},
    {"W17 NUL in a name", INVALID, "NUL", nul_in_name},
    {"W18 overlong UTF-8", INVALID, "UTF-8", overlong_utf8},
    {"W18 surrogate", INVALID, "UTF-8", surrogate_utf8},
    {"W18 cut UTF-8", INVALID, "UTF-8", cut_utf8},
    {"W18 doc_string is not UTF-8", OT_OK, "", bad_utf8_in_doc},
    {"W19 name of 4097 bytes", LIMIT, "4096", long_name},
    {"W19 name of 4096 bytes", OT_OK, "", longest_name},
    {"W19 escapes in a name", INVALID, "'\\x1b[31m\"\\x0a'", escape_in_name},
    {"W20 attribute type 77", INVALID, "77", attribute_type_77},
    {"W22 gzip", PARSE, "gzip", gzip},
    {"W22 zip", PARSE, "zip", zip},
    {"W22 HTML", PARSE, "HTML", html},
    {"W22 text form", PARSE, "text form", text_form},
    {"W23 two models", INVALID, "twice", two_models},
    {"W23 trailing garbage", PARSE, "", trailing_garbage},
    {"M01 ir_version 0", INVALID, "ir_version is 0", ir_0},
    {"M01 ir_version -1", INVALID, "ir_version is -1", ir_negative},
    {"M01 ir_version 99", UNSUPPORTED, "99", ir_new},
    {"M01 ir_version missing", INVALID, "ir_version", ir_missing},
    {"M02 no opset_import", INVALID, "opset_import", no_opset},
    {"M03 opset 0", INVALID, "opset 0", opset_0},
    {"M03 opset -1", INVALID, "opset -1", opset_negative},
    {"M03 opset 2^40", UNSUPPORTED, "newer", opset_2_40},
    {"M03 opset 99", UNSUPPORTED, "99", opset_new},
    {"M03 domain twice", INVALID, "13 and as opset 12", opset_twice},
    {"M04 ai.onnx is the default domain", OT_OK, "", opset_alias},
    {"M04 domain without opset", INVALID, "'other'", domain_missing},
    {"M06 graph without name", INVALID, "name", graph_without_name},
    {"M06 no outputs", INVALID, "outputs", no_outputs},
    {"M06 no nodes", OT_OK, "", identity_graph},
    {"M07 function calls itself", INVALID, "itself", function_calls_itself},
    {"M07 functions call each other", INVALID, "itself", functions_call_each_other},
    {"M07 chain of 100 functions", OT_OK, "", chain_of_100},
    {"M07 chain of 200 functions", LIMIT, "deep", chain_of_200},
    {"M08 expansion bomb", LIMIT, "nodes", expansion_bomb},
    {"M09 function twice", INVALID, "twice", function_twice},
    {"M11 metadata key twice", INVALID, "'k'", metadata_twice},
    {"M11 4097 metadata entries", LIMIT, "4097", much_metadata},
    {"G01 self loop", INVALID, "cycles", self_loop},
    {"G01 cycle", INVALID, "cycles", cycle},
    {"G02 not sorted", INVALID, "topological order", not_sorted},
    {"G03 undefined input", INVALID, "'nowhere' is not defined", undefined_input},
    {"G04 name written twice", INVALID, "taken", name_written_twice},
    {"G04 input written", INVALID, "taken", input_written},
    {"G04 outputs of one name", INVALID, "taken", outputs_of_one_name},
    {"G06 output missing", INVALID, "no node makes it", output_missing},
    {"G06 output twice", INVALID, "twice", output_twice},
    {"G07 input twice", INVALID, "twice", input_twice},
    {"G07 input without type", INVALID, "type", input_without_type},
    {"G10 input of size -1", INVALID, "-1", input_of_negative_size},
    {"G07 sparse tensor as input", UNSUPPORTED, "sparse tensor", sparse_input},
    {"G14 chain of Identity nodes", OT_OK, "", identity_chain},
    {"O31 attribute twice", INVALID, "twice", attribute_twice},
    {"O31 257 attributes", LIMIT, "256", too_many_attributes},
    {"O31 attribute of the wrong type", INVALID, "type 1", attribute_of_wrong_type},
    {"O31 attribute of two values", INVALID, "two values", attribute_of_two_values},
    {"O31 reference in the graph", INVALID, "outside of a function", reference_in_graph},
    {"O32 Constant of nothing", INVALID, "0 attributes", constant_of_nothing},
    {"O32 Constant of two", INVALID, "2 attributes", constant_of_two},
    {"S00 linear indices", OT_OK, "", sparse_good},
    {"S00 coordinates", OT_OK, "", sparse_coo_good},
    {"S01 index beyond", INVALID, "index 12", sparse_beyond},
    {"S01 index negative", INVALID, "index -1", sparse_negative},
    {"S02 coordinate beyond", INVALID, "index 3", sparse_coo_beyond},
    {"S02 coordinate negative", INVALID, "index -1", sparse_coo_negative},
    {"S03 indices descend", INVALID, "ascend", sparse_descends},
    {"S03 index twice", INVALID, "ascend", sparse_repeats},
    {"S03 coordinates descend", INVALID, "ascend", sparse_coo_descends},
    {"S04 more values than indices", INVALID, "2 indices for 3 values", sparse_count},
    {"S04 three coordinates for rank 2", INVALID, "3 coordinates", sparse_coordinates},
    {"S05 no indices", INVALID, "no indices", sparse_no_indices},
    {"S06 no dims", INVALID, "no dims", sparse_no_dims},
    {"S06 a dim of 0", INVALID, "dims[1] is 0", sparse_zero_dim},
    {"S06 dims overflow", INVALID, "too large", sparse_overflow},
    {"S07 densification bomb", LIMIT, "zeros", sparse_bomb},
    {"S08 no values", OT_OK, "", sparse_empty},
};

int main(void) {
    enum { CASES = sizeof cases / sizeof *cases };
    static struct CMUnitTest tests[CASES];
    for (int i = 0; i < CASES; i++)
        tests[i] = (struct CMUnitTest){cases[i].id, run_hostile, NULL, NULL, (void *)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
