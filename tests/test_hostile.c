/* test_hostile.c - graphs that must be refused, each by its id in the list of hostile inputs, and
 * their harmless neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile.h"

/* ---- header and functions ---- */

static void ir_version(struct wire *w, int64_t v) {
    good(w);
    wire_int(w, 1, v);
}
static void ir_0(struct wire *w) { ir_version(w, 0); }
static void ir_negative(struct wire *w) { ir_version(w, -1); }
static void ir_new(struct wire *w) { ir_version(w, 99); }
static void newest_but(struct wire *w, int64_t ir, int opset) {
    wire_open_model_at(w, opset);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
    wire_int(w, 1, ir);
}
static void newest_versions(struct wire *w) { newest_but(w, 14, 28); }
static void ir_15(struct wire *w) { newest_but(w, 15, 28); }
static void opset_29(struct wire *w) { newest_but(w, 14, 29); }
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
/* f0, whose only node has an attribute that refers to one of f0's. */
static void referring_function(struct wire *w, bool declared) {
    calling_model(w);
    wire_begin(w, 25);
    wire_string(w, 1, "f0");
    wire_string(w, 4, "a");
    wire_string(w, 5, "b");
    wire_string(w, 10, "f");
    if (declared) wire_string(w, 6, "axis");
    wire_begin(w, 9);
    wire_int(w, 2, 13);
    wire_end(w);
    wire_begin(w, 7);
    wire_string(w, 1, "a");
    wire_string(w, 2, "b");
    wire_string(w, 4, "Softmax");
    wire_begin(w, 5);
    wire_string(w, 1, "axis");
    wire_string(w, 21, "axis");
    wire_int(w, 20, 2);
    wire_end(w);
    wire_end(w);
    wire_end(w);
}
static void reference_to_nothing(struct wire *w) { referring_function(w, false); }
static void reference_to_absent(struct wire *w) { referring_function(w, true); }
static void formal_input_twice(struct wire *w) {
    calling_model(w);
    wire_begin(w, 25);
    wire_string(w, 1, "f0");
    wire_string(w, 4, "a");
    wire_string(w, 4, "a");
    wire_end(w);
}
static void unmade_output(struct wire *w) {
    calling_model(w);
    function(w, "f0", "", 0);
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

/* ---- graph ---- */

/* Nodes {operator, inputs, outputs} before the input and output of a good model. */
static void graph_of(struct wire *w, const char *const (*node)[3]) {
    wire_open_model(w);
    for (; **node; node++) wire_node(w, (*node)[0], (*node)[1], (*node)[2]);
    good_end(w);
}

#define NODES(name, ...)                                                                           \
    static void name(struct wire *w) { graph_of(w, (const char *const[][3]){__VA_ARGS__, {NULL}}); }

NODES(self_loop, {"Relu", "y", "y"})
NODES(cycle, {"Relu", "b", "a"}, {"Relu", "a", "b"}, {"Relu", "b", "y"})
NODES(not_sorted, {"Relu", "a", "y"}, {"Relu", "x", "a"})
NODES(undefined_input, {"Relu", "nowhere", "y"})
NODES(name_written_twice, {"Relu", "x", "y"}, {"Relu", "x", "y"})
NODES(input_written, {"Relu", "x", "y"}, {"Relu", "y", "x"})
NODES(outputs_of_one_name, {"Split", "x", "y y"})
/* A node that fails at its second output, and one that uses the first. */
NODES(outputs_of_one_name_used, {"Relu", "x", "a a"}, {"Relu", "a", "y"})

/* A constant that fails behind its output, where its contents decide. */
static void faulty_constant_used(struct wire *w) {
    wire_open_model(w);
    wire_open_node(w, "Constant", "", "c");
    wire_begin(w, 5);
    wire_string(w, 1, "value");
    wire_open_tensor(w, 5, NULL, OT_INT64, 0, NULL);
    wire_end(w);
    wire_int(w, 20, 4);
    wire_end(w);
    wire_end(w);
    wire_node(w, "SplitToSequence", "x c", "s");
    wire_node(w, "SequenceAt", "s c", "z");
    wire_node(w, "Reshape", "x c", "y");
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

/* ---- attributes ---- */

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
static void fill_bad_tensor(struct wire *w) {
    wire_begin(w, 5);
    wire_string(w, 1, "value");
    wire_open_tensor(w, 5, NULL, OT_FLOAT, 1, (int64_t[]){4});
    wire_end(w);
    wire_end(w);
}
static void constant_without_data(struct wire *w) {
    attribute_case(w, "Constant", fill_bad_tensor);
}
static void attribute_twice(struct wire *w) { attribute_case(w, "Relu", fill_twice); }
static void too_many_attributes(struct wire *w) { attribute_case(w, "Relu", fill_many); }
static void attribute_of_wrong_type(struct wire *w) { attribute_case(w, "Relu", fill_wrong_type); }
static void attribute_of_two_values(struct wire *w) { attribute_case(w, "Relu", fill_two_values); }
static void reference_in_graph(struct wire *w) { attribute_case(w, "Relu", fill_reference); }
static void constant_of_nothing(struct wire *w) { attribute_case(w, "Constant", fill_nothing); }
static void constant_of_two(struct wire *w) { attribute_case(w, "Constant", fill_both); }

/* ---- sparse tensors ---- */

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
#define SPARSE(name, ...)                                                                          \
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
    {"M01 ir_version 0", INVALID, "ir_version is 0", ir_0},
    {"M01 ir_version -1", INVALID, "ir_version is -1", ir_negative},
    {"M01 ir_version 99", UNSUPPORTED, "99", ir_new},
    {"M01 ir_version 14 and opset 28", OT_OK, "", newest_versions},
    {"M01 ir_version 15", UNSUPPORTED, "15 is newer than 14", ir_15},
    {"M03 opset 29", UNSUPPORTED, "29 of domain '' is newer than 28", opset_29},
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
    {"M10 reference to an undeclared attribute", INVALID, "not declare", reference_to_nothing},
    {"M10 reference that the call lacks", INVALID, "the call lacks", reference_to_absent},
    {"M10 formal input twice", INVALID, "twice", formal_input_twice},
    {"M10 output that is not made", INVALID, "does not compute its output", unmade_output},
    {"M11 metadata key twice", INVALID, "'k'", metadata_twice},
    {"M11 4097 metadata entries", LIMIT, "4097", much_metadata},
    {"G01 self loop", INVALID, "cycles", self_loop},
    {"G01 cycle", INVALID, "cycles", cycle},
    {"G02 not sorted", INVALID, "topological order", not_sorted},
    {"G03 undefined input", INVALID, "'nowhere' is not defined", undefined_input},
    {"G04 name written twice", INVALID, "already used", name_written_twice},
    {"G04 outputs of one name, used", INVALID, "already used", outputs_of_one_name_used},
    {"G04 faulty constant, used", INVALID, "0 bytes", faulty_constant_used},
    {"G04 input written", INVALID, "already used", input_written},
    {"G04 outputs of one name", INVALID, "already used", outputs_of_one_name},
    {"G06 output missing", INVALID, "no node computes it", output_missing},
    {"G06 output twice", INVALID, "twice", output_twice},
    {"G07 input twice", INVALID, "twice", input_twice},
    {"G07 input without type", INVALID, "type", input_without_type},
    {"G10 input of size -1 is free", OT_OK, "", input_of_negative_size},
    {"G07 sparse tensor as input", UNSUPPORTED, "sparse tensor", sparse_input},
    {"G14 chain of Identity nodes", OT_OK, "", identity_chain},
    {"O31 attribute twice", INVALID, "twice", attribute_twice},
    {"O31 257 attributes", LIMIT, "256", too_many_attributes},
    {"O31 attribute of the wrong type", INVALID, "type 1", attribute_of_wrong_type},
    {"O31 attribute of two values", INVALID, "two values", attribute_of_two_values},
    {"O31 reference in the graph", INVALID, "outside of a function", reference_in_graph},
    {"O32 Constant of nothing", INVALID, "0 attributes", constant_of_nothing},
    {"O32 Constant of two", INVALID, "2 attributes", constant_of_two},
    {"T09 Constant without data", INVALID, "0 bytes of data, 16", constant_without_data},
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

/* Each limit holds at its value and refuses one more. */
static void test_limits(void **state) {
    (void)state;
    struct wire w = {0};
    struct counter c = {0};
    struct graph *g = NULL;
    ot_error err;
    wire_open_model(&w);
    wire_open_tensor(&w, 5, "w", OT_FLOAT, 1, (int64_t[]){1000});
    wire_bytes(&w, 9, (char[4000]){1}, 4000);
    wire_end(&w);
    for (int i = 0; i < 4; i++) wire_node(&w, "Relu", "x", (const char *[]){"a", "b", "c", "y"}[i]);
    good_end(&w);
    for (int more = 0; more < 2; more++) {
        for (int which = 0; which < 3; which++) {
            struct import_options options = import_defaults(&c);
            uint64_t *limit[3] = {&options.limits.file_bytes, &options.limits.nodes,
                                  &options.limits.tensor_elements};
            *limit[which] = (uint64_t[]){w.n, 4, 1000}[which] - (uint64_t)more;
            ot_status status = ot_import_buffer(w.p, w.n, &options, &g, &err);
            assert_int_equal(status, more ? OT_ERROR_LIMIT : OT_OK);
            if (!status) ot_graph_free(g);
        }
    }
    struct import_options options = import_defaults(&c);
    options.limits.memory_bytes = 4000; /* the weight alone takes them */
    assert_int_equal(ot_import_buffer(w.p, w.n, &options, &g, &err), OT_ERROR_LIMIT);
    assert_int_equal(c.live, 0);
    wire_free(&w);
}

/* W14: refused by size, before a byte is read. */
static void test_W14_too_large_a_buffer(void **state) {
    (void)state;
    struct counter c = {0};
    struct graph *g = NULL;
    ot_error err;
    struct import_options options = import_defaults(&c);
    const size_t sizes[] = {(size_t)1 << 31, ((size_t)4 << 30) + 65536};
    for (int i = 0; i < 4; i++) {
        if (i >= 2) options.limits.file_bytes = UINT64_MAX;
        assert_int_equal(ot_import_buffer("", sizes[i % 2], &options, &g, &err), OT_ERROR_LIMIT);
    }
}

int main(void) {
    enum { CASES = sizeof cases / sizeof *cases };
    static struct CMUnitTest tests[CASES + 2];
    for (int i = 0; i < CASES; i++)
        tests[i] = (struct CMUnitTest){cases[i].id, run_hostile, NULL, NULL, (void *)&cases[i]};
    tests[CASES] = (struct CMUnitTest)cmocka_unit_test(test_limits);
    tests[CASES + 1] = (struct CMUnitTest)cmocka_unit_test(test_W14_too_large_a_buffer);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
