/* test_options.c - the command line and configuration files of onnx-train. */
#include "tools/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 12 };

/* Parses words separated by blanks as the arguments of a command. */
static int parse(struct settings *s, unsigned command, const char *line, struct failure *f) {
    static char copy[1024];
    char *argv[MOST];
    int n = 0;
    *s = (struct settings){.command = command, .name = "train"};
    *f = (struct failure){0};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) argv[n++] = word;
    return ot_settings_parse(s, n, argv, f);
}

static void accepts_every_spelling(void **state) {
    (void)state;
    struct settings s;
    struct failure f;
    assert_int_equal(parse(&s, TRAIN,
                           "m.onnx d/ --lr 0.5 --weight-decay=1e-4 max_steps=7 "
                           "--nesterov --shuffle 0 scale=1/127.5 memory_limit=2G",
                           &f),
                     0);
    assert_string_equal(ot_text(&s, OPTION_model), "m.onnx");
    assert_string_equal(ot_text(&s, OPTION_data), "d/");
    assert_float_equal(ot_number(&s, OPTION_lr, 0), 0.5, 0);
    assert_float_equal(ot_number(&s, OPTION_weight_decay, 0), 1e-4, 0);
    assert_int_equal(ot_integer(&s, OPTION_max_steps, 0), 7);
    assert_int_equal(ot_integer(&s, OPTION_nesterov, 0), 1);
    assert_int_equal(ot_integer(&s, OPTION_shuffle, 1), 0);
    assert_float_equal(ot_number(&s, OPTION_scale, 0), 1 / 127.5, 0);
    assert_int_equal(ot_integer(&s, OPTION_memory_limit, 0), 2ll << 30);
    assert_int_equal(ot_integer(&s, OPTION_epochs, 0), 3); /* the table's */
    assert_false(ot_is_given(&s, OPTION_epochs));
    ot_settings_free(&s);
}

static void refuses_what_is_wrong(void **state) {
    static const struct {
        const char *line, *text;
    } cases[] = {{"lr=nan", "lr: 'nan' is not a number"},
                 {"lr=-1", "lr: '-1' is not a number"},
                 {"lr=1e400", "lr: '1e400' is not a number"},
                 {"epochs=9223372036854775808", "epochs"},
                 {"epochs=1.5", "an integer"},
                 {"batch=0", "batch: '0' is not an integer from 1"},
                 {"threads=0", "threads"},
                 {"threads=1000000", "threads"},
                 {"epoch=3", "unknown key 'epoch'; did you mean 'epochs'?"},
                 {"--epoch 3", "did you mean 'epochs'?"},
                 {"zzzzzz=3", "unknown key 'zzzzzz'"},
                 {"lr=1 lr=2", "given twice"},
                 {"optimizer=sdg", "one of sgd|adam|adamw"},
                 {"json=1", "not an option of train"},
                 {"-x", "unknown option"},
                 {"--lr", "needs a value"},
                 {"a b c", "unexpected argument 'c'"},
                 {"mean=1,2,x", "mean"},
                 {"resume=/does/not/exist", "does not exist"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s;
        struct failure f;
        assert_int_equal(parse(&s, TRAIN, cases[i].line, &f), EXIT_USAGE);
        if (!strstr(f.text, cases[i].text)) fail_msg("%s: %s", cases[i].line, f.text);
        ot_settings_free(&s);
    }
}

/* Writes text to a file of its own and parses "m d <file> <more>". */
static int parse_yaml(struct settings *s, const char *text, const char *more, struct failure *f) {
    char path[] = "/tmp/test_options_XXXXXX.yaml", line[512];
    const int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    snprintf(line, sizeof line, "m d %s %s", path, more);
    const int code = parse(s, TRAIN, line, f);
    unlink(path);
    return code;
}

static void reads_yaml_by_type(void **state) {
    (void)state;
    struct settings s;
    struct failure f;
    assert_int_equal(parse_yaml(&s,
                                "# a comment\nlr: 1e-5\nepochs: '7'\nmean: [0.1, 0.2]\n"
                                "freeze: null\nseed: 4\n",
                                "seed=5", &f),
                     0);
    double mean[MAX_LIST];
    assert_float_equal(ot_number(&s, OPTION_lr, 0), 1e-5, 0);
    assert_int_equal(ot_integer(&s, OPTION_epochs, 0), 7);
    assert_int_equal(ot_list(&s, OPTION_mean, mean), 2);
    assert_float_equal(mean[1], 0.2, 0);
    assert_null(ot_text(&s, OPTION_freeze));
    assert_int_equal(ot_integer(&s, OPTION_seed, 0), 5); /* the command line wins */
    ot_settings_free(&s);
    assert_int_equal(parse_yaml(&s, "", "", &f), 0);
    ot_settings_free(&s);
}

static void places_errors_in_yaml(void **state) {
    static const struct {
        const char *yaml, *text;
    } cases[] = {{"lr: 1\nepoch: 3\n", ".yaml:2:1: unknown key 'epoch'; did you mean 'epochs'?"},
                 {"lr: fast\n", ".yaml:1:1: lr: 'fast' is not a number"},
                 {"lr: 1\nlr: 2\n", ".yaml:2:1: the key is given twice"},
                 {"lr: {a: 1}\n", ".yaml:1:5: expected"},
                 {"lr: &a 1\n", "anchors"},
                 {"lr: [1\n", ".yaml:"},
                 {"- lr\n", "expected 'key: value'"},
                 {"lr: 1\n---\nlr: 2\n", "more than one document"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s;
        struct failure f;
        assert_int_equal(parse_yaml(&s, cases[i].yaml, "", &f), EXIT_USAGE);
        if (!strstr(f.text, cases[i].text)) fail_msg("%s: %s", cases[i].yaml, f.text);
        ot_settings_free(&s);
    }
}

static void escapes_messages(void **state) {
    (void)state;
    struct failure f;
    assert_int_equal(ot_refuse(&f, 4, "a\nb\x1b[31m\xff\xc3\xa9"), 4);
    assert_string_equal(f.text, "a\\x0ab\\x1b[31m\\xff\xc3\xa9");
}

static void knows_extents(void **state) {
    (void)state;
    int64_t w, h;
    assert_true(ot_parse_extent("224", &w, &h) && w == 224 && h == 0);
    assert_true(ot_parse_extent("32x16", &w, &h) && w == 32 && h == 16);
    assert_false(ot_parse_extent("32x", &w, &h));
    assert_false(ot_parse_extent("0", &w, &h));
    assert_false(ot_parse_extent("99999", &w, &h));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_every_spelling), cmocka_unit_test(refuses_what_is_wrong),
        cmocka_unit_test(reads_yaml_by_type),     cmocka_unit_test(places_errors_in_yaml),
        cmocka_unit_test(escapes_messages),       cmocka_unit_test(knows_extents)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
