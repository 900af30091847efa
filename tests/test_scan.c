/* test_scan.c - the wire format: what the scan must refuse before protobuf-c sees it, each case by
 * its id in the list of hostile inputs, and harmless neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile.h"

static void empty(struct wire *w) { (void)w; }

static void model_without_graph(struct wire *w) { wire_int(w, 1, 8); }

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

static const struct hostile cases[] = {
    {"good model", OT_OK, "", good},
    {"W01 empty file", INVALID, "graph is missing", empty},
    {"W02 only ir_version", INVALID, "graph is missing", model_without_graph},
    {"W03 varint of 11 bytes", PARSE, "is not terminated", varint_of_11_bytes},
    {"W03 varint without end", PARSE, "is not terminated", varint_without_end},
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
    {"W10 type twice", INVALID, "type: this field occurs twice", type_twice},
    {"W10 t twice", INVALID, "t: this field occurs twice", t_twice},
    {"W10 g twice", INVALID, "g: this field occurs twice", g_twice},
    {"W10 values twice", INVALID, "values: this field occurs twice", values_twice},
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
};

int main(void) {
    enum { CASES = sizeof cases / sizeof *cases };
    static struct CMUnitTest tests[CASES];
    for (int i = 0; i < CASES; i++)
        tests[i] = (struct CMUnitTest){cases[i].id, run_hostile, NULL, NULL, (void *)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
